"""Estimators that rows can be added to, and that can be merged: `partial_fit` and `merge`."""

from abc import abstractmethod
from contextlib import suppress
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from cca_estimators._algebra.moments import ConstantViewError
from cca_estimators._algebra.wide import HeldRows, rows_take_less
from cca_estimators._base import CrossModalEstimator, _restored_on_error
from cca_estimators._compat import fit_context, warn_user
from cca_estimators._reading import arrays, is_dask
from cca_estimators.views import n_rows


class IncrementalEstimator(CrossModalEstimator):
    """Estimator of moments, which may come in parts.

    Subclasses write `_solve`, `_moments`, `_gathered`, `_merged_scatters` and `_gathered_moments`.
    """

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None) -> Self:
        """Add rows to those seen so far: the result is that of a single fit on all of them.

        The sizes and the order of the blocks do not matter, but for rounding: below 1e-8 in
        float64, and the last digits of float32 where rows come in it.

        The estimator keeps what this needs, which `fit` does not do: begin with `partial_fit`. It
        keeps the rows as long as they take less memory than their moments, and these from then on:
        with `p` and `q` features ``p^2 + q^2 + pq`` numbers, for each class where labels are used.
        Views of more features than rows are thus added to at the cost of `fit`, and without a
        matrix of ``p^2`` numbers. Until two rows (and two classes, where labels are used) have been
        seen, and both views have varied, the estimator is not fitted.

        Parameters
        ----------
        X : mapping of two arrays by view name, or array of shape (n_samples, n_features)
            As in `fit`; one row is enough.
        y : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            As in `fit`; classes may turn up in any order.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If X or y are not as described. The estimator then stays as it was.

        Warns
        -----
        UserWarning
            If the estimator was fitted by `fit`, which is then forgotten; if the rows so far
            determine fewer than `n_components` directions.
        """
        first = not hasattr(self, "scatter_")
        if first and hasattr(self, "weights_"):
            warn_user(
                f"This {type(self).__name__} was fitted by fit, which keeps no moments to add to: "
                "partial_fit begins anew. To add rows, begin with partial_fit.",
            )
        with _restored_on_error(self):
            if first:
                self._forget()
            self._check_target(X, y)
            place = self._place_of(X)
            views = self._read_first(X) if first else self._read_again(X)
            _check_not_dask(views)
            scatter = HeldRows() if first else _beside(self.scatter_, views)
            self.scatter_ = self._extended(scatter, views, y)
            self._solve_scatter()
            self._settle(place)
        return self

    def merge(self, other) -> Self:
        """Add the rows that another estimator has seen: the result is that of one fit on all.

        Fit parts of the rows by `partial_fit`, in any processes, on any machines, and merge them
        in any order; the parameters that count are those of this estimator.

        Parameters
        ----------
        other : estimator
            Of the same class, fitted by `partial_fit` on other rows of the same views. It stays as
            it is.

        Returns
        -------
        self : object
            The estimator, which may have been new.

        Raises
        ------
        TypeError
            If the other estimator is of another class.
        ValueError
            If one of the two was fitted by `fit`, or if their views are not the same. The estimator
            then stays as it was.

        Examples
        --------
        >>> import numpy as np
        >>> from cca_estimators import CCA
        >>> from cca_estimators.datasets import make_views
        >>> X, _ = make_views(n_samples=200, n_classes=4, n_features=(8, 12), random_state=0)
        >>> parts = [CCA(3).partial_fit(X[:80]), CCA(3).partial_fit(X[80:])]
        >>> merged = CCA(3).merge(parts[0]).merge(parts[1])
        >>> np.allclose(merged.correlations_, CCA(3).fit(X).correlations_)
        True
        """
        self._check_mergeable(other)
        with _restored_on_error(self):
            if not hasattr(self, "scatter_"):
                vars(self).update({name: vars(other)[name] for name in _seen_by(other)})
                self.scatter_ = HeldRows()
            place = arrays.place_within([self._settling(), other._settling()])
            scatters = self.scatter_, other.scatter_
            scatters = arrays.moved(scatters, arrays.place_within(scatters))
            self.scatter_ = self._merged(*scatters)
            self._solve_scatter()
            self._settle(place)
        return self

    def _check_mergeable(self, other):
        if type(other) is not type(self):
            raise TypeError(
                f"other is a {type(other).__name__}; only another {type(self).__name__} can be "
                "merged."
            )
        for name, estimator in {"This estimator": self, "other": other}.items():
            if not hasattr(estimator, "scatter_") and (
                estimator is other or hasattr(estimator, "weights_")
            ):
                raise ValueError(
                    f"{name} holds no rows to merge: fit keeps none. Use partial_fit instead."
                )
        widths = [
            list(each._widths_.items()) for each in (self, other) if hasattr(each, "scatter_")
        ]
        if widths[0] != widths[-1]:
            raise ValueError(
                f"The views to merge are not the same: {widths[0]} and {widths[-1]}, names and "
                "numbers of features. All parts need the same ones in the same order."
            )

    def _extended(self, scatter, views, y):
        """Return a new scatter, or rows as yet, which adds the views to an older one."""
        labels = self._labels_of(views, y)
        if not isinstance(scatter, HeldRows):
            return self._gathered(views, labels, scatter)
        n_samples = n_rows(next(iter(views.values())))
        if self._is_held(scatter.n_rows + n_samples, [*scatter.labels, *labels]):
            return scatter.read(views, labels)
        return self._gathered(views, labels, self._scatter_of(scatter))

    def _merged(self, scatter, other):
        """Return the scatter, or rows as yet, of two."""
        if isinstance(scatter, HeldRows) and isinstance(other, HeldRows):
            joined = scatter.added(other)
            if self._is_held(joined.n_rows, joined.labels):
                return joined
        scatter, other = (
            self._scatter_of(each) if isinstance(each, HeldRows) else each
            for each in (scatter, other)
        )
        return other if scatter is None else self._merged_scatters(scatter, other)

    def _is_held(self, n_samples, labels):
        n_classes = max(1, len(set(_one_by_one(labels))))
        return rows_take_less(n_samples, list(self._widths_.values()), n_classes)

    def _scatter_of(self, held):
        """Return the scatter of rows held, or None if there are none."""
        return self._gathered(held.joined(), held.labels, None) if held.blocks else None

    def _labels_of(self, views, y):
        """Return the labels of rows as a list, those of a row with several as a tuple."""
        if not self._supervised:
            return []
        codes = self._read_classes(y, n_rows(next(iter(views.values()))))
        if codes.ndim == 1:
            return self.classes_[codes].tolist()
        rows = np.split(self.classes_[codes.indices], codes.indptr[1:-1])
        return [tuple(own.tolist()) for own in rows]

    def _solve_scatter(self):
        """Solve for all rows so far, unless they are too few or a view has not varied yet."""
        held = isinstance(self.scatter_, HeldRows)
        with suppress(ConstantViewError):
            moments = self._held_moments() if held else self._gathered_moments()
            if moments is not None:
                self._solve(moments)

    def _held_moments(self):
        """Return the moments of rows held as in `fit`, or None if they are not enough."""
        codes = None
        if self._supervised:
            self.classes_, codes = classes_and_codes(self.scatter_.labels)
        enough = len(self.classes_) if self._supervised else self.scatter_.n_rows
        return self._moments(self.scatter_.joined(), codes) if enough >= 2 else None

    @abstractmethod
    def _solve(self, moments):
        """Set the fitted attributes from moments."""

    @abstractmethod
    def _moments(self, views, y):
        """Return the moments of the views, and of the labels as integers from 0."""

    @abstractmethod
    def _gathered(self, views, labels, scatter):
        """Return a new scatter which adds the views to an older one, which may be None."""

    @abstractmethod
    def _merged_scatters(self, scatter, other):
        """Return a new scatter which adds up two, for `merge`."""

    @abstractmethod
    def _gathered_moments(self):
        """Return the moments of `scatter_`, or None if it does not hold enough rows."""


