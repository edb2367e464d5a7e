"""Kernel matrices of one view: evaluation, centring, features by landmarks."""

from numbers import Real

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances, pairwise_kernels

from cca_estimators import _ranks
from cca_estimators._algebra.moments import constant_error, overflow_error, varying
from cca_estimators._reading import check_finite

_MEDIAN_ROWS = 1000
_RANK_CUT = 1e-11
_SINGLE_RANGE = 1e-12, 1e15  # of the largest value of a view whose squares float32 holds
_DOUBLE_RANGE = 1e-130, 1e145


def as_rows(rows, name, keep_steps):
    """Return the rows of a view in memory, finite, flattened unless `keep_steps`."""
    rows = np.asarray(rows[:])
    rows = rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64)
    check_finite(rows.reshape(len(rows), -1), name)
    least, most = _SINGLE_RANGE
    if rows.dtype == np.float32 and not least < np.abs(rows).max() < most:
        rows = rows.astype(np.float64)
    return rows if keep_steps else rows.reshape(len(rows), -1)


def check_range(rows, name):
    """Raise ValueError if products of values overflow or underflow, or if no feature varies."""
    magnitudes = np.abs(rows).max(axis=0).astype(np.float64)
    least, most = _DOUBLE_RANGE
    if 0 < magnitudes.max() < least or magnitudes.max() > most:
        raise overflow_error(name, magnitudes.argmax())
    means = rows.mean(axis=0, dtype=np.float64)
    if not varying(rows.std(axis=0, dtype=np.float64), means, np.finfo(rows.dtype).eps).any():
        raise constant_error(name)


def resolved_gamma(gamma, rows):
    """Return the number that a setting of gamma stands for, from the training rows."""
    if gamma is None or isinstance(gamma, Real):
        return gamma
    if gamma in ("scale", "auto"):  # which is a multiple of it, chosen later
        return 1.0 / max(rows.shape[1] * _variance(rows), np.finfo(float).tiny)
    _, total = _ranks.current().place(len(rows))
    chosen = _ranks.current().picked(rows, np.arange(0, total, -(-total // _MEDIAN_ROWS)))
    chosen = chosen - chosen.mean(axis=0)
    squares = euclidean_distances(chosen, squared=True)[np.triu_indices(len(chosen), 1)]
    return 1.0 / max(np.median(squares), np.finfo(float).tiny)


def _variance(rows):
    """Return the variance of all values of all ranks."""
    ranks = _ranks.current()
    if ranks.size == 1:
        return rows.var(dtype=np.float64)
    _, n_rows = ranks.place(len(rows))
    mean = sum(ranks.gathered(rows.sum(dtype=np.float64))) / (n_rows * rows.shape[1])
    squares = np.square(rows - mean, dtype=np.float64).sum()
    return sum(ranks.gathered(squares)) / (n_rows * rows.shape[1])


def _mean(rows):
    """Return the mean row of all ranks."""
    ranks = _ranks.current()
    if ranks.size == 1:
        return rows.mean(axis=0, dtype=np.float64)
    sums = ranks.gathered((rows.sum(axis=0, dtype=np.float64), len(rows)))
    return sum(part for part, _ in sums) / sum(n_rows for _, n_rows in sums)


class Kernel:
    """Kernel of two sets of rows, in float64.

    Parameters
    ----------
    kernel : str or callable
        Name in scikit-learn's registry, a function of two arrays of rows, or "precomputed": the
        first set of rows then is the kernel matrix.
    params : dict
        Parameters of a named kernel; those that it does not have are ignored.
    kernel_params : dict or None
        Keyword arguments of a callable, or further ones of a named kernel.
    rows : ndarray, default=None
        The training rows. A kernel of distances is computed from rows less their mean: the
        distances are the same, and digits are not lost to an origin that is far away.
    """

    origin = 0  # not in older files

    def __init__(self, kernel, params, kernel_params, rows=None):
        self.kernel = kernel
        self.params = params
        self.kernel_params = kernel_params or {}
        if kernel == "rbf" and rows is not None:
            self.origin = _mean(rows).astype(rows.dtype)

    @property
    def is_precomputed(self):
        """Whether rows are those of a kernel matrix."""
        return self.kernel == "precomputed"

    def kept(self, rows):
        """Return the training rows, if new rows are to be compared with them, or None.

        A copy: a product of an array with itself is rounded differently than one of equal arrays.
        """
        return None if self.is_precomputed else rows.copy()

    def __call__(self, x, y):
        """Return the kernel matrix in a new array, shape (len(x), len(y))."""
        if self.is_precomputed:
            return np.array(x, dtype=np.float64)
        if callable(self.kernel):
            return np.array(self.kernel(x, y, **self.kernel_params), dtype=np.float64)
        params = {**self.params, **self.kernel_params}
        if self.kernel == "rbf":
            x, y = x - self.origin, y - self.origin
        matrix = pairwise_kernels(x, y, metric=self.kernel, filter_params=True, **params)
        return np.asarray(matrix, dtype=np.float64)


class Centring:
    """Centring of a kernel matrix at the weighted mean of the training rows in feature space.

    Parameters
    ----------
    kernel : ndarray, shape (n, n)
    weights : ndarray, shape (n,)
        Weights of the training rows, which sum to 1.
    """

    def __init__(self, kernel, weights):
        self.weights = weights
        self.means = weights @ kernel

    def train(self, kernel):
        """Centre the kernel matrix of the training rows, in place."""
        kernel -= self.means
        kernel -= self.means[:, None]
        kernel += self.weights @ self.means
        return kernel

    def folded(self, dual):
        """Return coefficients and offset that embed uncentred kernel rows.

        ``kernel @ coefficients - offset`` is the centred kernel times `dual`.
        """
        coefficients = dual - np.outer(self.weights, dual.sum(axis=0))
        return coefficients, self.means @ coefficients


class NystroemMap:
    """Features whose inner products are the kernel wherever it is with one of the landmarks.

    Parameters
    ----------
    evaluate : callable
        From two sets of rows to their kernel matrix.
    landmarks : ndarray, shape (n_landmarks, ...)
    """

    def __init__(self, evaluate, landmarks):
        self.evaluate = evaluate
        self.landmarks = landmarks
        values, vectors = np.linalg.eigh(evaluate(landmarks, landmarks))
        kept = values > _RANK_CUT * values[-1]
        self.normalisation = vectors[:, kept] / np.sqrt(values[kept])

    def transform(self, rows):
        """Return the features, shape (n, rank)."""
        return self.evaluate(rows, self.landmarks) @ self.normalisation
