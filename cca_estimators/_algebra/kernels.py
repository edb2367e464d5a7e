"""Kernel matrices of one view: evaluation, centring, features by landmarks."""

from numbers import Real

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances, pairwise_kernels

from cca_estimators import _ranks
from cca_estimators._algebra.moments import constant_error, overflow_error, varying
from cca_estimators._algebra.namespace import (
    cast,
    copied,
    eigh,
    eps_of,
    float64,
    is_single,
    like,
    mean64,
    namespace,
    take,
)
from cca_estimators._reading import check_finite
from cca_estimators._reading.arrays import is_of_library, to_host

_MEDIAN_ROWS = 1000
_RANK_CUT = 1e-11
_IN_PLACE = ("linear", "poly", "polynomial", "sigmoid", "cosine")  # of scikit-learn, beside "rbf"
_SINGLE_RANGE = 1e-12, 1e15  # of the largest value of a view whose squares float32 holds
_DOUBLE_RANGE = 1e-130, 1e145


def as_rows(rows, name, keep_steps):
    """Return the rows of a view in memory, finite, flattened unless `keep_steps`."""
    rows = rows if is_of_library(rows) else np.asarray(rows[:])
    xp, n_rows = namespace(rows), rows.shape[0]
    rows = rows if is_single(rows) else float64(rows)
    flat = xp.reshape(rows, (n_rows, -1))
    if not (is_of_library(rows) and xp.all(xp.isfinite(flat))):
        check_finite(to_host(flat), name)
    least, most = _SINGLE_RANGE
    if is_single(rows) and not least < float(xp.max(xp.abs(rows))) < most:
        rows = float64(rows)
    return rows if keep_steps else xp.reshape(rows, (n_rows, -1))


def check_range(rows, name):
    """Raise ValueError if products of values overflow or underflow, or if no feature varies."""
    xp = namespace(rows)
    magnitudes = to_host(float64(xp.max(xp.abs(rows), axis=0)))
    least, most = _DOUBLE_RANGE
    if 0 < magnitudes.max() < least or magnitudes.max() > most:
        raise overflow_error(name, magnitudes.argmax())
    if not xp.any(varying(_deviations(rows), mean64(rows), eps_of(rows))):
        raise constant_error(name)


def _deviations(rows):
    if is_of_library(rows):
        return namespace(rows).std(float64(rows), axis=0)
    return rows.std(axis=0, dtype=np.float64)


def resolved_gamma(gamma, rows):
    """Return the number that a setting of gamma stands for, from the training rows."""
    if gamma is None or isinstance(gamma, Real):
        return gamma
    if gamma in ("scale", "auto"):  # which is a multiple of it, chosen later
        return 1.0 / max(rows.shape[1] * _variance(rows), np.finfo(float).tiny)
    _, total = _ranks.current().place(rows.shape[0])
    numbers = np.arange(0, total, -(-total // _MEDIAN_ROWS))
    here = is_of_library(rows)
    chosen = to_host(take(rows, numbers)) if here else _ranks.current().picked(rows, numbers)
    chosen = chosen - chosen.mean(axis=0)
    squares = euclidean_distances(chosen, squared=True)[np.triu_indices(len(chosen), 1)]
    return 1.0 / max(np.median(squares), np.finfo(float).tiny)


def _variance(rows):
    """Return the variance of all values of all ranks."""
    ranks = _ranks.current()
    if is_of_library(rows):
        return float(namespace(rows).var(float64(rows)))
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
        return mean64(rows)
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
            self.origin = cast(_mean(rows), rows.dtype)

    @property
    def is_precomputed(self):
        """Whether rows are those of a kernel matrix."""
        return self.kernel == "precomputed"

    def kept(self, rows):
        """Return the training rows, if new rows are to be compared with them, or None.

        A copy: a product of an array with itself is rounded differently than one of equal arrays.
        """
        return None if self.is_precomputed else copied(rows)

    def __call__(self, x, y):
        """Return the kernel matrix in a new array, shape (len(x), len(y))."""
        if self.is_precomputed:
            return copied(float64(x)) if is_of_library(x) else np.array(x, dtype=np.float64)
        if callable(self.kernel):
            matrix = self.kernel(x, y, **self.kernel_params)
            return float64(matrix) if is_of_library(matrix) else np.array(matrix, dtype=np.float64)
        params = {**self.params, **self.kernel_params}
        if self.kernel == "rbf":
            x, y = x - self.origin, y - self.origin
            if is_of_library(x):
                return _rbf(float64(x), float64(y), params["gamma"])
        if is_of_library(x):  # which takes no numbers of NumPy
            params = {n: v.item() if isinstance(v, np.floating) else v for n, v in params.items()}
        rows = (x, y) if is_of_library(x) and self.kernel in _IN_PLACE else map(to_host, (x, y))
        matrix = pairwise_kernels(*rows, metric=self.kernel, filter_params=True, **params)
        if is_of_library(matrix):
            return float64(matrix)
        return like(np.asarray(matrix, dtype=np.float64), x)


def _rbf(x, y, gamma):
    """Return the kernel of rows near the origin, in a matrix and one of its size for a moment."""
    xp = namespace(x)
    gamma = 1.0 / x.shape[1] if gamma is None else gamma
    matrix = x @ y.T
    matrix *= -2.0
    matrix += xp.sum(x * x, axis=1)[:, None]
    matrix += xp.sum(y * y, axis=1)[None, :]
    matrix = xp.clip(matrix, 0.0, None)
    matrix *= -float(gamma)
    return xp.exp(matrix)


class Centring:
    """Centring of a kernel matrix at the weighted mean of the training rows in feature space.

    Parameters
    ----------
    kernel : ndarray, shape (n, n)
    weights : ndarray, shape (n,)
        Weights of the training rows, which sum to 1.
    """

    def __init__(self, kernel, weights):
        self.weights = like(weights, kernel)
        self.means = self.weights @ kernel

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
        sums = namespace(dual).sum(dual, axis=0)
        coefficients = dual - self.weights[:, None] * sums[None, :]
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
        matrix = evaluate(landmarks, landmarks)
        values, vectors = eigh(matrix) if is_of_library(matrix) else np.linalg.eigh(matrix)
        kept = np.flatnonzero(to_host(values > _RANK_CUT * values[-1]))
        values, vectors = take(values, kept), take(vectors, kept, axis=1)
        self.normalisation = vectors / namespace(values).sqrt(values)

    def transform(self, rows):
        """Return the features, shape (n, rank)."""
        return self.evaluate(rows, self.landmarks) @ self.normalisation
