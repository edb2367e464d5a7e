"""Scorers that plug the figures of cross-modal retrieval into scikit-learn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import UndefinedMetricWarning

from cca_estimators._compat import warn_user
from cca_estimators._reading import arrays, present_rows, some_rows
from cca_estimators._reading.labels import has_label, read_labels
from cca_estimators.metrics import _ranking
from cca_estimators.metrics._figures import _measure, ndcg

__all__ = ["cross_modal_map", "cross_modal_scores", "make_cross_modal_scorer"]


_SCORES_K = 10


def cross_modal_map(estimator, X, y=None) -> float:
    """Score an estimator by its MAP, averaged over both directions.

    A scorer for `GridSearchCV`, `cross_validate` and their like: ``scoring=cross_modal_map``.

    Parameters
    ----------
    estimator : estimator, Pipeline or fitted search
        Its `transform` embeds both views. Its `metric` attribute ("cosine" by default, "hamming"
        for codes) is how embeddings are compared; of a pipeline, that of the last step that has
        one.
    X : mapping of two arrays by view name, or array whose embedding is ``[first | second]``
        The two views.
    y : array-like of shape (n_samples,), default=None
        Class labels; None: each row is relevant to its own partner only. Rows that the estimator's
        `unlabelled` marks as without a label are left out.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If X or y are not as described.

    Warns
    -----
    UndefinedMetricWarning
        If all rows are of one class: each item is relevant to each query then, as in folds of rows
        that are sorted by class, and the MAP is 1 whatever the embedding.

    Examples
    --------
    >>> from cca_estimators import CCA
    >>> from cca_estimators.datasets import make_views
    >>> from cca_estimators.metrics import cross_modal_map
    >>> from sklearn.model_selection import cross_val_score
    >>> X, y = make_views(n_samples=150, n_classes=3, n_features=(8, 12), random_state=0)
    >>> cross_val_score(CCA(3), X, y, scoring=cross_modal_map, cv=3).shape
    (3,)
    """
    return make_cross_modal_scorer()(estimator, X, y)


def cross_modal_scores(estimator, X, y=None) -> dict[str, float]:
    """Score an estimator by all figures at once, from a single transform.

    For ``GridSearchCV(..., scoring=cross_modal_scores, refit="map")`` and `cross_validate`.

    Parameters
    ----------
    estimator, X, y
        As in `cross_modal_map`.

    Returns
    -------
    dict of float
        "map", "mrr", "precision_at_10" and "recall_at_10" by the labels, "ndcg" where rows have
        several, and "pair_mrr", "pair_recall_at_1" and "pair_recall_at_10", for which only a
        row's own partner counts; averaged over both directions, and each of a direction, such as
        "map_audio_to_visual". A gallery of less than 10 items is taken whole.

        `to_frame` makes a DataFrame of them, and `to_mteb` a result of MTEB.

    Examples
    --------
    >>> from cca_estimators import CCA
    >>> from cca_estimators.datasets import make_views
    >>> from cca_estimators.metrics import cross_modal_scores
    >>> X, y = make_views(n_samples=150, n_classes=3, n_features=(8, 12), random_state=0)
    >>> sorted(cross_modal_scores(CCA(3).fit(X), X, y))[:3]
    ['map', 'map_audio_to_visual', 'map_visual_to_audio']
    """
    embeddings, metric = _embeddings(estimator, X)
    embeddings, y = _labelled(estimator, embeddings, y)
    pairs, embeddings, labels = _known(embeddings, y)
    k = min(_SCORES_K, *(rows.shape[0] for rows in embeddings.values()))
    figures = {
        "map": _ranking.average_precisions,
        "mrr": _ranking.reciprocal_ranks,
        f"precision_at_{_SCORES_K}": partial(_ranking.precisions_at, k=k),
        f"recall_at_{_SCORES_K}": partial(_ranking.recalls_at, k=k),
    }
    scores = {}
    for query, gallery in _directions(embeddings):
        measured = _direction(figures, embeddings, query, gallery, labels, metric)
        measured |= _pair_figures(pairs[query], pairs[gallery], metric)
        if issparse(labels[query]):
            compared = [side[name] for side in (embeddings, labels) for name in (query, gallery)]
            measured["ndcg"] = ndcg(*compared, metric=metric)
        scores.update({f"{name}_{query}_to_{gallery}": value for name, value in measured.items()})
    for name in measured:
        both = [scores[f"{name}_{q}_to_{g}"] for q, g in _directions(embeddings)]
        scores[name] = float(np.mean(both))
    return scores


def make_cross_modal_scorer(
    *, direction: str | tuple[str, str] = "mean", k: int | None = None
) -> Callable[..., float]:
    """Make a scorer of the MAP of one direction or both, over full lists or the first k items.

    Parameters
    ----------
    direction : "mean" or tuple of two str, default="mean"
        Names of the view that queries and of the view that is ranked; "mean" averages both
        directions. The views of an array are named "first" and "second".
    k : int, default=None
        Cut the ranked lists after k items; None: full lists.

    Returns
    -------
    callable
        Scorer ``(estimator, X, y=None)``, see `cross_modal_map`.

    Examples
    --------
    >>> from cca_estimators import CCA
    >>> from cca_estimators.datasets import make_views
    >>> from cca_estimators.metrics import make_cross_modal_scorer
    >>> X, y = make_views(n_samples=150, n_classes=3, n_features=(8, 12), random_state=0)
    >>> scorer = make_cross_modal_scorer(direction=("audio", "visual"), k=50)
    >>> 0 < scorer(CCA(3).fit(X), X, y) < 1
    True
    """
    if direction != "mean" and (isinstance(direction, str) or len(set(direction)) != 2):
        raise ValueError(
            f"direction={direction!r} is not known; use 'mean' or the names of the view that "
            "queries and of the view that is ranked, such as ('audio', 'visual')."
        )
    return _CrossModalScorer(direction if direction == "mean" else tuple(direction), k)


@dataclass(frozen=True, repr=False)
class _CrossModalScorer:
    direction: str | tuple
    k: int | None

    def __repr__(self):
        return f"make_cross_modal_scorer(direction={self.direction!r}, k={self.k!r})"

    def __call__(self, estimator, X, y=None):
        """Return the MAP."""
        embeddings, metric = _embeddings(estimator, X)
        embeddings, y = _labelled(estimator, embeddings, y)
        _, embeddings, labels = _known(embeddings, y)
        directions = _directions(embeddings) if self.direction == "mean" else [self.direction]
        figures = {"map": partial(_ranking.average_precisions, k=self.k)}
        maps = [
            _direction(figures, embeddings, query, gallery, labels, metric, self.k)["map"]
            for query, gallery in directions
        ]
        return float(np.mean(maps))


def _known(embeddings, y):
    """Return whole pairs, and the rows that each view has with their labels, by view name."""
    n_rows = next(iter(embeddings.values())).shape[0]
    labels = _labels(y, n_rows)
    if labels.shape[0] != n_rows:
        raise ValueError(
            f"X has {n_rows} rows and y {labels.shape[0]} labels: each row needs one label."
        )
    present = {name: rows_there(rows) for name, rows in embeddings.items()}
    if not all(rows.any() for rows in present.values()):
        raise ValueError("A view of X has no row to score: each embedding contains NaN only.")
    missing = {name: int(np.count_nonzero(~rows)) for name, rows in present.items()}
    if any(missing.values()):
        warn_user(
            f"Rows of NaN are left out of the figures: {missing} by view, of {n_rows}.",
        )
    whole = np.logical_and(*present.values())
    pairs = {name: _some_rows(rows, whole) for name, rows in embeddings.items()}
    known = {name: _some_rows(rows, present[name]) for name, rows in embeddings.items()}
    return pairs, known, {name: labels[rows] for name, rows in present.items()}


def _some_rows(rows, chosen):
    """Return the rows that a mask chooses, without a mask of their own."""
    if arrays.is_of_library(rows):
        return rows if chosen.all() else some_rows(rows, np.flatnonzero(chosen))
    return np.asarray(rows[chosen])


def rows_there(rows):
    """Tell which rows of an embedding are not missing: masked, or NaN throughout."""
    if np.ma.isMA(rows):
        return ~np.ma.getmaskarray(rows).all(axis=1)
    if arrays.is_of_library(rows):
        present = present_rows(rows)
        return np.ones(rows.shape[0], bool) if present is None else present
    return ~np.isnan(rows).all(axis=1) if rows.dtype.kind == "f" else np.ones(len(rows), bool)


def _pair_figures(query, gallery, metric):
    """Return the figures for which only a row's own partner counts."""
    ranks = _ranking.partner_ranks(query, gallery, metric)
    figures = {"pair_mrr": (1 / ranks).mean()}
    for k in (1, _SCORES_K):
        figures[f"pair_recall_at_{k}"] = (ranks <= k).mean()
    return {name: float(value) for name, value in figures.items()}


