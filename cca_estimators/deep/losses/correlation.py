"""Losses of canonical correlation: of the pairs of a batch, and of its classes.

Plain functions of tensors. Covariances are formed and factorised in float64: on the CPU by LAPACK,
elsewhere by products alone, which need no answer from the device before the next step is sent. In
a sharded fit each rank has rows of its own, and the sums are those over all of them.
"""

from functools import cache
from math import sqrt

import torch
from torch.autograd.function import once_differentiable

from cca_estimators import _ranks
from cca_estimators.deep.losses.labels import members_of

_NO_VARIANCE = torch.finfo(torch.float32).tiny
_LEAST_CORRELATION = 1e-6  # relative to the largest; below it the gradient is damped, off the CPU
_LEAST_RIDGE = 1e-14  # what float64 can tell from none


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
    _, n_rows = _ranks.current().place(len(x))
    x_sum, y_sum = _added_up(x.sum(dim=0), y.sum(dim=0))
    x, y = x - x_sum / n_rows, y - y_sum / n_rows
    products = _added_up(x.T @ x, y.T @ y, x.T @ y)
    return _minus_correlations(*(product / n_rows for product in products), ridge)


def category_correlation_loss(x, y, labels, pair_weight=0.2, ridge=1e-3, n_classes=None):
    """Return minus the sum of the correlations of a batch over pairs of the same class.

    As `correlation_loss`, with the moments of cluster CCA [1]_: rows weigh by the number of pairs
    they form, ``a_j = n_c(j) / sum_c n_c^2``, or, with several labels, by the labels that their
    pairs share, ``a_j = sum_c(j) n_c / sum_c n_c^2``; and the cross moment is
    ``b * pairs + (1 - b) * classes``, `pairs` over the true pairs and `classes` over all pairs of
    the same class, or by shared labels. Singular values therefore never exceed 1.

    Parameters
    ----------
    x, y : Tensor, shapes (n, n_outputs_x), (n, n_outputs_y)
        Outputs for aligned rows.
    labels : Tensor of int, shape (n,), or of bool, shape (n, n_classes)
        Class of each row, or an indicator of several labels.
    pair_weight : float in [0, 1], default=0.2
        Share `b` of the true pairs.
    ridge : float, default=1e-3
        Ridge relative to the mean variance of the outputs of a view; above 0 unless the
        covariances of every batch are regular.
    n_classes : int, default=None
        Number of classes, for labels from 0 to one less: nothing is then asked of the device. None:
        whatever labels the batch holds.

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
    members = _members(labels.to(x.device), n_classes)
    (counts,) = _added_up(members.sum(dim=0))
    n_pairs = counts.square().sum()
    weights = (members @ counts / n_pairs)[:, None]
    x_mean, y_mean = _added_up((weights * x).sum(dim=0), (weights * y).sum(dim=0))
    x, y = x - x_mean, y - y_mean
    weighted = weights * x
    xx, yy, pairs, x_sums, y_sums = _added_up(
        weighted.T @ x, (weights * y).T @ y, weighted.T @ y, members.T @ x, members.T @ y
    )
    cross = pair_weight * pairs + (1 - pair_weight) * (x_sums.T @ y_sums / n_pairs)
    return _minus_correlations(xx, yy, cross, ridge)


def _added_up(*parts):
    """Return the sums of some tensors over all ranks, by one collective."""
    ranks = _ranks.current()
    if ranks.size == 1:
        return parts
    joined = ranks.sum(torch.cat([part.flatten() for part in parts]))
    sums = joined.split([part.numel() for part in parts])
    return [total.view_as(part) for total, part in zip(sums, parts, strict=True)]


def _float64(x):
    """Return a tensor in float64, off Apple's GPUs, which have none."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def _minus_correlations(xx, yy, xy, ridge):
    return _MinusNuclearNorm.apply(_with_ridge(xx, ridge), _with_ridge(yy, ridge), xy, ridge)


def _members(labels, n_classes):
    """Return 1 at the labels of each row and 0 elsewhere, shape (n, n_classes)."""
    if labels.ndim == 1 and n_classes is None:
        _, labels = torch.unique(labels, return_inverse=True)
        n_classes = -1
    return members_of(labels, n_classes).double()


def _with_ridge(covariance, ridge):
    variance = covariance.diagonal().mean()
    absolute = torch.where(variance > _NO_VARIANCE, ridge * variance, 1.0)
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return covariance + absolute * identity


