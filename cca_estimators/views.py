"""The container of aligned views of the same samples."""

import numpy as np

__all__ = ["Views"]


class Views(dict):
    """Dictionary of aligned views that also slices by rows.

    It is what scikit-learn's model selection needs to split two views at once: it has a
    ``shape``, a length in rows, and ``views[rows]`` takes the same rows of every view, while
    ``views["audio"]`` and iteration over the names stay those of a dictionary.

    Read more in the :ref:`User Guide <views>`.

    Parameters
    ----------
    *args, **kwargs
        As for :class:`dict`: names mapped to arrays with one row per sample (ndarray, memmap,
        h5py dataset, DataFrame, torch tensor or list of rows).

    Raises
    ------
    ValueError
        If the views do not have the same number of rows.
    TypeError
        If a name is not a string.

    Examples
    --------
    >>> import numpy as np
    >>> from cca_estimators import Views
    >>> X = Views(audio=np.zeros((6, 4)), visual=np.ones((6, 3, 2)))
    >>> X
    Views(audio=(6, 4), visual=(6, 3, 2))
    >>> len(X), X.shape, list(X)
    (6, (6,), ['audio', 'visual'])
    >>> X[1:3]
    Views(audio=(2, 4), visual=(2, 3, 2))
    """

    def __init__(self, *args, **kwargs):
        super().__init__()
        self.update(*args, **kwargs)

    def __setitem__(self, name, rows):
        check_name(name)
        rows = np.asarray(rows) if isinstance(rows, (list, tuple)) else rows
        others = [other for other in self if other != name]
        if others and n_rows(rows) != n_rows(super().__getitem__(others[0])):
            raise ValueError(
                f"The views do not align: view {name!r} has {n_rows(rows)} rows, view "
                f"{others[0]!r} has {len(self)}. Row i of every view must be the same sample."
            )
        super().__setitem__(name, rows)

    def __getitem__(self, key):
        if isinstance(key, str):
            return super().__getitem__(key)
        return Views({name: take_rows(rows, key) for name, rows in self.items()})

    def __len__(self):
        return n_rows(next(iter(self.values()))) if super().__len__() else 0

    def __bool__(self):
        return super().__len__() > 0

    def __repr__(self):
        shapes = ", ".join(f"{name}={tuple(rows.shape)}" for name, rows in self.items())
        return f"Views({shapes})"

    @property
    def shape(self):
        """Number of rows as a one-tuple, the shape scikit-learn splits along."""
        return (len(self),)

    def update(self, *args, **kwargs):
        """Set several views, as `dict.update` does."""
        for name, rows in dict(*args, **kwargs).items():
            self[name] = rows

    def copy(self):
        """Return a shallow copy."""
        return Views(self)


def check_name(name):
    """Raise TypeError unless the name of a view is a string, which no row index is."""
    if not isinstance(name, str):
        raise TypeError(
            f"A view is named {name!r}, of type {type(name).__name__}; names of views are strings, "
            "such as 'audio'."
        )


def n_rows(rows):
    """Return the number of rows of one view, whatever container holds them."""
    shape = getattr(rows, "shape", None)
    return len(rows) if shape is None else (shape[0] if len(shape) else 0)


def take_rows(rows, key):
    """Return the rows of one view that a slice, an index, an index array or a mask selects."""
    if isinstance(key, tuple):  # scikit-learn indexes arrays as array[key, ...]
        key = key[0]
    if isinstance(key, (int, np.integer)):
        key = [key]
    if not isinstance(key, slice):
        key = np.asarray(key)
        key = np.flatnonzero(key) if key.dtype == bool else key
    if hasattr(rows, "iloc"):
        return rows.iloc[key]
    if isinstance(key, slice) or isinstance(rows, np.ndarray) or not hasattr(rows, "chunks"):
        return rows[key]
    return _take_h5(rows, key)


def _take_h5(dataset, index):
    """Index an h5py dataset, which wants increasing indices without repetition."""
    unique, inverse = np.unique(index % len(dataset), return_inverse=True)
    return dataset[unique][inverse]
