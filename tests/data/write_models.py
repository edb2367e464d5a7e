"""Write a small index of a linear, a kernel and a deep estimator, for later releases to read.

    python tests/data/write_models.py

Run once with the code of a release, which writes `tests/data/<version>/*.index` and the
embeddings and neighbours that these files must give for ever after, `expected.npz`.
"""

from pathlib import Path

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCA, CCCA, CDCCA, CKCCA, UGACH, CrossModalIndex, PerView, __version__
from cca_estimators.datasets import make_views


def estimators(X, y):
    """Return an estimator of each kind, not fitted but for the one that keeps its moments."""
    return {
        "moments": CCCA(reg=0.1).partial_fit(X[:30], y[:30]).partial_fit(X[30:], y[30:]),
        "linear": make_pipeline(PerView(StandardScaler()), CCA(n_components=3)),
        "kernel": CKCCA(n_landmarks=20, random_state=0),
        "deep": CDCCA(4, hidden_layer_sizes=(6,), max_epochs=2, random_state=0, device="cpu"),
        "codes": UGACH(
            8, hidden_layer_sizes=(6,), max_epochs=2, n_pretrain=1, random_state=0, device="cpu"
        ),
    }


def main():
    """Write the files."""
    folder = Path(__file__).parent / __version__
    folder.mkdir(exist_ok=True)
    X, y = make_views(60, 3, (5, 6), shared_rank=3, random_state=0)
    expected = {"audio": X["audio"], "visual": X["visual"], "labels": y}
    for kind, estimator in estimators(X, y).items():
        index = CrossModalIndex(estimator, n_neighbors=3).fit(X, y)
        index.save(folder / f"{kind}.index")
        for name in X:
            queries = {name: X[name]}
            expected[f"{kind}_{name}"] = np.asarray(index.estimator_.transform(queries)[name])
            expected[f"{kind}_{name}_distances"] = index.kneighbors(queries)[0]
    np.savez_compressed(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main()
