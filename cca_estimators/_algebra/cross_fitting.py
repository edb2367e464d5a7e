"""Variates of the training rows as they would be if the rows were new.

An estimator knows its training rows: their variates are cleaner than those of new rows, and what
learns from them expects too much. Cross-fitting embeds each row by an estimator that was fitted
without it. The folds' variates are turned onto those of the estimator of all rows, by the rotation
that brings the class centroids of both views together.
"""

import numpy as np
from sklearn.base import clone

from cca_estimators._algebra.moments import class_members
from cca_estimators._reading import some_rows
from cca_estimators._reading.labels import strata

_FEW_ROWS = 12  # of the median class: with fewer, what a fold leaves out costs more than it mends


def cross_fitted(estimator, views, codes, labels, n_folds, rng):
    """Return an estimator fitted on all rows, and the cross-fitted variates of these rows.

    Parameters
    ----------
    estimator : estimator
        Clones of it are fitted.
    views : dict of array-like
        Rows of each view.
    codes : ndarray of int, shape (n,), or indicator, shape (n, n_classes)
        Class of each row, from 0, or several.
    labels : ndarray, shape (n,), or indicator
        What the estimator learns from.
    n_folds : int
        See `folds_for`; 1: the variates of the estimator itself.
    rng : RandomState
        Source of the folds, see `stratified_folds`.

    Returns
    -------
    estimator : estimator
    variates : dict of ndarray, shape (n, n_components)
    """
    full = clone(estimator).fit(views, labels)
    whole = _variates(full, views)
    n_folds = folds_for(codes, n_folds)
    if n_folds == 1:
        return full, whole
    _check_rows(estimator)
    folds = stratified_folds(codes, n_folds, rng)
    variates = {name: rows.copy() for name, rows in whole.items()}
    for fold in range(n_folds):
        kept, left_out = np.flatnonzero(folds != fold), folds == fold
        part = clone(estimator).fit(
            {name: some_rows(rows, kept) for name, rows in views.items()}, labels[kept]
        )
        own = _variates(part, views)
        turn = rotation(*(_centroids(each, codes, kept) for each in (own, whole)))
        for name, rows in own.items():
            variates[name][left_out] = rows[left_out] @ turn
    return full, variates


def folds_for(codes, n_folds):
    """Return the number of folds to take: 1, which is none, where classes have too few rows.

    Examples
    --------
    >>> folds_for(np.repeat([0, 1, 2], 100), 5)
    5
    >>> folds_for(np.repeat([0, 1, 2], 9), 5)
    1
    """
    typical = int(np.median(class_members(codes).sum(axis=0)))
    return min(n_folds, typical) if typical >= _FEW_ROWS else 1


def stratified_folds(codes, n_folds, rng):
    """Return the fold of each row, every class in all folds alike; -1: a class of one row.

    That row stays with every fold, so that all know all classes. Rows with several labels are
    divided by a rare one, see `strata`. Nothing but the generator, the number of rows and their
    codes decides: processes that hold parts of the rows draw the same.

    Examples
    --------
    >>> folds = stratified_folds(np.array([0, 1, 1, 0, 0, 0, 2]), 2, np.random.RandomState(0))
    >>> np.bincount(folds[[0, 3, 4, 5]]), np.bincount(folds[[1, 2]]), int(folds[6])
    (array([2, 2]), array([1, 1]), -1)
    """
    members, classes = class_members(codes), strata(codes)
    order = rng.permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]
    folds = np.empty(len(classes), dtype=int)
    folds[order] = np.arange(len(classes)) % n_folds
    folds[members @ (members.sum(axis=0) == 1) > 0] = -1
    return folds


def rotation(source, target):
    """Return the orthogonal matrix `R` of least ``||source R - target||``.

    Examples
    --------
    >>> rotation(np.array([[0.0, 2.0], [1.0, 0.0]]), np.array([[3.0, 0.0], [0.0, 1.0]])).round()
    array([[0., 1.],
           [1., 0.]])
    """
    left, _, right = np.linalg.svd(source.T @ target, full_matrices=False)
    return left @ right


def _check_rows(estimator):
    kernel = getattr(estimator, "kernel", None)
    if "precomputed" in (kernel.values() if isinstance(kernel, dict) else [kernel]):
        raise ValueError(
            f"{type(estimator).__name__} has kernel='precomputed', which cannot be cut into folds. "
            "Pass the rows and the kernel as a function, or set n_folds=1."
        )


def _variates(estimator, views):
    return {name: np.asarray(rows) for name, rows in estimator.transform(views).items()}


def _centroids(variates, codes, rows):
    """Return the class centroids of some rows, the views one above the other."""
    members = _by_class(codes[rows])
    sums = [members @ view[rows].astype(np.float64) for view in variates.values()]
    return np.vstack(sums) / np.tile(members.sum(axis=1), len(sums))[:, None]


def _by_class(codes):
    """Return which rows have each class that is there, shape (n_classes, n)."""
    if codes.ndim == 1:
        return codes == np.unique(codes)[:, None]
    members = class_members(codes).toarray().T
    return members[members.any(axis=1)]
