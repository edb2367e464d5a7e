"""The rows that early stopping goes by: some of those of `fit`, whole groups of them, or others."""

from contextlib import contextmanager
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from cca_estimators import _ranks
from cca_estimators._algebra.cross_fitting import group_folds, group_numbers
from cca_estimators._algebra.moments import class_members
from cca_estimators._reading.labels import has_label, n_classes_of, strata
from cca_estimators.views import n_rows

_MOST_FOLDS = 20
_REMEDY = "or set early_stopping=False."


class HeldOut(NamedTuple):
    """What `fit` was given for early stopping, beside X and y.

    The groups are for cross-fitted variates too, where an estimator learns from such.
    """

    groups: Any = None
    X: Any = None
    y: Any = None

    def read(self, estimator, n_samples):
        """Return the same with the groups as integers from 0, X as views by name and y as codes.

        Parameters
        ----------
        estimator : DeepEstimator
            Which has read X and y of `fit`.
        n_samples : int
            Their number of rows.
        """
        groups = None if self.groups is None else group_numbers(self.groups, n_samples)
        views, codes = (None, None) if self.X is None else _read_validation(estimator, self)
        return HeldOut(groups, views, codes)

    def only(self, rows):
        """Return the same for some of the rows of X."""
        if self.groups is None:
            return self
        return self._replace(groups=self.groups[rows])

    def tables(self, views, y):
        """Return all arrays of a fit, with what is given here: two dicts of aligned arrays."""
        fitted = {**views, "y": y, "groups": self.groups}
        held_out = {**(self.X or {}), "y": self.y}
        return [
            {name: rows for name, rows in table.items() if rows is not None}
            for table in (fitted, held_out)
        ]

    def check(self, early_stopping, cross_fits):
        """Raise ValueError unless early stopping, or for groups cross-fitting, can go by it."""
        idle_groups = None if cross_fits else self.groups
        values = {"groups": idle_groups, "X_val": self.X, "y_val": self.y}
        given = [name for name, value in values.items() if value is not None]
        if given and not early_stopping:
            raise ValueError(
                f"{' and '.join(given)} given to fit, and early_stopping is False: they say which "
                'rows it goes by. Set early_stopping="map" or "loss", or leave them out.'
            )
        if self.X is None and self.y is not None:
            raise ValueError("y_val is given to fit without X_val, whose labels it is. Give both.")
        if self.X is not None and idle_groups is not None:
            raise ValueError(
                "groups and X_val are both given to fit: groups say which rows of X are held out, "
                "and with X_val none are. Leave out one of them."
            )


def split(y, classes, n_samples, fraction, seed, groups=None):
    """Return the numbers of the rows to train on, and of those to hold out.

    Parameters
    ----------
    y : ndarray of int, shape (n_samples,), or of bool, shape (n_samples, n_classes), or None
        Class of each row, -1 for none, or an indicator of several.
    classes : list
        What the classes are called in errors.
    n_samples : int
    fraction : float in (0, 1)
        Share of the rows to hold out: with labels, of each class.
    seed : int
    groups : ndarray of int, shape (n_samples,), or None
        Which rows stay together.

    Raises
    ------
    ValueError
        If there are too few rows, or groups, for that.
    """
    if groups is None:
        drawn_by = None if y is None else strata(y)
        _check_counts(drawn_by, classes, n_samples, fraction)
        return train_test_split(
            np.arange(n_samples),
            test_size=fraction,
            stratify=_without_lone(drawn_by),
            random_state=seed,
        )
    out = _whole_groups(y, classes, groups, fraction, np.random.RandomState(seed))
    return np.flatnonzero(~out), np.flatnonzero(out)


def _without_lone(y):
    """Return the classes with another one for a row without a label, if there is a single one."""
    if y is None or np.count_nonzero(y < 0) != 1:
        return y
    return np.where(y < 0, np.bincount(y[y >= 0]).argmax(), y)


