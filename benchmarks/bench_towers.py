"""Seconds of an epoch of the methods that read steps, by their towers.

Of a fit of one epoch, standardising and the head included, on views of the steps and features of
the GRID digits.
"""

from functools import partial

import numpy as np
from _common import compare, write

import cca_estimators
from cca_estimators.datasets import make_views

N_ROWS, N_STEPS, WIDTHS = 1_000, 16, (40, 64)
METHODS = {
    'Contrastive(tower="convolution")': ("Contrastive", {"tower": "convolution"}),
    'Contrastive(tower="gru")': ("Contrastive", {"tower": "gru"}),
    'Contrastive(tower="lstm")': ("Contrastive", {"tower": "lstm"}),
    'Contrastive(tower="perceptron")': ("Contrastive", {"tower": "perceptron"}),
    "LSTMCCCA": ("LSTMCCCA", {}),
    "SDCCA": ("SDCCA", {}),
}


def fit_an_epoch(name, X, y):
    method, options = METHODS[name]
    getattr(cca_estimators, method)(max_epochs=1, random_state=0, **options).fit(X, y)


def tables():
    X, y = make_views(N_ROWS, 10, WIDTHS, n_steps=N_STEPS, random_state=0)
    X = {name: rows.astype(np.float32) for name, rows in X.items()}
    candidates = {name: partial(fit_an_epoch, name, X, y) for name in METHODS}
    title = f"A fit of one epoch, {N_ROWS} x {N_STEPS} steps x {WIDTHS}"
    return [compare(title, candidates, repeats=5, n_threads=1)]


if __name__ == "__main__":
    write("towers", tables())
