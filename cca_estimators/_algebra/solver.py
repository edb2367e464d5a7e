"""The one solver of the family: whiten both views, decompose what is between them, fix signs."""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from cca_estimators._algebra.moments import varying
from cca_estimators._algebra.namespace import (
    add_to_diagonal,
    cholesky,
    diagonal,
    eigh,
    like,
    namespace,
    solve_lower,
    spread,
    squared_norm,
    submatrix,
    svd,
    take,
    trace,
)
from cca_estimators._compat import warn_user
from cca_estimators._reading.arrays import is_of_library, to_host

_MAX_SHRINKAGE = 0.99
_WELL_CONDITIONED = 1e-8
_FEW = 8  # of which share of the pairs it is faster to look for alone
_LEAST = 1e-5  # of a value relative to the first


class Solution(NamedTuple):
    """Canonical directions and correlations.

    Attributes
    ----------
    weights : tuple of ndarray, shapes (n_features_x, n_components), (n_features_y, n_components)
    correlations : ndarray, shape (n_components,)
        In descending order.
    means : tuple of ndarray, shapes (n_features_x,), (n_features_y,)
    """

    weights: tuple
    correlations: np.ndarray
    means: tuple


def shrinkage_ridge(covariance, n_rows, n_features=None):
    """Return the ridge that the oracle approximating shrinkage adds, relative to the mean variance.

    The shrinkage `s` of Chen, Wiesel, Eldar and Hero (IEEE Transactions on Signal Processing
    58(10), 2010) replaces a covariance `C` by ``(1 - s) C + s m I``, with `m` its mean variance.
    Up to a scale this is ``C + s / (1 - s) m I``. As in scikit-learn's `OAS`, terms of the order
    2 / n_features are left out. The shrinkage is bounded by 0.99.

    Parameters
    ----------
    covariance : ndarray, shape (n_features, n_features)
    n_rows : float
        Number of rows, effective if they are weighted, that the covariance stems from.
    n_features : int, default=None
        Number of features where it is not the size of the covariance, which then holds all of
        their variance.

    Returns
    -------
    float
        Ridge relative to the mean variance, in [0, 99].
    """
    n_features = n_features or covariance.shape[0]
    covariance = covariance / (trace(covariance) or 1.0)  # whose squares could under- or overflow
    squares = squared_norm(covariance) / n_features**2
    squared_mean = (trace(covariance) / n_features) ** 2
    denominator = (n_rows + 1) * (squares - squared_mean / n_features)
    shrinkage = (squares + squared_mean) / denominator if denominator > 0 else 1.0
    shrinkage = min(shrinkage, _MAX_SHRINKAGE)
    return shrinkage / (1 - shrinkage)


def solve(moments, n_components=None, ridges=(0.0, 0.0), most=None):
    """Solve ``max tr(W' C_xy V)`` subject to ``W' (C_xx + r I) W = V' (C_yy + r I) V = I``.

    Directions in which a view does not vary are dropped. The sign of each pair of directions makes
    the largest weight of the first view positive.

    Parameters
    ----------
    moments : Moments
    n_components : int, default=None
        Number of pairs of directions; None: as many as there are.
    ridges : tuple of float, default=(0.0, 0.0)
        Ridge of each view relative to its mean variance.
    most : int, default=None
        Bound on the number of pairs beside the ranks of the views, such as that of the classes.

    Returns
    -------
    Solution

    Warns
    -----
    UserWarning
        If there are fewer than `n_components` pairs.
    """
    x, y = (
        Whitener(covariance, mean, ridge, moments.eps, n_features)
        for covariance, mean, ridge, n_features in zip(
            (moments.xx, moments.yy), moments.means, ridges, moments.n_features, strict=True
        )
    )
    cross = y.whiten(x.whiten(moments.xy).T).T
    n_components = bounded(n_components, min(*cross.shape, most or np.inf))
    left, correlations, right = leading_pairs(cross, n_components)
    weights = x.directions(left), y.directions(right)
    weights, means = zip(*map(_in_features, weights, moments.means, moments.spaces), strict=True)
    return Solution(with_fixed_signs(*weights), correlations, means)


def leading_pairs(matrix, n_pairs):
    """Return the leading singular vectors and values: left, values, right, each in columns.

    Few pairs of a large matrix are found in the span of eigenvectors of ``M' M``, whose error the
    projection squares; where values are so small that squaring loses them, by a decomposition of
    the whole.
    """
    if n_pairs < min(matrix.shape) / _FEW:
        if matrix.shape[0] < matrix.shape[1]:
            right, values, left = leading_pairs(matrix.T, n_pairs)
            return left, values, right
        _, span = eigh(matrix.T @ matrix, 2 * n_pairs + 1)
        left, values, right = svd(matrix @ span)
        if values[n_pairs - 1] > _LEAST * values[0]:
            return left[:, :n_pairs], values[:n_pairs], span @ right[:n_pairs, :].T
    left, values, right = svd(matrix)
    return left[:, :n_pairs], values[:n_pairs], right[:n_pairs, :].T