def _labels(y, n_rows):
    """Return the labels to score by, with a warning if they tell nothing apart."""
    if y is None:
        return np.arange(n_rows)
    labels = read_labels(y)
    if not issparse(labels) and (labels == labels[0]).all():
        warn_user(
            f"All {len(labels)} rows to score have the class {labels.tolist()[0]!r}: the whole "
            "gallery is relevant to every query, so any embedding has the MAP 1. Shuffle the "
            "folds: cv=StratifiedKFold(5, shuffle=True).",
            UndefinedMetricWarning,
        )
    return labels


def _directions(embeddings):
    first, second = embeddings
    return [(first, second), (second, first)]


def _direction(figures, embeddings, query, gallery, labels, metric, k=None):
    """Return the mean figures of one direction."""
    unknown = {query, gallery} - set(embeddings)
    if unknown:
        raise ValueError(
            f"direction={(query, gallery)!r} names {sorted(unknown)}, but the views are "
            f"{list(embeddings)}; the halves of an array are 'first' and 'second'."
        )
    compared = [side[name] for side in (embeddings, labels) for name in (query, gallery)]
    measured = _measure(figures, *compared, metric, k)
    return {name: float(np.mean(values)) for name, values in measured.items()}


def _embeddings(estimator, X):
    """Return the embeddings of both views by name, and the metric to compare them by."""
    output = estimator.transform(X)
    if not isinstance(output, Mapping):
        output = dict(zip(("first", "second"), _halves(_read(output)), strict=True))
    embeddings = {name: _read(rows) for name, rows in output.items()}
    if len(embeddings) != 2:
        raise ValueError(
            f"transform returned the views {list(embeddings)}: scoring needs two, so X must hold "
            "both."
        )
    return embeddings, _metric_of(estimator)


