"""Largest error of the canonical correlations on hard data, ours and each peer's.

The truth is that of the clean data: duplicated, constant and dependent columns, units and means do
not change canonical correlations. With fewer rows than features it is the dense solution of the
same regularised problem by eigenvalues, and peers are given no ridge, which they document none of.
"""

import warnings

import _peers
import numpy as np
from _common import RESULTS, system_information, write_text
from scipy import linalg

from cca_estimators import CCA

N_COMPONENTS, RIDGE = 6, 0.1
PEERS = {
    "cca-zoo": _peers.cca_zoo,
    "pyrcca": _peers.pyrcca,
    "mvlearn": _peers.mvlearn,
    "statsmodels": _peers.statsmodels,
    "scikit-learn": _peers.scikit_learn,
}


def make_data():
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((1000, 6))
    x = shared @ rng.standard_normal((6, 12)) + rng.standard_normal((1000, 12))
    y = shared @ rng.standard_normal((6, 9)) + rng.standard_normal((1000, 9))
    return x, y


def hard_cases(x, y):
    rng = np.random.default_rng(1)
    constant = np.full((len(x), 1), 3.3)
    return {
        "clean": (x, y),
        "duplicated columns": (np.hstack([x, x[:, :3]]), y),
        "constant columns": (np.hstack([x, constant]), np.hstack([y, constant])),
        "units from 1e-6 to 1e6": (
            x * 10.0 ** rng.uniform(-6, 6, x.shape[1]),
            y * 10.0 ** rng.uniform(-6, 6, y.shape[1]),
        ),
        "means of 1e6": (x + 1e6, y - 1e6),
        "rank deficient": (np.hstack([x, x @ rng.standard_normal((x.shape[1], 4))]), y),
    }


def wide_cases():
    """Return views of which one or both have more features than rows."""
    rng = np.random.default_rng(2)
    x, y = (rng.standard_normal((40, width)) for width in (60, 50))
    constant = np.full((40, 1), 3.3)
    return {
        "40 rows, 60 + 50 features": (x, y),
        "40 rows, 60 + 8 features": (x, y[:, :8]),
        "the same, duplicated and constant": (np.hstack([x, x[:, :9], constant]), y[:, :8]),
        "the same, units from 1e-6 to 1e6": (x * 10.0 ** rng.uniform(-6, 6, 60), y[:, :8]),
        "the same, means of 1e6": (x + 1e6, y[:, :8] - 1e6),
        "200 rows, 600 + 500 features": tuple(rng.standard_normal((200, n)) for n in (600, 500)),
    }


def truth(x, y):
    """Return the correlations from orthonormal bases of the centred columns."""
    x, y = (linalg.orth(view - view.mean(axis=0)) for view in (x, y))
    return linalg.svdvals(x.T @ y)[:N_COMPONENTS]


def regularised_truth(x, y):
    """Return the correlations of the problem with a ridge, by square roots of the covariances."""
    roots = []
    for view in (x, y):
        covariance = np.cov(view.T)
        ridge = RIDGE * np.trace(covariance) / len(covariance)
        roots.append(linalg.inv(linalg.sqrtm(covariance + ridge * np.eye(len(covariance))).real))
    cross = np.cov(x.T, y.T)[: x.shape[1], x.shape[1] :]
    return linalg.svdvals(roots[0] @ cross @ roots[1])[:N_COMPONENTS]


def error_of(fit, x, y, expected):
    """Return the largest error, or the name of what is raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _peers.correlations(fit, x, y, N_COMPONENTS)
    except ImportError:
        return "missing"
    except Exception as raised:
        return type(raised).__name__
    return f"{np.abs(found - expected).max():.0e}" if len(found) == len(expected) else "too few"


def ours(x, y, reg):
    return CCA(N_COMPONENTS, reg=reg).fit({"x": x, "y": y}).correlations_


def rows():
    """Yield the case, our error and that of each peer."""
    x, y = make_data()
    expected = truth(x, y)
    for name, (a, b) in hard_cases(x, y).items():
        error = np.abs(ours(a, b, 0.0) - expected).max()
        yield name, f"{error:.0e}", *(error_of(fit, a, b, expected) for fit in PEERS.values())
    for name, (a, b) in wide_cases().items():
        expected = regularised_truth(*(view - view.mean(axis=0) for view in (a, b)))
        error = np.abs(ours(a, b, RIDGE) - expected).max()
        peers = (error_of(fit, a, b, expected) for fit in PEERS.values())
        yield f"{name} (ridge {RIDGE})", f"{error:.0e}", *peers


def main():
    system = system_information({"cca-zoo", "pyrcca", "mvlearn", "statsmodels"})
    versions = ", ".join(f"{name} {version}" for name, version in system["versions"].items())
    lines = [
        f"{system['date']}, `{system['command']}`, {versions}.",
        "",
        "### Largest error of the canonical correlations",
        "",
        "| | ours | " + " | ".join(PEERS) + " |",
        "|---|" + "---:|" * (1 + len(PEERS)),
        *("| " + " | ".join(row) + " |" for row in rows()),
    ]
    RESULTS.mkdir(exist_ok=True)
    write_text(RESULTS / "exactness.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
