"""Ranking of a gallery for many queries: the ranks of the relevant items, block by block.

Values are sorted, which is several times faster than sorting indices, and each carries its
relevance in its lowest bit: distances between unit rows lie within (-2, 2), where floating-point
numbers leave one bit unused, so nothing is rounded away. The rank of an item is the number of items
at least as similar, so tied items share the last rank of their group, and the precision at a
relevant item is that of scikit-learn's `average_precision_score`.

Arrays of other libraries are ranked where they lie, by the same keys.
"""

from typing import NamedTuple

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches

from cca_estimators._algebra.namespace import (
    beside,
    cast,
    count,
    like,
    namespace,
    suffix_extremum,
    take,
    take_along_rows,
    with_entries,
)
from cca_estimators._reading.arrays import is_of_library, to_host

METRICS = ("cosine", "hamming")
_PRODUCT_BYTES = 2**23  # of distances that one matrix product gives
_BLOCK_BYTES = 2**19  # of distances that are ranked at once, small enough for the cache
_DEVICE_BYTES = 2**28  # of both, where launches cost more than memory


class Ranked(NamedTuple):
    """Ranked lists of some queries, which all have the same number of relevant items.

    Attributes
    ----------
    ranks : ndarray of int, shape (n_queries, n_relevant)
        Rank of each relevant item, best first.
    hits : ndarray of int, shape (n_queries, n_relevant)
        Number of relevant items up to that rank.
    relevant : ndarray of int, shape (n_queries, n_relevant)
        Keys of the relevant items, best first: odd, the smaller the more similar.
    gallery : ndarray of int, shape (n_queries, n_gallery)
        Keys of all items, best first. That of an item that is not relevant is even, one below the
        key of a relevant item tied with it.
    """

    ranks: np.ndarray
    hits: np.ndarray
    relevant: np.ndarray
    gallery: np.ndarray


def average_precisions(ranked, k=None):
    """Return the average precision of each query, over the full list or the first k."""
    precisions = ranked.hits / ranked.ranks
    xp = namespace(precisions)
    if k is None:
        return xp.mean(precisions, axis=1)
    tie = _tie_at(ranked, k)
    above = ranked.relevant < tie.key
    total = xp.sum(xp.where(above, precisions, xp.zeros_like(precisions)), axis=1)
    mean, variance = tie.drawn_moments()
    total += (tie.hits_above * mean + mean**2 + variance) / k
    return total / min(k, ranked.ranks.shape[1])


def precisions_at(ranked, k):
    """Return the share of relevant items among the first k of each query."""
    return _hits_at(ranked, k) / k


def recalls_at(ranked, k):
    """Return the share of the relevant items that are among the first k of each query."""
    return _hits_at(ranked, k) / ranked.ranks.shape[1]


def reciprocal_ranks(ranked):
    """Return the reciprocal rank of the first relevant item of each query."""
    return 1.0 / ranked.ranks[:, 0]


def interpolated_precisions(ranked, levels):
    """Return the best precision at or beyond each recall level, shape (n_queries, n_levels)."""
    best = suffix_extremum(ranked.hits / ranked.ranks, "maximum")
    needed = np.ceil(levels * best.shape[1] - 1e-9).astype(int)
    return take(best, np.maximum(needed, 1) - 1, axis=1)


class _Tie(NamedTuple):
    """Group of tied items that holds the k-th item of each list; one entry per query."""

    key: np.ndarray  # of its relevant items, shape (n_queries, 1)
    size: np.ndarray
    n_relevant: np.ndarray
    n_drawn: np.ndarray  # how many of the group are among the first k
    hits_above: np.ndarray

    def drawn_moments(self):
        """Return mean and variance of the relevant items among those drawn in random order."""
        share = self.n_relevant / self.size
        mean = self.n_drawn * share
        xp = namespace(self.size)
        left = (self.size - self.n_drawn) / xp.maximum(self.size - 1, xp.ones_like(self.size))
        return mean, mean * (1 - share) * left


def _tie_at(ranked, k):
    key = ranked.gallery[:, k - 1 : k] | 1
    above = count(ranked.gallery[:, :k] < key - 1)
    return _Tie(
        key=key,
        size=count(ranked.gallery <= key) - above,
        n_relevant=count(ranked.relevant == key),
        n_drawn=k - above,
        hits_above=count(ranked.relevant < key),
    )


