"""Labels in any form: one for each row, of types that can be told apart and sorted."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.utils import assert_all_finite, column_or_1d


def label_array(y, name="y", *, warn=True):
    """Return labels as an array with one for each row.

    Parameters
    ----------
    y : array-like, shape (n,), or (n, 1) with a warning
    name : str
        What the caller calls them, for the error.
    warn : bool, default=True
        Whether to warn of a column.

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    ValueError
        If a row has several labels or none, or if there are labels that cannot be sorted.
    """
    shape = shape_of(y)
    if len(shape) == 0:
        raise ValueError(f"{name} is {y!r}: an array with one label for each row is needed.")
    if shape[1:] not in ((), (1,)):
        raise ValueError(
            f"{name} has shape {shape}, that is several labels for a row: one for each row is "
            "needed, shape (n,), or an indicator matrix of 0 and 1, shape (n, n_labels), where "
            "several are supported."
        )
    labels = column_or_1d(y, warn=warn)
    if labels.dtype == object:
        _check_objects(labels, name)
    assert_all_finite(labels, input_name=name)
    return labels


def has_label(y, unlabelled):
    """Tell which labels are not the value that marks rows without one, which may be NaN."""
    return y == y if unlabelled != unlabelled else y != unlabelled


def read_labels(y, name="y", *, warn=True):
    """Return labels as `label_array` does, or an indicator of several labels as a sparse array.

    Parameters
    ----------
    y : array-like, shape (n,), or array-like or sparse, shape (n, n_labels)
    name : str
    warn : bool, default=True
        As for `label_array`.

    Returns
    -------
    ndarray of shape (n,), or sparse array of float64 of shape (n, n_labels), of 0 and 1
    """
    if is_indicator(y):
        return csr_array(y if issparse(y) else np.asarray(y), dtype=np.float64)
    return label_array(y, name, warn=warn)


def is_indicator(y):
    """Tell whether labels are a matrix (n, n_labels) of 0 and 1 with two columns or more."""
    shape = shape_of(y)
    if len(shape) != 2 or shape[1] is None or shape[1] < 2:
        return False
    values = y.data if issparse(y) else np.asarray(y)
    return values.dtype.kind in "biuf" and bool(np.isin(values, (0, 1)).all())


def shape_of(y):
    """Return the shape of labels in whatever form, ragged rows as their number and None."""
    shape = getattr(y, "shape", None)
    if shape is not None:
        return tuple(shape)
    try:
        return np.asarray(y).shape
    except ValueError:  # rows of several lengths
        return (len(y), None)


def looks_like_a_view(y):
    """Tell whether labels have the form of a second view: of more than one dimension."""
    return isinstance(y, Mapping) or len(shape_of(y)) > 1


def _check_objects(labels, name):
    for row, label in enumerate(labels):
        if label is None:
            raise ValueError(f"{name} holds None in row {row}. Drop rows without a label.")
        if np.iterable(label) and not isinstance(label, (str, bytes)):
            raise ValueError(
                f"{name} holds a {type(label).__name__} in row {row}, {label!r}: several labels "
                "for a row are not supported, one for each row is needed."
            )
    one_of_each = {type(label): label for label in labels}
    try:
        sorted(one_of_each.values())
    except TypeError as error:
        types = sorted(kind.__name__ for kind in one_of_each)
        raise ValueError(
            f"{name} holds labels of types that cannot be sorted together: {', '.join(types)}. "
            "Use one type of label, for example strings."
        ) from error
