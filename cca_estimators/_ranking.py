"""Ranking of a gallery for many queries: the ranks of the relevant items, block by block.

The similarities of a block of queries are sorted as values, which is several times faster than
sorting indices, and the relevant ones are found again by binary search. The rank of an item is the
number of items at least as similar, so tied items share the last rank of their group, and the
precision at a relevant item is that of scikit-learn's `average_precision_score`.
"""

from typing import NamedTuple

import numpy as np
from sklearn.preprocessing import normalize

_BLOCK_ELEMENTS = 2**21
METRICS = ("cosine", "hamming")


class Ranked(NamedTuple):
    """Ranks of the relevant items of some queries, which all have the same number of them.

    Attributes
    ----------
    ranks : ndarray of int, shape (n_queries, n_relevant)
        Rank of each relevant item, best first.
    hits : ndarray of int, shape (n_queries, n_relevant)
        Number of relevant items up to that rank.
    relevant : ndarray, shape (n_queries, n_relevant)
        Similarities of the relevant items, ascending.
    gallery : ndarray, shape (n_queries, n_gallery)
        Similarities of all items, ascending.
    """

    ranks: np.ndarray
    hits: np.ndarray
    relevant: np.ndarray
    gallery: np.ndarray


def average_precisions(ranked, k=None):
    """Return the average precision of each query, over the full list or the first k."""
    precisions = ranked.hits / ranked.ranks
    if k is None:
        return precisions.mean(axis=1)
    cut_hits, straddling = _hits_at(ranked, k)
    inside = ranked.ranks <= k
    total = (precisions * inside).sum(axis=1) + straddling * cut_hits / k
    return total / min(k, ranked.ranks.shape[1])


def precisions_at(ranked, k):
    """Return the share of relevant items among the first k of each query."""
    return _hits_at(ranked, k)[0] / k


def recalls_at(ranked, k):
    """Return the share of the relevant items that are among the first k of each query."""
    return _hits_at(ranked, k)[0] / ranked.ranks.shape[1]


def reciprocal_ranks(ranked):
    """Return the reciprocal rank of the first relevant item of each query."""
    return 1.0 / ranked.ranks[:, 0]


def interpolated_precisions(ranked, levels):
    """Return the best precision at or beyond each recall level, shape (n_queries, n_levels)."""
    best = np.maximum.accumulate((ranked.hits / ranked.ranks)[:, ::-1], axis=1)[:, ::-1]
    n_relevant = best.shape[1]
    needed = np.ceil(levels * n_relevant - 1e-9).astype(int)
    return best[:, np.maximum(needed, 1) - 1]


def _hits_at(ranked, k):
    """Return the expected hits in the first k, ties in random order, and those of a cut tie."""
    threshold = ranked.gallery[:, -k, None]
    above = (ranked.gallery > threshold).sum(axis=1)
    tied = (ranked.gallery == threshold).sum(axis=1)
    share = (k - above) / tied
    relevant_tied = (ranked.relevant == threshold).sum(axis=1)
    hits = (ranked.relevant > threshold).sum(axis=1) + relevant_tied * share
    return hits, np.where(share < 1, relevant_tied * share, 0.0)


def measure(query, gallery, query_codes, gallery_codes, metric, figures):
    """Compute figures of every query in one pass over the ranked lists.

    Parameters
    ----------
    query, gallery : ndarray, shapes (n_queries, n_components), (n_gallery, n_components)
    query_codes, gallery_codes : ndarray of int
        Class of each row.
    metric : {"cosine", "hamming"}
    figures : dict of callable
        Each maps a `Ranked` to an array with one row per query.

    Returns
    -------
    dict of ndarray
        One row per query that has relevant items.
    """
    query, gallery = _comparable(query, metric), _comparable(gallery, metric)
    order = np.argsort(gallery_codes, kind="stable")
    gallery, sorted_codes = gallery[order], gallery_codes[order]
    starts = sorted_codes.searchsorted(query_codes)
    counts = sorted_codes.searchsorted(query_codes, side="right") - starts
    parts = []
    for count in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts == count)
        for block in np.array_split(rows, -(-len(rows) * len(gallery) // _BLOCK_ELEMENTS)):
            block_ranks = ranked(query[block] @ gallery.T, starts[block], count)
            parts.append({name: figure(block_ranks) for name, figure in figures.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in figures}


def ranked(similarity, starts, n_relevant):
    """Rank the columns of `similarity`, `n_relevant` from `starts` on being relevant; sort it."""
    columns = starts[:, None] + np.arange(n_relevant)
    relevant = np.take_along_axis(similarity, columns, axis=1)
    relevant.sort(axis=1)
    similarity.sort(axis=1)
    below = np.empty(relevant.shape, np.intp)
    for row, items, place in zip(similarity, relevant, below, strict=True):
        place[:] = row.searchsorted(items)
    hits = np.broadcast_to(np.arange(1, n_relevant + 1), relevant.shape)
    tied = np.flatnonzero((relevant[:, 1:] == relevant[:, :-1]).any(axis=1))
    if len(tied):
        hits = hits.copy()
        for row in tied:
            hits[row] = (n_relevant - relevant[row].searchsorted(relevant[row]))[::-1]
    return Ranked((similarity.shape[1] - below)[:, ::-1], hits, relevant, similarity)


def _comparable(rows, metric):
    """Return rows whose inner products order them as the metric does."""
    if metric == "hamming":
        return 2 * rows.astype(np.float32) - 1
    return normalize(rows)
