"""Rows of both views for training, and the batches drawn from them."""

from functools import cached_property
from math import prod

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch.utils.data import DataLoader, Dataset

from cca_estimators import _ranks
from cca_estimators._reading import check_finite
from cca_estimators._reading.labels import strata
from cca_estimators.deep.training.standard import StandardRows, block_size
from cca_estimators.views import take_rows

_HELD_BYTES = 2**28


class RowDataset(Dataset):
    """Aligned rows of both views with their class codes, taken many at a time.

    An array of row numbers selects a batch: the views, as tensors by name, and the codes.

    Parameters
    ----------
    views : dict of array-like or StandardRows
        Rows of each view. Arrays in memory are moved to the device at once; memory-mapped arrays
        and h5py datasets stay in their files, and batches are read from there. So do rows to be
        standardised of which a copy in memory would be large: batches are standardised.
    codes : ndarray of int, shape (n,), or of bool, shape (n, n_classes)
        Class of each row, or an indicator of several, or its index where there are no classes.
    device : str
    padded : bool
        Whether steps that are NaN in all features are padding, to be let through.
    tokens : collection of str
        Names of the views whose integers stay integers.

    Attributes
    ----------
    sources : dict of Tensor of int, shape (n,)
        Numbers of the rows that stand in for rows that a view lacks, see `take_from`.
    """

    def __init__(self, views, codes, device, padded=False, tokens=()):
        self.sources = {}
        self.in_memory = _may_be_held(views, device)
        self.device = device
        self.padded = padded
        self.tokens = tokens
        dtype = np.int64 if codes.ndim == 1 else bool
        self.codes = torch.as_tensor(np.ascontiguousarray(codes, dtype), device=device)
        self.views = views
        if self.in_memory:
            self.views = {name: self._held(name, rows) for name, rows in views.items()}

    def __len__(self):
        return len(self.codes)

    def __getitem__(self, index):
        where = torch.as_tensor(index, device=self.device)
        if self.in_memory:
            views = {
                name: rows.index_select(0, self._source(name, where))
                for name, rows in self.views.items()
            }
        else:
            views = {
                name: self._tensor(
                    name, take_rows(rows, self._source(name, where).numpy(force=True))
                )
                for name, rows in self.views.items()
            }
        return views, self.codes.index_select(0, where)

    def take_from(self, sources):
        """Take other rows in place of some: arrays of their numbers by view name."""
        self.sources = {
            name: torch.as_tensor(rows, device=self.device) for name, rows in sources.items()
        }

    def _source(self, name, where):
        return self.sources[name].index_select(0, where) if name in self.sources else where

    def _tensor(self, name, rows, start=0):
        return as_tensor(rows, name, self.device, self.padded, name in self.tokens, start)

    def _held(self, name, rows):
        if not isinstance(rows, StandardRows):
            return self._tensor(name, rows)
        held = torch.empty(rows.shape, dtype=torch.float32, device=self.device)
        for taken in gen_batches(len(rows), block_size(rows)):
            held[taken] = self._tensor(name, rows[taken], taken.start)
        return held


