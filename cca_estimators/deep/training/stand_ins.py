"""Rows that stand in for missing ones in training: others of the view, of the same labels."""

import numpy as np

from cca_estimators._reading.labels import has_label
from cca_estimators.deep.training.batches import RowSubset


def completed(dataset, parts, present, rng):
    """Let rows of the same labels and part stand in for those that a view lacks.

    Within a part, each row that is there stands in equally often, but for one time, for the missing
    rows of its labels; parts never share rows. Rows for which there is none are left out.

    Parameters
    ----------
    dataset : RowDataset
        Which is told the sources of its rows.
    parts : list of RowSubset or None
        Rows to train on, and to validate on.
    present : dict of ndarray of bool, shape (n,)
        Which rows of each view are there.
    rng : RandomState

    Returns
    -------
    list of RowSubset or None
    """
    classes = _label_sets(dataset.codes.numpy(force=True))
    sources = {name: np.where(rows, np.arange(len(rows)), -1) for name, rows in present.items()}
    kept = []
    for part in parts:
        if part is None or part.dataset is not dataset:
            kept.append(part)
            continue
        for own in sources.values():
            _stand_in(own, part.rows, classes, rng)
        whole = np.all([own[part.rows] >= 0 for own in sources.values()], axis=0)
        kept.append(RowSubset(dataset, part.rows[whole]))
    dataset.take_from(sources)
    return kept


def _label_sets(codes):
    """Return a number for each set of labels that rows have, below 0 for none."""
    if codes.ndim == 1:
        return codes
    sets = np.unique(codes, axis=0, return_inverse=True)[1].ravel()
    return np.where(has_label(codes, -1), sets, -1)


def _stand_in(sources, rows, classes, rng):
    """Set the sources of those of some rows that have none, -1, among the others of their class."""
    for number in np.unique(classes[rows][classes[rows] >= 0]):
        own = rows[classes[rows] == number]
        missing, there = own[sources[own] < 0], own[sources[own] >= 0]
        if len(missing) and len(there):
            sources[missing] = np.resize(rng.permutation(there), len(missing))