def _hits_at(ranked, k):
    """Return the expected relevant items among the first k, tied items in random order."""
    tie = _tie_at(ranked, k)
    return tie.hits_above + tie.drawn_moments()[0]


def measure(query, gallery, relevance, metric, figures):
    """Compute figures of every query in one pass over the ranked lists.

    Parameters
    ----------
    query, gallery : ndarray, shapes (n_queries, n_components), (n_gallery, n_components)
    relevance : SameClass or SharedLabels
    metric : {"cosine", "hamming"}
    figures : dict of callable
        Each maps a `Ranked` to an array with one row per query.

    Returns
    -------
    dict of ndarray
        One row per query that has relevant items, in the order of the queries.
    """
    lists = _ranked_blocks(-_comparable(query, metric), _comparable(gallery, metric), relevance)
    queries, parts = [], []
    for block, ranked in lists:
        queries.append(block)
        parts.append({name: to_host(figure(ranked)) for name, figure in figures.items()})
    order = np.argsort(np.concatenate(queries))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in figures}


def _ranked_blocks(query, gallery, relevance):
    """Yield blocks of queries that have equally many relevant items, and their ranked lists."""
    counts = relevance.counts
    order = np.argsort(relevance.kinds, kind="stable")
    groups = [order[counts[order] == count] for count in np.unique(counts[counts > 0])]
    for queries, keys in _key_blocks(query, gallery, relevance, groups):
        yield queries, rank(relevance.mark(keys, queries), int(counts[queries[0]]))


def _key_blocks(query, gallery, relevance, groups):
    """Yield the queries of each group in blocks, with the keys of all items."""
    rows, columns = _distinct_rows(take(gallery, relevance.order))
    n_product, n_block = _block_sizes(gallery)
    for group in groups:
        for batch in gen_batches(len(group), n_product):
            product = take(query, group[batch]) @ rows.T
            for block in gen_batches(product.shape[0], n_block):
                distance = product[block, ...]
                if columns is not None:
                    distance = take(distance, columns, axis=1)
                queries, keys = group[batch][block], _keys(distance)
                if relevance.own is not None:
                    keys = _with_last(keys, relevance.own[queries])
                yield queries, keys


def _block_sizes(gallery):
    """Return how many queries are multiplied with the gallery at once, and ranked at once."""
    row_bytes = gallery.shape[0] * (4 if gallery.dtype == namespace(gallery).float32 else 8)
    if is_of_library(gallery):
        return (_n_rows(_DEVICE_BYTES, row_bytes),) * 2
    return _n_rows(_PRODUCT_BYTES, row_bytes), _n_rows(_BLOCK_BYTES, row_bytes)


def _with_last(keys, items):
    """Return keys with one item of each row behind all others."""
    return with_entries(keys, items, int(namespace(keys).iinfo(keys.dtype).max) - 1)


def discounted_gains(query, gallery, relevance, metric, k):
    """Return the normalised discounted cumulative gain of each query that has relevant items.

    The gain of an item is the number of labels that it shares with the query; tied items have the
    mean gain of their group.
    """
    chosen = np.flatnonzero(relevance.counts > 0)
    discounts = 1 / np.log2(np.arange(2, gallery.shape[0] + 2))
    if k is not None:
        discounts[k:] = 0
    blocks = _key_blocks(
        -_comparable(query, metric), _comparable(gallery, metric), relevance, [chosen]
    )
    return np.concatenate(
        [to_host(_gained(keys, relevance.shared(each, keys), discounts)) for each, keys in blocks]
    )


def _gained(keys, gains, discounts):
    """Return the discounted gains of lists, as a share of those in the best order.

    A tied item counts by the mean discount of its group, which is its mean gain at each place.
    """
    xp = namespace(keys)
    order = xp.argsort(keys, axis=1)
    keys = take_along_rows(keys, order)
    gains = take_along_rows(cast(gains, xp.float64), order)
    ideal = -(xp.sort(-gains, axis=1) @ like(discounts, gains))
    tied = keys[:, 1:] == keys[:, :-1]
    if xp.any(tied):
        return xp.sum(gains * _means_of_tied(discounts, tied), axis=1) / ideal
    return gains @ like(discounts, gains) / ideal


