"""Hinges of the cross-modal triplets of a batch, a plain function of tensors."""

import torch
from torch.nn import functional as F


def triplet_loss(
    x,
    y,
    labels,
    margin=0.2,
    mining="batch_all",
    distance="cosine",
    symmetric=True,
    include_pair=True,
    generator=None,
):
    """Return the mean hinge of cross-modal triplets of a batch.

    ``[d(a, p) - d(a, n) + margin]_+`` for an anchor `a` in one view, a positive `p` of its class
    and a negative `n` of another class in the other view [1]_. The mean is over all triplets
    considered, those whose hinge is 0 included. All triplets of `n` rows cost O(n^2 log n) time and
    O(n^2) memory.

    Parameters
    ----------
    x, y : Tensor, shape (n, n_outputs)
        Outputs for aligned rows; anchors are in `x`.
    labels : Tensor of int, shape (n,)
        Class of each row.
    margin : float, default=0.2
        At least 0.
    mining : {"batch_all", "batch_hard", "semi_hard", "random"}, default="batch_all"
        Triplets considered: all; for each anchor the farthest positive with the nearest negative;
        for each anchor and positive the nearest negative beyond it (the farthest of all where none
        is beyond), or a random one.
    distance : {"cosine", "sqeuclidean"}, default="cosine"
        One minus the cosine, or the squared Euclidean distance.
    symmetric : bool, default=True
        Take anchors in `y` as well, and average both.
    include_pair : bool, default=True
        Whether the partner of an anchor is one of its positives.
    generator : torch.Generator, default=None
        Source of the random triplets; None: PyTorch's own.

    Returns
    -------
    Tensor, shape ()
        0 where a batch holds no triplet.

    References
    ----------
    .. [1] D. Zeng, Y. Yu, K. Oyama, "Deep triplet neural networks with cluster-CCA for audio-visual
       cross-modal retrieval", ACM TOMM 16(3), 2020, arXiv:1908.03737.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> triplet_loss(x, x, torch.tensor([0, 1]), margin=1.5)
    tensor(0.5000)
    """
    distances = _DISTANCES[distance](x, y)
    columns, valid = _positives(labels, include_pair)
    triplets = columns, valid, labels[:, None] != labels
    mine = _MINERS[mining]
    loss = mine(distances, *triplets, margin, generator)
    if symmetric:
        loss = (loss + mine(distances.T.contiguous(), *triplets, margin, generator)) / 2
    return loss


def _cosine_distances(x, y):
    return 1 - F.normalize(x) @ F.normalize(y).T


def _squared_distances(x, y):
    origin = y.detach().mean(dim=0)  # near the outputs, so that the squares do not cancel
    x, y = x - origin, y - origin
    squares = x.square().sum(dim=1, keepdim=True) + y.square().sum(dim=1) - 2 * x @ y.T
    return squares.clamp_min(0)


def _positives(labels, include_pair):
    """Return the columns of each row's class, padded to one width, and which are positives."""
    _, codes, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    first = (counts.cumsum(0) - counts)[codes][:, None]
    places = torch.arange(counts.max(), device=labels.device)
    columns = codes.argsort()[(first + places).clamp_max(len(labels) - 1)]
    valid = places < counts[codes][:, None]
    if not include_pair:
        valid &= columns != torch.arange(len(labels), device=labels.device)[:, None]
    return columns, valid


def _batch_all(distances, columns, valid, negative, margin, generator):
    """Average over all triplets.

    The sum of the hinges is linear in the distances between changes of the active set: a distance
    to a positive counts once for each negative nearer than it plus the margin, found by binary
    search among the sorted negatives, and one to a negative minus once for each positive that
    reaches beyond it, found by adding up where the positives came to lie.
    """
    to_positives = distances.gather(1, columns)
    with torch.no_grad():
        ordered, order = _sorted_negatives(distances, negative)
        nearer = torch.searchsorted(ordered, to_positives + margin) * valid
        n_positives = valid.sum(dim=1, keepdim=True, dtype=torch.int32)
        reach = torch.zeros(len(order), len(order) + 1, dtype=torch.int32, device=order.device)
        reach.scatter_add_(1, nearer, valid.int())
        beyond = n_positives - reach[:, :-1].cumsum(dim=1, dtype=torch.int32)
        beyond = torch.empty_like(beyond).scatter_(1, order, beyond) * negative
        n_triplets = (n_positives * negative.sum(dim=1, keepdim=True)).sum()
    total = _exact_sum(nearer * (to_positives + margin)) - _exact_sum(beyond * distances)
    return (total / n_triplets.clamp_min(1)).to(distances.dtype)


def _batch_hard(distances, columns, valid, negative, margin, generator):
    farthest = distances.gather(1, columns).masked_fill(~valid, -torch.inf).amax(dim=1)
    nearest = distances.masked_fill(~negative, torch.inf).amin(dim=1)
    considered = valid.any(dim=1) & negative.any(dim=1)
    return _mean(F.relu(farthest - nearest + margin)[considered], distances)


def _semi_hard(distances, columns, valid, negative, margin, generator):
    to_positives = distances.gather(1, columns)
    ordered, order = _sorted_negatives(distances.detach(), negative)
    place = torch.searchsorted(ordered, to_positives.detach(), right=True)
    chosen = order.gather(1, torch.minimum(place, _last(negative)))
    hinges = F.relu(to_positives - distances.gather(1, chosen) + margin)
    return _mean(hinges[valid & negative.any(dim=1, keepdim=True)], distances)


def _random(distances, columns, valid, negative, margin, generator):
    order = (~negative).to(torch.uint8).argsort(dim=1, stable=True)
    draws = torch.rand(columns.shape, device=distances.device, generator=generator)
    place = (draws * negative.sum(dim=1, keepdim=True)).long()
    chosen = order.gather(1, torch.minimum(place, _last(negative)))
    hinges = F.relu(distances.gather(1, columns) - distances.gather(1, chosen) + margin)
    return _mean(hinges[valid & negative.any(dim=1, keepdim=True)], distances)


def _last(negative):
    """Return the place of each row's last negative, shape (n, 1); 0 where there is none."""
    return (negative.sum(dim=1, keepdim=True) - 1).clamp_min(0)


def _mean(hinges, distances):
    return hinges.mean() if len(hinges) else 0.0 * distances.sum()


def _exact_sum(values):
    return values.sum(dtype=torch.float32 if values.device.type == "mps" else torch.float64)


def _sorted_negatives(distances, negative):
    """Return each row's distances to negatives, ascending, then infinity; and their columns."""
    distances = distances.masked_fill(~negative, torch.inf)
    if distances.device.type != "cpu":
        return distances.sort(dim=1)
    order = torch.from_numpy(distances.numpy().argsort(axis=1))  # several times faster
    return distances.gather(1, order), order


_DISTANCES = {"cosine": _cosine_distances, "sqeuclidean": _squared_distances}
_MINERS = {
    "batch_all": _batch_all,
    "batch_hard": _batch_hard,
    "semi_hard": _semi_hard,
    "random": _random,
}
