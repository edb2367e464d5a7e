"""Search by FAISS and USearch: they give candidates, which are ranked by exact distances."""

from functools import partial

import numpy as np
from sklearn.utils import gen_batches

from cca_estimators._compat import effective_n_threads
from cca_estimators.retrieval._search import Exact

_BLOCK_ROWS = 2**16  # handed to an index at once
_TRAIN_ROWS = 2**18  # to learn the cells of an approximate index from, at most
_SHORTLIST = 4  # times as many candidates as neighbours, unless told otherwise
_QUERIES = 512  # ranked at once


class Candidates:
    """Backend that ranks candidates exactly.

    Parameters
    ----------
    metric : Cosine or Hamming
    gallery : ndarray or Shards
        Rows as `metric.stored` returns them.
    factory : str, default=None
        Of an approximate index of FAISS.
    options : dict, default=None
        For the approximate index; "shortlist" is the number of candidates.
    """

    def __init__(self, metric, gallery, factory=None, options=None):
        self.metric, self.gallery, self.factory = metric, gallery, factory
        self.options = dict(options or {})
        self._shortlist = self.options.pop("shortlist", None)
        self._build()

    def __reduce__(self):
        options = self.options | ({"shortlist": self._shortlist} if self._shortlist else {})
        return type(self), (self.metric, self.gallery, self.factory, options)

    def nearest(self, queries, n_neighbors):
        """Find the nearest rows among candidates, by distances and in the order of `Exact`."""
        width = max(n_neighbors, self._shortlist or _SHORTLIST * n_neighbors)
        width = min(width, len(self.gallery))
        ranked = partial(self._ranked, width=width, n_neighbors=n_neighbors)
        found = [ranked(queries[block]) for block in gen_batches(len(queries), _QUERIES)]
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))

    def _ranked(self, queries, width, n_neighbors):
        rows = self._candidates(queries, width)
        owners = np.repeat(np.arange(len(queries)), rows.shape[1])
        distances = self.metric.distances(
            self.gallery[np.maximum(rows, 0).ravel()], queries[owners]
        ).reshape(rows.shape)
        distances[rows < 0] = np.inf  # fewer were found
        order = np.lexsort((rows, distances))[:, :n_neighbors]
        distances, rows = (np.take_along_axis(each, order, 1) for each in (distances, rows))
        short = np.isinf(distances).any(axis=1)
        if short.any():
            exact = Exact(self.metric, self.gallery).nearest(queries[short], n_neighbors)
            distances[short], rows[short] = exact
        return distances, rows

    def _blocks(self):
        """Yield the first number and the rows of each block of the gallery."""
        for block in gen_batches(len(self.gallery), _BLOCK_ROWS):
            yield block.start, self.metric.faiss_rows(self.gallery[block])


class Faiss(Candidates):
    """Search by FAISS: exhaustive, or by the approximate index that a factory makes."""

    def _build(self):
        try:
            import faiss
        except ImportError as error:
            raise ImportError(
                "backend='faiss' needs the package faiss-cpu: pip install 'cca_estimators[faiss]'. "
                "backend='exact' finds the same neighbours without it."
            ) from error
        parts = getattr(self.gallery, "parts", [self.gallery])
        if self.factory is None:
            self._parts = [self.metric.faiss_rows(part) for part in parts]
            self._search = self.metric.faiss_search(faiss)
            return
        self._index = self.metric.faiss_index(faiss, self.factory)
        step = -(-len(self.gallery) // _TRAIN_ROWS)
        self._index.train(
            np.concatenate([rows[-start % step :: step] for start, rows in self._blocks()])
        )
        for _, rows in self._blocks():
            self._index.add(rows)
        for name, value in self.options.items():
            self.metric.set_faiss_option(faiss, self._index, name, value)

    def nearest(self, queries, n_neighbors):
        """Find the nearest rows, and compute and order their distances as `Exact` does."""
        if self.factory is None:
            self._shortlist = n_neighbors  # all rows are compared
        return super().nearest(queries, n_neighbors)

    def _candidates(self, queries, width):
        queries = self.metric.faiss_rows(queries)
        if self.factory is not None:
            return self._index.search(queries, width)[1]
        found, start = [], 0
        for part in self._parts:
            found.append(self._search(queries, part, min(width, len(part)))[1] + start)
            start += len(part)
        return np.hstack(found)


class Usearch(Candidates):
    """Approximate search by USearch's graph of neighbours."""

    def _build(self):
        try:
            from usearch.index import Index
        except ImportError as error:
            raise ImportError(
                "backend='usearch' needs the package usearch: pip install "
                "'cca_estimators[usearch]'. backend='exact' needs no other package."
            ) from error
        self._index = Index(**(self.metric.usearch_options() | self.options))
        for start, rows in self._blocks():
            keys = np.arange(start, start + len(rows), dtype=np.uint64)
            self._index.add(keys, rows, threads=effective_n_threads())

    def _candidates(self, queries, width):
        found = self._index.search(
            self.metric.faiss_rows(queries), width, threads=effective_n_threads()
        )
        keys, counts = (np.atleast_1d(each) for each in (found.keys, found.counts))
        keys = keys.reshape(len(queries), -1).astype(np.int64)
        keys[np.arange(keys.shape[1]) >= counts[:, None]] = -1
        return keys


BACKENDS = {"exact": Exact, "faiss": Faiss, "usearch": Usearch}
