"""Fit of CCA on a local Dask cluster of one and two processes, against the products of the chunks.

The rows are generated in chunks on the workers, which the limit does too.
"""

import time

import numpy as np
from _common import Row, Table, write

from cca_estimators import CCA

N_ROWS, N_CHUNK, WIDTHS = 10_000_000, 25_000, (128, 1024)


def make_rows(width, block_info=None):
    shape = block_info[None]["chunk-shape"]
    seed = block_info[None]["chunk-location"][0]
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def make_views(n_chunks):
    import dask.array as da

    sizes = (N_CHUNK,) * n_chunks
    return {
        name: da.map_blocks(make_rows, width, chunks=(sizes, (width,)), dtype=np.float32)
        for name, width in zip("xy", WIDTHS, strict=True)
    }


def multiplied(x, y):
    """Multiply as a fit has to, and return next to nothing."""
    return np.array([(x.T @ x)[0, 0] + (y.T @ y)[0, 0] + (x.T @ y)[0, 0]])


def products(views):
    import dask.array as da

    da.blockwise(
        multiplied, "i", views["x"], "ij", views["y"], "ik",
        concatenate=True, dtype=float, adjust_chunks={"i": lambda size: 1},
    ).sum().compute()  # fmt: skip


def peak_mb():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(function, n_workers):
    """Return seconds of a call on a new cluster, warmed up by few chunks, and a peak MB."""
    from distributed import Client, LocalCluster

    options = {"threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(n_workers=n_workers, **options) as cluster, Client(cluster) as client:
        function(make_views(2 * n_workers))
        start = time.perf_counter()
        function(make_views(N_ROWS // N_CHUNK))
        return time.perf_counter() - start, max(client.run(peak_mb).values())


def tables():
    calls = {"products of the chunks": products, "CCA": CCA(10).fit}
    rows = []
    for n_workers in (1, 2):
        for name, call in calls.items():
            try:
                seconds, memory = timed(call, n_workers)
            except ImportError as error:
                rows.append(Row(name, note=f"missing: {error}"))
                continue
            rows.append(Row(f"{name}, {n_workers} worker(s)", seconds, None, memory, repeats=1))
    facts = {}
    if all(row.seconds for row in rows):
        limits, fits = [row.seconds for row in rows[::2]], [row.seconds for row in rows[1::2]]
        facts = {
            "one worker to two": round(fits[0] / fits[1], 2),
            "ours to the products, one worker": round(fits[0] / limits[0], 2),
            "ours to the products, two workers": round(fits[1] / limits[1], 2),
        }
    title = f"CCA of Dask arrays, {N_ROWS:,} x {WIDTHS} float32, one thread a worker"
    return [Table(title, rows, ("dask", "distributed"), 1, facts)]


if __name__ == "__main__":
    write("dask", tables())
