"""Class posteriors as a joint embedding: semantic matching, on the views or on their variates."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state, get_tags

from cca_estimators._algebra.cross_fitting import cross_fitted, group_numbers
from cca_estimators._algebra.kernels import as_rows
from cca_estimators._algebra.moments import class_members
from cca_estimators._base import CrossModalEstimator
from cca_estimators._compat import HasMethods, Interval, warn_user
from cca_estimators._reading import present_rows

__all__ = ["SemanticMatching"]

_MAX_ITER = 1000


class SemanticMatching(MetaEstimatorMixin, CrossModalEstimator):
    """Class posteriors of each view as the embedding (semantic correlation matching).

    A classifier per view learns the class from the variates of a joint embedding, and what it
    gives for a row, less the shares of the classes, is the row's embedding [1]_::

        p_v(c | z_v(x)) - pi_c

    On the views themselves, ``estimator=None``, that is *semantic matching*. The classifiers learn
    from cross-fitted variates, each row's from an estimator of the other folds, for those of the
    estimator that knows the row are cleaner than a new row's.

    Of rows with several labels, given as an indicator, a classifier for each label learns whether a
    row has it (one versus rest), and the embedding is the probabilities of all labels, each less
    the share of the rows that have it.

    It serves the retrieval of classes: items of one class look alike to it, and where they should
    be told apart, as in `score` without labels, `append_variates` puts the variates beside the
    posteriors.

    Read more in the :ref:`User Guide <semantic>`.

    Parameters
    ----------
    estimator : estimator, default=None
        Joint embedding, such as :class:`CCCA` or :class:`CKCCA`, or a pipeline that ends in one. A
        clone is fitted. None: the rows of the views, flattened.
    classifier : estimator, default=None
        Any classifier with `predict_proba`; a clone is fitted for each view. None: multinomial
        :class:`~sklearn.linear_model.LogisticRegression`.
    append_variates : bool, default=False
        Put the variates, scaled to unit length, beside the posteriors: the embedding then tells
        items of one class apart.
    n_folds : int, default=5
        Number of folds of the cross-fitted variates; 1: none, as where the median class has fewer
        than 12 rows, and for codes of bits. They are drawn from `random_state`, the number of rows
        and the labels alone, and keep the `groups` that `fit` is given whole.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds. The estimator and the classifier have their own.
    view_split : int, default=None
        Number of leading columns that form the first view, if X is one array; None: half of them.

    Attributes
    ----------
    estimator_ : estimator or None
        The joint embedding, fitted on all rows.
    classifiers_ : dict of estimator
        The classifier of each view, by name; of several labels a
        :class:`~sklearn.multiclass.OneVsRestClassifier`.
    class_shares_ : ndarray of shape (n_classes,)
        Share of the training rows that have each class.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_components_ : int
        Number of dimensions of the embedding.
    view_names_in_ : list of str
        Names of the views; "first" and "second" if X was one array.
    n_features_in_ : int, or dict of int by view name
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of str
        Names of the columns, if X was one DataFrame.

    See Also
    --------
    CKCCA : The embedding it does most for.
    TNNCCCA : Triplet networks on the variates of cluster CCA.

    References
    ----------
    .. [1] N. Rasiwasia, J. Costa Pereira, E. Coviello, G. Doyle, G. Lanckriet, R. Levy,
       N. Vasconcelos, "A new approach to cross-modal multimedia retrieval", ACM Multimedia,
       251-260, 2010.

    Examples
    --------
    >>> from cca_estimators import CKCCA, SemanticMatching
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=200, n_classes=4, n_features=(8, 12), random_state=0)
    >>> matching = SemanticMatching(CKCCA(), random_state=0).fit(X, y)
    >>> matching.transform({"audio": X["audio"][:5]})
    Views(audio=(5, 4))
    >>> matching.score(X, y) > 0.9
    True
    """

    _parameter_constraints = {
        **CrossModalEstimator._parameter_constraints,
        "estimator": [HasMethods(["fit", "transform"]), None],
        "classifier": [HasMethods(["fit", "predict_proba"]), None],
        "append_variates": ["boolean"],
        "n_folds": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }
    _supervised = True
    _several_labels = True
    _groups = None

    def __init__(
        self,
        estimator: Any = None,
        *,
        classifier: Any = None,
        append_variates: bool = False,
        n_folds: int = 5,
        random_state: Any = None,
        view_split: int | None = None,
    ):
        self.estimator = estimator
        self.classifier = classifier
        self.append_variates = append_variates
        self.n_folds = n_folds
        self.random_state = random_state
        self.view_split = view_split

    def fit(self, X, y=None, *, groups=None) -> Self:
        """Fit the joint embedding, and the classifiers on what it makes of the rows.

        Parameters
        ----------
        X : mapping of two arrays by view name, or array of shape (n_samples, n_features)
            Views with aligned rows, or both side by side in one array, see `view_split`.
        y : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Class labels, or an indicator of several, dense or sparse.
        groups : array-like of shape (n_samples,), default=None
            What each row stems from, such as its video or speaker: the folds of the cross-fitted
            variates keep them whole. Give them where new rows will be of new groups.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X, y or groups are not as described, or if groups are given and nothing is
            cross-fitted. The estimator then stays as it was.
        """
        self._groups = groups
        try:
            return super().fit(X, y)
        finally:
            del self._groups

    def _warn_without_labels(self):
        if not self.append_variates:
            warn_user(
                "Class posteriors cannot tell items of one class apart, and without labels each "
                "item is relevant to its partner alone. Pass y, or set append_variates=True."
            )

    def _fit(self, views, y):
        self._check_groups()
        labels = y if y.ndim > 1 else self.classes_[y]
        members = class_members(y)
        self.class_shares_ = members.sum(axis=0) / members.shape[0]
        variates = self._fit_estimator(views, y, labels)
        classifier = self._classifier()
        classifier = OneVsRestClassifier(classifier) if y.ndim > 1 else classifier
        self.classifiers_ = {
            name: clone(classifier).fit(*self._of_rows_there(name, rows, labels, y))
            for name, rows in variates.items()
        }
        width = next(iter(variates.values())).shape[1] if self.append_variates else 0
        self.n_components_ = len(self.classes_) + width

    _missing_partners = "own rows"

    def _fit_incomplete(self, views, y, present, counts):
        """Fit each classifier on the rows that its view has, and the estimator on what it takes."""
        self._fit(views, y)

    def _of_rows_there(self, name, rows, labels, y):
        """Return variates and labels of the rows that a view has, which must have all classes."""
        present = present_rows(rows)
        if present is None:
            return rows, labels
        counts = class_members(y[present], len(self.classes_)).sum(axis=0)
        if not counts.all():
            raise ValueError(
                f"View {name!r} has no row of class {self.classes_.tolist()[counts.argmin()]!r}, "
                "whose probability could not be learnt: leave out the class."
            )
        return rows[present], labels[present]

    def _fit_estimator(self, views, y, labels):
        """Fit the joint embedding, if there is one, and return what the classifiers learn from."""
        if self.estimator is None:
            if self.append_variates:
                raise ValueError(
                    "append_variates=True needs an estimator: rows of the two views are not in one "
                    "space. Set estimator=CCCA(), or append_variates=False."
                )
            self.estimator_ = None
            return {name: _flat(rows, name) for name, rows in views.items()}
        rng, groups = check_random_state(self.random_state), self._groups
        groups = None if groups is None else group_numbers(groups, y.shape[0])
        self.estimator_, variates = cross_fitted(
            self.estimator, views, y, labels, self._most_folds(), rng, groups
        )
        return variates

    def _most_folds(self):
        of_bits = getattr(self.estimator, "metric", None) == "hamming"  # which no rotation keeps
        return 1 if of_bits or self.estimator is None else self.n_folds

    def _check_groups(self):
        if self._groups is not None and self._most_folds() == 1:
            raise ValueError(
                "groups given to fit, and nothing is cross-fitted that could keep them whole: that "
                "takes an estimator of real numbers and n_folds of 2 or more. Leave them out."
            )

    def _classifier(self):
        if self.classifier is None:
            return LogisticRegression(max_iter=_MAX_ITER)
        return self.classifier

    def _transform_view(self, name, rows):
        dtype = np.float32 if rows.dtype == np.float32 else np.float64
        variates = self._variates(name, rows)
        embedding = self.classifiers_[name].predict_proba(variates) - self.class_shares_
        if self.append_variates:
            embedding = np.hstack([embedding, normalize(variates)])
        return embedding.astype(dtype, copy=False)

    def _variates(self, name, rows):
        if self.estimator_ is None:
            return as_rows(rows, name, False)
        return np.asarray(self.estimator_.transform({name: rows})[name])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        known = None if self.estimator is None else get_tags(self.estimator)
        tags.sequences = getattr(known, "sequences", False)
        return tags

    def _width(self, rows):
        own = getattr(self.estimator, "_width", super()._width)  # sequences may have any length
        return own(rows)


def _flat(rows, name):
    """Return rows in memory, flattened and finite but for those that are missing."""
    present = present_rows(rows)
    if present is None:
        return as_rows(rows, name, False)
    known = as_rows(rows[present], name, False)
    flat = np.full((len(rows), known.shape[1]), np.nan, known.dtype)
    flat[present] = known
    return flat
