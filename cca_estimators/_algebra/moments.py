"""Second moments of two views, gathered in row blocks: weighted, mergeable, without centred copies.

A block enters as it is when its columns lie near zero, and is centred on its own mean otherwise,
so that nothing cancels however far the data lie from the origin. Blocks and whole accumulators are
merged by the pairwise update of Chan, Golub and LeVeque (The American Statistician 37, 1983).
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import blas
from scipy.sparse import csr_array, diags_array, issparse

from cca_estimators._algebra.namespace import (
    cast,
    diagonal,
    eps_of,
    float64,
    is_single,
    like,
    namespace,
    row_sums,
    set_diagonal,
    trace,
)
from cca_estimators._reading.arrays import is_of_library

_LEAST_SQUARE = {  # below, squares have fewer digits; by whether numbers are float32
    single: float(np.finfo(kind).tiny) / float(np.finfo(kind).eps)
    for single, kind in ((True, np.float32), (False, np.float64))
}


_QUIET = np.errstate(over="ignore", invalid="ignore")  # infinities are told at the end


class Moments(NamedTuple):
    """Means and covariances of two views, ready for the solver.

    Attributes
    ----------
    means : tuple of ndarray, shapes (n_features_x,), (n_features_y,)
        Pair-weighted for clusters.
    xx, yy, xy : ndarray
        Covariances within the views and between them.
    n_rows : tuple of float
        Effective number of rows of each view, ``(sum w)^2 / sum w^2`` of the row weights.
    eps : float
        Relative spacing of the floating point numbers that the views were stored in.
    spaces : tuple of RowSpace or None, default=(None, None)
        Of a view with more features than rows, the space that the rows span: its covariances are
        then means and covariances are those of coordinates in it.
    """

    means: tuple
    xx: np.ndarray
    yy: np.ndarray
    xy: np.ndarray
    n_rows: tuple
    eps: float
    spaces: tuple = (None, None)

    @property
    def n_features(self):
        """Number of features of each view."""
        pairs = zip(self.means, self.spaces, strict=True)
        return tuple(space.n_features if space else mean.shape[0] for mean, space in pairs)


class Block(NamedTuple):
    """Rows of one view, scaled by the roots of their weights, and what centres them.

    The rows either are as they came, and `offset` is their mean, or are centred, and `offset` is 0:
    their scatter is ``rows.T @ rows - weight * outer(offset, offset)``. The exact mean is
    ``mean + rest``, for the rounding of a mean far from the origin may exceed the spread.
    """

    rows: np.ndarray
    weight: float
    mean: np.ndarray
    offset: np.ndarray
    rest: np.ndarray | float = 0.0


class Scatter:
    """Total weight, mean and centred scatter matrix of the rows of one view."""

    lost = False  # of which features squares have underflown in float64; not in older files
    rest = 0.0  # what the rounding of the mean has lost; not in older files

    def __init__(self):
        self.weight = 0.0
        self.squared_weight = 0.0
        self.mean = 0.0
        self.matrix = 0.0
        self.eps = float(np.finfo(np.float64).eps)
        self._far = False

    @_QUIET
    def update(self, rows, weights=None):
        """Add float rows, shape (n, n_features), and return them as a `Block`."""
        self.eps = max(self.eps, eps_of(rows))
        block, gram = self._squared(rows, weights)
        lost = _underflows(block.rows, gram)
        if is_single(rows) and (namespace(gram).any(lost) or not np.isfinite(trace(gram))):
            block, gram = self._squared(float64(rows), weights)
            lost = _underflows(block.rows, gram)
        self.lost = lost | self.lost
        _add_outer(gram, -block.weight, block.offset, block.offset)
        squared_weight = block.weight if weights is None else float(weights @ weights)
        self._add(block.weight, squared_weight, (block.mean, block.rest), gram)
        return block

    def _squared(self, rows, weights):
        """Return rows as a `Block`, and their inner products, which are not centred yet."""
        if not self._far:
            block = _as_they_are(rows, weights)
            gram = float64(block.rows.T @ block.rows)
            # centre before squaring where the squared mean exceeds the variance
            squares = 2 * block.weight * block.mean**2
            self._far = bool(namespace(gram).any(squares > diagonal(gram)))
        if self._far:
            block = _centred(rows, weights)
            gram = float64(block.rows.T @ block.rows)
        return block, gram

    def merge(self, other, scale=1.0):
        """Add another scatter with its weights multiplied by `scale`."""
        if not other.weight:
            return
        scale = float(scale)  # other libraries do not take numbers of NumPy
        self.eps = max(self.eps, other.eps)
        self.lost = self.lost | other.lost
        self._add(
            scale * other.weight,
            scale**2 * other.squared_weight,
            (other.mean, other.rest),
            scale * other.matrix,
        )

    def _add(self, weight, squared_weight, mean, matrix):
        total = self.weight + weight
        if self.weight:
            shift = _apart(mean, (self.mean, self.rest))
            _add_outer(matrix, self.weight * weight / total, shift, shift)
            matrix += self.matrix
            mean = _moved((self.mean, self.rest), shift * (weight / total))
        self.matrix = matrix
        self.mean, self.rest = mean
        self.weight = total
        self.squared_weight += squared_weight

    @property
    def n_rows(self):
        """Effective number of rows."""
        return self.weight**2 / self.squared_weight


class Cross:
    """Scatter between two views with aligned rows."""

    rests = 0.0, 0.0  # as `Scatter.rest`; not in older files

    def __init__(self):
        self.weight = 0.0
        self.means = 0.0, 0.0
        self.matrix = 0.0

    @_QUIET
    def update(self, x, y):
        """Add the aligned `Block` of each view."""
        matrix = float64(x.rows.T @ y.rows)
        _add_outer(matrix, -x.weight, x.offset, y.offset)
        self._add(x.weight, ((x.mean, x.rest), (y.mean, y.rest)), matrix)

    def merge(self, other, scale=1.0):
        """Add another cross scatter with its weights multiplied by `scale`."""
        if not other.weight:
            return
        scale = float(scale)
        means = zip(other.means, other.rests, strict=True)
        self._add(scale * other.weight, tuple(means), scale * other.matrix)

    def _add(self, weight, means, matrix):
        total = self.weight + weight
        if self.weight:
            before = tuple(zip(self.means, self.rests, strict=True))
            shifts = [_apart(new, old) for new, old in zip(means, before, strict=True)]
            _add_outer(matrix, self.weight * weight / total, *shifts)
            matrix += self.matrix
            moves = zip(before, shifts, strict=True)
            means = [_moved(old, shift * (weight / total)) for old, shift in moves]
        self.matrix = matrix
        self.means, self.rests = zip(*means, strict=True)
        self.weight = total


class PairedScatter:
    """Scatter of two views with aligned rows: within each and between them."""

    def __init__(self):
        self.x, self.y, self.cross = Scatter(), Scatter(), Cross()

    def update(self, x, y):
        """Add aligned float rows of both views."""
        self.cross.update(self.x.update(x), self.y.update(y))

    def merge(self, other, scale=1.0):
        """Add another paired scatter with its weights multiplied by `scale`."""
        self.x.merge(other.x, scale)
        self.y.merge(other.y, scale)
        self.cross.merge(other.cross, scale)


class ClassScatter:
    """Weighted scatter of the rows of one view, with the mean of each class.

    Parameters
    ----------
    row_weights : ndarray, shape (n_classes,)
        Weight of a row of each class, positive.
    """

    def __init__(self, row_weights):
        self.scatter = Scatter()
        self._row_weights = row_weights
        self._uniform = np.all(row_weights == row_weights[0])
        self._counts = np.zeros((len(row_weights), 1))
        self._sums = 0.0
        self._reference = None

    def update(self, rows, members):
        """Add rows of the classes `members`, and return them as a `Block`.

        Parameters
        ----------
        rows : ndarray, shape (n, n_features)
        members : ndarray of int, shape (n,), or sparse array, shape (n, n_classes)
            Class of each row, or an indicator where a row may have several; it then weighs as much
            as its classes together.
        """
        alike = self._uniform and not issparse(members)
        members = class_members(members, len(self._row_weights))
        weights = None if alike else members @ self._row_weights
        block = self.scatter.update(rows, None if alike else like(weights, rows))
        self._reference = block.mean if self._reference is None else self._reference
        counts = like(members.sum(axis=0)[:, None], rows)
        if weights is not None:
            members = diags_array(1 / np.sqrt(weights)) @ members  # rows were scaled by the root
        sums = _class_sums(members, block.rows)
        shift = block.mean - block.offset - self._reference + block.rest
        self._sums = sums + counts * shift + self._sums
        self._counts = counts + like(self._counts, counts)
        return block

    def merge(self, other):
        """Add another scatter of the same classes and weights."""
        if other._reference is None:
            return
        self._reference = other._reference if self._reference is None else self._reference
        self.scatter.merge(other.scatter)
        self._sums = self._sums + other._sums
        self._sums = self._sums + other._counts * (other._reference - self._reference)
        self._counts = self._counts + other._counts

    @property
    def class_means(self):
        """Means of the classes, shape (n_classes, n_features)."""
        return self._reference + self.relative_means

    @property
    def relative_means(self):
        """Means of the classes less a row near them, so that no digits go to the origin."""
        return self._sums / self._counts


class MergedClasses(NamedTuple):
    """What `ClassScatter` gathers, merged from a scatter of each class instead."""

    scatter: Scatter
    class_means: np.ndarray
    rests: np.ndarray

    @classmethod
    def merge(cls, scatters, row_weights):
        """Merge one `Scatter` per class with the weight of a row of each."""
        merged = Scatter()
        for scatter, weight in zip(scatters, row_weights, strict=True):
            merged.merge(scatter, weight)
        stack = namespace(scatters[0].mean).stack
        means = [scatter.mean for scatter in scatters]
        return cls(merged, stack(means), stack([0.0 * s.mean + s.rest for s in scatters]))

    @property
    def relative_means(self):
        """Means of the classes less that of the first one."""
        first = self.class_means[:1, :], self.rests[:1, :]
        return _apart((self.class_means, self.rests), first)


def overflow_error(name, feature):
    """Return the error for a view whose squares overflow or underflow."""
    return ValueError(
        f"View {name!r} has values so large or so small that their squares overflow or underflow, "
        f"such as those of feature {feature}. Scale it first, for example by "
        "PerView(StandardScaler())."
    )


class ConstantViewError(ValueError):
    """A view does not vary, so far."""


def constant_error(name):
    """Return the error for a view that does not vary."""
    return ConstantViewError(
        f"View {name!r} does not vary, or by rounding only: there is nothing to correlate. Check "
        "how its features were made; a large constant in them takes the digits of what varies."
    )


def varying(deviations, means, eps):
    """Tell which features vary by more than the rounding of numbers as large as their mean.

    Parameters
    ----------
    deviations, means : ndarray, shape (n_features,)
    eps : float
        Relative spacing of the floating point numbers of the data.
    """
    return deviations > eps * abs(means)


def paired_moments(scatter):
    """Return the unbiased covariances of a `PairedScatter`.

    Parameters
    ----------
    scatter : PairedScatter

    Returns
    -------
    Moments
    """
    norm = scatter.x.weight - 1
    return _moments(scatter.x, scatter.y, scatter.cross.matrix / norm, norm, norm)


def class_pair_weights(counts_x, counts_y, class_weight=None):
    """Return the share of each class in the cross-view pairs of the same class.

    Parameters
    ----------
    counts_x, counts_y : array-like, shape (n_classes,)
        Number of rows of each class in each view, positive.
    class_weight : {None, "balanced"}, default=None
        None counts every pair once, so a class weighs as the product of its two counts
        (Rasiwasia et al., 2014); "balanced" gives every class the same weight.

    Returns
    -------
    ndarray, shape (n_classes,)
        Non-negative weights which sum to 1.
    """
    pairs = np.multiply(counts_x, counts_y, dtype=np.float64)
    if class_weight == "balanced":
        pairs = (pairs > 0).astype(np.float64)
    return pairs / pairs.sum()


def cluster_moments(x, y, pair_weights, cross=None, pair_weight=0.0):
    """Return the moments over all cross-view pairs of rows of the same class.

    The cross covariance needs the class means alone: it is the covariance between them. Adding
    `pair_weight` times the pairwise covariance within the classes is the same as mixing the
    covariance of the true pairs, weighted like the rows, with that of all pairs.

    Parameters
    ----------
    x, y : ClassScatter or MergedClasses
        Each view; their numbers of rows may differ.
    pair_weights : ndarray, shape (n_classes,)
        Share of each class, from `class_pair_weights`.
    cross : Cross, default=None
        Row-weighted scatter of the true pairs; needed if `pair_weight` is positive.
    pair_weight : float in [0, 1], default=0.0
        Share of the true pairs in the mixture.

    Returns
    -------
    Moments
    """
    between = _between(x, y, pair_weights)
    if pair_weight:
        between = (1 - pair_weight) * between + pair_weight * cross.matrix / cross.weight
    return _moments(x.scatter, y.scatter, between, x.scatter.weight, y.scatter.weight)


def _between(x, y, pair_weights):
    x, y = (side.relative_means for side in (x, y))
    pair_weights = like(pair_weights, x)
    x, y = (means - pair_weights @ means for means in (x, y))
    return (x * pair_weights[:, None]).T @ y


def _moments(x, y, xy, norm_x, norm_y):
    return Moments(
        means=(x.mean, y.mean),
        xx=_covariance(x, norm_x),
        yy=_covariance(y, norm_y),
        xy=xy,
        n_rows=(x.n_rows, y.n_rows),
        eps=max(x.eps, y.eps),
    )


def _covariance(scatter, norm):
    """Return the covariance; a variance that float64 cannot hold is NaN."""
    covariance = scatter.matrix / norm
    lost = (diagonal(covariance) < _LEAST_SQUARE[False]) & scatter.lost
    if namespace(covariance).any(lost):
        covariance = set_diagonal(covariance, lost, np.nan)
    return covariance


def _apart(mean, other):
    """Return the difference of two means, each a rounded mean and the rest of it."""
    return mean[0] - other[0] + (mean[1] - other[1])


def _moved(mean, shift):
    """Return a mean and its rest, moved: the rest takes what the sum of both rounds off."""
    shift = mean[1] + shift
    total = mean[0] + shift
    return total, shift - (total - mean[0])


def _underflows(rows, gram):
    """Tell in which columns squares lose digits, or vanish, for being small."""
    xp = namespace(gram)
    small = diagonal(gram) < rows.shape[0] * _LEAST_SQUARE[is_single(rows)]
    return small & xp.any(rows != 0, axis=0) if xp.any(small) else small


def _as_they_are(rows, weights):
    if weights is None:
        weight = float(rows.shape[0])
        mean = float64(row_sums(None, rows)) / weight
        return Block(rows, weight, mean, mean)
    weight = float(namespace(weights).sum(weights))
    mean = float64(cast(weights, rows.dtype) @ rows) / weight
    rows = rows * cast(namespace(weights).sqrt(weights), rows.dtype)[:, None]
    return Block(rows, weight, mean, mean)


def _centred(rows, weights):
    """Centre a copy of the rows, twice: the mean of what is left is exact to the last digit."""
    xp = namespace(rows)
    weights = like(np.ones(rows.shape[0]), rows) if weights is None else weights
    weight = float(xp.sum(weights))
    first = cast(_weighted_sum(weights, rows) / weight, rows.dtype)
    rows = rows - first
    rest = _weighted_sum(weights, rows) / weight
    rows -= cast(rest, rows.dtype)
    rows *= cast(xp.sqrt(weights), rows.dtype)[:, None]
    mean, rest = _moved((float64(first), 0.0), rest)
    return Block(rows, weight, mean, xp.zeros_like(rest), rest)


def _weighted_sum(weights, rows):
    """Return the sum in float64."""
    return weights @ (float64(rows) if is_of_library(rows) else rows)


def _class_sums(members, rows):
    """Return the sums of the rows of each class, by a sparse indicator that may be weighted."""
    if not is_of_library(rows):
        return members.T.astype(rows.dtype) @ rows
    if not np.array_equal(members.indptr, np.arange(rows.shape[0] + 1)):
        return cast(like(members.T.toarray(), rows), rows.dtype) @ rows
    classes, codes = np.arange(members.shape[1]), like(members.indices.astype(np.int64), rows)
    indicator = cast(like(classes, rows)[:, None] == codes[None, :], rows.dtype)
    return indicator @ (cast(like(members.data, rows), rows.dtype)[:, None] * rows)


def class_members(classes, n_classes=None):
    """Return the classes of rows as a sparse indicator, shape (n, n_classes).

    Parameters
    ----------
    classes : ndarray of int, shape (n,), or indicator, shape (n, n_classes)
    n_classes : int, default=None
        None: one more than the last class.
    """
    if classes.ndim > 1:
        return csr_array(classes, dtype=np.float64)
    n_classes = classes.max() + 1 if n_classes is None else n_classes
    starts, ones = np.arange(len(classes) + 1), np.ones(len(classes))
    return csr_array((ones, classes, starts), shape=(len(classes), n_classes))


def _add_outer(matrix, scale, u, v):
    """Add ``scale * outer(u, v)`` to a float64 matrix in C order, in place."""
    if is_of_library(matrix):
        matrix += scale * u[:, None] * v[None, :]
    else:
        blas.dger(scale, v, u, a=matrix.T, overwrite_a=True)