class RowSubset(Dataset):
    """Some rows of a dataset.

    Parameters
    ----------
    dataset : RowDataset
    rows : ndarray of int
    """

    def __init__(self, dataset, rows):
        self.dataset = dataset
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.dataset[self.rows[index]]

    @property
    def codes(self):
        """Class of each row, or an indicator of several, as an array."""
        return self.dataset.codes[self.rows].numpy(force=True)

    @cached_property
    def strata(self):
        """Class of each row by which batches are drawn, as an array."""
        return strata(self.codes)

    def first(self, n):
        """Return the first `n` of these rows."""
        return RowSubset(self.dataset, self.rows[:n])

    def batches(self, batch_size, shuffle=False, stratified=False, generator=None):
        """Return an iterable of batches: a `DataLoader` only where rows come from files."""
        codes = self.strata if stratified else None
        sampler = BatchSampler(len(self), batch_size, shuffle, codes, generator)
        return self._taken(sampler)

    def joint_batches(self, batch_size, shuffle, stratified, generator):
        """Return as many batches as all other ranks have, of `batch_size` rows all together."""
        ranks = _ranks.current()
        if ranks.size == 1:
            return self.batches(batch_size, shuffle, stratified, generator)
        sizes = ranks.gathered(len(self))
        n_batches = max(1, min(-(-sum(sizes) // batch_size), sum(sizes) // 2, *sizes))
        codes = self.strata if stratified else None
        drawn = BatchSampler(len(self), None, shuffle, codes, generator, n_batches, ranks.rank)
        return self._taken(drawn)

    def _taken(self, sampler):
        if self.dataset.in_memory:
            return InMemoryBatches(self, sampler)
        # a generator of its own: the loader would otherwise draw from the seeded global one
        return DataLoader(self, sampler=sampler, batch_size=None, generator=torch.Generator())


class InMemoryBatches:
    """Batches selected on the device, at a cost far below that of a `DataLoader`."""

    def __init__(self, subset, sampler):
        self.subset = subset
        self.sampler = sampler

    def __len__(self):
        return len(self.sampler)

    def __iter__(self):
        return (self.subset.dataset[rows] for rows in self.rows())

    def rows(self):
        """Return the row numbers of each batch, on the device: all are moved there at once."""
        drawn = list(self.sampler)
        rows = torch.from_numpy(self.subset.rows[np.concatenate(drawn)])
        return rows.to(self.subset.dataset.device).split([len(batch) for batch in drawn])


class BatchSampler:
    """Row numbers of each batch.

    If they are drawn, then anew in every epoch, and all batches are of one size: fewer rows than
    there are batches are left over, others each time. In order, batches differ by one row at most.

    Parameters
    ----------
    n_rows : int
    batch_size : int or None
        Largest size of a batch; batches hold two rows at least.
    shuffle : bool
        Whether to draw the rows in random order.
    codes : ndarray of int or None
        Class of each row: every batch then holds the classes in their proportions.
    generator : torch.Generator or None
        Source of the order; None: PyTorch's own.
    n_batches : int or None
        Number of batches, in place of their size.
    rank : int
        Number of the process: each draws an order of its own by the same generator, so that the
        rows that two of them have at one place do not meet in every epoch.
    """

    def __init__(
        self, n_rows, batch_size, shuffle, codes=None, generator=None, n_batches=None, rank=0
    ):
        self.n_rows = n_rows
        self.n_batches = n_batches or max(1, min(-(-n_rows // batch_size), n_rows // 2))
        self.shuffle = shuffle
        self.codes = codes
        self.generator = generator
        self.rank = rank

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        order = np.arange(self.n_rows)
        if self.shuffle:
            number = torch.randint(2**31, (), generator=self.generator).item()
            rng = np.random.default_rng([number, self.rank])
            rng.shuffle(order)
            if self.codes is not None:
                order = order[np.argsort(_spread(self.codes[order], rng))]
            order = order[: self.n_rows // self.n_batches * self.n_batches]
        yield from np.array_split(order, self.n_batches)


def as_tensor(rows, name, device, padded=False, tokens=False, start=0):
    """Return rows of one view as a finite float32 tensor on a device, or tokens as int64.

    Parameters
    ----------
    rows : array-like, shape (n, ...)
    name : str
        Name of the view, for the error.
    device : str
    padded : bool, default=False
        Whether steps that are NaN in all features may stay.
    tokens : bool, default=False
        Whether integers stay integers.
    start : int, default=0
        Number of the first of these rows, for the error.
    """
    if tokens and rows.dtype.kind in "iu":
        return torch.from_numpy(np.array(rows, dtype=np.int64)).to(device)
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    checked = rows.reshape(len(rows), -1)
    if padded and rows.ndim > 2 and np.isnan(checked.sum()):
        missing = np.isnan(rows).all(axis=-1, keepdims=True)
        _check_padding(missing, name)
        checked = np.where(missing, np.float32(0), rows).reshape(len(rows), -1)
    check_finite(checked, name, start)
    rows = rows if rows.flags.writeable else rows.copy()
    return torch.from_numpy(rows).to(device)


def _check_padding(missing, name):
    early = missing[:, :-1] & ~missing[:, 1:]
    if early.any():
        raise ValueError(
            f"View {name!r}: step {np.argwhere(early)[0, 1]} of a sequence is NaN in all features, "
            "which means padding, but another step follows it. Move padding to the end, or fill it."
        )


def _may_be_held(views, device):
    """Tell whether the rows are in memory and, standardised, may be there a second time."""
    stored = [getattr(rows, "rows", rows) for rows in views.values()]
    if not all(isinstance(r, np.ndarray) and not isinstance(r, np.memmap) for r in stored):
        return False
    copied = sum(4 * prod(rows.shape) for rows in views.values() if isinstance(rows, StandardRows))
    return device != "cpu" or copied <= _HELD_BYTES


def _spread(codes, rng):
    """Return a sort key which spreads each class evenly, beginning at a random place."""
    _, codes, counts = np.unique(codes, return_inverse=True, return_counts=True)
    order = np.argsort(codes, kind="stable")
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    ranks = np.empty(len(codes))
    ranks[order] = np.arange(len(codes)) - starts
    return (ranks + rng.random(len(counts))[codes]) / counts[codes]
