"""Losses of the outputs of two towers: correlation of pairs and of classes, and triplets.

All are plain functions of tensors. Covariances are formed and factorised in float64.
"""

import torch
from torch.nn import functional as F

_TINY = 1e-12


def correlation_loss(x, y, ridge=1e-3):
    """Return minus the sum of the canonical correlations of a batch, the objective of DCCA.

    ``-||L_x^-1 C_xy L_y^-T||_*`` with the Cholesky factors of ``C_xx + r I`` and ``C_yy + r I``
    and the nuclear norm ``||.||_*``.

    Parameters
    ----------
    x, y : Tensor, shapes (n, n_outputs_x), (n, n_outputs_y)
        Outputs for aligned rows.
    ridge : float, default=1e-3
        Ridge relative to the mean variance of the outputs of a view.

    Returns
    -------
    Tensor, shape ()
        Between minus the smaller number of outputs and 0.

    References
    ----------
    .. [1] G. Andrew, R. Arora, J. Bilmes, K. Livescu, "Deep canonical correlation analysis",
       ICML, PMLR 28(3), 1247-1255, 2013.
    """
    x, y = x.double(), y.double()
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    return _minus_correlations(x.T @ x / len(x), y.T @ y / len(y), x.T @ y / len(x), ridge)


def category_correlation_loss(x, y, labels, pair_weight=0.2, ridge=1e-3):
    """Return minus the sum of the correlations of a batch over pairs of the same class.

    As `correlation_loss`, with the moments of cluster CCA: rows weigh by the number of pairs they
    form, ``a_j = n_c(j) / sum_c n_c^2``, and the cross moment is ``b * pairs + (1 - b) * classes``,
    `pairs` over the true pairs and `classes` over all pairs of the same class. Singular values
    therefore never exceed 1.

    Parameters
    ----------
    x, y : Tensor, shapes (n, n_outputs_x), (n, n_outputs_y)
        Outputs for aligned rows.
    labels : Tensor of int, shape (n,)
    pair_weight : float, default=0.2
        Share `b` of the true pairs.
    ridge : float, default=1e-3
        Ridge relative to the mean variance of the outputs of a view.

    Returns
    -------
    Tensor, shape ()

    References
    ----------
    .. [1] Y. Yu, S. Tang, K. Aizawa, A. Aizawa, "Category-based deep CCA for fine-grained venue
       discovery from multimodal data", IEEE TNNLS 30(4), 1250-1258, 2019.
    """
    _, codes, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    weights = (counts / (counts**2).sum().double())[codes][:, None]
    x, y = (view.double() for view in (x, y))
    x, y = (view - (weights * view).sum(dim=0) for view in (x, y))
    members = F.one_hot(codes).double().T
    class_weights = (counts / (counts**2).sum().double())[:, None] / counts[:, None]
    of_classes = (class_weights * (members @ x)).T @ (members @ y)
    of_pairs = (weights * x).T @ y
    cross = pair_weight * of_pairs + (1 - pair_weight) * of_classes
    return _minus_correlations((weights * x).T @ x, (weights * y).T @ y, cross, ridge)


def _minus_correlations(xx, yy, xy, ridge):
    whitened = torch.linalg.solve_triangular(_factor(xx, ridge), xy, upper=False)
    whitened = torch.linalg.solve_triangular(_factor(yy, ridge), whitened.T, upper=False)
    return -torch.linalg.svdvals(whitened).sum()


def _factor(covariance, ridge):
    scale = covariance.diagonal().mean()
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return torch.linalg.cholesky(covariance + (ridge * scale + _TINY) * identity)


