"""Fit of CCA on views of more features than rows, against peers and the products of the rows.

The limit is the product that determines the solution, of each view: of the rows if it is wide, of
the features if not, and one eigendecomposition of such a product. Peers that need covariances of
the features do not fit into memory, and are left out; those here have forms for wide views.
"""

from functools import partial

import _peers
import numpy as np
from _common import compare, write
from scipy import linalg

from cca_estimators import CCA, CCCA

SHAPES = ((500, (20_000, 20_000)), (2_000, (50_000, 1_024)))
N_COMPONENTS, RIDGE = 10, 0.1


def make_data(n_rows, widths, dtype):
    rng = np.random.default_rng(0)
    views = [rng.standard_normal((n_rows, width), dtype=dtype) for width in widths]
    return *views, rng.integers(10, size=n_rows)


def products(x, y, labels):
    """Compute what any exact fit has to, and decompose the first of it."""
    grams = [view @ view.T if view.shape[1] > len(view) else view.T @ view for view in (x, y)]
    linalg.eigh(grams[0], check_finite=False)


def ours_cca(x, y, labels):
    CCA(N_COMPONENTS).fit({"x": x, "y": y})


def ours_ccca(x, y, labels):
    CCCA().fit({"x": x, "y": y}, labels)


def ours_in_parts(x, y, labels):
    """Add all rows but the last ten, and then these."""
    cca = CCA(N_COMPONENTS).partial_fit({"x": x[:-10], "y": y[:-10]})
    cca.partial_fit({"x": x[-10:], "y": y[-10:]})


def pyrcca(x, y, labels):
    """Fit the form of kernels, which are linear ones."""
    import scipy.linalg
    from rcca import rcca

    rcca.eigh = lambda a, b, eigvals: scipy.linalg.eigh(a, b, subset_by_index=eigvals)
    model = rcca.CCA(kernelcca=True, ktype="linear", reg=RIDGE, numCC=N_COMPONENTS, verbose=False)
    model.train([x, y])


def mvlearn(x, y, labels):
    from mvlearn.embed import KMCCA

    _peers.patch_mvlearn(KMCCA)
    KMCCA(n_components=N_COMPONENTS, kernel="linear", regs=RIDGE).fit([x, y])


def cca_zoo(x, y, labels):
    """Fit without the importances of features, for each of which cca-zoo computes a kernel."""
    from cca_zoo.nonparametric import KCCA

    KCCA._feature_importances = lambda self, views: [np.ones(view.shape[1]) for view in views]
    KCCA(N_COMPONENTS, kernel="linear", shrinkage=RIDGE).fit([x, y])


def compared(n_rows, widths, dtype):
    candidates = {
        "products of rows, one decomposition": products,
        "ours: CCA": ours_cca,
        "ours: CCCA": ours_ccca,
        "ours: CCA, partial_fit twice": ours_in_parts,
        "pyrcca, linear kernel (patched)": pyrcca,
        "mvlearn KMCCA, linear kernel (patched)": mvlearn,
        "cca-zoo KCCA, linear kernel (without importances)": cca_zoo,
    }
    data = make_data(n_rows, widths, dtype)
    calls = {name: partial(function, *data) for name, function in candidates.items()}
    megabytes = sum(view.nbytes for view in data[:2]) // 10**6
    title = f"CCA, {n_rows:,} x {widths}, {np.dtype(dtype).name}, data of {megabytes:,} MB"
    return compare(title, calls, repeats=3, patience=10, peers=("pyrcca", "mvlearn", "cca-zoo"))


def tables():
    return [
        compared(n_rows, widths, dtype)
        for dtype in (np.float64, np.float32)
        for n_rows, widths in SHAPES
    ]


if __name__ == "__main__":
    write("wide", tables())
