"""Losses of canonical correlation: of the pairs of a batch, and of its classes.

Plain functions of tensors. Covariances are formed and factorised in float64.
"""

import torch
from torch.nn import functional as F

_NO_VARIANCE = torch.finfo(torch.float32).tiny


def correlation_loss(x, y, ridge=1e-3):
    """Return minus the sum of the canonical correlations of a batch, the objective of DCCA.

    ``-||L_x^-1 C_xy L_y^-T||_*`` with the covariances `C` of the batch (divided by `n`), the
    Cholesky factors of ``C_xx + r I`` and ``C_yy + r I``, and the nuclear norm ``||.||_*`` [1]_.
    The ridge `r` is relative to the mean variance of the outputs, so the loss does not depend on
    their scale; of outputs that are constant it is 1.

    Parameters
    ----------
    x, y : Tensor, shapes (n, n_outputs_x), (n, n_outputs_y)
        Outputs for aligned rows.
    ridge : float, default=1e-3
        Ridge relative to the mean variance of the outputs of a view; above 0 unless the
        covariances of every batch are regular.

    Returns
    -------
    Tensor, shape (), float64
        Between minus the smaller number of outputs and 0; NaN if an output is not finite.

    References
    ----------
    .. [1] G. Andrew, R. Arora, J. Bilmes, K. Livescu, "Deep canonical correlation analysis",
       ICML, PMLR 28(3), 1247-1255, 2013.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(correlation_loss(x, x @ torch.tensor([[1.0, 2.0], [0.0, 1.0]]), ridge=1e-9).item(), 6)
    -2.0
    """
    x, y = _float64(x), _float64(y)
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    return _minus_correlations(x.T @ x / len(x), y.T @ y / len(y), x.T @ y / len(x), ridge)


def category_correlation_loss(x, y, labels, pair_weight=0.2, ridge=1e-3):
    """Return minus the sum of the correlations of a batch over pairs of the same class.

    As `correlation_loss`, with the moments of cluster CCA [1]_: rows weigh by the number of pairs
    they form, ``a_j = n_c(j) / sum_c n_c^2``, and the cross moment is
    ``b * pairs + (1 - b) * classes``, `pairs` over the true pairs and `classes` over all pairs of
    the same class. Singular values therefore never exceed 1.

    Parameters
    ----------
    x, y : Tensor, shapes (n, n_outputs_x), (n, n_outputs_y)
        Outputs for aligned rows.
    labels : Tensor of int, shape (n,)
        Class of each row.
    pair_weight : float in [0, 1], default=0.2
        Share `b` of the true pairs.
    ridge : float, default=1e-3
        Ridge relative to the mean variance of the outputs of a view; above 0 unless the
        covariances of every batch are regular.

    Returns
    -------
    Tensor, shape (), float64
        Between minus the smaller number of outputs and 0; NaN if an output is not finite.

    References
    ----------
    .. [1] Y. Yu, S. Tang, K. Aizawa, A. Aizawa, "Category-based deep CCA for fine-grained venue
       discovery from multimodal data", IEEE TNNLS 30(4), 1250-1258, 2019.

    Examples
    --------
    Of the correlations of three classes one is certain and one is lost.

    >>> import torch
    >>> labels = torch.tensor([0, 0, 1, 1, 2, 2])
    >>> x = torch.eye(3)[labels, :2]
    >>> y = torch.eye(3)[labels, :1]
    >>> round(category_correlation_loss(x, y, labels, ridge=1e-9).item(), 6)
    -1.0
    """
    x, y = _float64(x), _float64(y)
    _, codes, counts = torch.unique(labels.to(x.device), return_inverse=True, return_counts=True)
    n_pairs = counts.square().sum()
    weights = (counts[codes] / n_pairs.double())[:, None]
    x, y = (view - (weights * view).sum(dim=0) for view in (x, y))
    members = F.one_hot(codes).double().T
    of_classes = (members @ x).T @ (members @ y) / n_pairs
    weighted = weights * x
    cross = pair_weight * (weighted.T @ y) + (1 - pair_weight) * of_classes
    return _minus_correlations(weighted.T @ x, (weights * y).T @ y, cross, ridge)


def _float64(x):
    """Return a tensor in float64, off Apple's GPUs, which have none."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def _minus_correlations(xx, yy, xy, ridge):
    if not (torch.isfinite(xx).all() and torch.isfinite(yy).all()):
        return torch.nan * xy.sum()
    whitened = torch.linalg.solve_triangular(_factor(xx, ridge), xy, upper=False)
    whitened = torch.linalg.solve_triangular(_factor(yy, ridge), whitened.T, upper=False)
    return -torch.linalg.svdvals(whitened).sum()


def _factor(covariance, ridge):
    variance = covariance.diagonal().mean()
    absolute = torch.where(variance > _NO_VARIANCE, ridge * variance, 1.0)
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return torch.linalg.cholesky(covariance + absolute * identity)