def triplet_loss(
    x,
    y,
    labels,
    margin=0.2,
    mining="batch_all",
    distance="cosine",
    symmetric=True,
    include_pair=True,
):
    """Return the mean hinge of cross-modal triplets of a batch.

    ``[d(a, p) - d(a, n) + margin]_+`` for an anchor `a` in one view, a positive `p` of its class
    and a negative `n` of another class in the other view.

    Parameters
    ----------
    x, y : Tensor, shape (n, n_outputs)
        Outputs for aligned rows; anchors are in `x`.
    labels : Tensor of int, shape (n,)
    margin : float, default=0.2
    mining : {"batch_all", "batch_hard", "semi_hard", "random"}, default="batch_all"
        Triplets of the mean: all; for each anchor the farthest positive with the nearest negative;
        for each anchor and positive the nearest negative beyond it (the farthest of all where none
        is beyond), or a random one.
    distance : {"cosine", "sqeuclidean"}, default="cosine"
        One minus the cosine, or the squared Euclidean distance.
    symmetric : bool, default=True
        Take anchors in `y` as well, and average both.
    include_pair : bool, default=True
        Whether the partner of an anchor is one of its positives.

    Returns
    -------
    Tensor, shape ()
        0 where a batch holds no triplet.
    """
    distances = _DISTANCES[distance](x, y)
    same = labels[:, None] == labels
    positive = same if include_pair else same & ~torch.eye(len(same), dtype=bool, device=x.device)
    mine = _MINERS[mining]
    loss = mine(distances, positive, ~same, margin)
    if symmetric:
        loss = (loss + mine(distances.T.contiguous(), positive, ~same, margin)) / 2
    return loss


def _cosine_distances(x, y):
    return 1 - F.normalize(x) @ F.normalize(y).T


def _squared_distances(x, y):
    squares = (x**2).sum(dim=1, keepdim=True) + (y**2).sum(dim=1) - 2 * x @ y.T
    return squares.clamp_min(0)


def _batch_all(distances, positive, negative, margin):
    """Average over all triplets in O(n^2 log n) time and O(n^2) memory.

    The sum of the hinges is linear in the distances between changes of the active set: a distance
    to a positive counts once for each negative nearer than it plus the margin, one to a negative
    minus once for each positive it is too near for. Binary search in sorted rows counts them.
    """
    n_triplets = (positive.sum(dim=1) * negative.sum(dim=1)).sum()
    with torch.no_grad():
        reach = distances + margin
        nearer = torch.searchsorted(_sorted_where(distances, negative), reach)
        passed = torch.searchsorted(_sorted_where(reach, positive), distances, right=True)
        too_near = positive.sum(dim=1, keepdim=True) - passed
        counts = (positive * nearer - negative * too_near).double()
    total = (counts * distances.double()).sum() + margin * (counts * positive).sum()
    return (total / n_triplets.clamp_min(1)).to(distances.dtype)


def _batch_hard(distances, positive, negative, margin):
    farthest = distances.masked_fill(~positive, -torch.inf).amax(dim=1)
    nearest = distances.masked_fill(~negative, torch.inf).amin(dim=1)
    valid = positive.any(dim=1) & negative.any(dim=1)
    return _mean(F.relu(farthest - nearest + margin)[valid], distances)


def _semi_hard(distances, positive, negative, margin):
    with torch.no_grad():
        ordered = _sorted_where(distances, negative)
        place = torch.searchsorted(ordered, distances, right=True)
        last = (negative.sum(dim=1, keepdim=True) - 1).clamp_min(0)
        order = distances.masked_fill(~negative, torch.inf).argsort(dim=1)
        chosen = order.gather(1, torch.minimum(place, last))
    return _mean_over_pairs(distances, chosen, positive, negative, margin)


def _random(distances, positive, negative, margin):
    n_negatives = negative.sum(dim=1, keepdim=True)
    order = (~negative).to(torch.uint8).argsort(dim=1, stable=True)
    draws = torch.rand(distances.shape, device=distances.device)
    place = torch.minimum((draws * n_negatives).long(), (n_negatives - 1).clamp_min(0))
    return _mean_over_pairs(distances, order.gather(1, place), positive, negative, margin)


def _mean_over_pairs(distances, chosen, positive, negative, margin):
    hinges = F.relu(distances - distances.gather(1, chosen) + margin)
    return _mean(hinges[positive & negative.any(dim=1, keepdim=True)], distances)


def _mean(hinges, distances):
    return hinges.mean() if len(hinges) else 0.0 * distances.sum()


def _sorted_where(values, chosen):
    """Return each row's chosen values in ascending order, followed by infinity."""
    values = values.masked_fill(~chosen, torch.inf)
    if values.device.type == "cpu":  # NumPy's sort is several times faster than PyTorch's
        array = values.numpy(force=True)
        array.sort(axis=1)
        return torch.from_numpy(array)
    return values.sort(dim=1).values


_DISTANCES = {"cosine": _cosine_distances, "sqeuclidean": _squared_distances}
_MINERS = {
    "batch_all": _batch_all,
    "batch_hard": _batch_hard,
    "semi_hard": _semi_hard,
    "random": _random,
}
