"""Figures of ranked lists: MAP and its kin, checked, then measured in one pass."""

from functools import partial
from numbers import Integral

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import check_array

from cca_estimators._compat import warn_user
from cca_estimators._reading.arrays import place_of, to_host
from cca_estimators._reading.labels import read_labels
from cca_estimators.metrics import _ranking
from cca_estimators.metrics._relevance import relevance_of

__all__ = [
    "average_precision",
    "mean_average_precision",
    "mean_reciprocal_rank",
    "ndcg",
    "precision_at_k",
    "precision_recall_curve",
    "recall_at_k",
]


_RECALLS = np.linspace(0, 1, 101)


def average_precision(relevant, similarity) -> float | np.ndarray:
    """Compute the average precision (AP) of one ranked list, or of several.

    ``AP = 1/R sum_j P(j)`` over the `R` relevant items, with `P(j)` the precision at the rank of
    the j-th.

    Parameters
    ----------
    relevant : array-like of bool, shape (n_gallery,) or (n_queries, n_gallery)
        Which items are relevant.
    similarity : array-like, shape (n_gallery,) or (n_queries, n_gallery)
        Similarity of the items to the query; larger comes first.

    Returns
    -------
    float or ndarray of shape (n_queries,)
        In (0, 1]; nan, with a warning, where no item is relevant.

    Raises
    ------
    ValueError
        If the shapes differ or a similarity is not finite.

    Examples
    --------
    >>> from cca_estimators.metrics import average_precision
    >>> average_precision([True, False, True], [0.9, 0.8, 0.1])
    0.833...
    """
    relevant = np.asarray(relevant, dtype=bool)
    similarity = check_array(
        similarity, ensure_2d=False, dtype=[np.float64, np.float32], input_name="similarity"
    )
    if relevant.shape != similarity.shape:
        raise ValueError(
            f"relevant has shape {relevant.shape} and similarity {similarity.shape}: each item "
            "needs one entry in both."
        )
    lists = zip(np.atleast_2d(relevant), np.atleast_2d(similarity), strict=True)
    precisions = np.array([_average_precision(*ranked) for ranked in lists])
    _warn_without_relevant(np.isnan(precisions))
    return precisions if relevant.ndim == 2 else float(precisions[0])


def _average_precision(relevant, similarity):
    n_relevant = np.count_nonzero(relevant)
    if n_relevant == 0:
        return np.nan
    keys = 2 * np.unique(-similarity, return_inverse=True)[1] + relevant
    return _ranking.average_precisions(_ranking.rank(keys[None], n_relevant))[0]


def mean_average_precision(
    query, gallery, query_labels, gallery_labels, *, metric="cosine", k=None, exclude_self=False
) -> float:
    """Compute the mean average precision (MAP) of the queries.

    Parameters
    ----------
    query : array-like, shape (n_queries, n_components)
        Embeddings of the queries.
    gallery : array-like, shape (n_gallery, n_components)
        Embeddings of the items to rank.
    query_labels : array-like, shape (n_queries,) or (n_queries, n_labels)
        Classes of the queries, or an indicator matrix of several labels, dense or sparse.
    gallery_labels : array-like, shape (n_gallery,) or (n_gallery, n_labels)
        Those of the items; of the query's class, or of any label of its own, they are relevant.
    metric : {"cosine", "hamming"}, default="cosine"
        Cosine similarity of real embeddings, which is 0 for a row of zeros, or Hamming distance of
        bits (0 and 1).
    k : int, default=None
        Cut the ranked lists after k items, from 1 to the size of the gallery, and divide by
        ``min(R, k)`` for `R` relevant items; None: full lists.
    exclude_self : bool, default=False
        Leave item `i` out of the list of query `i`, for a search among the rows of one view.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If shapes or lengths do not fit, an embedding is not finite, k is out of range, or no query
        has a relevant item.

    Examples
    --------
    >>> from cca_estimators.metrics import mean_average_precision
    >>> query, gallery = [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.1], [0.2, 1.0], [1.0, 1.0]]
    >>> mean_average_precision(query, gallery, ["cat", "dog"], ["cat", "dog", "cat"])
    1.0
    """
    figure = partial(_ranking.average_precisions, k=k)
    return _mean(figure, query, gallery, query_labels, gallery_labels, metric, k, exclude_self)


