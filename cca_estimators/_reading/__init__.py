"""Reading X in either form: a mapping of two views, or one array with both views side by side."""

from collections.abc import Mapping
from contextlib import contextmanager
from math import prod

import numpy as np
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.utils import gen_batches

from cca_estimators._compat import column_names, warn_user
from cca_estimators._reading.arrays import is_of_library, place_of, to_host
from cca_estimators.views import array_of_list, check_name, n_rows, take_rows

ARRAY_NAMES = ("first", "second")
_BLOCK_BYTES = 2**25
_DEVICE_BLOCK_BYTES = 2**28  # where products are fast and launches are not
_FLOATS = (np.float32, np.float64)


def is_mapping(X):
    """Tell whether X holds its views by name.

    Raises
    ------
    TypeError
        If X is a list or tuple of two arrays, which scikit-learn would split over the views.
    """
    if isinstance(X, (list, tuple)) and len(X) == 2 and all(np.ndim(view) >= 2 for view in X):
        raise TypeError(
            f"X is a {type(X).__name__} of two arrays, and scikit-learn would split it over the "
            "views instead of the rows. Name the views: X = Views(audio=X[0], visual=X[1])."
        )
    return isinstance(X, Mapping) and not issparse(X)  # SciPy has a sparse array that is a dict


def is_dask(rows):
    """Tell whether rows are a Dask array or DataFrame, which is computed in chunks elsewhere."""
    return hasattr(rows, "__dask_graph__")


def named_views(X, known=None, read=None):
    """Return the views of a mapping as a dict of arrays (or h5py datasets) with aligned rows.

    Parameters
    ----------
    X : mapping of str to array-like
    known : collection of str, default=None
        Names that X may hold, one or both; None: X must hold exactly two views.
    read : callable, default=None
        Reads one view and its name; None: `as_numbers`.
    """
    read = as_numbers if read is None else read
    names = list(X)
    for name in names:
        check_name(name)
    if known is None and len(names) != 2:
        raise ValueError(f"X holds {len(names)} views {names}; exactly two are needed.")
    if known is not None and not (names and set(names) <= set(known)):
        raise ValueError(f"X holds the views {names}; those known from fit are {list(known)}.")
    _check_indexes(X)
    views = {name: read(X[name], name) for name in names}
    check_aligned(views)
    return views


def _check_indexes(X):
    """Raise ValueError if two views are pandas DataFrames whose rows have different names."""
    frames = {name: rows for name, rows in X.items() if hasattr(rows, "iloc") and not is_dask(rows)}
    if len(frames) < 2:
        return
    (first, one), (second, other) = frames.items()
    if len(one) != len(other) or one.index.equals(other.index):
        return
    same = "the same rows in another order" if set(one.index) == set(other.index) else "other rows"
    raise ValueError(
        f"The views {first!r} and {second!r} are DataFrames whose indexes differ, {same}, and row "
        f"i of both must be the same sample. If the indexes name the samples: X[{second!r}] = "
        f"X[{second!r}].loc[X[{first!r}].index]. If they mean nothing: .reset_index(drop=True) of "
        "both."
    )


