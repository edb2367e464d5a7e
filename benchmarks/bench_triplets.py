"""Loss and gradient of all cross-modal triplets of a batch, against a peer and the explicit cube.

The peer is pytorch-metric-learning. All candidates form the same triplets, a row's partner among
the positives, and the hinge of squared Euclidean distances; the results must agree.
"""

import torch
from _common import Row, Table, compare, exponent, measure, threads, write
from torch.nn import functional as F

from cca_estimators.deep.losses import triplet_loss

PEERS = ("pytorch-metric-learning",)
N_ROWS, SIZES = 512, (256, 512, 1_024, 2_048, 4_096)
MINING = ("batch_all", "batch_hard", "semi_hard", "random")
MARGIN = 0.5


def make_batch(n, n_classes, n_outputs=128):
    """Return outputs of two towers on the unit sphere, and labels of classes of equal size."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % n_classes
    centres = 0.5 * torch.randn(n_classes, n_outputs, generator=generator)
    noise = torch.randn(2, n, n_outputs, generator=generator)
    return (*(F.normalize(centres[labels] + part).requires_grad_() for part in noise), labels)


def differentiated(loss, x, y, labels):
    """Return a call which computes the loss of a batch and both gradients."""

    def call():
        value = loss(x, y, labels)
        torch.autograd.grad(value, (x, y))
        return value.item()

    return call


def squared_distances(x, y, labels):
    """Return the mean distance, by one matrix product: what any loss of triplets has to do."""
    return (x.square().sum(1, keepdim=True) + y.square().sum(1) - 2 * x @ y.T).mean()


def ours(x, y, labels, mining="batch_all"):
    return triplet_loss(x, y, labels, MARGIN, mining, "sqeuclidean", symmetric=False)


def cube(x, y, labels):
    distances = torch.cdist(x, y).square()
    same = labels[:, None] == labels
    hinges = F.relu(distances[:, :, None] - distances[:, None, :] + MARGIN)
    return hinges[same[:, :, None] & ~same[:, None, :]].mean()


def pytorch_metric_learning(x, y, labels):
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.reducers import MeanReducer

    distance = LpDistance(normalize_embeddings=False, p=2, power=2)
    loss = TripletMarginLoss(MARGIN, distance=distance, reducer=MeanReducer())
    return loss(x, labels, ref_emb=y, ref_labels=labels.clone())


def against_peers(n, n_classes, n_threads):
    batch = make_batch(n, n_classes)
    candidates = {
        "one matrix product and its gradient": squared_distances,
        "ours": ours,
        "pytorch-metric-learning": pytorch_metric_learning,
        "explicit cube": cube,
    }
    calls = {name: differentiated(loss, *batch) for name, loss in candidates.items()}
    title = f"All triplets of {n} rows, {n_classes} classes, 128 outputs, float32"
    table = compare(title, calls, peers=PEERS, patience=15, n_threads=n_threads)
    seconds = {row.name: row.seconds for row in table.rows}
    if seconds["pytorch-metric-learning"]:
        times = seconds["pytorch-metric-learning"] / seconds["ours"]
        table.facts["ours is faster than pytorch-metric-learning by a factor of"] = round(times)
    return table


def mining(n=256, n_classes=10):
    batch = make_batch(n, n_classes)
    calls = {
        name: differentiated(lambda *batch, name=name: ours(*batch, name), *batch)
        for name in MINING
    }
    return compare(f"Kinds of mining, {n} rows, {n_classes} classes", calls, repeats=20)


def growth(sizes, n_classes=10):
    """Measure all triplets of growing batches."""
    rows = []
    with threads(1):
        for n in sizes:
            call = differentiated(ours, *make_batch(n, n_classes))
            call()
            rows.append(Row(f"{n} rows", *measure(call), repeats=1, result=call()))
    power = exponent(sizes, [row.seconds for row in rows])
    facts = {"seconds grow with the rows to the power": round(power, 2)}
    return Table(f"All triplets, {n_classes} classes", rows, n_threads=1, facts=facts)


def tables():
    compared = [
        against_peers(N_ROWS, n_classes, n_threads)
        for n_classes in (10, 100)
        for n_threads in (1, None)
    ]
    return [*compared, mining(), growth(SIZES)]


if __name__ == "__main__":
    write("triplets", tables())