def _read(rows):
    """Return embeddings where they lie if work is done there, masked, or as an array."""
    place = arrays.place_of(rows)
    if np.ma.isMA(rows) or (place is not None and place.computes):
        return rows
    return np.asarray(arrays.to_host(rows))


def _labelled(estimator, embeddings, y):
    """Return the embeddings and labels of the rows that have a label."""
    unlabelled = _defined(estimator, "unlabelled")
    if y is None or unlabelled is None:
        return embeddings, y
    y = y if issparse(y) else np.asarray(arrays.to_host(y))
    known = has_label(y, unlabelled)
    return {name: _some_rows(rows, known) for name, rows in embeddings.items()}, y[known]


def _halves(embedding):
    half = embedding.shape[1] // 2
    if embedding.shape[1] % 2:
        raise ValueError(
            f"transform returned {embedding.shape[1]} columns, which are not two equal halves: "
            "an estimator of arrays must embed them as [first | second]."
        )
    return embedding[:, :half], embedding[:, half:]


def _metric_of(estimator):
    """Return the metric of what embeds: the best of a search, the last step that defines one."""
    return _defined(estimator, "metric") or "cosine"


def _defined(estimator, attribute):
    """Return an attribute of what embeds, see `_metric_of`, or None."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not hasattr(estimator, "steps"):
        return getattr(estimator, attribute, None)
    values = (_defined(step, attribute) for _, step in reversed(estimator.steps))
    return next((value for value in values if value is not None), None)