@contextmanager
def naming(view):
    """Name the view in what is raised about its rows by code that does not know it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"View {view!r}: {error}") from error


def check_aligned(views):
    """Raise ValueError unless all views have the same number of rows."""
    lengths = {name: n_rows(rows) for name, rows in views.items()}
    if len({length for length in lengths.values() if length == length}) > 1:  # NaN: not known
        raise ValueError(
            f"The views do not align: their numbers of rows are {lengths}. "
            "Row i of every view must be the same sample."
        )


def feature_names(X):
    """Return the names of the features of each view of a mapping whose features have names."""
    names = {view: _names_of(rows, view) for view, rows in X.items()}
    return {view: own for view, own in names.items() if own is not None}


def _names_of(rows, view):
    try:
        return column_names(rows)
    except TypeError as error:
        raise TypeError(f"View {view!r}: {error}") from error


def check_feature_names(X, known, caller):
    """Check the names of features against those known from fit, as scikit-learn does for one frame.

    Parameters
    ----------
    X : mapping of array-like
    known : dict of ndarray of str
        Names of the features by view, of views that had them in fit.
    caller : str

    Raises
    ------
    ValueError
        If features have other names than in fit, or come in another order.

    Warns
    -----
    UserWarning
        If features of a view have names only now, or had them only in fit.
    """
    given = feature_names(X)
    for view in X:
        if view in given and view in known:
            _check_same_names(view, given[view].tolist(), known[view].tolist())
        elif view in given:
            warn_user(f"View {view!r} has feature names, but {caller} was fitted without them.")
        elif view in known:
            warn_user(f"View {view!r} has no feature names, but {caller} was fitted with them.")


def _check_same_names(view, given, known):
    if given == known:
        return
    unseen = [name for name in given if name not in set(known)]
    missing = [name for name in known if name not in set(given)]
    what = f"unseen at fit time: {unseen[:5]}; " if unseen else ""
    what += f"seen at fit time, yet now missing: {missing[:5]}; " if missing else ""
    raise ValueError(
        f"View {view!r}: the feature names should match those that were passed during fit, in the "
        f"same order ({what or 'the order differs; '}the first at fit time: {known[:5]}). Take the "
        f"columns by name."
    )


def side_by_side(X, view_split):
    """Return the two views of an array as a dict of its leading and its other columns."""
    n_columns = X.shape[1]
    split = n_columns // 2 if view_split is None else view_split
    if split >= n_columns:
        raise ValueError(
            f"view_split={split} leaves no column for the second view: X has {n_columns} columns. "
            f"Set view_split between 1 and {n_columns - 1}."
        )
    return dict(zip(ARRAY_NAMES, (X[:, :split], X[:, split:]), strict=True))


def blocks(views):
    """Yield a slice of rows and the finite float block, shape (n, features), of each view.

    A block takes at most a fixed amount of memory, or scikit-learn's `working_memory` if that is
    less.
    """
    most = _DEVICE_BLOCK_BYTES if any(map(is_of_library, views.values())) else _BLOCK_BYTES
    budget = min(most, get_config()["working_memory"] * 2**20)
    row_bytes = sum(prod(rows.shape[1:]) * _itemsize(rows) for rows in views.values())
    size = max(1, int(budget / row_bytes))
    n_samples = next(iter(views.values())).shape[0]
    for taken in gen_batches(n_samples, size) if n_samples else ():  # a chunk may be empty
        yield taken, [_flat_block(rows, taken, name) for name, rows in views.items()]


def present_rows(rows):
    """Tell which rows of an array in memory are not NaN throughout, or None if all are there.

    A row that is NaN throughout, or a sequence without a real step, stands for a missing partner.
    """
    if is_of_library(rows):
        return _present_elsewhere(rows)
    in_memory = isinstance(rows, np.ndarray) and not isinstance(rows, np.memmap)
    if not in_memory or rows.dtype.kind != "f":
        return None
    flat = rows.reshape(len(rows), -1)
    suspects = np.flatnonzero(np.isnan(flat[:, 0]))
    missing = suspects[np.isnan(flat[suspects]).all(axis=1)]
    if not len(missing):
        return None
    present = np.ones(len(rows), bool)
    present[missing] = False
    return present


def _present_elsewhere(rows):
    """Return what `present_rows` does, of an array of another library, as a NumPy array."""
    xp = place_of(rows).xp
    if not xp.isdtype(rows.dtype, "real floating"):
        return None
    flat = xp.reshape(rows, (rows.shape[0], -1))
    missing = xp.isnan(flat[:, 0])
    if not xp.any(missing):
        return None
    missing = to_host(missing & xp.all(xp.isnan(flat), axis=1))
    return ~missing if missing.any() else None


def some_rows(rows, numbers):
    """Return some rows of an array in memory, or what reads them from a file when it is sliced."""
    if is_of_library(rows):
        return take_rows(rows, numbers)
    if isinstance(rows, np.ndarray) and not isinstance(rows, np.memmap):
        return rows[numbers]
    return _RowsInFile(rows, numbers)


class _RowsInFile:
    """Some rows of an array in a file, with the look of an h5py dataset."""

    chunks = None

    def __init__(self, rows, numbers):
        self.rows = rows
        self.numbers = numbers
        self.shape = (len(numbers), *rows.shape[1:])
        self.ndim = len(self.shape)
        self.dtype = rows.dtype

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, key):
        return take_rows(self.rows, self.numbers[key])


def _flat_block(rows, taken, name):
    if is_of_library(rows):
        return _block_elsewhere(rows, taken, name)
    block = np.asarray(rows[taken])
    block = block.reshape(len(block), -1).astype(float_of(block.dtype), copy=False)
    check_finite(block, name, (taken.start, 0))
    return block


def _block_elsewhere(rows, taken, name):
    xp = place_of(rows).xp
    block = xp.reshape(rows[taken, ...], (taken.stop - taken.start, -1))
    block = xp.astype(block, xp.float32 if block.dtype == xp.float32 else xp.float64, copy=False)
    if not xp.all(xp.isfinite(xp.sum(block, axis=0))):  # else finite sums of finite columns
        check_finite(to_host(block), name, (taken.start, 0))
    return block


def _itemsize(rows):
    if is_of_library(rows):
        return 4 if rows.dtype == place_of(rows).xp.float32 else 8
    return float_of(rows.dtype).itemsize


def float_of(dtype):
    """Return the dtype that a block is read in: its own if BLAS has it, else float64."""
    return dtype if dtype in _FLOATS else np.dtype(np.float64)


def check_finite(block, name, start=(0, 0)):
    """Raise ValueError if a block, which starts at some row and feature, is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.ones(len(block), block.dtype) @ block).all():
            return
    found = np.argwhere(~np.isfinite(block))
    if len(found):
        value, (row, column) = block[tuple(found[0])], found[0] + start
        raise ValueError(
            f"View {name!r} contains NaN or infinity (NaN, inf): {value} in row {row}, "
            f"feature {column}. Drop or impute such values first, for example by "
            "PerView(SimpleImputer()). Steps of NaN that fill up shorter sequences are for methods "
            "that read steps, LSTMCCCA, SDCCA, Contrastive and others with tower='convolution', "
            "'gru' or 'lstm'; the rest needs a summary over the steps, such as np.nanmean(rows, 1)."
        )


