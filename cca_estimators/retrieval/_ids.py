"""Ids of the rows of a gallery: numbers, strings or dates, of one type and distinct."""

import numpy as np

_KINDS = "biufUSmM"  # what NumPy stores without objects


def checked(ids, n_rows):
    """Return ids as an array of distinct values, or None."""
    if ids is None:
        return None
    array = np.asarray(ids)
    if isinstance(ids, (list, tuple)) or array.dtype == object:
        values = list(ids)
        array = np.asarray(values)
        same = array.tolist() == values  # NumPy makes strings of numbers among strings
    else:
        same = True
    if array.ndim != 1 or array.dtype.kind not in _KINDS or not same:
        raise ValueError("ids must be numbers, strings or dates, of one type, in one dimension.")
    if n_rows is not None and len(array) != n_rows:
        raise ValueError(f"There are {len(array)} ids for {n_rows} rows: each row needs one.")
    return distinct(array)


def joined(older, newer):
    """Return the ids of both, which must be of one type."""
    return distinct(np.concatenate([older, of_kind(newer, older)]))


def of_kind(ids, older):
    """Return ids, which must be of the type of older ones."""
    if ids is not None and ids.dtype.kind != older.dtype.kind:
        raise ValueError(
            f"The ids in the gallery have dtype {older.dtype}, those to add {ids.dtype}: use one "
            "type."
        )
    return ids


def distinct(ids):
    """Return ids, which must be distinct."""
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < len(ids):
        repeated = values[counts > 1].tolist()[0]
        raise ValueError(f"ids must be distinct, but {repeated!r} occurs repeatedly.")
    return ids
