"""Linear joint embeddings: canonical correlation analysis of pairs and of classes."""

from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np

from cca_estimators import _ranks, _reading
from cca_estimators._algebra import chunks, wide
from cca_estimators._algebra.moments import (
    ClassScatter,
    Cross,
    MergedClasses,
    PairedScatter,
    class_members,
    class_pair_weights,
    cluster_moments,
    constant_error,
    overflow_error,
    paired_moments,
    varying,
)
from cca_estimators._algebra.namespace import cast, diagonal, joined, namespace, take
from cca_estimators._algebra.solver import shrinkage_ridge, solve
from cca_estimators._compat import Interval, StrOptions, warn_user
from cca_estimators._reading import arrays
from cca_estimators.linear._incremental import (
    IncrementalEstimator,
    classes_and_codes,
    sorted_labels,
)
from cca_estimators.views import n_rows

__all__ = ["CCA", "CCCA"]

_DEFAULT_COMPONENTS = 10


class LinearEmbedding(IncrementalEstimator):
    """Projection of each view by the solution of a CCA of some second moments.

    Subclasses write `_moments`, `_gathered` and `_gathered_moments`.
    """

    _parameter_constraints = {
        **IncrementalEstimator._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "reg": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"}), dict],
        "weighted": ["boolean"],
    }

    _reads_dask = True
    _adds_up = True  # over the ranks of a sharded fit
    _works_in_place = True

    def _settling(self):
        fitted = vars(self)
        return {n: fitted[n] for n in ("weights_", "means_", "correlations_") if n in fitted}

    def _fit(self, views, y):
        if _in_chunks(views):
            views = chunks.aligned(views)
        elif wide.are_wide_over_ranks(views):
            views, y = _ranks.current().joined_views(views, y)
            with _ranks.among(_ranks.ALONE):
                return self._solve(self._moments(views, y))
        return self._solve(self._moments(views, y))

    def _read_labels(self, y, views):
        if _in_chunks(views):
            return y
        return super()._read_labels(y, views)

    def _most_components(self, moments):
        """Return a bound on the number of components beside the ranks of the views, or None."""

    def _solve(self, moments):
        names = self.view_names_in_
        self._check_varies(moments)
        self.reg_ = _ridges(self._by_view("reg"), moments)
        most = self._most_components(moments)
        solution = solve(moments, self.n_components, tuple(self.reg_.values()), most)
        self.weights_ = dict(zip(names, solution.weights, strict=True))
        self.means_ = dict(zip(names, solution.means, strict=True))
        self.correlations_ = solution.correlations
        self.n_components_ = solution.correlations.shape[0]

    def _rotated(self, views):
        """Return the views, those of more features than rows as coordinates, and their spaces."""
        if _ranks.current().size > 1:  # which together have more rows than features
            return views, (None, None)
        return wide.rotated(views, {name: reg != 0 for name, reg in self._by_view("reg").items()})

    def _check_varies(self, moments):
        covariances = (moments.xx, moments.yy)
        for name, covariance, mean in zip(
            self.view_names_in_, covariances, moments.means, strict=True
        ):
            xp, variances = namespace(covariance), diagonal(covariance)
            finite = xp.isfinite(variances)
            if not xp.all(finite):
                raise overflow_error(name, arrays.to_host(finite).argmin())
            if not xp.any(varying(xp.sqrt(variances), mean, moments.eps)):
                raise constant_error(name)

    def _transform_view(self, name, rows):
        fitted = self.weights_[name], self.means_[name], self.correlations_
        weights, mean, correlations = arrays.moved(fitted, arrays.place_of(rows))
        weights = weights * (correlations if self.weighted else 1.0)
        embedded = partial(_embedded, name=name, mean=mean, weights=weights)
        if _reading.is_dask(rows):
            return chunks.mapped(embedded, rows, self.n_components_, _dtype_of(rows))
        return embedded(rows)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "weights_")


