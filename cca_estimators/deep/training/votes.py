"""Labels voted by neighbours: what wrong labels cannot hide where most rows near by agree."""

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from cca_estimators._reading import check_finite

_N_NEIGHBOURS = 30
_N_ROUNDS = 2


def voted_labels(views, codes):
    """Return the label that the nearest rows of both views vote for, row by row.

    Each row votes for its own label among its 30 nearest rows in either view, itself left out, by
    standardised features; in a second round it votes by the shares of the votes that it got. In
    each round all labels have the same weight, shared by their rows: else those that many rows
    have, and those whose rows are near to many others, would take rows from the rest.

    Parameters
    ----------
    views : dict of array-like, shapes (n, ...)
        NaN is padding, and counts as the mean of its feature.
    codes : ndarray of int, shape (n,), or of bool, shape (n, n_classes)
        Class of each row, below 0 where there is none: such rows have no vote and get no label. Or
        an indicator of several: each row gets as many as it had, those with the most votes.

    Returns
    -------
    ndarray as `codes`
        Where no neighbour has a vote, the label there was.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.repeat([0.0, 5.0], 25)[:, None]
    >>> codes = np.repeat([0, 1], 25)
    >>> codes[[3, 40]] = 1, 0
    >>> voted_labels({"audio": rows, "visual": rows}, codes)[[3, 40]]
    array([0, 1])
    """
    graphs = [_neighbours(name, rows) for name, rows in views.items()]
    members = codes if codes.ndim > 1 else codes[:, None] == np.arange(codes.max() + 1)
    votes = members
    for _ in range(_N_ROUNDS):
        votes = votes / np.maximum(votes.sum(axis=0), np.finfo(float).tiny)
        votes = sum(votes[column] for graph in graphs for column in graph.T) / len(graphs)
    voted = _leading(votes, members.sum(axis=1))
    undecided = ~votes.any(axis=1)
    voted[undecided] = members[undecided]
    return voted if codes.ndim > 1 else np.where(codes >= 0, voted.argmax(axis=1), codes)


def _leading(votes, numbers):
    """Return an indicator of the labels with the most votes of each row, so many for each row."""
    order = np.argsort(-votes, axis=1, kind="stable")
    leading = np.arange(votes.shape[1]) < numbers[:, None]
    voted = np.empty(votes.shape, bool)
    np.put_along_axis(voted, order, leading, axis=1)
    return voted


def _neighbours(name, rows):
    """Return the numbers of the nearest rows of each row, shape (n, n_neighbours)."""
    rows = np.asarray(rows).reshape(len(rows), -1)
    check_finite(np.nan_to_num(rows, posinf=np.inf, neginf=-np.inf), name)
    with np.errstate(invalid="ignore"):  # a feature may be padding in all rows
        rows = np.nan_to_num(StandardScaler().fit_transform(rows))
    n_neighbours = min(_N_NEIGHBOURS, len(rows) - 1)
    search = NearestNeighbors(n_neighbors=n_neighbours, algorithm="brute").fit(rows)
    return search.kneighbors(return_distance=False)
