"""Exact search where the rows of a gallery lie, as on a GPU: cosine distances alone.

The nearest of the first rows give bounds, and what passes them in a product with all rows is
ranked by distances in float64, as on the host. Where ties let too many pairs pass, the host
searches.
"""

import numpy as np
from sklearn.utils import gen_batches

from cca_estimators._algebra.namespace import cast, float64, namespace, take
from cca_estimators._reading.arrays import moved, place_of, to_host

_SAMPLE = 2**18  # rows that give the bounds
_PRODUCT_NUMBERS = 2**28  # that one product gives
_MOST_PASSING = 128  # pairs for each neighbour of a query


def nearest(metric, queries, gallery, n_neighbors, on_host):
    """Find the nearest rows of a gallery, as `Exact.nearest` does.

    Parameters
    ----------
    metric : Cosine
    queries : array
        Wherever they lie.
    gallery : array of another library than NumPy
    n_neighbors : int
    on_host : callable
        Searches by NumPy arrays: queries and gallery.

    Returns
    -------
    distances, rows : ndarray
    """
    queries = moved(queries, place_of(gallery))
    size = max(1, _PRODUCT_NUMBERS // min(_SAMPLE, gallery.shape[0]))
    found = []
    for block in gen_batches(queries.shape[0], size):
        some = queries[block, ...]
        pairs = _passing(metric, some, gallery, n_neighbors)
        if pairs is None:
            found.append(on_host(to_host(some), to_host(gallery)))
        else:
            found.append(_ranked(some, gallery, *pairs, n_neighbors))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _passing(metric, queries, gallery, n_neighbors):
    """Return queries and rows that may be the nearest, as numbers, or None if they are too many."""
    xp = namespace(queries)
    queries = cast(queries, gallery.dtype)
    sample = -(queries @ gallery[: min(_SAMPLE, gallery.shape[0]), :].T)
    bounds = _kth_least(sample, n_neighbors) + 2 * float(metric.rounding)
    most, n_passing = _MOST_PASSING * n_neighbors * queries.shape[0], 0
    step = max(1, _PRODUCT_NUMBERS // queries.shape[0])
    owners, rows = [], []
    for start in range(0, gallery.shape[0], step):
        part = gallery[start : min(start + step, gallery.shape[0]), :]
        own, place = xp.nonzero(-(queries @ part.T) < bounds[:, None])
        n_passing += own.shape[0]
        if n_passing > most:
            return None
        owners.append(to_host(own))
        rows.append(to_host(place) + start)
    return np.concatenate(owners), np.concatenate(rows)


def _kth_least(matrix, k):
    xp = namespace(matrix)
    if hasattr(xp, "topk"):  # of PyTorch: the rest need not be sorted
        return xp.topk(matrix, k, dim=1, largest=False, sorted=True).values[:, -1]
    return xp.sort(matrix, axis=1)[:, k - 1]


def _ranked(queries, gallery, owners, rows, n_neighbors):
    """Return the nearest of the pairs of each query; of rows as near, the first."""
    xp = namespace(gallery)
    products = float64(take(gallery, rows)) * float64(take(queries, owners))
    distances = np.clip(1 - to_host(xp.sum(products, axis=1)), 0, 2)
    order = np.lexsort((rows, distances, owners))
    starts = np.searchsorted(owners[order], np.arange(queries.shape[0]))
    kept = order[starts[:, None] + np.arange(n_neighbors)]
    return distances[kept], rows[kept]