class CCA(LinearEmbedding):
    """Canonical correlation analysis (CCA).

    Finds directions `W`, `V` of the two views whose projections correlate most::

        max tr(W' C_xy V)   subject to   W' (C_xx + r I) W = V' (C_yy + r I) V = I

    with the sample covariances `C`. The labels are not used. The covariances are gathered in row
    blocks from memory or from a file, so the memory needed does not grow with the rows. A view of
    more features than rows is rotated into the space of its rows first, which changes no result
    and needs memory for the rows only.

    Read more in the :ref:`User Guide <linear>`.

    Parameters
    ----------
    n_components : int, default=None
        Number of dimensions of the embedding; None: 10, or as many as the ranks of the views
        allow if those are fewer. Further variates mostly add noise to a cosine.
    reg : float, "auto" or dict, default="auto"
        Ridge `r`, as a multiple of the view's mean variance. "auto" takes the oracle approximating
        shrinkage of each view [3]_. A dict sets the views apart by name.
    weighted : bool, default=True
        Multiply each variate by its canonical correlation, which serves cosine similarity; False:
        variates of unit variance.
    view_split : int, default=None
        Number of leading columns that form the first view, if X is one array; None: half of them.

    Attributes
    ----------
    weights_ : dict of ndarray, shape (n_features, n_components_)
        Directions of each view, by name.
    means_ : dict of ndarray, shape (n_features,)
        Mean of each view.
    correlations_ : ndarray of shape (n_components_,)
        Canonical correlations (regularised), descending.
    reg_ : dict of float
        Ridge used for each view.
    n_components_ : int
        Number of dimensions of the embedding.
    view_names_in_ : list of str
        Names of the views; "first" and "second" if X was one array.
    n_features_in_ : int, or dict of int by view name
        Number of features seen in `fit`, steps and features of sequences multiplied.
    feature_names_in_ : ndarray of str, or dict of them by view name
        Names of the features, if X was one DataFrame or held some; `transform` checks them.
    scatter_ : object
        Rows or moments gathered by `partial_fit`.

    See Also
    --------
    CCCA : CCA of all pairs of the same class.
    KCCA : CCA with kernels.
    DCCA : CCA of the outputs of two networks.

    References
    ----------
    .. [1] H. Hotelling, "Relations between two sets of variates", Biometrika 28, 321-377, 1936.
    .. [2] D. Hardoon, S. Szedmak, J. Shawe-Taylor, "Canonical correlation analysis: An overview
       with application to learning methods", Neural Computation 16(12), 2639-2664, 2004.
    .. [3] Y. Chen, A. Wiesel, Y. Eldar, A. Hero, "Shrinkage algorithms for MMSE covariance
       estimation", IEEE Transactions on Signal Processing 58(10), 5016-5029, 2010.

    Examples
    --------
    >>> from cca_estimators import CCA
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=200, n_classes=4, n_features=(8, 12), random_state=0)
    >>> cca = CCA(n_components=3).fit(X)
    >>> cca.transform(X)
    Views(audio=(200, 3), visual=(200, 3))
    >>> cca.transform({"audio": X["audio"][:5]})
    Views(audio=(5, 3))
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        reg: float | str | dict[str, Any] = "auto",
        weighted: bool = True,
        view_split: int | None = None,
    ):
        self.n_components = n_components
        self.reg = reg
        self.weighted = weighted
        self.view_split = view_split

    def _moments(self, views, y):
        if _in_chunks(views):
            return self._chunk_moments(views)
        views, spaces = self._rotated(views)
        self._warn_of_ambiguity(spaces, n_rows(next(iter(views.values()))))
        scatter = _ranks.current().merged(self._gathered(views, y, None))
        return wide.within(paired_moments(scatter), spaces)

    def _chunk_moments(self, views):
        scatter = chunks.paired_scatter(views)
        if scatter.x.weight < 2:
            raise ValueError(f"X has {scatter.x.weight:.0f} row(s); a minimum of 2 is required.")
        return paired_moments(scatter)

    def _warn_of_ambiguity(self, spaces, n_samples):
        for (name, reg), space in zip(self._by_view("reg").items(), spaces, strict=True):
            if reg == 0 and space and space.rank == n_samples - 1:
                warn_user(
                    f"View {name!r} has {space.n_features} features for {n_samples} rows, so that "
                    "without a ridge it matches any direction of the other view perfectly: "
                    "correlations say nothing, and directions are not unique. Set reg='auto' or "
                    "above 0.",
                )

    def _gathered(self, views, labels, scatter):
        new = PairedScatter()
        for _, blocks in _reading.blocks(views):
            new.update(*blocks)
        return new if scatter is None else self._merged_scatters(new, scatter)

    def _merged_scatters(self, scatter, other):
        merged = PairedScatter()
        merged.merge(scatter)
        merged.merge(other)
        return merged

    def _most_components(self, moments):
        rank = round(moments.n_rows[0]) - 1
        return min(rank, _DEFAULT_COMPONENTS) if self.n_components is None else rank

    def _gathered_moments(self):
        return paired_moments(self.scatter_) if self.scatter_.x.weight >= 2 else None


class CCCA(LinearEmbedding):
    """Cluster canonical correlation analysis (C-CCA): CCA over all pairs of the same class.

    The covariances are those of the set of all pairs of a row of one view and a row of the other
    view that have the same class, `M` pairs in all::

        C_xy = 1/M sum_c sum_{j in X_c, k in Y_c} x_j y_k'
        C_xx = 1/M sum_c |Y_c| sum_{j in X_c} x_j x_j'

    centred with the pair-weighted means, and `C_yy` alike. The pairs are never listed: the class
    means give `C_xy`, so the cost is that of `CCA`. Only C - 1 directions are determined.

    Rows may have several labels, as an indicator matrix `L` with rows `l`: pairs then weigh by the
    number of labels that they share, ``w_jk = l_j . l_k``, in all of the sums, and `M` is the sum
    of the weights.

    Read more in the :ref:`User Guide <linear>`.

    Parameters
    ----------
    n_components : int, default=None
        Number of dimensions of the embedding; None: the number of classes less one.
    reg : float, "auto" or dict, default="auto"
        Ridge, as a multiple of the view's mean variance. "auto" takes the oracle approximating
        shrinkage of each view. A dict sets the views apart by name.
    weighted : bool, default=True
        Multiply each variate by its canonical correlation, which serves cosine similarity; False:
        variates of unit variance.
    pair_weight : float in [0, 1], default=0.0
        Share of the true pairs in the cross covariance, ``b * pairs + (1 - b) * classes``; 0.2 is
        the setting of [2]_. Rows keep their pair weights, so correlations never exceed 1.
    class_weight : {None, "balanced"}, default=None
        None counts every pair once, so large classes weigh by the square of their size;
        "balanced" gives all classes the same weight.
    view_split : int, default=None
        Number of leading columns that form the first view, if X is one array; None: half of them.

    Attributes
    ----------
    weights_ : dict of ndarray, shape (n_features, n_components_)
        Directions of each view, by name.
    means_ : dict of ndarray, shape (n_features,)
        Pair-weighted mean of each view.
    correlations_ : ndarray of shape (n_components_,)
        Canonical correlations (regularised), descending.
    reg_ : dict of float
        Ridge used for each view.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_components_ : int
        Number of dimensions of the embedding.
    view_names_in_ : list of str
        Names of the views; "first" and "second" if X was one array.
    n_features_in_ : int, or dict of int by view name
        Number of features seen in `fit`, steps and features of sequences multiplied.
    feature_names_in_ : ndarray of str, or dict of them by view name
        Names of the features, if X was one DataFrame or held some; `transform` checks them.
    scatter_ : object
        Rows gathered by `partial_fit`, or the moments of each class by label: a matrix per class,
        since the weight of a class is known only when all its rows have been seen.

    See Also
    --------
    CCA : CCA of the true pairs, without labels.
    CKCCA : C-CCA with kernels.
    CDCCA : C-CCA of the outputs of two networks.

    References
    ----------
    .. [1] N. Rasiwasia, D. Mahajan, V. Mahadevan, G. Aggarwal, "Cluster canonical correlation
       analysis", AISTATS, PMLR 33, 823-831, 2014.
    .. [2] Y. Yu, S. Tang, K. Aizawa, A. Aizawa, "Category-based deep CCA for fine-grained venue
       discovery from multimodal data", IEEE TNNLS 30(4), 1250-1258, 2019.

    Examples
    --------
    >>> from cca_estimators import CCCA
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=200, n_classes=4, n_features=(8, 12), random_state=0)
    >>> ccca = CCCA().fit(X, y)
    >>> ccca.n_components_
    3
    >>> ccca.score(X, y) > 0.5
    True
    """

    _parameter_constraints = {
        **LinearEmbedding._parameter_constraints,
        "pair_weight": [Interval(Real, 0, 1, closed="both")],
        "class_weight": [StrOptions({"balanced"}), None],
    }
    _supervised = True
    _several_labels = True

    def __init__(
        self,
        n_components: int | None = None,
        *,
        reg: float | str | dict[str, Any] = "auto",
        weighted: bool = True,
        pair_weight: float = 0.0,
        class_weight: str | None = None,
        view_split: int | None = None,
    ):
        self.n_components = n_components
        self.reg = reg
        self.weighted = weighted
        self.pair_weight = pair_weight
        self.class_weight = class_weight
        self.view_split = view_split

    def _moments(self, views, y):
        if _in_chunks(views):
            return self._chunk_moments(views, y)
        ranks = _ranks.current()
        views, spaces = self._rotated(views)
        own_counts = class_members(y, len(self.classes_)).sum(axis=0)
        counts = np.sum(ranks.gathered(own_counts), axis=0)
        pair_weights = class_pair_weights(counts, counts, self.class_weight)
        sides, cross = [ClassScatter(pair_weights / counts) for _ in views], Cross()
        for taken, blocks in _reading.blocks(views):
            parts = [
                side.update(block, y[taken]) for side, block in zip(sides, blocks, strict=True)
            ]
            if self.pair_weight:
                cross.update(*parts)
        *sides, cross = map(ranks.merged, (*sides, cross))
        moments = cluster_moments(*sides, pair_weights, cross, self.pair_weight)
        return wide.within(moments, spaces)

    @property
    def _missing_partners(self):
        return "whole pairs" if self.pair_weight else "own rows"

    def _fit_incomplete(self, views, y, present, counts):
        """Fit on the rows that each view has: the pairs of a class need no partners."""
        if self._missing_partners == "whole pairs":
            return super()._fit_incomplete(views, y, present, counts)
        self._solve(self._own_moments(*self._own_rows(views, y, present, counts)))
        return None

    def _own_moments(self, views, members):
        """Return the moments of views of which each has rows and labels of its own."""
        views, spaces = self._rotated(views)
        counts = [labels.sum(axis=0) for labels in members]
        pair_weights = class_pair_weights(*counts, self.class_weight)
        sides = [ClassScatter(pair_weights / count) for count in counts]
        for (name, rows), labels, side in zip(views.items(), members, sides, strict=True):
            for taken, (block,) in _reading.blocks({name: rows}):
                side.update(block, labels[taken])
        return wide.within(cluster_moments(*sides, pair_weights), spaces)

    def _chunk_moments(self, views, y):
        self._check_there(y)
        labels = chunks.labels_in_chunks(y, next(iter(views.values())))
        self.classes_, counts = chunks.class_counts(labels)
        self._check_several_classes()
        pair_weights = class_pair_weights(counts, counts, self.class_weight)
        codes = chunks.codes_of(labels, self.classes_)
        *sides, cross = chunks.class_scatters(
            views, codes, pair_weights / counts, pairs=bool(self.pair_weight)
        )
        return cluster_moments(*sides, pair_weights, cross, self.pair_weight)

    def _gathered(self, views, labels, scatter):
        """Add each row to the scatter of its class, or of each of its labels."""
        classes, codes = classes_and_codes(labels)
        new = {label: PairedScatter() for label in classes.tolist()}
        for taken, blocks in _reading.blocks(views):
            members = class_members(codes[taken], len(classes)).tocsc()
            for label, rows in zip(
                new, np.split(members.indices, members.indptr[1:-1]), strict=True
            ):
                if len(rows):
                    new[label].update(*(take(block, rows) for block in blocks))
        return self._merged_scatters(new, scatter or {})

    def _merged_scatters(self, scatter, other):
        merged = {}
        for part in (scatter, other):
            for label, older in part.items():
                merged.setdefault(label, PairedScatter()).merge(older)
        self.classes_ = sorted_labels(merged)
        return merged

    def _gathered_moments(self):
        if len(self.classes_) < 2:
            return None
        scatters = [self.scatter_[label] for label in self.classes_.tolist()]
        counts = np.array([scatter.x.weight for scatter in scatters])
        pair_weights = class_pair_weights(counts, counts, self.class_weight)
        x = MergedClasses.merge([scatter.x for scatter in scatters], pair_weights / counts)
        y = MergedClasses.merge([scatter.y for scatter in scatters], pair_weights / counts)
        cross = Cross()
        for scatter, weight in zip(scatters, pair_weights / counts, strict=True):
            cross.merge(scatter.cross, weight)
        return cluster_moments(x, y, pair_weights, cross, self.pair_weight)

    def _most_components(self, moments):
        pairs_add_rank = self.pair_weight and self.n_components is not None
        return None if pairs_add_rank else len(self.classes_) - 1


def _embedded(rows, name, mean, weights):
    if arrays.is_of_library(rows):
        parts = [
            cast((block - mean) @ weights, block.dtype)
            for _, (block,) in _reading.blocks({name: rows})
        ]
        return joined(parts)
    embedding = np.empty((rows.shape[0], weights.shape[1]), _dtype_of(rows))
    for taken, (block,) in _reading.blocks({name: rows}):
        embedding[taken] = (block - mean) @ weights
    return embedding


def _in_chunks(views):
    return any(map(_reading.is_dask, views.values()))


def _dtype_of(rows):
    return np.float32 if rows.dtype == np.float32 else np.float64


def _ridges(reg, moments):
    """Return the ridge of each view, relative to its mean variance, of settings by view name."""
    covariances = (moments.xx, moments.yy)
    return {
        name: float(shrinkage_ridge(covariance, *sizes)) if value == "auto" else value
        for (name, value), covariance, *sizes in zip(
            reg.items(), covariances, moments.n_rows, moments.n_features, strict=True
        )
    }