def pad_steps(rows, n_features):
    """Return sequences of unequal length as one array, with steps of NaN at the ends.

    Parameters
    ----------
    rows : sequence of n arrays of shape (n_steps, n_features)
    n_features : int

    Returns
    -------
    ndarray of shape (n, most steps, n_features)
        Of the float type that holds all rows.
    """
    dtype = np.result_type(np.float32, *{row.dtype for row in rows})
    shape = len(rows), max(map(len, rows), default=0), n_features
    padded = np.full(shape, np.nan, dtype)
    for steps, row in zip(padded, rows, strict=True):
        steps[: len(row)] = row
    return padded


def as_numbers(rows, name):
    """Return one view as an array of numbers, or as it is if it is an h5py dataset.

    Sequences of unequal length are padded by steps of NaN.
    """
    if issparse(rows):
        raise TypeError(
            f"View {name!r} is sparse, which is not supported: reduce it first, by "
            "PerView(TruncatedSVD(100)), or pass its toarray()."
        )
    if is_dask(rows):
        rows = _of_dask(rows, name)
    elif hasattr(rows, "iloc"):  # a DataFrame, whatever its columns are called
        rows = np.asarray(rows)
    elif is_of_library(rows):
        rows = to_host(rows)
    elif not (isinstance(rows, np.ndarray) or hasattr(rows, "chunks")):  # files stay files
        rows = _of_array_like(rows, name)
    if _are_sequences(rows):
        return pad_steps(rows, rows[0].shape[1])
    _check_shape(rows, name)
    return _check_dtype(rows, name)


