"""How long a fit of each method takes by its defaults on one thread, for the user guide.

Views have the widths of VEGAS, and the seconds are those of the CPU, which what else runs on a
machine changes little. Methods that train are given two epochs, and the second counts as often as
there are epochs by default. Those that read steps get ten of them, each as wide as the view. The
growth is that of the seconds from the second size to the last.
"""

import time

import numpy as np
from _common import Row, Table, exponent, threads, write

import cca_estimators
from cca_estimators import CCCA, SemanticMatching
from cca_estimators.datasets import make_views

SIZES = (500, 1_500, 5_000)
WIDTHS, N_CLASSES, N_STEPS = (128, 1024), 10, 10
OF_STEPS = ("LSTMCCCA", "SDCCA")
METHODS = ["CCA", "CCCA", "KCCA", "CKCCA", "SemanticMatching", "DCCA", "CDCCA", "UCAL", "ACMR"]
METHODS += ["UGACH", "AGAH", "TNNCCCA", "Contrastive", *OF_STEPS]


def make_data(n_rows):
    """Return two views of single precision, and their classes."""
    X, y = make_views(n_rows, N_CLASSES, WIDTHS, random_state=0)
    return {name: rows.astype(np.float32) for name, rows in X.items()}, y


def new(name):
    """Return a method by its defaults; of `SemanticMatching`, on C-CCA."""
    if name == "SemanticMatching":
        return SemanticMatching(CCCA())
    return getattr(cca_estimators, name)()


def row_of(name, X, y):
    """Return the seconds of a fit."""
    estimator = new(name)
    n_epochs = estimator.get_params().get("max_epochs")
    if n_epochs:
        estimator.set_params(max_epochs=2)
    if name in OF_STEPS:
        X = {view: np.repeat(rows[:, None], N_STEPS, axis=1) for view, rows in X.items()}
    wall, cpu = time.perf_counter(), time.process_time()
    estimator.fit(X, y)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    note = ""
    if n_epochs:
        epochs = [cpu / wall * epoch["dur"] for epoch in estimator.history_]
        cpu += n_epochs * epochs[-1] - sum(epochs)
        note = f"an epoch of {epochs[-1]:.2g} s, times {n_epochs}"
    return Row(f"{len(y):,}", cpu_seconds=cpu, repeats=1, note=note)


def table_of(name, data):
    """Return the rows of a method, and how its seconds grow."""
    rows = [row_of(name, *each) for each in data]
    growth = exponent(SIZES[-2:], [row.cpu_seconds for row in rows[-2:]])
    return Table(name, rows, n_threads=1, facts={"exponent of CPU seconds": round(growth, 2)})


def tables():
    """Return a table for each method."""
    few, *data = map(make_data, (200, *SIZES))
    with threads(1):
        for name in METHODS:  # what is loaded and set up once
            row_of(name, *few)
        return [table_of(name, data) for name in METHODS]


if __name__ == "__main__":
    write("fit_times", tables())
