"""Preprocessing of each view by a transformer of scikit-learn."""

from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone

from cca_estimators import _reading
from cca_estimators._algebra.namespace import namespace
from cca_estimators._base import ViewsTransformer
from cca_estimators._compat import VisualBlock
from cca_estimators._reading import arrays
from cca_estimators.views import take_rows

__all__ = ["PerView", "pad_sequences"]


def pad_sequences(sequences) -> np.ndarray:
    """Return sequences of unequal length as one array, with steps of NaN at the ends.

    Such steps are padding to methods that read steps, see :ref:`the User Guide <towers>`, and
    :class:`PerView` leaves them as they are. Views given as a list of arrays are padded by
    themselves where sequences are read; this is for what is to be kept or sliced as an array.

    Parameters
    ----------
    sequences : sequence of n array-likes, shape (n_steps, n_features)
        Of numbers. A sequence of shape (n_steps,) has one feature.

    Returns
    -------
    ndarray of shape (n, most steps, n_features)
        Of float32 if that holds all sequences, else of float64.

    Raises
    ------
    ValueError
        If there are no sequences, or if they are not of numbers or differ in their features.

    See Also
    --------
    PerView : Scales the real steps.
    Views : Takes lists of sequences as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from cca_estimators import pad_sequences
    >>> pad_sequences([[[1, 2]], [[3, 4], [5, 6]]]).shape
    (2, 2, 2)
    """
    rows = [_sequence(number, sequence) for number, sequence in enumerate(sequences)]
    if not rows:
        raise ValueError("There are no sequences to pad: give one array for each row.")
    widths = {row.shape[1]: number for number, row in enumerate(rows)}
    if len(widths) > 1:
        raise ValueError(
            f"The sequences have different numbers of features, {sorted(widths)}, such as those of "
            f"the numbers {sorted(widths.values())}: one array needs the same in all."
        )
    return _reading.pad_steps(rows, rows[0].shape[1])


def _sequence(number, sequence):
    row = np.asarray(sequence)
    if row.ndim not in (1, 2) or row.dtype.kind not in "fiub":
        raise ValueError(
            f"Sequence {number} has shape {row.shape} and dtype {row.dtype}: an array of numbers "
            "of shape (n_steps, n_features) is needed."
        )
    return row[:, None] if row.ndim == 1 else row


