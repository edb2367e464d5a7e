"""Galleries on disk: anonymous memory and time of a search, and recall of approximate ones.

The rows are made up and taken as their embeddings. Memory counts what is anonymous, without the
pages of the mapped shards, which the system may drop.
"""

import tempfile
import warnings
from functools import partial

import numpy as np
from _common import Row, Table, measure, threads, write
from bench_index import Given, index_of

from cca_estimators import CrossModalIndex

N_ROWS, N_COMPONENTS, N_QUERIES, N_NEIGHBORS = 20_000_000, 10, 100, 10
N_BLOCK = 500_000
N_SHORT, N_CLUSTERS, N_PROBE = 200_000, 1024, 32


def blocks(n_rows):
    rng = np.random.default_rng(0)
    for start in range(0, n_rows, N_BLOCK):
        size = min(N_BLOCK, n_rows - start), N_COMPONENTS
        yield {"visual": rng.standard_normal(size, dtype=np.float32)}


def ask(index, queries):
    return index.kneighbors({"audio": queries}, N_NEIGHBORS)


def on_disk():
    """Write a gallery in blocks, open it, and search it."""
    queries = next(blocks(N_QUERIES))["visual"]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the estimator of this script is not trusted
        index = CrossModalIndex(Given("cosine"))
        write_it = partial(index.fit, blocks(N_ROWS), folder=folder)
        trusted = [f"{Given.__module__}.Given"]
        rows = [_row("write in blocks", write_it)]
        rows.append(_row("open", partial(CrossModalIndex.load, folder, trusted=trusted)))
        loaded = CrossModalIndex.load(folder, trusted=trusted)
        rows.append(_row(f"{N_QUERIES} queries", partial(ask, loaded, queries)))
    title = f"Gallery on disk, {N_ROWS:,} x {N_COMPONENTS} float32"
    return Table(title, rows, n_threads=None, facts={"shards": len(loaded._folder.shards)})


def _row(name, function):
    wall, cpu, memory = measure(function, anonymous=True)
    return Row(name, wall, cpu, memory, repeats=1)


def approximate():
    """Compare approximate searches with the exact one of the same rows: result is recall@10."""
    gallery = np.concatenate([block["visual"] for block in blocks(N_SHORT)])
    queries = np.random.default_rng(1).standard_normal((1000, N_COMPONENTS)).astype(np.float32)
    chosen = {
        "exact": {},
        f"FAISS IVF{N_CLUSTERS},Flat, nprobe {N_PROBE}": {
            "backend": "faiss",
            "factory": f"IVF{N_CLUSTERS},Flat",
            "backend_options": {"nprobe": N_PROBE},
        },
        "USearch": {"backend": "usearch", "backend_options": {"expansion_search": 128}},
    }
    rows, truth = [], None
    with threads(1):
        for name, options in chosen.items():
            try:
                index = index_of(gallery, **options)
            except ImportError as error:
                rows.append(Row(name, note=f"missing: {error}"))
                continue
            row = _row(name, partial(ask, index, queries))
            found = ask(index, queries)[1]
            truth = found if truth is None else truth
            pairs = zip(found, truth, strict=True)
            row.result = float(np.mean([np.isin(a, b).mean() for a, b in pairs]))
            row.ratio = row.seconds / (rows[0].seconds if rows else row.seconds)
            rows.append(row)
    share = N_PROBE / N_CLUSTERS + N_CLUSTERS / N_SHORT
    facts = {"share of the distances that IVF computes, about": round(share, 3)}
    title = f"Recall@{N_NEIGHBORS} of {N_SHORT:,} x {N_COMPONENTS}, 1,000 queries"
    return Table(title, rows, ("faiss-cpu", "usearch"), 1, facts)


def tables():
    return [on_disk(), approximate()]


if __name__ == "__main__":
    write("galleries", tables())
