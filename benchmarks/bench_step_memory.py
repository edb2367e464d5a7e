"""Memory of an epoch of the methods that read steps, at the size of VEGAS.

Anonymous memory beyond the views, which are float32 in memory: neither a copy of them nor a
standardised one is to be held. Each fit has a process of its own.
"""

from functools import partial

import numpy as np
from _common import Row, Table, in_fresh_process, measure, threads, write

import cca_estimators

LARGE = (22_482, 10, (128, 1024))  # rows, steps and features of VEGAS
METHODS = ("LSTMCCCA", "SDCCA", "Contrastive")


def fit_an_epoch(name, X, y):
    getattr(cca_estimators, name)(max_epochs=1, random_state=0).fit(X, y)


def peak(name):
    """Return the peak memory of an epoch beyond the views, in MB."""
    n_rows, n_steps, widths = LARGE
    rng = np.random.default_rng(0)
    X = {
        view: rng.standard_normal((n_rows, n_steps, width), dtype=np.float32)
        for view, width in zip(("audio", "visual"), widths, strict=True)
    }
    y = rng.integers(10, size=n_rows)
    fit_an_epoch(name, {view: rows[:500] for view, rows in X.items()}, y[:500])  # loads libraries
    with threads(1):
        return measure(partial(fit_an_epoch, name, X, y), anonymous=True)[2]


def tables():
    n_rows, n_steps, widths = LARGE
    peaks = {name: in_fresh_process(peak, name) for name in METHODS}
    rows = [Row(name, extra_mb=extra, repeats=1) for name, extra in peaks.items()]
    gigabytes = 4 * n_rows * n_steps * sum(widths) / 1e9
    title = f"Memory of one epoch, {n_rows:,} x {n_steps} steps x {widths}"
    facts = {"The views themselves, GB": round(gigabytes, 2)}
    return [Table(title, rows, n_threads=1, facts=facts)]


if __name__ == "__main__":
    write("step_memory", tables())
