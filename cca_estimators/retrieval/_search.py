"""Nearest neighbours of embeddings: an exact search in blocks.

A cheap pass over each block of the gallery screens out what cannot be among the nearest. The
distances of the few pairs that pass are computed pair by pair in float64, so they depend neither on
the blocks nor on the threads, and equal rows get equal distances. Neighbours are ordered by
distance and, where it is equal, by row.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches

from cca_estimators._compat import bitwise_count, effective_n_threads
from cca_estimators._reading.arrays import is_of_library, to_host
from cca_estimators.metrics._ranking import unit_rows
from cca_estimators.retrieval._elsewhere import nearest

_FEW_QUERIES = 16  # that share a tile of codes in the cache
_MOST_QUERIES = 512  # at once
_SAMPLE_ROWS = 256  # of the gallery at least, which give the first bounds
_SAMPLE_NEIGHBORS = 16  # times as many rows as neighbours, if those are more
_PAIR_BYTES = 128  # that a pair needs whose distance is computed, beside its rows
_PAIRS = 2**18  # whose distances are computed at once
_PIECE = 2**18  # multiplications of a product for which OpenBLAS takes a single thread
_PIECE_DEPTH = 256  # that leaves pieces of 32 rows and columns


class Cosine:
    """One minus the cosine, which is 0 for a row of zeros.

    Parameters
    ----------
    n_components : int
    """

    tile_pairs = 2**18  # screened at once, few enough for the cache

    def __init__(self, n_components):
        self.n_components = n_components
        self.rounding = (n_components + 4) * np.finfo(np.float32).eps

    def stored(self, embedding):
        """Return rows of norm 1, shape (n, n_components)."""
        return unit_rows(embedding if is_of_library(embedding) else np.ascontiguousarray(embedding))

    def check_form(self, rows):
        """Raise ValueError unless rows have the type and shape that `stored` gives them."""
        if rows.dtype not in (np.float32, np.float64):
            raise ValueError(f"its rows have dtype {rows.dtype}, not float32 or float64.")
        _check_shape(rows, self.n_components)

    def check_stored(self, rows):
        """Raise ValueError unless rows are as `stored` returns them."""
        self.check_form(rows)
        norms = np.linalg.norm(rows, axis=1)
        if not ((np.abs(norms - 1) < 1e-5) | (norms == 0)).all():
            raise ValueError("its rows are not of norm 1.")

    def prepared(self, queries):
        """Return stored queries as `screen` takes them."""
        return np.ascontiguousarray(-queries.T, dtype=np.float32)

    def screen(self, gallery, prepared):
        """Return the distances less 1, roughly, shape (n_gallery, n_queries)."""
        return _product(gallery.astype(np.float32, copy=False), prepared)

    def passing(self, gallery, prepared, bounds):
        """Return the pairs below their bounds, as row times number of queries plus query."""
        return np.flatnonzero(self.screen(gallery, prepared) < bounds)

    def bounds(self, farthest):
        """Return bounds that all screened items stay below which are nearer than the farthest."""
        bounds = (farthest - 1 + self.rounding).astype(np.float32)
        bounds[farthest == 0] = -np.inf  # nothing is nearer, however many rows are as near
        return bounds

    def loose_bounds(self, screened):
        """Return bounds that all items stay below which are as near as those screened."""
        return screened + np.float32(2 * self.rounding)

    def distances(self, rows, queries):
        """Return the distance of each pair, shape (n,)."""
        cosines = np.multiply(rows, queries, dtype=np.float64).sum(axis=1)
        return np.clip(1 - cosines, 0, 2)

    def faiss_search(self, faiss):
        """Return a function that compares queries with all rows."""
        return partial(faiss.knn, metric=faiss.METRIC_INNER_PRODUCT)

    def faiss_index(self, faiss, factory):
        """Return an empty index of inner products."""
        return faiss.index_factory(self.n_components, factory, faiss.METRIC_INNER_PRODUCT)

    def set_faiss_option(self, faiss, index, name, value):
        """Set a parameter of the search."""
        faiss.ParameterSpace().set_index_parameter(index, name, value)

    def usearch_options(self):
        """Return the options of an index of these rows."""
        return {"ndim": self.n_components, "metric": "cos", "dtype": "f32"}

    def faiss_rows(self, stored):
        """Return stored rows as FAISS takes them."""
        return np.ascontiguousarray(stored, dtype=np.float32)


class Hamming:
    """Share of the bits that differ.

    Parameters
    ----------
    n_components : int
        Number of bits.
    """

    tile_pairs = 2**21  # 4,096 rows by 512 queries, of which a few are screened at once

    def __init__(self, n_components):
        self.n_components = n_components
        self.dtype = np.min_scalar_type(n_components + 1)

    def stored(self, embedding):
        """Return bits packed into words of 64, shape (n, n_words), filled up by zeros."""
        packed = np.packbits(embedding.astype(bool), axis=1)
        missing = -packed.shape[1] % 8
        return np.pad(packed, ((0, 0), (0, missing))).view(np.uint64)

    def check_form(self, rows):
        """Raise ValueError unless rows have the type and shape that `stored` gives them."""
        if rows.dtype != np.uint64:
            raise ValueError(f"its rows have dtype {rows.dtype}, not uint64.")
        _check_shape(rows, -(-self.n_components // 64))

    def check_stored(self, rows):
        """Raise ValueError unless rows are as `stored` returns them."""
        self.check_form(rows)
        if np.unpackbits(rows.view(np.uint8), axis=1)[:, self.n_components :].any():
            raise ValueError(f"its rows have bits beyond the {self.n_components} of a code.")

    def prepared(self, queries):
        """Return stored queries as `screen` takes them."""
        return np.ascontiguousarray(queries.T)

    def screen(self, gallery, prepared):
        """Return the numbers of bits that differ, shape (n_gallery, n_queries).

        A few queries at once, by which the words that differ stay in the cache.
        """
        counts = np.zeros((prepared.shape[1], len(gallery)), self.dtype)
        words = np.empty((_FEW_QUERIES, len(gallery)), np.uint64)
        for few in gen_batches(len(counts), _FEW_QUERIES):
            into, differing = counts[few], words[: few.stop - few.start]
            for row, queries in zip(gallery.T, prepared[:, few, None], strict=True):
                np.bitwise_xor(row, queries, out=differing)
                if len(prepared) == 1:  # which spares an array of counts
                    bitwise_count(differing, out=into)
                else:
                    into += bitwise_count(differing)
        return counts.T

    def passing(self, gallery, prepared, bounds):
        """Return the pairs below their bounds, as row times number of queries plus query.

        Most queries have none, which the least number of each tells faster than a comparison.
        """
        counts = self.screen(gallery, prepared).T
        some = np.flatnonzero(counts.min(axis=1) < bounds)
        below = counts[some] < bounds[some, None]
        queries, rows = np.divmod(np.flatnonzero(below), len(gallery))
        return rows * len(bounds) + some[queries]

    def bounds(self, farthest):
        """Return bounds that all screened items stay below which are nearer than the farthest."""
        return np.rint(farthest * self.n_components).astype(self.dtype)

    def loose_bounds(self, screened):
        """Return bounds that all items stay below which are as near as those screened."""
        return screened + self.dtype.type(1)

    def distances(self, rows, queries):
        """Return the distance of each pair, shape (n,)."""
        return bitwise_count(rows ^ queries).sum(axis=1) / self.n_components

    def faiss_search(self, faiss):
        """Return a function that compares queries with all rows."""
        return faiss.knn_hamming

    def faiss_index(self, faiss, factory):
        """Return an empty index of bits."""
        return faiss.index_binary_factory(self._n_bits, factory)

    def set_faiss_option(self, faiss, index, name, value):
        """Set a parameter of the search, which is an attribute of indexes of bits."""
        if not hasattr(index, name):
            raise ValueError(f"FAISS's {type(index).__name__} has no parameter {name!r}.")
        setattr(index, name, value)

    def usearch_options(self):
        """Return the options of an index of these rows."""
        return {"ndim": self._n_bits, "metric": "hamming", "dtype": "b1"}

    @property
    def _n_bits(self):
        return 64 * -(-self.n_components // 64)

    def faiss_rows(self, stored):
        """Return stored rows as FAISS takes them."""
        return np.ascontiguousarray(stored).view(np.uint8)


METRICS = {"cosine": Cosine, "hamming": Hamming}


class Exact:
    """Exact search in blocks, by as many threads as OpenMP is set to use.

    Parameters
    ----------
    metric : Cosine or Hamming
    gallery : ndarray
        Rows as `metric.stored` returns them.
    """

    def __init__(self, metric, gallery):
        self.metric = metric
        self.gallery = gallery

    def nearest(self, queries, n_neighbors):
        """Find the nearest rows of the gallery.

        Parameters
        ----------
        queries : ndarray
            Rows as `metric.stored` returns them.
        n_neighbors : int
            At most the number of rows of the gallery.

        Returns
        -------
        distances : ndarray of float, shape (n_queries, n_neighbors)
        rows : ndarray of int, shape (n_queries, n_neighbors)
            Nearest first; of rows at the same distance, the first.
        """
        if is_of_library(self.gallery):
            return nearest(
                self.metric, queries, self.gallery, n_neighbors, self._on_host(n_neighbors)
            )
        queries = to_host(queries)
        blocks = gen_batches(len(queries), _n_queries(len(self.gallery), n_neighbors))
        with ThreadPoolExecutor(effective_n_threads()) as pool:
            found = [
                _nearest_of_block(self.metric, queries[block], self.gallery, n_neighbors, pool)
                for block in blocks
            ]
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))

    def _on_host(self, n_neighbors):
        return lambda queries, gallery: Exact(self.metric, gallery).nearest(queries, n_neighbors)


def _product(rows, columns):
    """Return ``rows @ columns`` in the calling thread alone, in pieces.

    Threads that call BLAS would each wake all threads of it. To limit those holds for the whole
    process, and calls that overlap leave the limit behind. Products of small pieces stay below the
    size from which OpenBLAS takes more threads, and a stack of them takes no longer than one.
    """
    depth = rows.shape[1]
    if depth > _PIECE_DEPTH:
        parts = gen_batches(depth, _PIECE_DEPTH)
        return sum(_product(rows[:, part], columns[part]) for part in parts)
    side = 2 ** int(np.log2(_PIECE / depth) / 2)
    product = np.empty((len(rows), columns.shape[1]), rows.dtype)
    for i, n in _stacks(len(rows), side):
        for j, m in _stacks(columns.shape[1], side):
            np.matmul(
                rows[i].reshape(n, 1, -1, depth),
                columns[:, j].reshape(depth, m, -1).swapaxes(0, 1),
                out=product[i, j].reshape(n, -1, m, (j.stop - j.start) // m).swapaxes(1, 2),
            )
    return product


def _stacks(length, side):
    """Yield the part of a length that pieces of one side fill, and the rest: slices, numbers."""
    filled = length // side * side
    if filled:
        yield slice(0, filled), filled // side
    if filled < length:
        yield slice(filled, length), 1


def _check_shape(rows, n_columns):
    if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] != n_columns:
        raise ValueError(f"its rows have shape {rows.shape}, not (n, {n_columns}).")


def _n_queries(n_gallery, n_neighbors):
    """Return how many queries the memory allows at once."""
    query_bytes = _n_sample(n_gallery, n_neighbors) * 16 + 2 * n_neighbors * _PAIR_BYTES
    return int(np.clip(_budget() // query_bytes, 1, _MOST_QUERIES))


def _n_sample(n_gallery, n_neighbors):
    return min(n_gallery, max(_SAMPLE_ROWS, _SAMPLE_NEIGHBORS * n_neighbors))


def _budget():
    return get_config()["working_memory"] * 2**20


def _nearest_of_block(metric, queries, gallery, n_neighbors, pool):
    """Screen ever longer parts of the gallery, by bounds that tighten from part to part."""
    prepared = metric.prepared(queries)
    best = _Best(metric, queries, gallery, n_neighbors)
    stop = _n_sample(len(gallery), n_neighbors)
    best.update(_nearest_pairs(metric, gallery[:stop], prepared, n_neighbors))
    most = max(1, int(_budget() // (32 * len(queries))))
    tile_rows = max(1, metric.tile_pairs // len(queries))
    while stop < len(gallery):
        start, stop = stop, min(len(gallery), 2 * stop, stop + most)
        tiles = [slice(i, min(i + tile_rows, stop)) for i in range(start, stop, tile_rows)]
        bounds = metric.bounds(best.distances[:, -1])
        passing = partial(_passing, metric, gallery, prepared, bounds)
        best.update(np.concatenate(list(pool.map(passing, tiles))))
    return best.distances, best.rows


def _nearest_pairs(metric, gallery, prepared, n_neighbors):
    """Return the pairs of some rows that may be the nearest of them, as `_passing` does."""
    screened = metric.screen(gallery, prepared)
    farthest = np.partition(screened.T, n_neighbors - 1, axis=1)[:, n_neighbors - 1]
    return np.flatnonzero(screened < metric.loose_bounds(farthest))


def _passing(metric, gallery, prepared, bounds, tile):
    """Return the pairs of a tile below their bounds, as row times number of queries plus query."""
    return metric.passing(gallery[tile], prepared, bounds) + tile.start * len(bounds)


class _Best:
    """The nearest rows of each query so far."""

    def __init__(self, metric, queries, gallery, n_neighbors):
        self.metric = metric
        self.queries = queries
        self.gallery = gallery
        self.distances = np.full((len(queries), n_neighbors), np.inf)
        self.rows = np.zeros((len(queries), n_neighbors), np.intp)

    def update(self, pairs):
        """Take in pairs of later rows and queries, numbered as `_passing` numbers them."""
        pair_bytes = _PAIR_BYTES + 24 * self.gallery.shape[1]
        most = int(np.clip(_budget() // pair_bytes, 1, _PAIRS))
        for start in range(0, len(pairs), most):
            rows, owners = np.divmod(pairs[start : start + most], len(self.queries))
            distances = self.metric.distances(self.gallery[rows], self.queries[owners])
            nearer = distances < self.distances[owners, -1]
            self._merge(distances[nearer], rows[nearer], owners[nearer])

    def _merge(self, distances, rows, owners):
        """Keep the nearest: sorting is stable, and earlier rows come first as it is."""
        n_queries, n_neighbors = self.rows.shape
        lengths = n_neighbors + np.bincount(owners, minlength=n_queries)
        owners = np.concatenate([np.repeat(np.arange(n_queries), n_neighbors), owners])
        distances = np.concatenate([self.distances.ravel(), distances])
        rows = np.concatenate([self.rows.ravel(), rows])
        order = np.lexsort((distances, owners.astype(np.uint16)))  # 16 bits are sorted by radix
        starts = np.cumsum(lengths) - lengths
        kept = order[starts[:, None] + np.arange(n_neighbors)]
        self.distances, self.rows = distances[kept], rows[kept]
