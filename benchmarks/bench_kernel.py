"""Fit of exact KCCA and CKCCA against peers, and of their approximation by landmarks."""

from functools import partial
from importlib.util import find_spec

import numpy as np
from _common import compare, write
from sklearn.metrics.pairwise import rbf_kernel

from cca_estimators import CKCCA, KCCA

N_COMPONENTS, GAMMA, REG = 5, 0.05, 0.1
SIZES = (1_000, 2_000, 4_000)
ALL_THREADS = 2_000  # rows of the comparison with all threads
ONCE_FROM = 4_000  # rows, which take peers minutes
WIDE = 20_000, (128, 1024)


def make_data(n_rows, widths=(20, 20)):
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((n_rows, 5))
    views = [
        np.tanh(shared @ rng.standard_normal((5, width))) + rng.standard_normal((n_rows, width))
        for width in widths
    ]
    return *views, rng.integers(10, size=n_rows)


def the_two_kernels(x, y, labels):
    """Evaluate both kernels: what any exact method has to."""
    rbf_kernel(x, gamma=GAMMA), rbf_kernel(y, gamma=GAMMA)


def ours(method, x, y, labels, **options):
    method(N_COMPONENTS, gamma=GAMMA, reg=REG, **options).fit({"audio": x, "visual": y}, labels)


def cca_zoo(x, y, labels):
    from cca_zoo.nonparametric import KCCA

    KCCA(N_COMPONENTS, kernel="rbf", gamma=GAMMA, shrinkage=REG).fit([x, y])


def mvlearn(x, y, labels):
    from mvlearn.compose.split import SimpleSplitter
    from mvlearn.embed import KMCCA
    from sklearn.base import BaseEstimator

    for cls in (KMCCA, SimpleSplitter):
        cls.__sklearn_tags__ = lambda self: BaseEstimator().__sklearn_tags__()
    KMCCA(N_COMPONENTS, kernel="rbf", kernel_params={"gamma": GAMMA}, regs=REG, diag_mode="A").fit(
        [x, y]
    )


def pyrcca(x, y, labels):
    import scipy.linalg
    from rcca import rcca

    rcca.eigh = lambda a, b, eigvals: scipy.linalg.eigh(a, b, subset_by_index=eigvals)
    model = rcca.CCA(kernelcca=True, ktype="gaussian", reg=REG, numCC=N_COMPONENTS, verbose=False)
    model.train([x, y])


PEERS = {
    "mvlearn KMCCA (patched)": ("mvlearn", mvlearn),
    "pyrcca (patched)": ("rcca", pyrcca),
    "cca-zoo KCCA": ("cca_zoo", cca_zoo),
}


def exact(n_rows, n_threads=1):
    data = make_data(n_rows)
    candidates = {
        "the two kernels": the_two_kernels,
        "ours: KCCA": partial(ours, KCCA),
        "ours: CKCCA": partial(ours, CKCCA),
    }
    candidates |= {name: function for name, (_, function) in PEERS.items()}
    installed = [name for name, (module, _) in PEERS.items() if find_spec(module)]
    once = installed if n_rows >= ONCE_FROM else ()
    calls = {name: partial(function, *data) for name, function in candidates.items()}
    return compare(
        f"Exact kernel CCA, {n_rows} x (20, 20), RBF",
        calls,
        patience=20,
        n_threads=n_threads,
        peers=("cca-zoo", "pyrcca", "mvlearn"),
        once=once,
    )


def blocks_and_products(x, y, labels):
    """Evaluate the kernel blocks of 300 landmarks, map them, and form the three products."""
    features = []
    for rows in (x, y):
        values, vectors = np.linalg.eigh(rbf_kernel(rows[:300], gamma=GAMMA))
        features.append(rbf_kernel(rows, rows[:300], gamma=GAMMA) @ (vectors / np.sqrt(values)))
    features[0].T @ features[0], features[1].T @ features[1], features[0].T @ features[1]


def landmarks(n_threads):
    data = make_data(*WIDE)
    candidates = {
        "kernel blocks and matrix products": blocks_and_products,
        "ours: KCCA, 300 landmarks": partial(ours, KCCA, approx="nystroem", n_landmarks=300),
        "ours: CKCCA, 300 landmarks": partial(ours, CKCCA, approx="nystroem", n_landmarks=300),
    }
    calls = {name: partial(function, *data) for name, function in candidates.items()}
    title = f"Kernel CCA by landmarks, {WIDE[0]} x {WIDE[1]}, RBF"
    return compare(title, calls, n_threads=n_threads)


def tables():
    one_thread = [*(exact(n_rows) for n_rows in SIZES), landmarks(1)]
    return [*one_thread, exact(ALL_THREADS, n_threads=None), landmarks(None)]


if __name__ == "__main__":
    write("kernel", tables())
