"""MAP on generated sequences whose class is in the order of their steps, or in their means.

Default settings, one seed. In the order of the steps, C-CCA of the flattened steps and every method
on the means over the steps can do no better than chance; in the means, methods that read the steps
should lose little against C-DCCA of the means. The result is the MAP on new sequences, both
directions averaged.
"""

import numpy as np
from _common import Row, Table, write

import cca_estimators
from cca_estimators import Views
from cca_estimators.datasets import make_views

N_ROWS, N_NEW = 2_000, 1_000
SHAPE = {"n_classes": 6, "n_features": (20, 30), "n_steps": 8, "random_state": 0}
NOISE = {"order": 1.0, "means": 2.0}
ON_MEANS = ["CCA", "KCCA", "CCCA", "CKCCA", "DCCA", "CDCCA", "TNNCCCA", "ACMR", "UCAL", "UGACH"]
ON_MEANS += ["AGAH", "SemanticMatching"]
BY_STEPS = {
    "LSTMCCCA": {},
    "SDCCA": {},
    "Contrastive": {},
    'CDCCA(tower="convolution")': {"tower": "convolution"},
    'CDCCA(tower="gru")': {"tower": "gru"},
}


def score(name, options, X, y):
    """Return the MAP of a method on the rows that come after the training ones."""
    method = getattr(cca_estimators, name.partition("(")[0])()
    seeds = {"random_state": 0} if "random_state" in method.get_params() else {}
    method.set_params(**options, **seeds)
    return method.fit(X[:N_ROWS], y[:N_ROWS]).score(X[N_ROWS:], y[N_ROWS:])


def table_of(signal):
    X, y = make_views(N_ROWS + N_NEW, signal=signal, noise=NOISE[signal], **SHAPE)
    means = Views({name: rows.mean(axis=1) for name, rows in X.items()})
    cases = {"CCCA, steps flattened": ("CCCA", {}, X)}
    cases |= {f"{name}, means of the steps": (name, {}, means) for name in ON_MEANS}
    cases |= {name: (name, options, X) for name, options in BY_STEPS.items()}
    rows = [Row(name, result=score(*case, y), repeats=1) for name, case in cases.items()]
    chance = np.sum((np.bincount(y[N_ROWS:]) / N_NEW) ** 2)
    title = f"Signal in the {signal}, MAP on {N_NEW} new sequences, noise {NOISE[signal]}"
    return Table(title, rows, n_threads=1, facts={"Chance": round(float(chance), 3)})


def tables():
    return [table_of(signal) for signal in NOISE]


if __name__ == "__main__":
    write("sequences", tables())
