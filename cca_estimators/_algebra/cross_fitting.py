"""Variates of the training rows as they would be if the rows were new.

An estimator knows its training rows: their variates are cleaner than those of new rows, and what
learns from them expects too much. Cross-fitting embeds each row by an estimator that was fitted
without it. The folds' variates are turned onto those of the estimator of all rows, by the rotation
that brings the class centroids of both views together.
"""

import warnings

import numpy as np
from sklearn.base import clone

from cca_estimators import _ranks
from cca_estimators._algebra.moments import class_members
from cca_estimators._reading import present_rows, some_rows
from cca_estimators._reading.labels import label_array, strata

_FEW_ROWS = 12  # of the median class: with fewer, what a fold leaves out costs more than it mends


def cross_fitted(estimator, views, codes, labels, n_folds, rng, groups=None):
    """Return an estimator fitted on all rows, and the cross-fitted variates of these rows.

    Parameters
    ----------
    estimator : estimator
        Clones of it are fitted.
    views : dict of array-like
        Rows of each view; those that are NaN throughout are missing, and so are their variates.
    codes : ndarray of int, shape (n,), or indicator, shape (n, n_classes)
        Class of each row, from 0, or several.
    labels : ndarray, shape (n,), or indicator
        What the estimator learns from.
    n_folds : int
        See `folds_for`; 1: the variates of the estimator itself.
    rng : RandomState
        Source of the folds, see `stratified_folds`.
    groups : ndarray of int, shape (n,), default=None
        Groups of rows that stay in one fold, see `group_folds`.

    Returns
    -------
    estimator : estimator
    variates : dict of ndarray, shape (n, n_components)
    """
    ranks = _ranks.current()
    full = _fitted(estimator, views, labels)
    whole = _variates(full, views)
    all_codes = ranks.joined(codes)
    n_folds = folds_for(all_codes, n_folds)
    if n_folds == 1:
        return full, whole
    _check_rows(estimator)
    if groups is not None:
        groups = np.unique(ranks.joined(groups), return_inverse=True)[1]
    folds = ranks.of_first(stratified_folds(all_codes, n_folds, rng, groups))
    folds = ranks.own(folds, codes.shape[0])
    variates = {name: rows.copy() for name, rows in whole.items()}
    for fold in range(n_folds):
        kept, left_out = np.flatnonzero(folds != fold), folds == fold
        part = _fitted(
            estimator, {name: some_rows(rows, kept) for name, rows in views.items()}, labels[kept]
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


def stratified_folds(codes, n_folds, rng, groups=None):
    """Return the fold of each row, every class in all folds alike; -1: a class of one fold.

    Its rows stay with every fold, so that all know all classes: a class of one row, or, by
    `group_folds`, of one group. Rows with several labels are divided by a rare one, see `strata`.
    Nothing but the generator, the number of rows and their codes and groups decides: processes that
    hold parts of the rows draw the same.

    Examples
    --------
    >>> folds = stratified_folds(np.array([0, 1, 1, 0, 0, 0, 2]), 2, np.random.RandomState(0))
    >>> np.bincount(folds[[0, 3, 4, 5]]), np.bincount(folds[[1, 2]]), int(folds[6])
    (array([2, 2]), array([1, 1]), -1)
    """
    members = class_members(codes)
    if groups is None:
        classes = strata(codes)
        order = rng.permutation(len(classes))
        order = order[np.argsort(classes[order], kind="stable")]
        folds = np.empty(len(classes), dtype=int)
        folds[order] = np.arange(len(classes)) % n_folds
        alone = members.sum(axis=0) == 1
    else:
        folds = group_folds(members, groups, min(n_folds, groups.max() + 1), rng)
        alone = (class_members(folds).T @ members > 0).sum(axis=0) == 1
    folds[members @ alone > 0] = -1
    return folds


def group_folds(members, groups, n_folds, rng):
    """Return the fold of each row: groups stay whole, and the folds hold the classes alike.

    One group after the other, the largest first, goes to the fold that has least of its classes so
    far. Nothing but the generator, the classes and the groups decides.

    Parameters
    ----------
    members : sparse indicator, shape (n, n_classes)
        Which classes each row has.
    groups : ndarray of int, shape (n,)
        Group of each row, from 0 on, all of them there.
    n_folds : int
    rng : RandomState

    Examples
    --------
    >>> members, groups = class_members(np.repeat([0, 1], 4)), np.array([0, 0, 1, 1, 2, 2, 3, 3])
    >>> folds = group_folds(members, groups, 2, np.random.RandomState(0))
    >>> np.bincount(folds[:4]), np.bincount(folds[4:])
    (array([2, 2]), array([2, 2]))
    """
    counts = (class_members(groups).T @ members).toarray()
    sizes, shares = np.bincount(groups), counts / np.maximum(counts.sum(axis=0), 1)
    order = rng.permutation(len(counts))
    fold_of = np.empty(len(counts), dtype=int)
    held, held_rows = np.zeros((n_folds, counts.shape[1])), np.zeros(n_folds)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold = np.lexsort((held_rows, held @ shares[group]))[0]
        fold_of[group] = fold
        held[fold] += shares[group]
        held_rows[fold] += sizes[group]
    return fold_of[groups]


def group_numbers(groups, n_samples):
    """Return the groups that rows stem from as integers from 0 on; of all ranks' rows.

    Raises
    ------
    ValueError
        If they are not one for each of the rows, or all the same.

    Examples
    --------
    >>> group_numbers(["film", "talk", "film"], 3)
    array([0, 1, 0])
    """
    groups = label_array(groups, "groups")
    if len(groups) != n_samples:
        raise ValueError(
            f"groups has {len(groups)} rows and X has {n_samples}: inconsistent numbers of "
            "samples. Each row needs its group."
        )
    distinct = _ranks.current().union(np.unique(groups))
    if len(distinct) == 1:
        raise ValueError(
            f"groups holds one group only, {groups[0]!r}, and others would be needed beside it. "
            "Give the groups that rows stem from, such as videos or speakers, or leave them out."
        )
    return distinct.searchsorted(groups)


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


def takes_kernels(estimator):
    """Tell whether an estimator takes a kernel matrix in place of the rows of a view.

    Examples
    --------
    >>> from cca_estimators import CKCCA
    >>> takes_kernels(CKCCA()), takes_kernels(CKCCA(kernel={"audio": "precomputed"}))
    (False, True)
    """
    kernel = getattr(estimator, "kernel", None)
    return "precomputed" in (kernel.values() if isinstance(kernel, dict) else [kernel])


def _check_rows(estimator):
    if takes_kernels(estimator):
        raise ValueError(
            f"{type(estimator).__name__} has kernel='precomputed', which cannot be cut into folds. "
            "Pass the rows and the kernel as a function, or set n_folds=1."
        )


def _fitted(estimator, views, labels):
    """Return a clone fitted on the rows of all ranks: gathered, unless it adds up by itself.

    Who calls has warned of rows that are missing.
    """
    ranks, new = _ranks.current(), clone(estimator)
    with warnings.catch_warnings():
        if any(present_rows(rows) is not None for rows in views.values()):
            warnings.filterwarnings("ignore", "Rows that are NaN throughout", UserWarning)
        if ranks.size == 1 or getattr(estimator, "_adds_up", False):
            return new.fit(views, labels)
        views, labels = ranks.joined_views(views, labels)
        with _ranks.among(_ranks.ALONE):
            fitted = None if ranks.rank else new.fit(views, labels)
        return ranks.of_first(fitted)


def _variates(estimator, views):
    return {name: np.asarray(rows) for name, rows in estimator.transform(views).items()}


def _centroids(variates, codes, rows):
    """Return the class centroids of those of some rows that are there, view above view."""
    ranks, centroids = _ranks.current(), []
    for view in variates.values():
        there = rows[~np.isnan(view[rows, 0])]
        members = _by_class(codes[there])
        own = members @ view[there].astype(np.float64), members.sum(axis=1)
        sums, counts = (sum(parts) for parts in zip(*ranks.gathered(own), strict=True))
        centroids.append(sums[counts > 0] / counts[counts > 0][:, None])
    return np.vstack(centroids)


def _by_class(codes):
    """Return which rows have each class that any rank has, shape (n_classes, n)."""
    if codes.ndim == 1:
        return codes == _ranks.current().union(np.unique(codes))[:, None]
    return class_members(codes).toarray().T
