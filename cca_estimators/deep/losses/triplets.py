"""Hinges of the cross-modal triplets of a batch, a plain function of tensors.

A sum of hinges is linear in the distances while the same hinges are above 0. Each way of mining
therefore says how often each distance counts, and loss and gradient follow by one sum. Off the CPU
all shapes are those of the batch, whatever its labels, so that nothing waits for the device.
"""

from functools import cached_property

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from cca_estimators.deep.losses.labels import sharing

PADDED_ON = {"cpu"}  # where it costs nothing to ask how large the largest class is


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
    considered, those whose hinge is 0 included. Of rows with several labels, those that share one
    are positives, and those that share none negatives. All triplets of `n` rows cost O(n^2 log n)
    time and O(n^2) memory.

    Parameters
    ----------
    x, y : Tensor, shape (n, n_outputs)
        Outputs for aligned rows; anchors are in `x`.
    labels : Tensor of int, shape (n,), or of bool, shape (n, n_classes)
        Class of each row, or an indicator of several labels.
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
    candidates = _Candidates(labels, include_pair)
    mine = _MINERS[mining]
    loss = _MeanHinge.apply(distances, candidates, margin, mine, generator)
    if symmetric:
        other = distances.T.contiguous()
        loss = (loss + _MeanHinge.apply(other, candidates, margin, mine, generator)) / 2
    return loss


def _cosine_distances(x, y):
    return 1 - F.normalize(x) @ F.normalize(y).T


def _squared_distances(x, y):
    origin = y.detach().mean(dim=0)  # near the outputs, so that the squares do not cancel
    x, y = x - origin, y - origin
    squares = x.square().sum(dim=1, keepdim=True) + y.square().sum(dim=1) - 2 * x @ y.T
    return squares.clamp_min(0)


class _Candidates:
    """Masks (n, n) of the positives and the negatives of each row's anchor."""

    def __init__(self, labels, include_pair):
        self.positive = sharing(labels)
        self.negative = ~self.positive
        if not include_pair:
            self.positive.fill_diagonal_(False)
        has_both = self.positive.any(dim=1, keepdim=True) & self.negative.any(dim=1, keepdim=True)
        self.considered = self.positive & has_both

    @cached_property
    def columns(self):
        """The columns that hold positives, and which do: all, or on the CPU those few alone."""
        mask = self.considered
        if mask.device.type not in PADDED_ON:
            return torch.arange(len(mask), device=mask.device).expand_as(mask), mask
        rows, found = mask.nonzero(as_tuple=True)
        counts = mask.sum(dim=1)
        places = torch.arange(len(found)) - (counts.cumsum(0) - counts)[rows]
        columns = torch.zeros(len(mask), counts.max(), dtype=torch.int64)
        columns[rows, places] = found
        return columns, torch.arange(columns.shape[1]) < counts[:, None]


class _MeanHinge(torch.autograd.Function):
    """Mean hinge of the triplets that a way of mining considers.

    It returns the sum of the hinges, how often each distance counts in it, a negative number for
    one to a negative, and the number of the triplets.
    """

    @staticmethod
    def forward(ctx, distances, candidates, margin, mine, generator):
        total, counts, n_triplets = mine(distances, candidates, margin, generator)
        n_triplets = n_triplets.clamp_min(1)
        ctx.save_for_backward(counts, n_triplets)
        nan_if_any_is = 0.0 * distances.sum()
        return (total / n_triplets).to(distances.dtype) + nan_if_any_is

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        counts, n_triplets = ctx.saved_tensors
        return gradient / n_triplets * counts, None, None, None, None


def _batch_all(distances, candidates, margin, generator):
    """Count all triplets.

    In the order of the distances, with the margin added to those to positives, a positive counts
    once for each negative before it, and a negative minus once for each positive after it.
    """
    positive, negative = candidates.positive, candidates.negative
    margins = margin * positive.to(distances.dtype)
    keys = distances + margins
    order = _order(keys.masked_fill(~(positive | negative), torch.inf))
    is_negative = negative.gather(1, order)
    before = is_negative.cumsum(dim=1, dtype=torch.int32)
    places = torch.arange(1, len(order) + 1, dtype=torch.int32, device=order.device)
    n_positives = positive.sum(dim=1, keepdim=True, dtype=torch.int32)
    minus_after = places - before - n_positives
    counts = torch.where(is_negative, minus_after, before)
    counts = torch.empty_like(counts).scatter_(1, order, counts) * (positive | negative)
    n_triplets = (n_positives * negative.sum(dim=1, keepdim=True)).sum()
    return _exact_sum(counts * keys), counts, n_triplets


def _batch_hard(distances, candidates, margin, generator):
    """Count the farthest positive of each anchor, and its nearest negative."""
    farthest = distances.masked_fill(~candidates.positive, -torch.inf).argmax(dim=1, keepdim=True)
    nearest = distances.masked_fill(~candidates.negative, torch.inf).argmin(dim=1, keepdim=True)
    considered = candidates.considered.any(dim=1, keepdim=True)
    return _counted(distances, farthest, nearest, considered, margin)


def _semi_hard(distances, candidates, margin, generator):
    """Count each positive with the nearest negative beyond it, or the farthest of all."""
    columns, considered = candidates.columns
    to_negatives = distances.masked_fill(~candidates.negative, torch.inf)
    order = _order(to_negatives)
    place = torch.searchsorted(
        to_negatives.gather(1, order), distances.gather(1, columns), right=True
    )
    last = (candidates.negative.sum(dim=1, keepdim=True) - 1).clamp_min(0)
    chosen = order.gather(1, torch.minimum(place, last))
    return _counted(distances, columns, chosen, considered, margin)


def _random(distances, candidates, margin, generator):
    """Count each positive with a negative drawn evenly."""
    columns, considered = candidates.columns
    numbers = candidates.negative.cumsum(dim=1, dtype=torch.int32)
    draws = torch.rand(columns.shape, device=distances.device, generator=generator)
    ordinals = (draws * numbers[:, -1:]).int()
    chosen = torch.searchsorted(numbers, ordinals, right=True).clamp_max(len(numbers) - 1)
    return _counted(distances, columns, chosen, considered, margin)


def _counted(distances, positives, negatives, considered, margin):
    """Return what `_MeanHinge` needs, of the triplets of two columns each (n, m)."""
    hinges = distances.gather(1, positives) - distances.gather(1, negatives) + margin
    active = ((hinges > 0) & considered).int()
    counts = torch.zeros(distances.shape, dtype=torch.int32, device=distances.device)
    counts.scatter_add_(1, positives, active).scatter_add_(1, negatives, -active)
    return _exact_sum(hinges * active), counts, considered.sum()


def _exact_sum(values):
    return values.sum(dtype=torch.float32 if values.device.type == "mps" else torch.float64)


def _order(values):
    """Return the columns of each row in ascending order of their values."""
    if values.device.type != "cpu":
        return values.argsort(dim=1)
    return torch.from_numpy(values.numpy().argsort(axis=1))  # several times faster


_DISTANCES = {"cosine": _cosine_distances, "sqeuclidean": _squared_distances}
_MINERS = {
    "batch_all": _batch_all,
    "batch_hard": _batch_hard,
    "semi_hard": _semi_hard,
    "random": _random,
}
