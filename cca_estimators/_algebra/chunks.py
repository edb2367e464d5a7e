"""Moments of Dask collections: those of each chunk where it lies, merged in a tree.

A chunk and what made it become one task, whose result are its moments; the rows never leave their
worker. Dask is imported when a collection is given, by whom it was imported already.
"""

from copy import deepcopy
from functools import partial
from itertools import count

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from cca_estimators import _reading
from cca_estimators._algebra.moments import ClassScatter, Cross, PairedScatter, class_members
from cca_estimators._reading.labels import is_indicator, label_array, read_labels

_FAN_IN = 8


def paired_scatter(views):
    """Return the `PairedScatter` of all rows.

    Parameters
    ----------
    views : dict of dask array by name
        Aligned by `aligned`.
    """
    return _merged(_scatters(_paired_of_chunk, views))


def class_scatters(views, codes, row_weights, pairs):
    """Return the `ClassScatter` of each view, and the `Cross` between them.

    Parameters
    ----------
    views : dict of dask array by name
        Aligned by `aligned`.
    codes : dask array of int, or of an indicator
        Class of each row, or its classes.
    row_weights : ndarray, shape (n_classes,)
    pairs : bool
        Whether to fill the `Cross`, which is empty otherwise.
    """
    function = partial(_classes_of_chunk, row_weights=row_weights, pairs=pairs)
    merged = _merged(_scatters(function, {**views, "y": codes}))
    return merged.x, merged.y, merged.cross


def aligned(views):
    """Return views in chunks of the same rows, as far as their sizes are known.

    Raises
    ------
    TypeError
        If only one is a Dask collection.
    ValueError
        If the sizes are not known, and the numbers of chunks differ.
    """
    for name, rows in views.items():
        if not _reading.is_dask(rows):
            raise TypeError(
                f"View {name!r} is no Dask collection, and the other one is: pass two, for example "
                f"by dask.array.from_array(X[{name!r}], chunks=...)."
            )
    first, *others = views
    sizes = views[first].chunks[0]
    return {first: views[first]} | {
        name: _in_chunks(views[name], sizes, name, first) for name in others
    }


def labels_in_chunks(y, rows):
    """Return labels, in memory or as a Dask collection, in the chunks of some rows.

    Those of an indicator hold all its columns.
    """
    import dask.array as da

    if _reading.is_dask(y):
        y = y.to_dask_array() if hasattr(y, "to_dask_array") else y
        y = y[:, 0] if y.shape[1:] == (1,) else y  # a DataFrame of one column
        y = _in_chunks(y, rows.chunks[0], "y", "X")
        return y.rechunk({axis: -1 for axis in range(1, y.ndim)})
    y = read_labels(y).toarray().astype(np.uint8) if is_indicator(y) else label_array(y)
    sizes = rows.chunks[0]
    if np.isnan(sizes).any():
        lengths = _over_chunks(_length, [rows], int).compute()
        sizes = tuple(int(length) for length in lengths)
    if sum(sizes) != len(y):
        raise ValueError(f"X has {sum(sizes)} rows, and y {len(y)} labels: each row needs one.")
    return da.from_array(y, chunks=(sizes, *y.shape[1:]))


def class_counts(labels):
    """Return the distinct labels as a sorted array, and how many rows each has.

    Those of an indicator are the columns that any row has.
    """
    parts = _over_chunks(_counted, [labels], object).compute()
    values = np.concatenate([values for values, _ in parts])
    classes, places = np.unique(values, return_inverse=True)
    return classes, np.bincount(places, np.concatenate([counts for _, counts in parts])).astype(int)


def codes_of(labels, classes):
    """Return the place of each label among the classes, or an indicator of the classes."""
    if labels.ndim > 1:
        return labels[:, classes]
    return labels.map_blocks(classes.searchsorted, dtype=np.intp)


def mapped(function, rows, n_columns, dtype):
    """Return ``function(rows)`` of each chunk, of shape (n, n_columns), when it is computed."""
    import dask.array as da

    return da.blockwise(
        function,
        ("rows", "columns"),
        rows,
        ("rows", *map(str, range(rows.ndim - 1))),
        new_axes={"columns": n_columns},
        concatenate=True,
        align_arrays=False,
        dtype=dtype,
        meta=np.empty((0, 0), dtype),
    )