def precision_at_k(
    query, gallery, query_labels, gallery_labels, *, k, metric="cosine", exclude_self=False
) -> float:
    """Compute the mean share of relevant items among the first k.

    Parameters
    ----------
    query, gallery, query_labels, gallery_labels, metric, exclude_self
        As in `mean_average_precision`.
    k : int
        Number of items, from 1 to the size of the gallery. The divisor is k.

    Returns
    -------
    float
        In [0, 1].

    Examples
    --------
    >>> from cca_estimators.metrics import precision_at_k
    >>> precision_at_k([[1.0, 0.0]], [[1.0, 0.1], [0.2, 1.0]], [0], [0, 1], k=2)
    0.5
    """
    figure = partial(_ranking.precisions_at, k=k)
    return _mean(figure, query, gallery, query_labels, gallery_labels, metric, k, exclude_self)


def recall_at_k(
    query, gallery, query_labels, gallery_labels, *, k, metric="cosine", exclude_self=False
) -> float:
    """Compute the mean share of the relevant items that are among the first k.

    Parameters
    ----------
    query, gallery, query_labels, gallery_labels, metric, exclude_self
        As in `mean_average_precision`.
    k : int
        Number of items, from 1 to the size of the gallery. The divisor is the number of relevant
        items.

    Returns
    -------
    float
        In [0, 1].

    Examples
    --------
    >>> from cca_estimators.metrics import recall_at_k
    >>> recall_at_k([[1.0, 0.0]], [[1.0, 0.1], [0.2, 1.0]], [0], [0, 1], k=1)
    1.0
    """
    figure = partial(_ranking.recalls_at, k=k)
    return _mean(figure, query, gallery, query_labels, gallery_labels, metric, k, exclude_self)


def mean_reciprocal_rank(
    query, gallery, query_labels, gallery_labels, *, metric="cosine", exclude_self=False
) -> float:
    """Compute the mean reciprocal rank of the first relevant item (MRR).

    Parameters
    ----------
    query, gallery, query_labels, gallery_labels, metric, exclude_self
        As in `mean_average_precision`.

    Returns
    -------
    float
        In (0, 1].

    Examples
    --------
    >>> from cca_estimators.metrics import mean_reciprocal_rank
    >>> mean_reciprocal_rank([[1.0, 0.0]], [[1.0, 0.1], [0.2, 1.0]], [1], [0, 1])
    0.5
    """
    figure = _ranking.reciprocal_ranks
    return _mean(figure, query, gallery, query_labels, gallery_labels, metric, None, exclude_self)


def ndcg(
    query, gallery, query_labels, gallery_labels, *, metric="cosine", k=None, exclude_self=False
):
    """Compute the mean normalised discounted cumulative gain (nDCG) of the queries.

    The gain of an item is the number of labels that it shares with the query, over ``log2(1 +
    rank)``; with one class for each row it is 1 for relevant items. Tied items have the mean gain
    of their group [1]_.

    Parameters
    ----------
    query, gallery, query_labels, gallery_labels, metric, exclude_self
        As in `mean_average_precision`.
    k : int, default=None
        Count the first k items only; None: full lists.

    Returns
    -------
    float
        In [0, 1]; 1 where no item comes before one that shares more labels.

    References
    ----------
    .. [1] K. Jarvelin, J. Kekalainen, "Cumulated gain-based evaluation of IR techniques", ACM
       Transactions on Information Systems 20(4), 422-446, 2002.

    Examples
    --------
    >>> from cca_estimators.metrics import ndcg
    >>> labels = [[1, 1, 0], [1, 0, 0], [0, 0, 1]]
    >>> round(ndcg([[1.0, 0.0]], [[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]], labels[:1], labels), 2)
    0.86
    """
    compared = _compared(query, gallery, query_labels, gallery_labels, metric, k, exclude_self)
    return float(_ranking.discounted_gains(*compared, metric, k).mean())


