"""MAP of other libraries' methods and of ours, on the same split and with the same tuning budget.

    python benchmarks/bench_libraries.py --data grid_digits.npz

The file has the arrays audio, visual, labels, and the row numbers train and test. Every method has
six candidates, chosen from by the mean MAP of three folds of the training split; the best is fitted
on the whole training split and scored on the test split. Features are standardised, and sequences
are one long row. Our scorer ranks the variates as each library returns them. Candidates are numbers
of components and ridges on each library's own scale; methods without a ridge have six numbers of
components. A method that has not come to an end in two minutes is given up. Methods that learn
from pairs are to be compared with CCA and KCCA; no other library has cluster CCA.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import _peers
import numpy as np
from _common import RESULTS, heading, in_fresh_process, system_information, write_text
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCA, CCCA, CKCCA, KCCA, PerView, Views, cross_modal_scores

PEERS = ("cca-zoo", "mvlearn", "pyrcca")
COMPONENTS, N_PRINCIPAL = (9, 20), 50
PATIENCE = 120
NO_RIDGE = {"n_components": [3, 5, 7, 9, 12, 20], "ridge": [None]}


class Peer(BaseEstimator):
    """Another library's method as an estimator of two views.

    Parameters
    ----------
    fit_views : callable
        From two arrays, the number of components and the ridge to a function, which maps two arrays
        to their variates.
    n_components : int
    ridge : float or None
    """

    def __init__(self, fit_views, n_components=9, ridge=None):
        self.fit_views = fit_views
        self.n_components = n_components
        self.ridge = ridge

    def fit(self, X, y=None):
        self.variates_ = self.fit_views(*X.values(), self.n_components, self.ridge)
        return self

    def transform(self, X):
        return Views(dict(zip(X, self.variates_(*X.values()), strict=True)))


def of_list(model):
    """Return the variates of a model that takes and returns the views in a list."""
    return lambda x, y: model.transform([x, y])


def cca_zoo(x, y, n_components, ridge):
    from cca_zoo.linear import CCA

    return of_list(CCA(n_components).fit([x, y]))


def cca_zoo_ridge(x, y, n_components, ridge):
    from cca_zoo.linear import RidgeCCA

    return of_list(RidgeCCA(n_components, shrinkage=ridge).fit([x, y]))


def cca_zoo_kernel(x, y, n_components, ridge):
    from cca_zoo.nonparametric import KCCA

    gamma = [1 / x.shape[1], 1 / y.shape[1]]
    return of_list(KCCA(n_components, kernel="rbf", gamma=gamma, shrinkage=ridge).fit([x, y]))


def mvlearn(x, y, n_components, ridge):
    return of_list(_peers.mvlearn(x, y, n_components, regs=ridge))


def mvlearn_kernel(x, y, n_components, ridge):
    from mvlearn.embed import KMCCA

    _peers.patch_mvlearn(KMCCA)
    gammas = [{"gamma": 1 / view.shape[1]} for view in (x, y)]
    return of_list(KMCCA(n_components, kernel="rbf", kernel_params=gammas, regs=ridge).fit([x, y]))


def pyrcca(x, y, n_components, ridge):
    weights = _peers.pyrcca(x, y, n_components, reg=ridge).ws
    return lambda x, y: [view @ part for view, part in zip((x, y), weights, strict=True)]


def scikit_learn(x, y, n_components, ridge):
    """Fit CCA to principal components: on as many features as rows it takes an hour."""
    first, second = (PCA(N_PRINCIPAL, random_state=0).fit(view) for view in (x, y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = _peers.scikit_learn(first.transform(x), second.transform(y), n_components)
    return lambda x, y: model.transform(first.transform(x), second.transform(y))


def scikit_learn_pls(x, y, n_components, ridge):
    from sklearn.cross_decomposition import PLSSVD

    return PLSSVD(n_components).fit(x, y).transform


def ridges(*values):
    return {"n_components": list(COMPONENTS), "ridge": list(values)}


CANDIDATES = {
    f"scikit-learn PCA({N_PRINCIPAL}) and CCA": (Peer(scikit_learn), NO_RIDGE),
    "scikit-learn PLSSVD, not CCA": (Peer(scikit_learn_pls), NO_RIDGE),
    "cca-zoo CCA": (Peer(cca_zoo), NO_RIDGE),
    "cca-zoo RidgeCCA": (Peer(cca_zoo_ridge), ridges(0.1, 0.5, 0.9)),
    "mvlearn CCA (patched)": (Peer(mvlearn), ridges("oas", 0.1, 0.5)),
    "pyrcca (patched)": (Peer(pyrcca), ridges(80.0, 400.0, 800.0)),
    "ours: CCA": (CCA(), {"n_components": list(COMPONENTS), "reg": ["auto", 0.1, 0.5]}),
    "ours: C-CCA": (CCCA(), {"n_components": [5, None], "reg": ["auto", 0.1, 0.5]}),
    "cca-zoo KCCA": (Peer(cca_zoo_kernel), ridges(1e-4, 1e-3, 1e-2)),
    "mvlearn KMCCA (patched)": (Peer(mvlearn_kernel), ridges(0.01, 0.1, 0.9)),
    "ours: KCCA": (KCCA(), {"n_components": list(COMPONENTS), "reg": [1e-4, 1e-3, 1e-2]}),
    "ours: C-KCCA": (CKCCA(), {"n_components": [5, None], "reg": [1e-4, 1e-3, 1e-2]}),
}


def read_split(path):
    """Return the views, as rows of features, and labels to train on, and those to test on."""
    with np.load(path) as data:
        views = {name: data[name] for name in ("audio", "visual")}
        X = Views({name: rows.reshape(len(rows), -1) for name, rows in views.items()})
        y, parts = data["labels"], (data["train"], data["test"])
    return [(X[rows], y[rows]) for rows in parts]


def measured(method, grid, train, test):
    """Return the figures of a method that is tuned on the training split."""
    pipe = make_pipeline(PerView(StandardScaler()), method)
    step = pipe.steps[-1][0]
    search = GridSearchCV(
        pipe,
        {f"{step}__{name}": values for name, values in grid.items()},
        scoring=cross_modal_scores,
        refit="map",
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
        error_score="raise",
    )
    start = time.perf_counter()
    search.fit(*train)
    scores = cross_modal_scores(search, *test)
    chosen = {key.split("__")[1]: value for key, value in search.best_params_.items()}
    return {
        "audio_to_visual": scores["map_audio_to_visual"],
        "visual_to_audio": scores["map_visual_to_audio"],
        "cross_validated": float(search.best_score_),
        "chosen": {name: value for name, value in chosen.items() if value is not None},
        "seconds": time.perf_counter() - start,
        "note": "",
    }


def attempted(method, grid, train, test):
    """Return the figures of a method, or a note of why there are none."""
    try:
        return in_fresh_process(measured, method, grid, train, test, timeout=PATIENCE)
    except TimeoutError:
        return {"note": f"given up after {PATIENCE} s"}
    except ImportError as error:
        return {"note": f"missing: {error}"}
    except Exception as error:  # of another library, which is what is reported
        return {"note": f"{type(error).__name__}: {error}".splitlines()[0]}


def markdown_row(name, row):
    if row["note"]:
        return f"| {name} | - | - | - | - | {row['note']} |"
    figures = [f"{row[key]:.3f}" for key in ("audio_to_visual", "visual_to_audio")]
    figures += [f"{row['cross_validated']:.3f}", f"{row['seconds']:.1f}"]
    chosen = ", ".join(f"{name}={value}" for name, value in row["chosen"].items())
    return f"| {name} | {' | '.join(figures)} | {chosen} |"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="an npz file with a split")
    path = Path(parser.parse_args().data)
    train, test = read_split(path)
    system = system_information(PEERS)
    title = f"MAP on the test split of {path.name}: {len(train[1])} rows to train, {len(test[1])}"
    lines = [
        heading(system),
        "",
        f"### {title} to test, six candidates each",
        "",
        "| | audio→visual | visual→audio | cross-validated | seconds | chosen |",
        "|---|---:|---:|---:|---:|---|",
    ]
    rows = {}
    for name, (method, grid) in CANDIDATES.items():
        rows[name] = attempted(method, grid, train, test)
        lines.append(markdown_row(name, rows[name]))
        print(lines[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    content = {"system": system, "data": path.name, "rows": rows}
    write_text(RESULTS / "libraries.json", json.dumps(content, indent=1) + "\n")
    write_text(RESULTS / "libraries.md", "\n".join(lines) + "\n")
    return [name for name, row in rows.items() if row["note"].startswith("missing")]


if __name__ == "__main__":
    main()