def _in_chunks(rows, sizes, name, first):
    own = rows.chunks[0]
    if own == sizes:
        return rows
    if not np.isnan(own).any() and not np.isnan(sizes).any():
        if sum(own) != sum(sizes):
            raise ValueError(
                f"{name!r} has {sum(own)} rows, {first!r} has {sum(sizes)}: they must be the same."
            )
        return rows.rechunk({0: sizes})
    if len(own) != len(sizes):
        raise ValueError(
            f"{name!r} has {len(own)} chunks, {first!r} has {len(sizes)}, and sizes that are not "
            "known. Make them the same: compute_chunk_sizes() of arrays, repartition of frames."
        )
    return rows


def _over_chunks(function, arrays, dtype):
    """Return a Dask array of one value per chunk of rows: a function of the chunks of arrays."""
    import dask.array as da

    names, pairs = count(), []
    for array in arrays:
        pairs += [array, ("rows", *(str(next(names)) for _ in range(array.ndim - 1)))]
    return da.blockwise(
        function,
        ("rows",),
        *pairs,
        adjust_chunks={"rows": lambda size: 1},
        concatenate=True,
        align_arrays=False,
        dtype=dtype,
        meta=np.empty(0, dtype),
    )


def _length(chunk):
    return np.array([len(chunk)])


def _counted(labels):
    if is_indicator(labels):
        return _boxed(_counted_columns(labels))
    labels = label_array(labels)
    if len(labels):
        check_classification_targets(labels)
    return _boxed(np.unique(labels, return_counts=True))


def _counted_columns(members):
    without = np.flatnonzero(members.sum(axis=1) == 0)
    if len(without):
        raise ValueError(
            f"y has a chunk with {len(without)} rows without a label, the first of them its row "
            f"{without[0]}: drop these rows."
        )
    counts = members.sum(axis=0, dtype=np.intp)
    columns = np.flatnonzero(counts)
    return columns, counts[columns]


def _boxed(value):
    box = np.empty(1, object)
    box[0] = value
    return box


def _scatters(function, views):
    """Return a delayed scatter of each chunk of rows."""
    import dask.array as da

    numbers = da.arange(len(next(iter(views.values())).chunks[0]), chunks=1)
    function = partial(_of_chunk, function, tuple(views))
    return _over_chunks(function, [numbers, *views.values()], object).to_delayed().ravel()


def _of_chunk(function, names, number, *chunks):
    """Return the scatter of a chunk, and name the chunk in what is raised."""
    views = dict(zip(names, chunks, strict=True))
    try:
        _reading.check_aligned(views)
        return _boxed(function(views))
    except ValueError as error:
        raise ValueError(f"In chunk {number[0]} of the rows: {error}") from error


def _paired_of_chunk(views):
    scatter = PairedScatter()
    for _, blocks in _reading.blocks(views):
        scatter.update(*blocks)
    return scatter


def _classes_of_chunk(views, row_weights, pairs):
    codes = views.pop("y")
    codes = class_members(codes) if codes.ndim > 1 else codes
    scatter = _ClassScatters(row_weights)
    for taken, (x, y) in _reading.blocks(views):
        x, y = scatter.x.update(x, codes[taken]), scatter.y.update(y, codes[taken])
        if pairs:
            scatter.cross.update(x, y)
    return scatter


class _ClassScatters:
    """Scatter of each view by classes, and between the views."""

    def __init__(self, row_weights):
        self.x, self.y, self.cross = ClassScatter(row_weights), ClassScatter(row_weights), Cross()

    def merge(self, other):
        self.x.merge(other.x)
        self.y.merge(other.y)
        self.cross.merge(other.cross)


def _merged(scatters):
    """Merge delayed scatters by some at a time, on the workers, and return the last one."""
    from dask import delayed

    merge = delayed(_merged_boxes, pure=True)
    while len(scatters) > 1:
        groups = range(0, len(scatters), _FAN_IN)
        scatters = [merge(list(scatters[start : start + _FAN_IN])) for start in groups]
    return scatters[0].compute()[0]


def _merged_boxes(boxes):
    merged = deepcopy(boxes[0][0])  # a task must not change what another may be given yet
    for box in boxes[1:]:
        merged.merge(box[0])
    return _boxed(merged)
