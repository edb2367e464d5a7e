"""The contract that all estimators share: either form of X, one view alone, labels, score."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import contextmanager
from math import prod
from numbers import Integral
from typing import Any, Self, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from cca_estimators import _ranks, _reading
from cca_estimators._algebra.moments import class_members
from cca_estimators._algebra.namespace import spread
from cca_estimators._base.tags import with_views
from cca_estimators._compat import (
    ADAPTERS_MANAGER,
    Interval,
    fit_context,
    get_output_config,
    validate_parameter_constraints,
    warn_user,
)
from cca_estimators._reading import arrays
from cca_estimators._reading.labels import (
    is_indicator,
    label_array,
    looks_like_a_view,
    read_labels,
    shape_of,
)
from cca_estimators.metrics import cross_modal_map
from cca_estimators.views import Views, n_rows

_USES = {
    "own rows": "is fitted on all rows that there are of each view, paired by class",
    "stand-ins": "is trained on all rows that there are, one of the same labels in place of one "
    "that is missing; a row for which there is none is left out",
    "whole pairs": "is fitted on the rows that both views have",
}


class ViewsTransformer(TransformerMixin, BaseEstimator, ABC, auto_wrap_output_keys=None):
    """Transformer of two views, given by name or side by side in one array.

    What goes in comes out: a mapping gives `Views` of the same names, and may hold one view alone
    at transform; an array gives an array.

    Subclasses write `_fit`, `_transform_view` and `_n_outputs`.
    """

    _parameter_constraints = {"view_split": [Interval(Integral, 1, None, closed="left"), None]}
    _min_samples = 2
    _reads_dask = False
    _works_in_place = False  # on arrays of any library, where they lie
    _takes_labels = True  # and uses them, or hands them on
    _several_labels = True

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None) -> Self:
        """Fit the estimator.

        Parameters
        ----------
        X : mapping of two arrays by view name, or array of shape (n_samples, n_features)
            Views of shape (n_samples, n_features) or (n_samples, n_steps, n_features) with aligned
            rows; or both side by side in one array, see `view_split`.
        y : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Class labels, or an indicator of several, dense or sparse; ignored by unsupervised
            estimators. A second view is no y: beside one array, a y of two dimensions that is no
            indicator is refused.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X or y are not as described. The estimator then stays as it was.
        """
        with _restored_on_error(self):
            self._forget()
            self._check_target(X, y)
            place = self._place_of(X)
            views = self._read_first(X, self._min_samples)
            self._fit_rows(views, self._read_labels(y, views))
            self._settle(place)
        return self

    def _place_of(self, X):
        """Return where X lies, and the results are to lie; None: with NumPy."""
        if not (self._works_in_place and get_config()["array_api_dispatch"]):
            return None
        return arrays.common_place(X if _reading.is_mapping(X) else {"X": X})

    def _settle(self, place):
        """Move the fitted attributes to where X lies."""
        if place is not None:
            vars(self).update(arrays.moved(self._settling(), place))

    def _settling(self):
        """Return the fitted attributes that follow X."""
        return {}

    def _check_same_place(self, place):
        """Raise ValueError if the estimator was fitted on arrays that lie elsewhere.

        One that lies with NumPy, as any that was loaded, works everywhere.
        """
        if not get_config()["array_api_dispatch"]:
            return
        for value in self._settling().values():
            own = value if isinstance(value, dict) else {"": value}
            for fitted in map(arrays.place_of, own.values()):
                if fitted not in (None, place):
                    raise self._elsewhere_error(fitted, place)

    def _elsewhere_error(self, fitted, place):
        return ValueError(
            f"Inputs passed to {type(self).__name__}.transform() must use the same namespace and "
            f"the same device as those passed to fit(): they lie with {arrays.place_name(place)}, "
            f"and the estimator with {arrays.place_name(fitted)}. Move the rows, or pickle and "
            "load the estimator: one that is loaded works everywhere."
        )

    def __getstate__(self):
        return arrays.on_host(super().__getstate__())

    def _fit_rows(self, views, y):
        """Fit on the rows that are there."""
        self._fit(views, y)

    @abstractmethod
    def _fit(self, views, y):
        """Fit on a dict of views and, if supervised, labels as integers from 0."""

    @abstractmethod
    def _transform_view(self, name, rows):
        """Return the transform of one view, shape (n, ...)."""

    @abstractmethod
    def _n_outputs(self, name):
        """Return the number of columns of the transform of one view."""

    @overload
    def transform(self, X: Mapping[str, Any]) -> Views: ...
    @overload
    def transform(self, X: ArrayLike) -> np.ndarray: ...
    def transform(self, X):
        """Transform both views, or one alone.

        Parameters
        ----------
        X : mapping of arrays by view name, or array of shape (n_samples, n_features)
            As in `fit`, except that a mapping may hold only one of the views.

        Returns
        -------
        Views or array
            Transformed views by name, or side by side in one array, as X has them.

        Raises
        ------
        ValueError
            If a view is unknown, has another number of features than in `fit`, or is not finite.
        """
        check_is_fitted(self)
        place = self._place_of(X)
        self._check_same_place(place)
        views = self._read_again(X)
        outputs = {name: self._transform_rows(name, rows) for name, rows in views.items()}
        if place is not None:
            outputs = {name: place.put(output) for name, output in outputs.items()}
        if _reading.is_mapping(X):
            return Views({name: self._wrapped(outputs[name], X[name], [name]) for name in outputs})
        return self._wrapped(_side_by_side(list(outputs.values())), X, list(outputs))

    def _transform_rows(self, name, rows):
        """Return the transform of one view, whose rows may be missing."""
        return self._transform_view(name, rows)

    @overload
    def fit_transform(self, X: Mapping[str, Any], y: Any = None) -> Views: ...
    @overload
    def fit_transform(self, X: ArrayLike, y: Any = None) -> np.ndarray: ...
    def fit_transform(self, X, y=None):
        """Fit the estimator and return the transform of X.

        Parameters
        ----------
        X : mapping of two arrays by view name, or array of shape (n_samples, n_features)
            As in `fit`.
        y : array-like of shape (n_samples,), default=None
            As in `fit`.

        Returns
        -------
        Views or array
            As `transform` returns it.
        """
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Return the names of the output columns, view by view.

        Parameters
        ----------
        input_features : None
            Ignored, present for the API of scikit-learn.

        Returns
        -------
        ndarray of str objects
            For example ``audio_cca0, audio_cca1, ..., visual_cca0, ...``.
        """
        check_is_fitted(self)
        return self._names_out(self.view_names_in_)

    def _names_out(self, view_names):
        prefix = type(self).__name__.lower()
        return np.array(
            [f"{name}_{prefix}{i}" for name in view_names for i in range(self._n_outputs(name))],
            dtype=object,
        )

    def _wrapped(self, output, original, view_names):
        """Return an output in the container that `set_output` asks for."""
        container = get_output_config("transform", self)["dense"]
        if container == "default" or output.ndim != 2 or _reading.is_dask(output):
            return output
        output = arrays.to_host(output)
        adapter = ADAPTERS_MANAGER.adapters[container]
        return adapter.create_container(output, original, columns=self._names_out(view_names))

    def _read_first(self, X, min_samples=1):
        """Read X where its views and features become known."""
        if _reading.is_mapping(X):
            self._check_in_memory(X)
            views = _reading.named_views(X, read=self._read_view)
            _check_n_rows(views, min_samples)
            names = _reading.feature_names(X)
            if names:
                self.feature_names_in_ = names
            self.n_features_in_ = {name: self._width(rows) for name, rows in views.items()}
        else:
            X = self._validated(
                X, reset=True, ensure_min_samples=min_samples, ensure_min_features=2
            )
            views = _reading.side_by_side(X, self.view_split)
        self.view_names_in_ = list(views)
        self._widths_ = {name: self._width(rows) for name, rows in views.items()}
        return views

    def _read_again(self, X):
        """Read X whose views and features must be those of the first time."""
        if _reading.is_mapping(X):
            self._check_in_memory(X)
            views = _reading.named_views(X, self.view_names_in_, self._read_view)
            _reading.check_feature_names(X, self._known_names(), type(self).__name__)
        elif isinstance(self.n_features_in_, dict):
            raise ValueError(
                f"X is a {type(X).__name__}, but fit saw the views {self.view_names_in_} by name: "
                f"pass a mapping such as {{{self.view_names_in_[0]!r}: rows}}."
            )
        else:
            X = self._validated(X, reset=False)
            widths = [self._widths_[name] for name in self.view_names_in_]
            views = _reading.side_by_side(X, widths[0])
        _check_n_rows(views, 1)
        for name, rows in views.items():
            self._check_width(name, rows)
        return views

    def _known_names(self):
        """Return the names of the features by view, of views whose features have names."""
        names = getattr(self, "feature_names_in_", {})
        if isinstance(names, dict):
            return names
        first, second = self.view_names_in_
        split = self._widths_[first]
        return {first: names[:split], second: names[split:]}

    def _check_in_memory(self, X):
        for name, rows in X.items():
            if _reading.is_dask(rows) and not self._reads_dask:
                raise TypeError(
                    f"View {name!r} is a Dask collection, which {type(self).__name__} does not "
                    f"read: pass X[{name!r}].compute(), if it fits into memory."
                )

    def _validated(self, X, **options):
        if _reading.is_dask(X):
            raise TypeError(
                "X is one Dask collection; CCA and CCCA take views that are Dask collections by "
                "name, as in {'audio': X[:, :128], 'visual': X[:, 128:]}."
            )
        place = self._place_of(X)
        if place is None:
            X, dtypes = arrays.to_host(X), [np.float64, np.float32]
        else:
            dtypes = place.float_dtypes
        X = validate_data(self, X, dtype=dtypes, ensure_all_finite=False, **options)
        return X if place is None or place.computes else arrays.to_host(X)

    def _read_view(self, rows, name):
        """Return one view of a mapping as `_fit` and `_transform_view` take it."""
        in_place = self._works_in_place and _ranks.current().size == 1
        read = _reading.where_they_lie if in_place else _reading.as_numbers
        return read(rows, name)

    def _width(self, rows):
        """Return the number of features of one view."""
        return prod(rows.shape[1:])

    def _check_width(self, name, rows):
        if self._width(rows) != self._widths_[name]:
            raise ValueError(
                f"View {name!r} has {self._width(rows)} features (shape {tuple(rows.shape)}), but "
                f"{type(self).__name__} was fitted with {self._widths_[name]}."
            )

    def _check_target(self, X, y):
        """Raise ValueError if y is meant as a second view beside one array, as in `fit(X, Y)`."""
        if y is None or _reading.is_mapping(X) or not looks_like_a_view(y):
            return
        if self._takes_labels and shape_of(y)[1:] == (1,):
            return
        if self._several_labels and self._takes_labels and is_indicator(y):
            return
        kind = "a mapping" if isinstance(y, Mapping) else f"of shape {shape_of(y)}"
        raise ValueError(
            f"y is {kind}, like a second view. {type(self).__name__} takes both views as X: pass "
            "X = Views(first=X, second=y), and class labels, if any, as y of shape (n,). "
            "Several labels for a row, as an indicator of 0 and 1, are for methods that learn from "
            "them; to score by them, name the views."
        )

    def _read_labels(self, y, views):
        """Return what `_fit` needs of y."""
        return y

    def _forget(self):
        """Delete the fitted attributes."""
        for attribute in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, attribute)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        by_parameter = {"device", "sharded"}.intersection(self.get_params(deep=False))
        tags.array_api_support = self._works_in_place
        return with_views(
            tags,
            dask=self._reads_dask,
            partial_fit=hasattr(self, "partial_fit"),
            **dict.fromkeys(by_parameter, True),
        )


