"""Fit of CCA on memory-mapped files of up to 2,000,000 rows: anonymous memory and growth.

Writes files of up to 9.2 GB to a temporary folder, and removes them.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from _common import Row, Table, exponent, measure, threads, write

from cca_estimators import CCA

WIDTHS = (128, 1024)
SIZES = (250_000, 500_000, 1_000_000, 2_000_000)


def write_file(path, n_rows, width, seed):
    """Write random float32 rows, block by block."""
    rng = np.random.default_rng(seed)
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, width))
    for start in range(0, n_rows, 50_000):
        stop = min(start + 50_000, n_rows)
        rows[start:stop] = rng.standard_normal((stop - start, width), dtype=np.float32)
    rows.flush()


def tables(sizes=None):
    sizes, rows = sizes or SIZES, []
    with tempfile.TemporaryDirectory() as folder, threads(1):
        paths = [Path(folder) / f"{width}.npy" for width in WIDTHS]
        for seed, (path, width) in enumerate(zip(paths, WIDTHS, strict=True)):
            write_file(path, max(sizes), width, seed)
        audio, visual = (np.load(path, mmap_mode="r") for path in paths)
        for n in sizes:
            X = {"audio": audio[:n], "visual": visual[:n]}
            wall, cpu, memory = measure(lambda X=X: CCA(10).fit(X), anonymous=True)
            rows.append(Row(f"{n:,} rows", wall, cpu, memory, repeats=1))
    power = exponent(sizes, [row.cpu_seconds for row in rows])
    facts = {"CPU seconds grow with n to the power": round(power, 2)}
    title = f"CCA on memory-mapped float32 files, {WIDTHS} features, anonymous memory"
    return [Table(title, rows, n_threads=1, facts=facts)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int)
    write("memmap", tables(parser.parse_args().sizes))