def where_they_lie(rows, name):
    """Return one view as `as_numbers` does, or where it lies if work is done there."""
    place = place_of(rows)
    if place is None or not place.computes:
        return as_numbers(rows, name)
    rows = rows.detach() if hasattr(rows, "detach") else rows
    _check_shape(rows, name)
    if place.xp.isdtype(rows.dtype, "complex floating"):
        raise _complex_error(name)
    return rows


def as_given(rows, name):
    """Return one view as its transformer is to have it.

    That is as it was given, but for lists, which become arrays, tensors (unless scikit-learn's
    dispatch is on) and h5py datasets, which become arrays in memory, and sequences of unequal
    length, which are padded by steps of NaN.
    """
    if isinstance(rows, (list, tuple)):
        rows = array_of_list(rows)
    if is_of_library(rows):
        return rows if place_of(rows) else to_host(rows)
    if is_dask(rows):
        return np.asarray(_of_dask(rows, name))
    if hasattr(rows, "chunks") and not hasattr(rows, "iloc"):
        return np.asarray(rows)
    return pad_steps(rows, rows[0].shape[1]) if _are_sequences(rows) else rows


def _are_sequences(rows):
    """Tell whether rows are arrays of numbers, shape (n_steps, n_features), of unequal length."""
    if not (isinstance(rows, np.ndarray) and rows.dtype == object and rows.ndim == 1 and len(rows)):
        return False
    return all(
        isinstance(row, np.ndarray)
        and row.ndim == 2
        and row.dtype.kind in "fiub"
        and row.shape[1] == rows[0].shape[1]
        for row in rows
    )


def _of_dask(rows, name):
    """Return a Dask array whose chunks hold whole rows of numbers."""
    rows = rows.to_dask_array() if hasattr(rows, "to_dask_array") else rows
    if rows.dtype.kind not in "fiub":
        raise ValueError(
            f"View {name!r} has dtype {rows.dtype}, as a Dask collection: pass real numbers, for "
            "example rows.astype('float64')."
        )
    return rows.rechunk({axis: -1 for axis in range(1, rows.ndim)})


def _of_array_like(rows, name):
    if isinstance(rows, (list, tuple)):
        return array_of_list(rows)
    shape = getattr(rows, "shape", None)
    if shape is not None:  # what has one dimension may be slow to read
        _check_shape(rows, name)
    return np.asarray(rows)


def _check_shape(rows, name):
    if len(rows.shape) == 1 and getattr(getattr(rows, "dtype", None), "kind", "") in "OUS":
        row = rows[0] if len(rows) else None
        raise ValueError(
            f"View {name!r} holds rows that are no numbers, or differ in their number of "
            f"features: the first is {type(row).__name__} of shape {np.shape(row)}. Let a "
            "transformer in PerView make features of them, such as TfidfVectorizer() of texts."
        )
    if len(rows.shape) < 2:
        raise ValueError(
            f"View {name!r} has shape {rows.shape}; an array (n, features) or (n, steps, features) "
            "is needed. Reshape a single feature by reshape(-1, 1)."
        )
    if 0 in rows.shape[1:]:
        raise ValueError(f"View {name!r} has shape {rows.shape}: it holds no feature.")


def _check_dtype(rows, name):
    if rows.dtype.kind == "c":
        raise _complex_error(name)
    if rows.dtype.kind in "fiub":
        return rows
    try:
        return np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"View {name!r} has dtype {rows.dtype}, and its values are not all numbers: {error}. "
            "Let a transformer in PerView make numbers of them, such as OneHotEncoder()."
        ) from error


def _complex_error(name):
    return ValueError(
        f"View {name!r} has complex values (Complex data not supported): pass real numbers, for "
        "example magnitudes."
    )