class CrossModalEstimator(ViewsTransformer):
    """Estimator of a joint embedding of two views.

    Attributes
    ----------
    metric : {"cosine", "hamming"}
        How the scorers and the index compare embeddings.
    """

    metric = "cosine"
    _supervised = False
    _missing_partners = "whole pairs"  # what is used where rows are missing, NaN throughout
    _several_labels = False  # whether a row may have several

    # Pipeline.score hands sample_weight=None on where metadata are routed, and no score takes it
    __metadata_request__score = {"sample_weight": None}

    def score(self, X, y=None) -> float:
        """Return the mean average precision (MAP) of cross-modal retrieval.

        Each view queries the other, over the full ranked list; both directions are averaged.

        Parameters
        ----------
        X : mapping of two arrays by view name, or array of shape (n_samples, n_features)
            As in `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Class labels: rows of the same class are relevant to each other. An indicator of several
            labels, dense or sparse: rows that share one. None: each row is relevant to its own
            partner only.

        Returns
        -------
        float
            In [0, 1].

        Warns
        -----
        UserWarning
            If the estimator learns from labels and y is None: pairs are measured then.
        """
        self._check_target(X, y)
        if y is None:
            self._warn_without_labels()
        return cross_modal_map(self, X, y)

    def _warn_without_labels(self):
        if self._supervised:
            warn_user(
                f"{type(self).__name__} learns from labels, and score was given none: it measures "
                "how well each row finds its own partner, not its class. Pass y for classes."
            )

    @property
    def _takes_labels(self):
        return self._supervised

    def _fit_rows(self, views, y):
        present = self._present(views)
        if not present:
            return self._fit(views, y)
        counts = {name: int(np.count_nonzero(~rows)) for name, rows in present.items()}
        n_samples = len(next(iter(present.values())))
        warn_user(
            f"Rows that are NaN throughout are taken for missing: {counts} by view, of "
            f"{n_samples}. {type(self).__name__} {_USES[self._missing_partners]}.",
        )
        return self._fit_incomplete(views, y, present, counts)

    def _fit_incomplete(self, views, y, present, counts):
        """Fit on whole pairs."""
        whole = np.flatnonzero(np.logical_and.reduce(list(present.values())))
        if len(whole) < self._min_samples:
            raise ValueError(
                f"{type(self).__name__} needs rows that both views have, {self._min_samples} at "
                f"least, but there are {len(whole)}: missing by view are {counts}."
            )
        views = {name: _reading.some_rows(rows, whole) for name, rows in views.items()}
        self._fit_whole(views, None if y is None else y[whole], whole)

    def _fit_whole(self, views, y, rows):
        """Fit on the pairs that are whole, which are these rows of X."""
        self._fit(views, y)

    def _own_rows(self, views, y, present, counts):
        """Return the rows that each view has of the classes that both have, and their labels.

        What remains are these classes.
        """
        members = class_members(y, len(self.classes_))
        known = [members[rows].sum(axis=0) for rows in present.values()]
        paired = np.flatnonzero(np.minimum(*known))
        if len(paired) < 2:
            raise ValueError(
                f"{len(paired)} classes have rows in both views, and two are needed: missing by "
                f"view are {counts} rows."
            )
        self.classes_ = self.classes_[paired]
        members = members[:, paired]
        own = [np.flatnonzero(rows & (members.sum(axis=1) > 0)) for rows in present.values()]
        parts = zip(views.items(), own, strict=True)
        views = {name: _reading.some_rows(view, rows) for (name, view), rows in parts}
        return views, [members[rows] for rows in own]

    def _present(self, views):
        """Return which rows of each view are there, or nothing if all are.

        In one array, one NaN may be all that a row of a narrow view holds: there it is an error.
        """
        present = {name: _reading.present_rows(rows) for name, rows in views.items()}
        if all(rows is None for rows in present.values()):
            return {}
        if not isinstance(self.n_features_in_, dict):
            for name, rows in views.items():
                _reading.check_finite(arrays.to_host(rows), name)
        return {
            name: np.ones(n_rows(views[name]), bool) if rows is None else rows
            for name, rows in present.items()
        }

    def _transform_rows(self, name, rows):
        return self._of_present_rows(name, rows, self._transform_view, self._n_outputs(name))

    def _of_present_rows(self, name, rows, function, n_outputs):
        """Return what a function of a view gives; NaN or, of integers, masked for missing rows."""
        present = self._present({name: rows}).get(name)
        if present is None:
            return function(name, rows)
        numbers = np.flatnonzero(present)
        if arrays.is_of_library(rows):
            return _with_missing(name, rows, numbers, function, n_outputs)
        shape = len(present), n_outputs
        known = function(name, rows[numbers]) if len(numbers) else np.empty((0, n_outputs))
        if known.dtype.kind == "f":
            output = np.full(shape, np.nan, known.dtype)
        else:
            output = np.ma.masked_all(shape, known.dtype)
        output[numbers] = known
        return output

    def _n_outputs(self, name):
        return self.n_components_

    def _read_labels(self, y, views):
        if not self._supervised:
            return None
        codes = self._read_classes(y, n_rows(next(iter(views.values()))))
        self._check_several_classes()
        return codes

    def _check_several_classes(self):
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class only, {self.classes_.tolist()[0]!r}; {type(self).__name__} "
                "tells classes apart and needs two or more."
            )

    def _by_view(self, parameter):
        """Return a parameter for each view: its values by name if it is a dict, else the same."""
        value = getattr(self, parameter)
        by_view = value if isinstance(value, dict) else dict.fromkeys(self.view_names_in_, value)
        if set(by_view) != set(self.view_names_in_):
            raise ValueError(
                f"{parameter} names the views {list(by_view)}; the views of X are "
                f"{self.view_names_in_}."
            )
        allowed = [kind for kind in self._parameter_constraints[parameter] if kind is not dict]
        for name, chosen in by_view.items():
            caller = f"{type(self).__name__} for view {name!r}"
            validate_parameter_constraints({parameter: allowed}, {parameter: chosen}, caller)
        return {name: by_view[name] for name in self.view_names_in_}

    def _read_classes(self, y, n_samples):
        """Read labels into `classes_`: integers from 0, or an indicator if rows have several."""
        if not self._several_labels or y is None or not is_indicator(y):
            return self._class_codes(y, n_samples)
        members = read_labels(y)
        _check_n_labels(members, n_samples)
        n_labels = members.sum(axis=1)
        self._check_all_labelled(n_labels)
        ranks = _ranks.current()
        self._settle_classes(ranks.union(np.flatnonzero(members.sum(axis=0))))
        members = members[:, self.classes_]
        return members.indices if all(ranks.gathered((n_labels == 1).all())) else members

    def _check_all_labelled(self, n_labels):
        if not n_labels.all():
            raise ValueError(
                f"y has {np.count_nonzero(n_labels == 0)} rows without a label, the first of them "
                f"row {n_labels.argmin()}. {type(self).__name__} learns from labels: drop these "
                "rows."
            )

    def _settle_classes(self, given):
        """Set `classes_` by the classes of the labels given, sorted."""
        self.classes_ = given

    def _class_codes(self, y, n_samples):
        """Read labels into `classes_` and return them as integers from 0."""
        self._check_there(y)
        y = label_array(y)
        _check_n_labels(y, n_samples)
        check_classification_targets(y)
        given, codes = np.unique(y, return_inverse=True)
        self._settle_classes(_ranks.current().union(given))
        return np.searchsorted(self.classes_, given)[codes]

    def _check_there(self, y):
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: it "
                "learns from class labels, one for each row."
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self._supervised
        tags.several_labels = self._takes_labels and self._several_labels
        tags.missing_partners = self._missing_partners
        return tags


@contextmanager
def _restored_on_error(estimator):
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _with_missing(name, rows, numbers, function, n_outputs):
    """Return what a function gives for the rows that are there, and NaN for those missing.

    Libraries other than NumPy have no masks.
    """
    if len(numbers):
        known = function(name, _reading.some_rows(rows, numbers))
    else:
        known = arrays.place_of(rows).put(np.empty((0, n_outputs)))
    return spread(known, numbers, rows.shape[0], np.nan)


def _side_by_side(outputs):
    place = arrays.place_of(outputs[0])
    if place is not None:
        return place.xp.concat(outputs, axis=1)
    return (np.ma.hstack if any(map(np.ma.isMA, outputs)) else np.hstack)(outputs)


def _check_n_rows(views, minimum):
    for name, rows in views.items():
        if n_rows(rows) < minimum:
            raise ValueError(
                f"View {name!r} has {n_rows(rows)} row(s); a minimum of {minimum} is required."
            )


def _check_n_labels(labels, n_samples):
    if labels.shape[0] != n_samples:
        raise ValueError(
            f"y has labels for {labels.shape[0]} rows and X has {n_samples} rows: inconsistent "
            "numbers of samples. Each row needs one label."
        )
