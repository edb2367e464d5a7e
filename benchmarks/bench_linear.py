"""Fit of CCA and CCCA on VEGAS-shaped data, against peers and the cost of the matrix products.

scikit-learn's CCA takes minutes: it runs once, in double precision on one thread.
"""

from functools import partial

import _peers
import numpy as np
from _common import Row, Table, compare, exponent, measure, threads, write

from cca_estimators import CCA, CCCA

N_ROWS, WIDTHS, N_COMPONENTS = 22_482, (128, 1024), 10
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
SLOWEST = "scikit-learn CCA(max_iter=500)"


def make_data(n_rows, dtype):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((n_rows, width)).astype(dtype) for width in WIDTHS)
    y[:, : WIDTHS[0]] += x
    return x, y, rng.integers(10, size=n_rows)


def products(x, y, labels):
    """Compute what any CCA has to: X'X, Y'Y and X'Y."""
    x.T @ x, y.T @ y, x.T @ y


def ours_cca(x, y, labels):
    CCA(N_COMPONENTS).fit({"audio": x, "visual": y})


def ours_ccca(x, y, labels):
    CCCA().fit({"audio": x, "visual": y}, labels)


def peer(fit, x, y, labels):
    fit(x, y, N_COMPONENTS)


def against_peers(dtype, n_threads):
    data = make_data(N_ROWS, dtype)
    candidates = {
        "X'X, Y'Y, X'Y": products,
        "ours: CCA": ours_cca,
        "ours: CCCA": ours_ccca,
        "mvlearn CCA (patched)": partial(peer, _peers.mvlearn),
        "pyrcca (patched)": partial(peer, _peers.pyrcca),
        "scikit-learn PLSCanonical(svd), not CCA": partial(peer, _peers.scikit_learn_svd),
        "cca-zoo CCA": partial(peer, _peers.cca_zoo),
        "statsmodels CanCorr": partial(peer, _peers.statsmodels),
    }
    if dtype == np.float64 and n_threads == 1:
        candidates[SLOWEST] = partial(peer, _peers.scikit_learn)
    calls = {name: partial(function, *data) for name, function in candidates.items()}
    title = f"CCA, {N_ROWS} x {WIDTHS}, {N_COMPONENTS} components, {np.dtype(dtype).name}"
    peers = ("cca-zoo", "pyrcca", "mvlearn", "statsmodels")
    return compare(title, calls, patience=10, n_threads=n_threads, peers=peers, once=(SLOWEST,))


def growth(sizes):
    rows = []
    with threads(1):
        for n in sizes:
            wall, cpu, memory = measure(partial(ours_cca, *make_data(n, np.float32)))
            rows.append(Row(f"{n} rows", wall, cpu, memory, repeats=1))
    power = exponent(sizes[2:], [row.seconds for row in rows[2:]])
    facts = {f"from {sizes[2]:,} rows on, seconds grow with n to the power": round(power, 2)}
    return Table(f"CCA, {WIDTHS} features, float32", rows, n_threads=1, facts=facts)


def tables():
    compared = [
        against_peers(dtype, n_threads)
        for dtype in (np.float64, np.float32)
        for n_threads in (1, None)
    ]
    return [*compared, growth(SIZES)]


if __name__ == "__main__":
    write("linear", tables())
