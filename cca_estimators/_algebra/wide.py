"""Views of more features than rows, rotated into the space that their rows span.

Nothing that the rows do not span has any covariance, so the solver may work on coordinates of the
rows within that space: as many as there are rows, however many features there are. They follow from
the inner products of the rows alone, and each direction found is a combination of the rows.
"""

from math import prod

import numpy as np
from scipy import linalg
from sklearn.utils import gen_batches

from cca_estimators import _ranks, _reading
from cca_estimators._algebra.moments import constant_error, overflow_error, varying
from cca_estimators._algebra.namespace import (
    cast,
    copied,
    eps_of,
    float64,
    is_single,
    joined,
    like,
    mean64,
    namespace,
    trace,
)
from cca_estimators._reading.arrays import is_of_library, to_host

_BLOCK_BYTES = 2**25


def rotated(views, unscaled):
    """Return the views with wide ones replaced by coordinates, and the `RowSpace` of those.

    Parameters
    ----------
    views : dict of array by name
    unscaled : dict of bool by name
        Whether the lengths along the features of a view count, which they do under a ridge.

    Returns
    -------
    views : dict of array by name
    spaces : tuple of RowSpace or None
        One per view; None where it is not wide.
    """
    spaces = tuple(
        RowSpace(rows, name, scaled=not unscaled[name]) if _is_wide(rows) else None
        for name, rows in views.items()
    )
    pairs = zip(views.items(), spaces, strict=True)
    return {name: space.coordinates if space else rows for (name, rows), space in pairs}, spaces


def within(moments, spaces):
    """Return moments of what `rotated` returned, told the spaces that they are in."""
    eps = max([moments.eps, *(space.eps for space in spaces if space)])
    return moments._replace(spaces=spaces, eps=eps)


class HeldRows:
    """Rows of two views kept as they are, while they take less memory than their moments would.

    Attributes
    ----------
    blocks : list of dict of ndarray by view name, shapes (n, n_features)
    labels : list
        One per row, or none at all.
    """

    def __init__(self, blocks=(), labels=()):
        self.blocks, self.labels = list(blocks), list(labels)

    def added(self, other):
        """Return the rows of both."""
        return HeldRows(self.blocks + other.blocks, self.labels + other.labels)

    def read(self, views, labels):
        """Return these rows and those of views, which are copied."""
        names = list(views)
        blocks = [
            {name: copied(rows) for name, rows in zip(names, block, strict=True)}
            for _, block in _reading.blocks(views)
        ]
        return self.added(HeldRows(blocks, labels))

    @property
    def n_rows(self):
        """Number of rows."""
        return sum(next(iter(block.values())).shape[0] for block in self.blocks)

    def joined(self):
        """Return the views, each as one array."""
        names = self.blocks[0] if self.blocks else ()
        return {name: joined([block[name] for block in self.blocks]) for name in names}


def rows_take_less(n_rows, widths, n_classes):
    """Tell whether rows hold fewer numbers than their moments, of each class where it has its own.

    Parameters
    ----------
    n_rows : int
    widths : list of int
        Numbers of features of the two views.
    n_classes : int
        1 if the moments are not those of classes.
    """
    x, y = widths
    return n_rows * (x + y) <= n_classes * (x * x + y * y + x * y)


def are_wide_over_ranks(views):
    """Tell whether ranks hold fewer rows together than a view has features, if there are several.

    Their rows then take less memory than the moments that they would exchange.
    """
    ranks = _ranks.current()
    if ranks.size == 1:
        return False
    _, total = ranks.place(next(iter(views.values())).shape[0])
    return any(prod(rows.shape[1:]) > total for rows in views.values())


def _is_wide(rows):
    return prod(rows.shape[1:]) > rows.shape[0]


