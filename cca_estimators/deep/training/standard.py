"""Views in units of their own spread: what the towers of a deep method get."""

from math import prod

import numpy as np
from sklearn.utils import gen_batches

from cca_estimators import _ranks
from cca_estimators._reading import check_finite
from cca_estimators.views import take_rows

LIMIT = 1e15  # beyond it, squares of what float32 towers make of a row could overflow
TRAINING_LIMIT = 1e4  # where the means and scales are those of other rows
_BLOCK_BYTES = 2**21  # which stay in the cache of a core while they are computed
_BLOCKS_READ = 16  # at once, as files are faster at


class Spread:
    """Mean and standard deviation of each feature, added up over blocks of rows.

    Rows are taken relative to the first one and deviations relative to the largest of their block,
    so no origin and no unit costs digits, and a constant feature has a deviation of exactly 0.

    Attributes
    ----------
    n : int
    origin, shifts, deviations : ndarray of float64, shape (n_features,)
        The means are ``origin + shifts``.
    """

    def __init__(self):
        self.n = 0

    def update(self, block):
        """Add rows, a float64 array (n, n_features)."""
        if not len(block):
            return
        if not self.n:
            self.origin, self.shifts, self.deviations = block[0].copy(), 0.0, 0.0
        rows = block - self.origin
        shifts = rows.mean(axis=0)
        rows -= shifts
        peaks = np.abs(rows).max(axis=0)
        rows /= np.where(peaks > 0, peaks, 1.0)
        self._add(len(block), shifts, peaks * np.sqrt(np.mean(rows**2, axis=0)))

    def merge(self, other):
        """Add the rows that another spread has seen."""
        self._add(other.n, (other.origin - self.origin) + other.shifts, other.deviations)

    def _add(self, n, shifts, deviations):
        total = self.n + n
        seen, new, apart = np.sqrt(self.n / total), np.sqrt(n / total), shifts - self.shifts
        within = np.hypot(seen * self.deviations, new * deviations)
        self.deviations = np.hypot(within, seen * new * apart)
        self.shifts = self.shifts + apart * (n / total)
        self.n = total


def spread_of(rows, name, over_steps):
    """Return the means and scales by which a view is standardised.

    Parameters
    ----------
    rows : array-like, shape (n, ...)
        Read in blocks.
    name : str
        Name of the view, for errors.
    over_steps : bool
        Whether the last axis alone holds features, and steps that are NaN in all of them are
        padding; otherwise all but the first axis do.

    Returns
    -------
    means, scales : ndarray of float64, shape (n_features,)
        The scale of a feature that varies by rounding at most is 1.
    """
    spread = Spread()
    width = rows.shape[-1] if over_steps else prod(rows.shape[1:])
    with np.errstate(over="ignore", invalid="ignore"):
        for start, block in _blocks(rows):
            flat = block.reshape(-1, width)
            padding = np.zeros(len(flat), dtype=bool)
            if over_steps and block.ndim > 2:
                padding = np.isnan(flat).all(axis=1)
            checked = np.where(padding[:, None], 0.0, flat) if padding.any() else flat
            check_finite(checked.reshape(len(block), -1), name, start)
            spread.update(flat[~padding] if padding.any() else flat)
    spread = _ranks.current().merged(spread)
    means, deviations = spread.origin + spread.shifts, spread.deviations
    if not np.isfinite(means + deviations).all():
        feature = np.flatnonzero(~np.isfinite(means + deviations))[0]
        raise ValueError(
            f"View {name!r}: the values of feature {feature} lie so far apart that float64 cannot "
            "hold their mean and standard deviation. Divide them by a constant first."
        )
    rounding = np.finfo(rows.dtype if rows.dtype.kind == "f" else np.float64).eps
    return means, np.where(deviations > rounding * np.abs(means), deviations, 1.0)


def _blocks(rows):
    """Yield the number of the first row of each block, and its rows in float64."""
    size = block_size(rows)
    for taken in gen_batches(rows.shape[0], _BLOCKS_READ * size):
        read = rows[taken]
        for part in gen_batches(len(read), size):
            yield taken.start + part.start, np.asarray(read[part], dtype=np.float64)


class StandardRows:
    """Rows of one view, standardised where they are taken; the rest stays where it is.

    It has the shape, length and indexing of an array, and `chunks` as datasets in files have, by
    which readers know that taking all of it at once is not meant.

    Parameters
    ----------
    rows : ndarray, memmap or h5py dataset, shape (n, ...)
    name : str
        Name of the view, for errors.
    means, scales : ndarray, shape (n_features,)
        Of the last axis, or of all but the first.
    limit : float
        Largest standardised value that may come out.
    """

    chunks = None

    def __init__(self, rows, name, means, scales, limit=LIMIT):
        self.rows = rows
        self.shape = tuple(rows.shape)
        self.ndim = len(self.shape)
        self.dtype = np.dtype(np.float32 if rows.dtype == np.float32 else np.float64)
        self._name = name
        self._limit = limit
        feature_shape = (-1,) if len(means) == self.shape[-1] else self.shape[1:]
        self._means, self._scales = means.reshape(feature_shape), scales.reshape(feature_shape)

    def __len__(self):
        return self.shape[0]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key):
        taken = np.asarray(take_rows(self.rows, key), dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            standard = (taken - self._means) / self._scales
            lowest, highest = (f.reduce(standard, axis=None, initial=0) for f in (np.fmin, np.fmax))
            if max(-lowest, highest) > self._limit:
                self._refuse(taken, standard)
            return standard.astype(self.dtype, copy=False)

    def _refuse(self, taken, standard):
        """Name a finite value beyond the limit; others are told elsewhere."""
        found = np.argwhere((np.abs(standard) > self._limit) & np.isfinite(taken))
        if not len(found):
            return
        at = tuple(found[0])
        raise ValueError(
            f"View {self._name!r}: feature {at[-1]} has the value {taken[at]:.6g}, which lies "
            f"{abs(standard[at]):.3g} standard deviations from its mean in fit (or in the first "
            f"partial_fit); at most {self._limit:.0e} can be taken. Check its units, or begin anew "
            "with rows that represent the data."
        )


def block_size(rows):
    """Return how many rows of a view, in float64, a block of limited memory holds."""
    return max(1, _BLOCK_BYTES // (8 * prod(rows.shape[1:])))