class PerView(ViewsTransformer):
    """Apply a transformer to each view.

    One transformer for all views, of which each view gets a clone, or one per view by name. It is
    given the view as it is: texts, waveforms of unequal length, a sparse matrix, a DataFrame with
    the names of its columns. What it returns is read as numbers. A view for which none is given
    passes through.

    The steps of a sequence of numbers, shape (n_samples, n_steps, n_features), are transformed one
    by one: a transformer sees the array of all steps, shape (n_samples * n_steps, n_features), so a
    scaler scales per feature over rows and steps. Padded steps (NaN in all features) are left out
    and stay padded, and sequences of unequal length, given as a list of arrays, are padded so.

    Read more in the :ref:`User Guide <views>`.

    Parameters
    ----------
    transformer : transformer or None, default=None
        For every view without one of its own.
    view_split : int, default=None
        Number of leading columns that form the first view, if X is one array; None: half of them.
        The views are then named "first" and "second".
    **by_view : transformer or None
        Transformers by view name. They and their parameters are reached by `set_params` and grid
        search under their names, such as ``perview__visual__n_components``. A name may not begin
        or end in an underscore, hold two of them in a row, or be that of a method.

    Attributes
    ----------
    transformers_ : dict
        Fitted transformers by view name; None where a view passes through.
    view_names_in_ : list of str
        Names of the views.
    n_features_in_ : int, or dict of int or None by view name
        Number of features seen in `fit`, of a step where a view is a sequence; None where rows are
        no rows of features, such as texts.
    feature_names_in_ : ndarray of str, or dict of them by view name
        Names of the features, if X was one DataFrame or held some; `transform` checks them.

    Raises
    ------
    TypeError
        If a transformer is given for a view whose name PerView cannot take.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.preprocessing import StandardScaler
    >>> from cca_estimators import PerView
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=50, n_classes=4, n_features=(8, 12), random_state=0)
    >>> PerView(StandardScaler()).fit_transform(X)
    Views(audio=(50, 8), visual=(50, 12))
    >>> PerView(StandardScaler(), visual=PCA(5)).fit_transform(X)
    Views(audio=(50, 8), visual=(50, 5))
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> titles = ["a dog barks", "a cat", "two dogs and a cat"]
    >>> PerView(title=TfidfVectorizer()).fit_transform({"title": titles, "image": X["visual"][:3]})
    Views(title=(3, 6), image=(3, 12))
    """

    _min_samples = 1

    def __init__(self, transformer: Any = None, *, view_split: int | None = None, **by_view: Any):
        self.transformer = transformer
        self.view_split = view_split
        for name, own in by_view.items():
            _check_free(name)
            setattr(self, name, own)

    @property
    def _by_view(self):
        """Transformers given by view name: attributes, as all parameters of an estimator are."""
        common = ("transformer", "view_split")
        return {
            name: value
            for name, value in vars(self).items()
            if name not in common and not name.startswith("_") and not name.endswith("_")
        }

    def get_params(self, deep=True):
        """Return the parameters, those of the transformers included.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the parameters of the transformers.

        Returns
        -------
        dict
            Parameter names mapped to their values.
        """
        params = {"transformer": self.transformer, "view_split": self.view_split, **self._by_view}
        if not deep:
            return params
        for name, value in list(params.items()):
            if hasattr(value, "get_params") and not isinstance(value, type):
                nested = value.get_params().items()
                params.update({f"{name}__{parameter}": inner for parameter, inner in nested})
        return params

    def _fit(self, views, y):
        unknown = set(self._by_view) - set(views)
        if unknown:
            raise ValueError(
                f"PerView has transformers for {sorted(unknown)}, but the views of X are "
                f"{list(views)}. Name the transformers after the views."
            )
        self.transformers_, self._n_out_ = {}, {}
        for name, rows in views.items():
            if _has_steps(rows):
                steps, real = _steps(rows)
                y_steps = y if y is None else _repeated(y, rows)[real]
                steps = take_rows(steps, real)
                self.transformers_[name] = self._fitted(name, steps, y_steps)
                first = take_rows(steps, slice(1))
            else:
                self.transformers_[name] = self._fitted(name, rows, y)
                first = take_rows(rows, slice(1))
            self._n_out_[name] = self._applied(name, first).shape[-1]

    def _own(self, name):
        """Return the transformer that is given for a view, or None."""
        transformer = self._by_view.get(name, self.transformer)
        return None if transformer == "passthrough" else transformer

    def _fitted(self, name, rows, y):
        if self._own(name) is None:
            return None
        with _naming(name):
            return clone(self._own(name)).fit(rows, y)

    def _applied(self, name, rows):
        if self.transformers_[name] is None:
            return rows if arrays.is_of_library(rows) else np.asarray(rows)
        with _naming(name):
            output = self._placed(name, rows).transform(rows)
        if arrays.place_of(output) is not None:
            return output
        return _reading.as_numbers(output.toarray() if issparse(output) else output, name)

    def _placed(self, name, rows):
        """Return a transformer where the rows lie; with NumPy, as one that was loaded, it moves."""
        transformer, place = self.transformers_[name], arrays.place_of(rows)
        own = arrays.place_within(transformer)
        if own not in (None, place):
            raise self._elsewhere_error(own, place)
        return arrays.moved(transformer, place)

    def _transform_view(self, name, rows):
        if self.transformers_[name] is None or not _has_steps(rows):
            return self._applied(name, rows)
        steps, real = _steps(rows)
        if real.all():
            steps = self._applied(name, steps)
            return namespace(steps).reshape(steps, (*rows.shape[:-1], -1))
        if arrays.is_of_library(rows):
            return self._transform_padded(name, rows, steps, real)
        padded = np.full((len(steps), self._n_out_[name]), np.nan, steps.dtype)
        if real.any():
            output = self._applied(name, steps[real])
            padded = padded.astype(np.result_type(padded, output))
            padded[real] = output
        return padded.reshape(*rows.shape[:-1], -1)

    def _transform_padded(self, name, rows, steps, real):
        """Return the transform of sequences of another library, by way of its real steps."""
        place, numbers = arrays.place_of(rows), np.flatnonzero(real)
        output = self._applied(name, _reading.some_rows(steps, numbers))
        padding = place.xp.astype(place.put(np.full((1, output.shape[1]), np.nan)), output.dtype)
        sources = np.full(len(real), len(numbers))
        sources[numbers] = np.arange(len(numbers))
        output = _reading.some_rows(place.xp.concat([output, padding], axis=0), sources)
        return place.xp.reshape(output, (*rows.shape[:-1], -1))

    _works_in_place = True

    def _place_of(self, X):
        """Return where one array lies; each view of a mapping stays where it is."""
        return None if _reading.is_mapping(X) else super()._place_of(X)

    def _read_view(self, rows, name):
        in_place = self._own(name) is not None or arrays.place_of(rows) is not None
        return (_reading.as_given if in_place else _reading.as_numbers)(rows, name)

    def _width(self, rows):
        shape = getattr(rows, "shape", ())
        return shape[-1] if len(shape) > 1 else None

    def _check_width(self, name, rows):
        if self.transformers_[name] is None:  # else it is for the transformer to say
            super()._check_width(name, rows)

    def _n_outputs(self, name):
        return self._n_out_[name]

    def _names_out(self, view_names):
        return np.concatenate([self._names_of(name) for name in view_names]).astype(object)

    def _names_of(self, name):
        """Return the names that a view's transformer gives, or had, after that of the view."""
        transformer, known = self.transformers_[name], self._known_names().get(name)
        inner = known
        if transformer is not None:
            named_by_itself = known is None or hasattr(transformer, "feature_names_in_")
            inner = _names_by(transformer, None if named_by_itself else known)
        if inner is None or len(inner) != self._n_out_[name]:
            return super()._names_out([name])
        return [f"{name}__{feature}" for feature in inner]

    def _sk_visual_block_(self):
        """Return the parts of the diagram: a column per view, with its widths once it is fitted."""
        names = getattr(self, "view_names_in_", list(self._by_view))
        if not names:
            return VisualBlock("parallel", [self.transformer], names=["each view"])
        transformers = [self._by_view.get(name, self.transformer) for name in names]
        titles = [self._title_of(name) for name in names]
        return VisualBlock("parallel", transformers, names=titles, name_details=[None] * len(names))

    def _title_of(self, name):
        if not hasattr(self, "transformers_"):
            return name
        width = self._widths_[name]
        features = "" if width is None else f"{width} "
        return f"{name}: {features}to {self._n_out_[name]} features"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _names_by(transformer, known):
    """Return the names of the columns that a fitted transformer gives, or None."""
    try:
        return transformer.get_feature_names_out(known)
    except AttributeError:  # it gives none, or a step in it does not
        return None


