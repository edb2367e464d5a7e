"""Nearest neighbours in a gallery, against scikit-learn's exact search, FAISS and one product.

What is embedded is made up, so that the search alone is measured. scikit-learn searches rows of
norm 1 by the Euclidean distance, which orders them as the cosine does. It computes in float64 also
where rows are float32, FAISS in float32; ours screens in float32 and decides in float64.
"""

from functools import partial

import numpy as np
from _common import Row, Table, compare, exponent, measure, threads, write
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from cca_estimators import CrossModalIndex

N_GALLERY, N_QUERIES, N_COMPONENTS, N_BITS, N_NEIGHBORS = 1_000_000, 1_000, 10, 64, 10
SIZES = (30_000, 100_000, 300_000, 1_000_000, 3_000_000)


class Given(BaseEstimator):
    """Take rows as their embeddings."""

    def __init__(self, metric):
        self.metric = metric

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X

    def __sklearn_is_fitted__(self):
        return True


def make_data(n_gallery=N_GALLERY, dtype=np.float32):
    """Return queries and a gallery, rows of norm 1."""
    rng = np.random.default_rng(0)
    sizes = N_QUERIES, n_gallery
    return [normalize(rng.standard_normal((n, N_COMPONENTS))).astype(dtype) for n in sizes]


def make_codes():
    rng = np.random.default_rng(0)
    return [rng.integers(2, size=(n, N_BITS), dtype=np.uint8) for n in (N_QUERIES, N_GALLERY)]


def index_of(gallery, metric="cosine", **options):
    return CrossModalIndex(Given(metric), **options).fit({"visual": gallery})


def ask(index, queries, n_neighbors=N_NEIGHBORS):
    index.kneighbors({"audio": queries}, n_neighbors)


def product(queries, gallery, block_rows):
    """Multiply in blocks: what any comparison of all pairs has to do."""
    columns = np.ascontiguousarray(queries.T)
    for start in range(0, len(gallery), block_rows):
        gallery[start : start + block_rows] @ columns


def differing_bits(queries, gallery):
    """Count the bits that differ in blocks of the cache's size."""
    queries, gallery = (np.packbits(codes, axis=1).view(np.uint64) for codes in (queries, gallery))
    for start in range(0, len(gallery), 256):
        np.bitwise_count(gallery[start : start + 256] ^ queries.T)


def faiss_index(kind, gallery):
    """Return a search in FAISS, or what reports that it is missing."""
    try:
        import faiss
    except ImportError as error:
        return partial(_raise, error)
    index = getattr(faiss, kind)(gallery.shape[1] * (8 if gallery.dtype == np.uint8 else 1))
    index.add(gallery)
    return index.search


def _raise(error, *args):
    raise error


def cosine(n_threads, dtype=np.float32, n_queries=N_QUERIES, n_neighbors=N_NEIGHBORS):
    queries, gallery = make_data(dtype=dtype)
    queries = queries[:n_queries]
    search = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(gallery)
    faiss = faiss_index("IndexFlatIP", gallery.astype(np.float32))
    block_rows = 256 if n_threads == 1 else 16_384  # that fit the cache, or that share out well
    candidates = {
        "one matrix product in blocks": partial(product, queries, gallery, block_rows),
        "scikit-learn NearestNeighbors, brute": partial(search.kneighbors, queries),
        "ours": partial(ask, index_of(gallery), queries, n_neighbors),
        "ours, FAISS": partial(ask, index_of(gallery, backend="faiss"), queries, n_neighbors),
        "FAISS IndexFlatIP": partial(faiss, queries.astype(np.float32), n_neighbors),
    }
    title = (
        f"{n_neighbors} nearest of {N_GALLERY:,} x {N_COMPONENTS} by cosine, "
        f"queries: {n_queries:,}, {np.dtype(dtype)}"
    )
    return _compared(title, candidates, n_threads)


def hamming(n_threads):
    queries, gallery = make_codes()
    faiss = faiss_index("IndexBinaryFlat", np.packbits(gallery, axis=1))
    candidates = {
        "differing bits in blocks": partial(differing_bits, queries, gallery),
        "ours": partial(ask, index_of(gallery, "hamming"), queries),
        "ours, FAISS": partial(ask, index_of(gallery, "hamming", backend="faiss"), queries),
        "FAISS IndexBinaryFlat": partial(faiss, np.packbits(queries, axis=1), N_NEIGHBORS),
    }
    title = f"{N_NEIGHBORS} nearest of {N_GALLERY:,} x {N_BITS} bits, {N_QUERIES:,} queries"
    return _compared(title, candidates, n_threads)


def _compared(title, candidates, n_threads):
    """Compare, and tell how the time of our exact search relates to scikit-learn's."""
    table = compare(title, candidates, n_threads=n_threads, peers=("faiss-cpu",))
    seconds = {row.name: row.seconds for row in table.rows}
    peer = "scikit-learn NearestNeighbors, brute"
    if peer in seconds:
        table.facts["ours to scikit-learn"] = round(seconds["ours"] / seconds[peer], 2)
    return table


def growth(sizes=SIZES):
    """Measure our exact search for growing galleries."""
    rows = []
    with threads(1):
        for n in sizes:
            queries, gallery = make_data(n)
            index = index_of(gallery)
            wall, cpu, memory = measure(partial(ask, index, queries))
            rows.append(Row(f"{n:,} rows", wall, cpu, memory, repeats=1))
    power = exponent(sizes, [row.seconds for row in rows])
    facts = {"seconds grow with rows to the power": round(power, 2)}
    title = f"{N_NEIGHBORS} nearest by cosine, {N_QUERIES:,} queries, float32"
    return Table(title, rows, n_threads=1, facts=facts)


def tables():
    return [
        cosine(n_threads=1),
        cosine(n_threads=None),
        cosine(n_threads=1, dtype=np.float64),
        cosine(n_threads=None, dtype=np.float64),
        cosine(n_threads=1, n_neighbors=100),
        cosine(n_threads=None, n_queries=1),
        hamming(n_threads=1),
        hamming(n_threads=None),
        growth(),
    ]


if __name__ == "__main__":
    write("index", tables())
