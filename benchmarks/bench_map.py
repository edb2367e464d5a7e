"""Mean average precision over full ranked lists, against peers and the cost of one plain sort.

The peers are scikit-learn, one query at a time, torchmetrics and pytorch-metric-learning. How long
np.sort takes, and so the limit, differs by a factor of 7 between processors; where NumPy's AVX-512
sort is the slow one, ``NPY_DISABLE_CPU_FEATURES="AVX512_ICL X86_V4"`` shows the other.
"""

from functools import partial

import numpy as np
from _common import Row, Table, compare, exponent, measure, threads, write
from sklearn.preprocessing import normalize

from cca_estimators.metrics import cross_modal_scores, mean_average_precision

PEERS = ("torchmetrics", "pytorch-metric-learning", "scikit-learn")
N_ROWS, SIZES = 5_621, (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)


def make_data(n, dtype=np.float32, n_classes=10, n_components=10):
    """Return two views' embeddings of the same n samples, and their labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(n_classes, size=n)
    centres = rng.standard_normal((n_classes, n_components))
    noise = rng.standard_normal((2, n, n_components))
    return (*(normalize(centres[labels] + noise).astype(dtype) for noise in noise), labels)


def sort_of_rows(query, gallery, labels):
    """Multiply once and sort the rows: what any ranking has to do."""
    np.sort(query @ gallery.T, axis=1)


def ours(query, gallery, labels):
    return mean_average_precision(query, gallery, labels, labels)


def ours_both_directions(query, gallery, labels):
    return np.mean([ours(query, gallery, labels), ours(gallery, query, labels)])


def ours_all_figures(query, gallery, labels):
    return cross_modal_scores(_Identity(), {"audio": query, "visual": gallery}, labels)["map"]


class _Identity:
    def transform(self, X):
        return X


def scikit_learn(query, gallery, labels):
    from sklearn.metrics import average_precision_score

    similarity = query @ gallery.T
    lists = zip(labels, similarity, strict=True)
    return np.mean([average_precision_score(labels == label, row) for label, row in lists])


def torchmetrics(query, gallery, labels):
    """Shift similarities by 1: torchmetrics takes those up to 0 as not relevant."""
    import torch
    from torchmetrics.retrieval import RetrievalMAP

    similarity = torch.from_numpy(query @ gallery.T + 1)
    relevant = torch.from_numpy(labels[:, None] == labels)
    indexes = torch.arange(len(query))[:, None].expand_as(similarity)
    return RetrievalMAP()(similarity.ravel(), relevant.ravel(), indexes=indexes.ravel()).item()


def pytorch_metric_learning(query, gallery, labels):
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    calculator = AccuracyCalculator(
        include=("mean_average_precision",),
        k=len(gallery),
        knn_func=CustomKNN(CosineSimilarity()),
        device=torch.device("cpu"),
    )
    classes = torch.from_numpy(labels)
    figures = calculator.get_accuracy(
        torch.from_numpy(query), classes, torch.from_numpy(gallery), classes
    )
    return figures["mean_average_precision"]


def against_peers(n, n_threads):
    """Compare one direction, both, and all figures of both with the peers' one direction."""
    data = make_data(n)
    candidates = {
        "one matrix product and np.sort of the rows": sort_of_rows,
        "ours, one direction": ours,
        "ours, both directions": ours_both_directions,
        "ours, all figures of both directions": ours_all_figures,
        "scikit-learn per query, one direction": scikit_learn,
        "torchmetrics, one direction": torchmetrics,
        "pytorch-metric-learning, one direction": pytorch_metric_learning,
    }
    calls = {name: partial(function, *data) for name, function in candidates.items()}
    title = f"MAP, {n} x {n}, 10 components, 10 classes, float32"
    return compare(title, calls, n_threads=n_threads, peers=PEERS, patience=20)


def in_double_precision(n):
    data = make_data(n, dtype=np.float64)
    candidates = {
        "one matrix product and np.sort of the rows": sort_of_rows,
        "ours, one direction": ours,
        "ours, both directions": ours_both_directions,
    }
    calls = {name: partial(function, *data) for name, function in candidates.items()}
    return compare(f"MAP, {n} x {n}, 10 components, 10 classes, float64", calls)


def growth(sizes):
    """Measure one direction for growing numbers of queries and items."""
    rows = []
    with threads(1):
        for n in sizes:
            wall, cpu, memory = measure(partial(ours, *make_data(n)))
            rows.append(Row(f"{n} x {n}", wall, cpu, memory, repeats=1))
    power = exponent(sizes, [row.seconds for row in rows])
    facts = {"seconds grow with n to the power": round(power, 2)}
    return Table("MAP, one direction, float32", rows, n_threads=1, facts=facts)


def tables():
    return [
        against_peers(N_ROWS, n_threads=1),
        against_peers(N_ROWS, n_threads=None),
        in_double_precision(N_ROWS),
        growth(SIZES),
    ]


if __name__ == "__main__":
    write("map", tables())
