"""Mean average precision of several labels a row, against the cost of one class a row.

Relevant is what shares a label: with three of 24 labels a row, that is a third of the gallery, and
what is relevant to a query is no slice of a sorted gallery, as it is with classes.
"""

from functools import partial

import numpy as np
from _common import compare, write
from scipy.sparse import csr_array

from cca_estimators.metrics import mean_average_precision

N_ROWS, N_LABELS, N_OF_A_ROW = 20_000, 24, 3


def several(n):
    """Return two views' embeddings of n samples, a class for each, and an indicator of labels."""
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((2, n, 10)).astype(np.float32)
    drawn = rng.random((n, N_LABELS)).argsort(axis=1)[:, :N_OF_A_ROW]
    labels = np.zeros((n, N_LABELS), np.int8)
    np.put_along_axis(labels, drawn, 1, axis=1)
    return embeddings, rng.integers(N_LABELS, size=n), csr_array(labels)


def ours(embeddings, labels):
    return mean_average_precision(*embeddings, labels, labels)


def tables():
    embeddings, classes, labels = several(N_ROWS)
    calls = {
        f"one of {N_LABELS} classes a row": partial(ours, embeddings, classes),
        f"{N_OF_A_ROW} of {N_LABELS} labels a row": partial(ours, embeddings, labels),
    }
    title = f"MAP, one direction, {N_ROWS} x {N_ROWS}, 10 components, float32"
    return [compare(title, calls, repeats=3)]


if __name__ == "__main__":
    write("labels", tables())
