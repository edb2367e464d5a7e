"""Which items are relevant to which queries: those of the same class, or of any shared label."""

import numpy as np
from scipy.sparse import issparse

from cca_estimators._algebra.namespace import cast, like, with_entries
from cca_estimators._reading.arrays import is_of_library


def relevance_of(query_labels, gallery_labels, places, exclude_self=False):
    """Return the relevance between rows with labels as `read_labels` returns them.

    Parameters
    ----------
    query_labels, gallery_labels : ndarray, or sparse indicator
    places : ndarray of int, shape (n_gallery,)
        Places of the items in an order of their own, whatever order they came in.
    exclude_self : bool, default=False
        Whether query `i` is item `i`, which is not to be found.

    Raises
    ------
    ValueError
        If one side has several labels for a row and the other one, or their numbers differ.
    """
    if not (issparse(query_labels) or issparse(gallery_labels)):
        codes = np.unique(np.concatenate([query_labels, gallery_labels]), return_inverse=True)[1]
        relevance = SameClass(*np.split(codes, [len(query_labels)]), places)
        return without_own(relevance) if exclude_self else relevance
    shapes = query_labels.shape, gallery_labels.shape
    if len({shape[1:] for shape in shapes}) > 1:
        raise ValueError(
            f"query_labels and gallery_labels have shapes {shapes[0]} and {shapes[1]}: both must "
            "be classes, or indicators of the same labels."
        )
    relevance = SharedLabels(query_labels, gallery_labels, places)
    return without_own(relevance) if exclude_self else relevance


def without_own(relevance):
    """Return the relevance with item `i` left out of the list of query `i`."""
    relevance.own = np.argsort(relevance.order)
    relevance.counts = np.maximum(relevance.counts - 1, 0)
    return relevance


def indicators(*labels):
    """Return the classes of labels together, and a dense indicator (n, n_classes) of each."""
    if issparse(labels[0]):
        return np.arange(labels[0].shape[1]), [members.toarray() > 0 for members in labels]
    classes = np.unique(np.concatenate(labels))
    return classes, [codes[:, None] == classes for codes in labels]


class SameClass:
    """Items of the query's class.

    Parameters
    ----------
    query_codes, gallery_codes : ndarray of int
        Class of each row.
    places : ndarray of int, shape (n_gallery,)
        As in `relevance_of`.

    Attributes
    ----------
    order : ndarray of int, shape (n_gallery,)
        The gallery sorted by class, and by place within it: the items relevant to a query are one
        slice of it.
    counts : ndarray of int, shape (n_queries,)
        Number of items relevant to each query.
    kinds : ndarray of int, shape (n_queries,)
        Equal for queries to which the same items are relevant.
    own : ndarray of int, shape (n_queries,), or None
        Place of each query among the items, where it is to be left out.
    """

    own = None

    def __init__(self, query_codes, gallery_codes, places):
        self.order = np.lexsort((places, gallery_codes))
        self._query, self._gallery = query_codes, gallery_codes[self.order]
        self.kinds = query_codes
        self._starts = self._gallery.searchsorted(query_codes)
        self._stops = self._gallery.searchsorted(query_codes, side="right")
        self.counts = self._stops - self._starts

    def shared(self, queries, keys):
        """Return which items are relevant, shape (n, n_gallery), where the keys lie."""
        query, gallery = (like(codes, keys) for codes in (self._query[queries], self._gallery))
        return _without_own(query[:, None] == gallery[None, :], self.own, queries)

    def mark(self, keys, queries):
        """Return keys, in the order of `order`, with the lowest bit of relevant items set."""
        if is_of_library(keys):
            return keys | cast(self.shared(queries, keys), keys.dtype)
        for row, start, stop in zip(keys, self._starts[queries], self._stops[queries], strict=True):
            row[start:stop] |= 1
        return _unmark_own(keys, self.own, queries)


class SharedLabels:
    """Items that share a label with the query.

    Parameters
    ----------
    query_members, gallery_members : sparse array, shapes (n_queries, C), (n_gallery, C)
        Indicators of the labels.
    places : ndarray of int, shape (n_gallery,)
        As in `relevance_of`.

    Attributes
    ----------
    order, counts, kinds, own
        As of `SameClass`; the gallery is sorted by place alone.
    """

    own = None

    def __init__(self, query_members, gallery_members, places):
        self.order = np.argsort(places, kind="stable")
        members = gallery_members.toarray().astype(np.float32)[self.order]
        self._query = query_members.toarray().astype(np.float32)
        self._gallery = np.ascontiguousarray(members.T)
        self._sets, which = np.unique(self._query, axis=0, return_inverse=True)
        counts = np.array([np.count_nonzero(one @ self._gallery) for one in self._sets])
        self.kinds = which.ravel()
        self.counts = counts[self.kinds]

    def shared(self, queries, keys):
        """Return the number of labels that queries share with each item, where the keys lie."""
        query, gallery = (like(part, keys) for part in (self._query[queries], self._gallery))
        return _without_own(query @ gallery, self.own, queries)

    def mark(self, keys, queries):
        """Return keys with the lowest bit of relevant items set, found once for each label set."""
        if is_of_library(keys):
            return keys | cast(self.shared(queries, keys) > 0, keys.dtype)
        kinds, which = np.unique(self.kinds[queries], return_inverse=True)
        relevant = self._sets[kinds] @ self._gallery > 0
        for kind, one in enumerate(relevant):
            keys[which == kind] |= one
        return _unmark_own(keys, self.own, queries)


def _unmark_own(keys, own, queries):
    if own is not None:
        keys[np.arange(len(keys)), own[queries]] &= ~1
    return keys


def _without_own(values, own, queries):
    """Return values of the items of each query, its own ones 0."""
    return values if own is None else with_entries(values, own[queries], 0)