def _means_of_tied(values, tied):
    """Return the mean of the values over the group of each item, which some tie with the next."""
    xp = namespace(tied)
    inner = like(np.arange(1, len(values)), tied)[None, :]
    begin = xp.where(tied, xp.zeros_like(inner), inner)
    begin = beside(xp.zeros_like(begin[:, :1]), begin)
    begin = xp.flip(suffix_extremum(xp.flip(begin, axis=1), "maximum"), axis=1)
    end = xp.where(tied, xp.full_like(inner, len(values)), inner)
    end = suffix_extremum(beside(end, xp.full_like(end[:, :1], len(values))), "minimum")
    sums = like(np.cumsum([0.0, *values]), tied)
    of_end, of_begin = (
        xp.reshape(xp.take(sums, xp.reshape(each, (-1,)), axis=0), each.shape)
        for each in (end, begin)
    )
    return (of_end - of_begin) / cast(end - begin, sums.dtype)


def shares_retrieved(query, gallery, relevance, members, metric, k):
    """Return the expected share of each class among the first k items of every query.

    Parameters
    ----------
    members : ndarray, shape (n_gallery, n_classes)
        Indicator of the classes of the items.
    """
    blocks = _key_blocks(
        -_comparable(query, metric),
        _comparable(gallery, metric),
        relevance,
        [np.arange(query.shape[0])],
    )
    members = members[relevance.order].astype(np.float32)
    return np.concatenate([to_host(_shares_of_first(keys, members, k)) for _, keys in blocks])


def _shares_of_first(keys, members, k):
    xp = namespace(keys)
    ordered = xp.sort(keys, axis=1) if is_of_library(keys) else np.partition(keys, k - 1, axis=1)
    last, members = ordered[:, k - 1 : k], like(members, keys)
    above, tied = (cast(each, members.dtype) for each in (keys < last, keys == last))
    n_above, n_tied = (xp.sum(each, axis=1, dtype=xp.float64) for each in (above, tied))
    left = (k - n_above) / n_tied  # the chance of a tied item to be among them
    return (above @ members + left[:, None] * (tied @ members)) / k


def partner_ranks(query, gallery, metric):
    """Return the rank of each query's own partner, the item of its number, shape (n,)."""
    everything = np.arange(query.shape[0])
    blocks = _key_blocks(
        -_comparable(query, metric), _comparable(gallery, metric), Pairs(everything), [everything]
    )
    ranks = [
        to_host(count(keys <= take_along_rows(keys, like(queries, keys)[:, None])))
        for queries, keys in blocks
    ]
    return np.concatenate(ranks)


class Pairs(NamedTuple):
    """Items in the order of the queries, none left out."""

    order: np.ndarray
    own: None = None


