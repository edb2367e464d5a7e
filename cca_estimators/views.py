"""The container of aligned views of the same samples."""

import os
from collections.abc import Mapping
from typing import Any, overload

import numpy as np
from scipy.sparse import issparse

__all__ = ["Views"]


class Views(dict[str, np.ndarray]):
    """Dictionary of aligned views that also slices by rows.

    It is what scikit-learn's model selection needs to split two views at once: it has a
    ``shape``, a length in rows, and ``views[rows]`` takes the same rows of every view, while
    ``views["audio"]`` and iteration over the names stay those of a dictionary.

    Read more in the :ref:`User Guide <views>`.

    Parameters
    ----------
    *args, **kwargs
        As for :class:`dict`: names mapped to what has one row per sample: ndarray, memmap, h5py
        dataset, sparse matrix, DataFrame, arrow table, torch tensor, or a list of rows, such as
        texts or sequences of unequal length.

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
        rows = array_of_list(rows) if isinstance(rows, (list, tuple)) else rows
        others = [other for other in self if other != name]
        if others and _differ(n_rows(rows), n_rows(super().__getitem__(others[0]))):
            raise ValueError(
                f"The views do not align: view {name!r} has {n_rows(rows)} rows, view "
                f"{others[0]!r} has {len(self)}. Row i of every view must be the same sample."
            )
        super().__setitem__(name, rows)

    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...
    @overload
    def __getitem__(self, key: Any) -> "Views": ...
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
    def shape(self) -> tuple[int]:
        """Number of rows as a one-tuple, the shape scikit-learn splits along."""
        return (len(self),)

    def update(self, *args, **kwargs):
        """Set several views, as `dict.update` does."""
        for name, rows in dict(*args, **kwargs).items():
            self[name] = rows

    def setdefault(self, name, rows):
        """Return a view, set to `rows` if there is none of that name."""
        if name not in self:
            self[name] = rows
        return self[name]

    def take(self, indices, axis=0, out=None, mode="raise") -> "Views":
        """Return rows by their numbers, as `numpy.take` does of an array.

        Parameters
        ----------
        indices : array of int
            Numbers of rows.
        axis : int, default=0
            The rows, which is all there is to take.
        out, mode
            Present for the API of NumPy, and ignored.

        Returns
        -------
        Views
            Those rows of all views.
        """
        return self[indices]

    def __array_namespace__(self, *, api_version=None):
        """Return NumPy, by which scikit-learn takes rows while its `array_api_dispatch` is on."""
        return np

    def copy(self) -> "Views":
        """Return a shallow copy."""
        return Views(self)

    def __reduce__(self):
        return Views, ({name: _picklable(rows, name) for name, rows in self.items()},)

    def __or__(self, other):
        return self._joined(self, other)

    def __ror__(self, other):
        return self._joined(other, self)

    def __ior__(self, other):
        self.update(other)
        return self

    @staticmethod
    def _joined(left, right):
        if not (isinstance(left, Mapping) and isinstance(right, Mapping)):
            return NotImplemented
        return Views({**left, **right})


def _differ(one, other):
    """Tell whether two numbers of rows differ; that of a Dask collection may be NaN, not known."""
    return one != other and one == one and other == other


class H5Rows:
    """A dataset of an HDF5 file by its place, opened where and when its rows are first read.

    `Views` of h5py datasets become such handles where they are pickled, as in a search by several
    processes: an open dataset cannot be handed to another process.

    Parameters
    ----------
    path : str
        The file.
    name : str
        The dataset in it.
    """

    chunks = True  # what tells rows in files from arrays

    def __init__(self, path, name):
        self.path, self.name = path, name
        self._opened = None, None

    @property
    def dataset(self):
        """The dataset, opened once in each process."""
        process, dataset = self._opened
        if process != os.getpid():
            import h5py

            dataset = h5py.File(self.path, "r")[self.name]
            self._opened = os.getpid(), dataset
        return dataset

    @property
    def shape(self):
        """Shape of the dataset."""
        return self.dataset.shape

    @property
    def ndim(self):
        """Number of dimensions."""
        return len(self.shape)

    @property
    def dtype(self):
        """Type of the values."""
        return self.dataset.dtype

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, key):
        return self.dataset[key]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.dataset[()], dtype=dtype)

    def __repr__(self):
        return f"H5Rows({self.path!r}, {self.name!r})"

    def __reduce__(self):
        return H5Rows, (self.path, self.name)


def _picklable(rows, name):
    """Return rows, or a handle of a dataset that h5py has open."""
    if not type(rows).__module__.startswith("h5py."):
        return rows
    file = rows.file
    if file.mode != "r" or not os.path.isfile(file.filename):
        raise ValueError(
            f"View {name!r} is a dataset of the h5py file {file.filename!r}, which is open for "
            "writing or in memory, and cannot be handed to another process. Open a file on disk by "
            "h5py.File(path, 'r')."
        )
    return H5Rows(os.path.abspath(file.filename), rows.name)


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


def array_of_list(rows):
    """Return a list of rows as an array: texts, and rows of unequal shapes, as objects."""
    if not (len(rows) and isinstance(rows[0], str)):
        try:
            return np.asarray(rows)
        except ValueError:  # their shapes differ
            pass
    return np.fromiter(rows, dtype=object, count=len(rows))


def take_rows(rows, key):
    """Return the rows of one view that a slice, an index, an index array or a mask selects.

    The key means what it means to NumPy, whatever container holds the rows; a single index keeps
    the dimension of rows.
    """
    key = _row_key(key, n_rows(rows))
    if hasattr(rows, "iloc"):
        return rows.iloc[key]
    if isinstance(rows, (list, tuple)):
        return [rows[i] for i in np.arange(len(rows))[key]]
    if hasattr(rows, "__array_namespace__") and not isinstance(rows, np.ndarray):
        return _take_of_library(rows, key)
    if issparse(rows):
        return rows.tocsr()[key]
    if hasattr(rows, "combine_chunks"):  # an arrow table
        return rows.take(np.arange(len(rows))[key])
    if isinstance(key, slice) or isinstance(rows, np.ndarray) or not hasattr(rows, "chunks"):
        return rows[key]
    return _take_h5(rows, key)


def _take_of_library(rows, key):
    if isinstance(key, slice):
        return rows[key, ...]
    xp = rows.__array_namespace__()
    return xp.take(rows, xp.asarray(key, device=rows.device), axis=0)


def _row_key(key, n):
    """Return a key as a slice of positive step or an array of indices from 0 to n - 1."""
    if isinstance(key, tuple):  # scikit-learn indexes arrays as array[key, ...]
        if len(key) != 1 and (len(key) != 2 or key[1] is not Ellipsis):
            raise IndexError(
                "Views are indexed by rows alone. Take features of one view: X['audio'][:, :2]."
            )
        key = key[0]
    if key is Ellipsis:
        return slice(0, n, 1)
    if isinstance(key, slice):
        start, stop, step = key.indices(n)
        if step < 0:  # which h5py and PyTorch do not take
            return np.arange(start, stop, step)
        return slice(start, max(start, stop), step)
    return _row_numbers(np.asarray(key), n)


def _row_numbers(key, n):
    if key.size == 0 and key.dtype.kind == "f":  # an empty list
        key = key.astype(np.intp)
    if key.dtype == bool:
        if key.shape != (n,):
            raise IndexError(
                f"The mask has shape {key.shape}, and there are {n} rows: it needs one entry for "
                "each."
            )
        return np.flatnonzero(key)
    if key.ndim > 1 or key.dtype.kind not in "iu":
        raise IndexError(
            f"Rows are taken by integers, a slice or a mask, in one dimension; this is an array of "
            f"dtype {key.dtype} and shape {key.shape}. Views are named by strings."
        )
    key = np.atleast_1d(key).astype(np.intp)
    outside = (key < -n) | (key >= n)
    if outside.any():
        raise IndexError(f"Row {key[outside][0]} is out of range: there are {n} rows.")
    return np.where(key < 0, key + n, key)


def _take_h5(dataset, index):
    """Index an h5py dataset, which wants increasing indices without repetition."""
    unique, inverse = np.unique(index, return_inverse=True)
    return dataset[unique][inverse] if len(unique) else dataset[:0]