def _check_not_dask(views):
    for name, rows in views.items():
        if is_dask(rows):
            raise TypeError(
                f"View {name!r} is a Dask collection, which partial_fit does not read: fit does; "
                "or call partial_fit with each chunk where it lies, and merge."
            )


def _beside(scatter, views):
    """Return a scatter whose arrays lie where the views do."""
    return arrays.moved(scatter, arrays.place_of(next(iter(views.values()))))


def _seen_by(estimator):
    """Return what an estimator has learnt of its views beside their rows."""
    names = (
        "view_names_in_",
        "n_features_in_",
        "_widths_",
        "feature_names_in_",
        "classes_",
    )
    return {name: vars(estimator)[name] for name in names if hasattr(estimator, name)}


def _one_by_one(labels):
    """Yield the labels of all rows."""
    for label in labels:
        yield from label if isinstance(label, tuple) else (label,)


def classes_and_codes(labels):
    """Return the classes of a list of labels, and the class of each row, or a sparse indicator."""
    classes = sorted_labels(_one_by_one(labels))
    if not any(isinstance(label, tuple) for label in labels):
        return classes, classes.searchsorted(labels)
    lists = [label if isinstance(label, tuple) else (label,) for label in labels]
    columns = classes.searchsorted(list(_one_by_one(labels)))
    starts = np.cumsum([0, *map(len, lists)])
    shape = len(lists), len(classes)
    return classes, csr_array((np.ones(len(columns)), columns, starts), shape=shape)


def sorted_labels(labels):
    """Return labels as a sorted array, unless NumPy has no type that holds all of them."""
    labels = list(labels)
    together = np.unique(labels)
    if set(together.tolist()) != set(labels):
        types = sorted({type(label).__name__ for label in labels})
        raise ValueError(
            f"y holds labels of other types than before: {' and '.join(types)} together. Use one "
            "type of label in all calls of partial_fit."
        )
    return together