def _n_rows(n_bytes, row_bytes):
    return max(1, int(min(n_bytes, get_config()["working_memory"] * 2**20) // row_bytes))


def places(gallery):
    """Return the place of each row in the order of the bytes of rows.

    Sorted so, a gallery enters the same matrix products in whatever order it came, and no figure
    depends on that order, not even by rounding: a product may round the same sum differently in
    different columns.
    """
    return np.unique(_packed(to_host(gallery)), return_inverse=True)[1]


def _packed(rows):
    return np.ascontiguousarray(rows).view((np.void, rows[0].nbytes)).ravel()


def _distinct_rows(gallery):
    """Return the distinct rows, and which of them each row is, or None where all are distinct.

    Equal rows get equal similarities only if computed once: a matrix product may round the same sum
    differently in different columns.
    """
    packed = _packed(to_host(gallery))
    _, first, columns = np.unique(packed, return_index=True, return_inverse=True)
    return (gallery, None) if len(first) == len(packed) else (take(gallery, first), columns)


def _keys(distance):
    """Turn distances within (-2, 2), in place, into even integers of the same order."""
    xp = namespace(distance)
    distance += 0.0  # makes -0.0 equal to 0.0 bit by bit
    if not hasattr(distance, "view"):
        return _keys_by_sorting(distance)
    single = distance.dtype == xp.float32
    keys = distance.view(xp.int32 if single else xp.int64)
    limits = xp.iinfo(keys.dtype)
    keys ^= (keys >> (limits.bits - 1)) & limits.max
    keys <<= 1
    return keys


def _keys_by_sorting(distance):
    """Return twice the number of different smaller distances in each row."""
    xp = namespace(distance)
    order = xp.argsort(distance, axis=1)
    ascending = take_along_rows(distance, order)
    larger = cast(ascending[:, 1:] != ascending[:, :-1], xp.int64)
    first = xp.zeros_like(larger[:, :1]) if larger.shape[1] else cast(order * 0, xp.int64)
    numbers = xp.cumulative_sum(xp.concat([first, larger], axis=1), axis=1)
    return 2 * take_along_rows(numbers, xp.argsort(order, axis=1))


def rank(keys, n_relevant):
    """Rank lists of keys, which are sorted in place, with `n_relevant` odd ones in each row."""
    keys, places, relevant = (_sorted_elsewhere if is_of_library(keys) else _sorted)(
        keys, n_relevant
    )
    ranks = places + 1
    hits = namespace(ranks).broadcast_to(like(np.arange(1, n_relevant + 1), ranks), ranks.shape)
    hits = cast(hits, ranks.dtype)
    tied = relevant[:, 1:] == relevant[:, :-1]
    if namespace(tied).any(tied):
        last = _last_of_ties_elsewhere if is_of_library(keys) else _last_of_ties
        ranks, hits = last([ranks, hits], tied)
    return Ranked(ranks, hits, relevant, keys)


def _sorted(keys, n_relevant):
    """Return the keys sorted, and the places and keys of the odd ones."""
    keys.sort(axis=1)
    odd = (keys.ravel().astype(np.uint8) & 1).view(bool)
    places = np.flatnonzero(odd).reshape(-1, n_relevant)
    relevant = keys.ravel()[places]
    places -= (np.arange(len(keys)) * keys.shape[1])[:, None]
    return keys, places, relevant


def _sorted_elsewhere(keys, n_relevant):
    """Return what `_sorted` does; places are floats, whose quotients all libraries know."""
    xp = namespace(keys)
    keys = xp.sort(keys, axis=1)
    places = xp.reshape(xp.nonzero((keys & 1) == 1)[1], (-1, n_relevant))
    return keys, cast(places, xp.float64), take_along_rows(keys, places)


def _last_of_ties(values, tied):
    """Give in each array what is tied with the next one the value of the last of its group."""
    rows, columns = np.nonzero(tied)  # few, of embeddings
    places = rows * (tied.shape[1] + 1) + columns
    ends = places + 1
    ends[:-1][places[1:] == ends[:-1]] = np.iinfo(ends.dtype).max  # the group goes on
    ends = np.minimum.accumulate(ends[::-1])[::-1]
    changed = [each.copy() for each in values]
    for each in changed:
        each.ravel()[places] = each.ravel()[ends]
    return changed


def _last_of_ties_elsewhere(values, tied):
    """Return what `_last_of_ties` does: they ascend, so that it is the least of what ends one."""
    xp, changed = namespace(tied), []
    for each in values:
        begun = xp.where(tied, xp.max(each), each[:, :-1])
        changed.append(suffix_extremum(xp.concat([begun, each[:, -1:]], axis=1), "minimum"))
    return changed


def _comparable(rows, metric):
    """Return rows whose inner products are within (-2, 2) and order them as the metric does."""
    if metric == "hamming":
        scale = 2.0 ** -np.ceil(np.log2(rows.shape[1]) / 2)  # a power of two rounds nothing
        return (2 * cast(rows, namespace(rows).float32) - 1) * float(scale)
    return unit_rows(rows)


def unit_rows(rows):
    """Divide rows by their norm, safely for any magnitude; rows of zeros stay."""
    if is_of_library(rows):
        return _unit_rows_elsewhere(rows)
    exponents = np.frexp(np.abs(rows).max(axis=1, keepdims=True))[1]
    rows = np.ldexp(rows, -exponents)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    norms[norms == 0] = 1
    return rows / norms + 0.0


def _unit_rows_elsewhere(rows):
    xp = namespace(rows)
    largest = xp.max(xp.abs(rows), axis=1, keepdims=True)
    exponents = xp.floor(xp.log2(xp.where(largest > 0, largest, xp.ones_like(largest))))
    rows = rows / xp.pow(2 * xp.ones_like(exponents), exponents)
    norms = xp.linalg.vector_norm(rows, axis=1, keepdims=True)
    return rows / xp.where(norms == 0, xp.ones_like(norms), norms) + 0.0
