"""Labels in any form: one for each row, of types that can be told apart and sorted."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import assert_all_finite, column_or_1d

from cca_estimators._compat import warn_user
from cca_estimators._reading.arrays import to_host


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
    y = to_host(y)
    shape = shape_of(y)
    if len(shape) == 0:
        raise ValueError(f"{name} is {y!r}: an array with one label for each row is needed.")
    if shape[1:] not in ((), (1,)):
        raise ValueError(
            f"{name} has shape {shape}, that is several labels for a row: one for each row is "
            "needed, shape (n,), or an indicator matrix of 0 and 1, shape (n, n_labels), where "
            "several are supported."
        )
    labels = one_dimension(y, warn=warn)
    if labels.dtype == object:
        _check_objects(labels, name)
    assert_all_finite(labels, input_name=name)
    return labels


def one_dimension(y, *, warn=True):
    """Return labels as an array of one dimension; of a column, with a warning."""
    if warn and shape_of(y)[1:] == (1,):
        warn_user(
            "A column-vector y was passed when a 1d array was expected. Pass y.ravel().",
            DataConversionWarning,
        )
    return column_or_1d(y)


def has_label(y, unlabelled):
    """Tell which rows have a label: another than the value that marks none, which may be NaN.

    In an indicator they are those that have any.
    """
    if y.ndim > 1:
        return np.asarray(y.sum(axis=1)).ravel() > 0
    return y == y if unlabelled != unlabelled else y != unlabelled


def n_classes_of(labels):
    """Return how many classes or labels an array of integers, or an indicator, holds."""
    return len(np.unique(labels)) if labels.ndim == 1 else int(labels.any(axis=0).sum())


def strata(labels):
    """Return one class for each row, by which rows are drawn or divided in proportion.

    Where rows have several labels it is a rare one: in turn, the label with the fewest rows left
    takes them all, which is the order of iterative stratification [1]_. A row that is left alone
    joins another one that shares a label with it.

    Parameters
    ----------
    labels : ndarray of int, shape (n,), or indicator, shape (n, n_labels)
        Dense or sparse.

    Returns
    -------
    ndarray of int, shape (n,)
        The classes themselves, or numbers of labels, -1 for rows without one.

    References
    ----------
    .. [1] K. Sechidis, G. Tsoumakas, I. Vlahavas, "On the stratification of multi-label data",
       ECML PKDD, LNCS 6913, 145-158, 2011.

    Examples
    --------
    >>> strata(np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 1], [1, 0, 0], [0, 0, 0]]))
    array([ 1,  0,  1,  1,  0, -1])
    """
    if labels.ndim == 1:
        return labels
    members = csr_array(labels, dtype=np.float64)
    by_label = members.tocsc()
    counts, chosen = members.sum(axis=0), np.full(members.shape[0], -1)
    while counts.any():
        label = np.where(counts > 0, counts, np.inf).argmin()
        rows = by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]]
        rows = rows[chosen[rows] < 0]
        chosen[rows] = label
        counts = counts - members[rows].sum(axis=0)
    _join_the_single(chosen, members)
    return chosen


def _join_the_single(chosen, members):
    """Give rows whose stratum is theirs alone that of a row that shares a label with them."""
    values, counts = np.unique(chosen[chosen >= 0], return_counts=True)
    for row in np.flatnonzero(np.isin(chosen, values[counts == 1])):
        if np.count_nonzero(chosen == chosen[row]) > 1:  # joined by another since
            continue
        others = np.setdiff1d(np.flatnonzero(members @ members[[row]].toarray()[0]), [row])
        if len(others):
            chosen[row] = chosen[others[0]]


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
    y = to_host(y)
    if is_indicator(y):
        members = csr_array(y if issparse(y) else np.asarray(y), dtype=np.float64, copy=True)
        members.eliminate_zeros()  # which a sparse matrix may hold
        return members
    return label_array(y, name, warn=warn)


def is_indicator(y):
    """Tell whether labels are a matrix (n, n_labels) of 0 and 1 with two columns or more."""
    y = to_host(y)
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