def _in_features(weights, mean, space):
    return (weights, mean) if space is None else space.in_features(weights, mean)


def with_fixed_signs(weights_x, weights_y):
    """Return pairs of columns of which the largest entry of the first is positive."""
    weights = to_host(weights_x)
    largest = np.abs(weights).argmax(axis=0)
    signs = np.where(weights[largest, np.arange(weights.shape[1])] < 0, -1.0, 1.0)
    signs = like(signs, weights_x)
    return weights_x * signs, weights_y * signs


class Whitener:
    """The map `K` with ``K' (C + r I) K = I``, without the directions that do not vary.

    The columns are scaled to unit variance before anything is factorised, so the units in which
    features come do not matter. A well conditioned matrix is factorised by Cholesky, any other by
    its eigenvalues.

    Parameters
    ----------
    covariance : ndarray, shape (n_features, n_features)
    mean : ndarray, shape (n_features,)
        Against it, a variance that is rounding error only is told.
    ridge : float
        Ridge relative to the mean variance.
    eps : float
        Relative spacing of the floating point numbers of the data.
    n_features : int
        Number of features that the variance is of, which may be more than those of coordinates.
    """

    def __init__(self, covariance, mean, ridge, eps, n_features):
        xp, variances = namespace(covariance), diagonal(covariance)
        absolute = float(ridge * xp.sum(variances) / n_features)
        self._n_columns = covariance.shape[0]
        self._varies = np.flatnonzero(to_host(varying(xp.sqrt(variances), mean, eps)))
        self._scales = xp.sqrt(take(variances, self._varies) + absolute)[:, None]
        correlation = submatrix(covariance, self._varies)
        add_to_diagonal(correlation, absolute)
        correlation /= self._scales
        correlation /= self._scales.T
        self._factor, self._root = _factorised(correlation, eps)

    def whiten(self, matrix):
        """Return ``K' A`` for `A` of shape (n_features, n)."""
        scaled = take(matrix, self._varies) / self._scales
        if self._factor is None:
            return self._root.T @ scaled
        return solve_lower(self._factor, scaled)

    def directions(self, matrix):
        """Return ``K A`` for `A` of shape (rank, n)."""
        if self._factor is None:
            directions = self._root @ matrix
        else:
            directions = solve_lower(self._factor, matrix, transposed=True)
        return spread(directions / self._scales, self._varies, self._n_columns)


def _factorised(correlation, eps):
    """Return the Cholesky factor of a well conditioned matrix, or else `K` with ``K' R K = I``."""
    if is_of_library(correlation):
        root = _inverse_factor(correlation)
        return None, _inverse_root(correlation, eps) if root is None else root
    factor = _cholesky(correlation)
    return factor, _inverse_root(correlation, eps) if factor is None else None


def _cholesky(correlation):
    """Return the lower factor of a well conditioned correlation matrix, or None."""
    factor, failed = linalg.lapack.dpotrf(correlation.T, lower=1, clean=0)
    if failed or not len(factor):
        return None
    norm = np.abs(correlation).sum(axis=0).max()
    reciprocal_condition, _ = linalg.lapack.dpocon(factor, norm, uplo="L")
    return factor if reciprocal_condition > _WELL_CONDITIONED else None


def _inverse_factor(correlation):
    """Return ``L^-T`` of a well conditioned matrix ``L L'``, or None, by products and one solve."""
    factor = cholesky(correlation) if correlation.shape[0] else None
    if factor is None:
        return None
    xp = namespace(factor)
    identity = xp.eye(factor.shape[0], dtype=factor.dtype, device=factor.device)
    inverse = solve_lower(factor, identity)
    norms = (xp.max(xp.sum(xp.abs(m), axis=0)) for m in (correlation, inverse.T @ inverse))
    return inverse.T if float(next(norms) * next(norms)) < 1 / _WELL_CONDITIONED else None


def _inverse_root(correlation, eps):
    """Return `K` with ``K' R K = I`` on the range of `R`."""
    eigenvalues, vectors = eigh(correlation)
    values = to_host(eigenvalues)
    keep = np.flatnonzero(values > len(values) * 10 * eps * values.max(initial=0.0))
    roots = namespace(eigenvalues).sqrt(take(eigenvalues, keep))
    return take(vectors, keep, axis=1) / roots


def bounded(n_components, rank):
    """Return the number of components to keep: at most `rank`, with a warning where it cuts."""
    if rank < 1:
        raise ValueError(
            "The data determine no pair of directions: no correlation between the views can be "
            "told from rounding. Check that rows of the views belong together, scale the features "
            "(PerView(StandardScaler())), or set a larger reg."
        )
    if n_components is not None and n_components > rank:
        warn_user(
            f"n_components={n_components} is above the {rank} pairs of directions that the data "
            f"determine; keeping {rank}. Set n_components to at most {rank}, or None.",
        )
    return int(min(n_components or np.inf, rank))