def _repeated(y, rows):
    """Return the label of each row for each of its steps."""
    y = arrays.to_host(y)
    if len(y) != rows.shape[0]:
        raise ValueError(f"y has {len(y)} rows and X has {rows.shape[0]}: each needs one label.")
    return np.repeat(y, rows.shape[1])


def _check_free(name):
    """Raise TypeError if an attribute by the name of a view would be one that PerView has."""
    if name.startswith("_") or name.endswith("_") or "__" in name or hasattr(PerView, name):
        raise TypeError(
            f"PerView cannot take a transformer for a view of the name {name!r}: such attributes "
            "are its own. Rename the view."
        )


@contextmanager
def _naming(name):
    """Name the view in what its transformer raises."""
    try:
        yield
    except (ValueError, TypeError, AttributeError) as error:
        kinds = (ValueError, TypeError, AttributeError)
        kind = next(kind for kind in kinds if isinstance(error, kind))
        raise kind(f"View {name!r}: {error}") from error


def _has_steps(rows):
    """Tell whether rows are sequences of numbers."""
    if arrays.is_of_library(rows):
        return len(rows.shape) == 3
    return isinstance(rows, np.ndarray) and rows.ndim == 3 and rows.dtype.kind in "fiub"


def _steps(rows):
    """Return the steps of all rows as an array with two dimensions, and which are not padding."""
    xp = namespace(rows)
    steps = xp.reshape(rows, (-1, rows.shape[-1]))
    return steps, ~arrays.to_host(xp.all(xp.isnan(steps), axis=1))
