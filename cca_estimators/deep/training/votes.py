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
    standardised features; in a second round it votes by the shares of the votes that it got.

    Parameters
    ----------
    views : dict of array-like, shapes (n, ...)
        NaN is padding, and counts as the mean of its feature.
    codes : ndarray of int, shape (n,)
        Class of each row, below 0 where there is none: such rows have no vote and get no label.

    Returns
    -------
    ndarray of int, shape (n,)
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
    votes = np.zeros((len(codes), codes.max() + 1))
    known = np.flatnonzero(codes >= 0)
    votes[known, codes[known]] = 1
    for _ in range(_N_ROUNDS):
        votes = sum(votes[column] for graph in graphs for column in graph.T) / len(graphs)
    decided = votes.any(axis=1) & (codes >= 0)
    return np.where(decided, votes.argmax(axis=1), codes)


def _neighbours(name, rows):
    """Return the numbers of the nearest rows of each row, shape (n, n_neighbours)."""
    rows = np.asarray(rows).reshape(len(rows), -1)
    check_finite(np.nan_to_num(rows, posinf=np.inf, neginf=-np.inf), name)
    with np.errstate(invalid="ignore"):  # a feature may be padding in all rows
        rows = np.nan_to_num(StandardScaler().fit_transform(rows))
    n_neighbours = min(_N_NEIGHBOURS, len(rows) - 1)
    search = NearestNeighbors(n_neighbors=n_neighbours, algorithm="brute").fit(rows)
    return search.kneighbors(return_distance=False)