class _MinusNuclearNorm(torch.autograd.Function):
    """Minus the nuclear norm of ``K = W_x C W_y'``, for any `W` with ``W A W' = I``.

    With the polar factor `P` of `K` (``U V'`` of its SVD), the norm is ``<P, K>`` and its gradients
    are ``W_x' P W_y`` in `C` and ``-W_x' (P K') W_x / 2`` in `A_x`, alike in `A_y`.
    """

    @staticmethod
    def forward(ctx, xx, yy, xy, ridge):
        whiten, polar = LAPACK if xx.device.type == "cpu" else PRODUCTS
        from_x, from_y = whiten(xx, yy, ridge)
        whitened = from_x @ xy @ from_y.T
        factor = polar(whitened)
        ctx.save_for_backward(from_x, from_y, whitened, factor)
        return -(factor * whitened).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        from_x, from_y, whitened, factor = ctx.saved_tensors
        of_xx = from_x.T @ (factor @ whitened.T) @ from_x
        of_yy = from_y.T @ (factor.T @ whitened) @ from_y
        of_xy = from_x.T @ factor @ from_y
        return gradient / 2 * of_xx, gradient / 2 * of_yy, -gradient * of_xy, None


def _inverse_factors(xx, yy, ridge):
    """Return the inverse Cholesky factors of two covariances; NaN if one of them is not finite."""
    if not torch.isfinite(xx.sum() + yy.sum()):
        return torch.nan * xx, torch.nan * yy
    return [
        torch.linalg.solve_triangular(
            torch.linalg.cholesky(matrix),
            torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device),
            upper=False,
        )
        for matrix in (xx, yy)
    ]


def _polar_by_svd(matrix):
    if not torch.isfinite(matrix).all():
        return torch.nan * matrix
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    return u @ vt


def inverse_roots(xx, yy, ridge):
    """Return ``A^-1/2`` of two covariances with a ridge, by the coupled Newton-Schulz iteration.

    Parameters
    ----------
    xx, yy : Tensor, shapes (p, p), (q, q)
        Covariances to which `ridge` times their mean variance was added.
    ridge : float
        Bounds the condition of the covariances, and so the number of iterations.

    Returns
    -------
    tuple of Tensor, shapes of `xx`, `yy`
    """
    size = max(len(xx), len(yy))
    y = torch.stack([_filled_up(matrix, size) for matrix in (xx, yy)])
    norms = torch.linalg.matrix_norm(y, keepdim=True)
    identity = torch.eye(size, dtype=y.dtype, device=y.device).expand_as(y)
    y, z = y / norms, identity
    ridge = max(ridge, _LEAST_RIDGE)
    for scale in _scales(sqrt(ridge / (size * (1 + ridge)))):
        step = torch.baddbmm(identity, z, y, beta=1.5 * scale, alpha=-0.5 * scale**3)
        y, z = y @ step, step @ z
    z = z / norms.sqrt()
    return z[0, : len(xx), : len(xx)], z[1, : len(yy), : len(yy)]


def polar_factor(matrix):
    """Return ``U V'`` of the singular value decomposition by the Newton-Schulz iteration.

    On singular directions of less than a millionth of the largest it is less than ``U V'``, and 0
    on those of zero, where ``U V'`` is not unique.

    Parameters
    ----------
    matrix : Tensor, shape (p, q)

    Returns
    -------
    Tensor, shape (p, q)
    """
    x = matrix / torch.linalg.matrix_norm(matrix).clamp_min(torch.finfo(matrix.dtype).tiny)
    for scale in _scales(_LEAST_CORRELATION / sqrt(min(matrix.shape))):
        x = torch.addmm(x, x, x.T @ x, beta=1.5 * scale, alpha=-0.5 * scale**3)
    return x


@cache
def _scales(least):
    """Return the factors that bring numbers from `least` to 1 to one most quickly.

    One iteration makes ``(3 s x - (s x)^3) / 2`` of a number. The factor `s` which gives both ends
    of an interval the same value lifts the lower one most.
    """
    scales = []
    while least < 1 - 1e-8:
        scale = sqrt(3 / (1 + least + least**2))
        scales.append(scale)
        least = scale * least * (3 - (scale * least) ** 2) / 2
    return (*scales, 1.0)  # an error of e becomes one of 3 e^2 / 2


def _filled_up(covariance, size):
    """Return a covariance of `size` outputs, the further ones of mean variance on their own."""
    missing = size - len(covariance)
    if not missing:
        return covariance
    further = torch.eye(missing, dtype=covariance.dtype, device=covariance.device)
    return torch.block_diag(covariance, further * covariance.diagonal().mean())


LAPACK = _inverse_factors, _polar_by_svd
PRODUCTS = inverse_roots, polar_factor