def precision_recall_curve(
    query, gallery, query_labels, gallery_labels, *, metric="cosine", exclude_self=False
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the interpolated precision at 101 levels of recall, averaged over the queries.

    A query's precision at a level is the best of its precisions at that recall or beyond.

    Parameters
    ----------
    query, gallery, query_labels, gallery_labels, metric, exclude_self
        As in `mean_average_precision`.

    Returns
    -------
    precision : ndarray of shape (101,)
        Mean interpolated precision; it never increases.
    recall : ndarray of shape (101,)
        The levels 0, 0.01, ..., 1.

    Examples
    --------
    >>> from cca_estimators.metrics import precision_recall_curve
    >>> precision, recall = precision_recall_curve(
    ...     [[1.0, 0.0]], [[1.0, 0.1], [0.5, 1.0], [0.2, 1.0]], [0], [0, 1, 0]
    ... )
    >>> recall[[0, 50, 51, 100]]
    array([0.  , 0.5 , 0.51, 1.  ])
    >>> precision[[0, 50, 51, 100]].round(2)
    array([1.  , 1.  , 0.67, 0.67])
    """
    figures = {"precision": partial(_ranking.interpolated_precisions, levels=_RECALLS)}
    measured = _measure(
        figures, query, gallery, query_labels, gallery_labels, metric, None, exclude_self
    )
    return measured["precision"].mean(axis=0), _RECALLS.copy()


def _mean(figure, query, gallery, query_labels, gallery_labels, metric, k, exclude_self):
    figures, labels = {"figure": figure}, (query_labels, gallery_labels)
    measured = _measure(figures, query, gallery, *labels, metric, k, exclude_self)
    return float(measured["figure"].mean())


def _measure(
    figures, query, gallery, query_labels, gallery_labels, metric, k=None, exclude_self=False
):
    """Check the input, then compute figures of each query that has relevant items."""
    compared = _compared(query, gallery, query_labels, gallery_labels, metric, k, exclude_self)
    return _ranking.measure(*compared, metric, figures)


def _compared(query, gallery, query_labels, gallery_labels, metric, k, exclude_self):
    """Return the embeddings, checked, and the relevance between them."""
    if metric not in _ranking.METRICS:
        raise ValueError(f"metric={metric!r} is not known; use one of {_ranking.METRICS}.")
    query, query_labels = _checked(query, query_labels, "query", metric)
    gallery, gallery_labels = _checked(gallery, gallery_labels, "gallery", metric)
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query has {query.shape[1]} columns and gallery {gallery.shape[1]}: they must be "
            "embeddings in the same space."
        )
    if k is not None and not (isinstance(k, Integral) and 1 <= k <= gallery.shape[0]):
        raise ValueError(
            f"k={k!r} must be an int from 1 to the gallery's {gallery.shape[0]} items."
        )
    if exclude_self and query.shape[0] != gallery.shape[0]:
        raise ValueError(
            f"exclude_self=True is for queries that are the items themselves, but there are "
            f"{query.shape[0]} queries and {gallery.shape[0]} items."
        )
    relevance = relevance_of(query_labels, gallery_labels, _ranking.places(gallery), exclude_self)
    _require_relevant(relevance.counts > 0)
    return query, gallery, relevance


def _checked(rows, labels, name, metric):
    """Return embeddings as a finite 2-D array and their labels as a 1-D one."""
    bits = [np.uint8, bool] if metric == "hamming" else []
    place = place_of(rows)
    if place is None or not place.computes:
        rows = to_host(rows)
        rows = check_array(rows, dtype=[np.float64, np.float32, *bits], input_name=name)
        are_bits = metric != "hamming" or np.isin(rows, (0, 1)).all()
    else:
        bits = [place.xp.uint8, place.xp.bool] if bits else []
        rows = check_array(rows, dtype=[*place.float_dtypes, *bits], input_name=name)
        are_bits = metric != "hamming" or place.xp.all((rows == 0) | (rows == 1))
    if not are_bits:
        raise ValueError(f"{name} has values other than 0 and 1, which Hamming distance needs.")
    labels = read_labels(labels, f"{name}_labels", warn=False)
    if labels.shape[0] != rows.shape[0]:
        raise ValueError(
            f"{name} has {rows.shape[0]} rows and {name}_labels {labels.shape[0]}: each row needs "
            "one label."
        )
    return rows, labels


def _require_relevant(has_relevant):
    if not has_relevant.any():
        raise ValueError(
            "No query has a relevant item: query_labels and gallery_labels share no class or label."
        )
    _warn_without_relevant(~has_relevant)


def _warn_without_relevant(lacking):
    if lacking.any():
        warn_user(
            f"{np.count_nonzero(lacking)} of {len(lacking)} queries have no relevant item in the "
            "gallery: their figures are undefined, and means leave them out.",
            UndefinedMetricWarning,
        )