def _check_counts(y, classes, n_samples, fraction):
    n_out = int(np.ceil(fraction * n_samples))
    n_needed = 2
    if y is not None:
        codes, counts = np.unique(y[y >= 0], return_counts=True)
        if counts.min() < 2:
            raise ValueError(
                "early_stopping holds out rows of every class, and class "
                f"{classes[codes[counts.argmin()]]!r} has one row only. Give it more rows, leave "
                f"it out, give fit an X_val, {_REMEDY}"
            )
        n_needed = max(2, len(np.unique(_without_lone(y))))
    if min(n_out, n_samples - n_out) < n_needed:
        larger = f"set validation_fraction={n_needed / n_samples:.2g}, "
        raise ValueError(
            f"early_stopping holds out {n_out} of {n_samples} rows, by validation_fraction="
            f"{fraction}, and {n_needed} are needed there and among the rest"
            f"{'' if y is None else ', one of each class'}. Give more rows, "
            f"{larger if 2 * n_needed <= n_samples else ''}give fit an X_val, {_REMEDY}"
        )


def _whole_groups(y, classes, groups, fraction, rng):
    """Return which rows to hold out: whole groups, with every class among the others."""
    n_groups = int(groups.max()) + 1
    if n_groups == 1:
        raise ValueError(
            "The rows that both views have stem from one group only, and early_stopping holds out "
            f"whole groups. Give rows of more groups, give fit an X_val, {_REMEDY}"
        )
    finest = min(_MOST_FOLDS, n_groups)
    share = Fraction(fraction).limit_denominator(finest)
    share = min(max(share, Fraction(1, finest)), 1 - Fraction(1, finest))
    members = _members(y, len(groups))
    folds = group_folds(members, groups, share.denominator, rng)
    out, n_folds = np.zeros(len(groups), bool), 0
    there = members.sum(axis=0) > 0
    for fold in rng.permutation(share.denominator):
        more = out | (folds == fold)
        if n_folds < share.numerator and np.all(members[~more].sum(axis=0)[there] > 0):
            out, n_folds = more, n_folds + 1
    n_classes_out = 2 if y is None else n_classes_of(y[out][has_label(y[out], -1)])
    if n_classes_out < 2:
        raise ValueError(
            f"groups leave {n_classes_out} class(es) to hold out, and two are needed, with all of "
            f"the classes {classes[:5]} among the rest: rows of a class must stem from two groups "
            f"or more. Give smaller groups, give fit an X_val, {_REMEDY}"
        )
    return out


def _members(y, n_samples):
    """Return an indicator of the classes, with one more for rows without a label."""
    if y is None:
        return class_members(np.zeros(n_samples, int))
    return class_members(y if y.ndim > 1 else y + 1)


@contextmanager
def _naming(parameter):
    """Name a parameter in what is raised about it by code that knows it as X or y."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{parameter}: {error}") from error


def _read_validation(estimator, held_out):
    """Return the views of `X_val`, and its labels as the codes of known classes, or None."""
    with _naming("X_val"):
        views = estimator._read_again(held_out.X)
        if set(views) != set(estimator.view_names_in_):
            raise ValueError(f"it holds {list(views)}; both views are needed.")
        views = {name: views[name] for name in estimator.view_names_in_}
        n_samples = n_rows(next(iter(views.values())))
        if n_samples < 2:
            raise ValueError(f"it has {n_samples} row(s), and a minimum of 2 is required.")
        missing = {name: int((~rows).sum()) for name, rows in estimator._present(views).items()}
        if missing:
            raise ValueError(
                f"it lacks {missing} rows by view, which are NaN throughout, and the figure is of "
                "whole pairs. Leave these rows out of X_val and y_val."
            )
    if not estimator._supervised:
        return views, None
    with _naming("y_val"):
        return views, _known_codes(estimator, views, held_out.y)


def _known_codes(estimator, views, y):
    """Return labels as codes of the classes that the estimator has read from y already."""
    estimator._announced_ = estimator.classes_
    try:
        codes = estimator._read_labels(y, views)
    finally:
        del estimator._announced_
    of_all = _ranks.current().joined(codes)
    if n_classes_of(of_all[has_label(of_all, -1)]) < 2:
        raise ValueError(
            "it holds one class only, among which every order is as good. Give rows of two classes "
            "or more."
        )
    return codes
