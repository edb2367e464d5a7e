"""The processes that a fit shares its rows with: one alone, unless a sharded fit is under way.

What adds up over rows asks `current` to add up over all of them, and one code serves any number of
processes: at one, each of these functions returns its input. The deep part enters `together`.
"""

from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

import numpy as np


class Alone:
    """One process which holds all rows."""

    size, rank = 1, 0

    def stage(self):
        """Return a context that all ranks leave in the same way: what one raises, all raise."""
        return nullcontext()

    def sum(self, tensor):
        """Return the sum of a tensor over all ranks; gradients are added up alike."""
        return tensor

    def place(self, n_rows):
        """Return the number of the first of one's rows among those of all ranks, and how many."""
        return 0, n_rows

    def placed(self, rows, numbers, total):
        """Return the rows of all ranks by their numbers, 0 to one less than `total`."""
        return rows

    def joined(self, rows):
        """Return the rows of all ranks, one below the other; tensors with their gradient."""
        return rows

    def gathered(self, value):
        """Return what each rank has, as a list."""
        return [value]

    def of(self, rank, value):
        """Return what a rank has."""
        return value

    def of_first(self, value):
        """Return what the first rank has."""
        return self.of(0, value)

    def merged(self, part):
        """Return what all ranks have gathered, which has a method `merge`."""
        return part

    def adding_up(self, weights):
        """Return a context which replaces the gradients that weights get in it by their sums."""
        return nullcontext()

    def own(self, rows, n_rows):
        """Return one's own of joined rows."""
        start, _ = self.place(n_rows)
        return rows[start : start + n_rows]

    def picked(self, rows, numbers):
        """Return some rows by their numbers among those of all ranks; arrays in memory."""
        return rows[numbers]

    def joined_views(self, views, y):
        """Return the rows of all ranks, and their labels, in memory."""
        views = {name: self.joined(np.asarray(rows[:])) for name, rows in views.items()}
        return views, None if y is None else self.joined(y)

    def union(self, values):
        """Return the sorted distinct values of all ranks, of sorted distinct ones."""
        parts = self.gathered(values)
        return values if len(parts) == 1 else np.unique(np.concatenate(parts))


ALONE = Alone()
_CURRENT = ContextVar("ranks", default=ALONE)


def current():
    """Return the ranks that share the rows of the fit that is under way."""
    return _CURRENT.get()


@contextmanager
def among(ranks):
    """Share rows with some ranks for a while; with `ALONE`, with none."""
    token = _CURRENT.set(ranks)
    try:
        yield
    finally:
        _CURRENT.reset(token)