class RowSpace:
    """The space that the centred rows of a view span, and coordinates of the rows in it.

    With centred rows `Z` and a triangular factor of their inner products, ``Z Z' = L L'``, the rows
    of `L` are coordinates in the orthonormal basis ``Q`` with ``Z = L Q'``. The pivoted Cholesky
    factorisation takes as many rows as are independent, and `Q` follows from these alone.

    Parameters
    ----------
    rows : array-like, shape (n, ...)
        What is beyond the first axis is flattened.
    name : str
        Name of the view, for errors.
    scaled : bool, default=False
        Scale the features to unit variance first, so that their units do not matter.

    Attributes
    ----------
    coordinates : ndarray, shape (n, rank)
    mean : ndarray, shape (n_features,)
    n_features : int
    eps : float
        Relative spacing of the floating point numbers that the view is computed in.
    """

    def __init__(self, rows, name, scaled=False):
        rows = rows if is_of_library(rows) else np.asarray(rows[:])
        self._rows, self._name = namespace(rows).reshape(rows, (rows.shape[0], -1)), name
        self._n_rows, self.n_features = self._rows.shape
        self._single = _squares_fit_float32(self._rows)
        self.eps = eps_of(self._rows) if is_single(rows) else float(np.finfo(np.float64).eps)
        self.mean = joined([self._mean(taken) for taken in self._slices()])
        self._divisors = self._deviations(scaled) if scaled else None
        gram = self._gram()
        centred = _double_centred(gram)
        if not scaled and trace(gram) > 2 * trace(centred):
            self._divisors = self._deviations(scaled)  # the squared means would cancel: take off
            centred = self._gram()
        self._factorise(to_host(centred))

    @property
    def rank(self):
        """Number of independent centred rows."""
        return self.coordinates.shape[1]

    def in_features(self, weights, mean):
        """Return weights of shape (rank, n) and a mean, in coordinates, among the features."""
        directions = self._directions(np.column_stack([to_host(weights), to_host(mean)]))
        if self._divisors is None:
            return directions[:, :-1], self.mean + directions[:, -1]
        xp = namespace(directions)
        scales = xp.where(xp.isfinite(self._divisors), self._divisors, 0.0)
        return directions[:, :-1], self.mean + scales**2 * directions[:, -1]

    def _directions(self, weights):
        """Return ``Q w``, divided by what the features were divided by."""
        combined = np.zeros((self._n_rows, weights.shape[1]))
        combined[self._pivots] = linalg.solve_triangular(
            self._triangle, weights, trans="T", lower=True, check_finite=False
        )
        total, combined = combined.sum(axis=0), like(combined, self._rows)
        directions = joined([self._combined(taken, combined, total) for taken in self._slices()])
        return directions if self._divisors is None else directions / self._divisors[:, None]

    def _combined(self, taken, combined, total):
        block, offset = self._prepared(taken)
        directions = float64(cast(combined, block.dtype).T @ block)  # the other way is slower
        if offset is not None:
            directions -= like(total, block)[:, None] * offset[None, :]
        return directions.T

    def _factorise(self, gram):
        if not gram.any():
            raise constant_error(self._name)
        rounding = 10 * len(gram) * self.eps * gram.diagonal().max()
        factor, pivots, rank, _ = linalg.lapack.dpstrf(gram.T, lower=1, tol=rounding)
        self._pivots = pivots[:rank] - 1
        self._triangle = factor[:rank, :rank]
        coordinates = np.empty((len(gram), rank))
        coordinates[pivots - 1] = np.tril(factor)[:, :rank]
        self.coordinates = like(coordinates, self._rows)

    def _gram(self):
        gram = 0.0
        for taken in self._slices():
            block, _ = self._prepared(taken)
            product = float64(block @ block.T)
            product += gram
            gram = product
            if not np.isfinite(trace(gram)):
                squares = to_host(namespace(block).sum(block * block, axis=0))
                raise overflow_error(self._name, taken.start + np.isfinite(squares).argmin())
        return gram

    def _slices(self):
        """Yield slices of features, of which all rows are computed at once."""
        width = max(1, _BLOCK_BYTES // (8 * self._n_rows))
        yield from gen_batches(self.n_features, width)

    def _floats(self, taken):
        block = self._rows[:, taken]
        xp = namespace(block)
        return cast(block, xp.float32 if self._single else xp.float64)

    def _mean(self, taken):
        block = self._floats(taken)
        xp = namespace(block)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = mean64(block)
        if not xp.all(xp.isfinite(mean)):
            _reading.check_finite(to_host(block), self._name, start=(0, taken.start))
        return mean

    def _deviations(self, scaled):
        """Return what to divide each feature by: infinity if it varies by rounding only."""
        centred = (_centred(self._floats(taken), self.mean[taken]) for taken in self._slices())
        deviations = joined([_root_mean_square(block) for block in centred])
        varies = varying(deviations, self.mean, self.eps)
        xp = namespace(deviations)
        return xp.where(varies, deviations if scaled else xp.ones_like(deviations), np.inf)

    def _prepared(self, taken):
        """Return floats, and what is to be taken off them yet, or None."""
        block, mean = self._floats(taken), self.mean[taken]
        if self._divisors is None:
            return block, mean
        return _centred(block, mean) / cast(self._divisors[taken], block.dtype), None


def _squares_fit_float32(rows):
    """Tell whether rows are float32, and neither so large nor so small that squares lose digits."""
    if not is_single(rows):
        return False
    xp = namespace(rows)
    largest = max(float(xp.max(rows)), -float(xp.min(rows)))
    return 1e-12 < largest < 1e15


def _root_mean_square(block):
    """Return that of each column, however large or small its values are."""
    xp = namespace(block)
    largest = xp.max(xp.abs(block), axis=0)
    scaled = block / xp.where(largest > 0, largest, xp.ones_like(largest))
    return largest * xp.sqrt(xp.mean(scaled * scaled, axis=0))


def _centred(block, mean):
    block = block - cast(mean, block.dtype)
    block -= namespace(block).mean(block, axis=0)  # what rounding has left
    return block


def _double_centred(gram):
    xp = namespace(gram)
    means = xp.mean(gram, axis=0)
    return gram - means - means[:, None] + xp.mean(means)
