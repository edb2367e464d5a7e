"""Cluster kernel CCA of one view: duals of the classes, and what they give for rows left out.

The duals ``P = (D K + c I)^-1 Z`` are those of a ridge regression of ``D^-1 Z`` on the kernel `K`,
rows weighted by the numbers `D` of their pairs. So its residuals without a row have a closed form:
those with it, over ``c (D^1/2 K D^1/2 + c I)^-1_ii``.
"""

import numpy as np
from scipy import linalg

from cca_estimators._algebra.namespace import (
    add_to_diagonal,
    like,
    namespace,
    positive_factor,
    solve_positive,
)
from cca_estimators._reading.arrays import to_host

_RANK_CUT = 1e-10


def class_duals(kernel, ridge, pairs, members):
    """Return `P`, `R` with ``R R' = Z' K P``, and a factor; the kernel is overwritten.

    By the symmetric form ``P = D^1/2 (D^1/2 K D^1/2 + c I)^-1 D^-1/2 Z``, and by
    ``K P = D^-1 (Z - c P)``.

    Parameters
    ----------
    kernel : ndarray, shape (n, n)
        Centred at the mean that weighs the rows by their pairs.
    ridge : float
        The constant `c`.
    pairs : ndarray, shape (n,)
        Number of pairs of each row, the diagonal of `D`.
    members : ndarray, shape (n, n_classes)
        Indicator `Z` of the classes.

    Returns
    -------
    duals : ndarray, shape (n, n_classes)
    root : ndarray, shape (n_classes, n_classes)
    factor : tuple
        Cholesky factor of ``D^1/2 K D^1/2 + c I``, as `scipy.linalg.cho_factor` returns it.
    """
    pairs, members = like(pairs, kernel), like(members, kernel)
    roots = namespace(pairs).sqrt(pairs)[:, None]
    kernel *= roots
    kernel *= roots.T
    add_to_diagonal(kernel, ridge)
    factor = positive_factor(kernel)
    duals = roots * solve_positive(factor, members / roots)
    gram = to_host((members / pairs[:, None]).T @ (members - ridge * duals))
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    return duals, vectors * np.sqrt(np.maximum(values, 0.0)), factor


def class_directions(root_x, root_y):
    """Return the correlations, and what turns the duals of each view into directions."""
    left, correlations, right = np.linalg.svd(root_x.T @ root_y)
    turns = [
        np.linalg.pinv(root, rcond=_RANK_CUT).T @ vectors
        for root, vectors in ((root_x, left), (root_y, right.T))
    ]
    return correlations, turns


def left_out_variates(kernels, ridges, sides):
    """Return variates, weighted by their correlations, of each row by duals without the row.

    Centring, weights and the turn from duals to directions are those of all rows.

    Parameters
    ----------
    kernels : pair of ndarray, shape (n, n)
        Of each view, see `class_duals`; left as they are.
    ridges : pair of float
        As multiples of the weighted mean of the diagonal of a kernel.
    sides : pair of tuple of ndarray
        Numbers of pairs and indicator of the classes of the rows of each view, see `class_duals`.

    Returns
    -------
    list of ndarray, shape (n, n_classes - 1)
    """
    fits, roots = [], []
    for kernel, ridge, (pairs, members) in zip(kernels, ridges, sides, strict=True):
        constant = ridge * (pairs @ kernel.diagonal())
        duals, root, factor = class_duals(kernel.copy(), constant, pairs, members)
        fits.append((members - duals / _leverages(factor)[:, None]) / pairs[:, None])
        roots.append(root)
    correlations, turns = class_directions(*roots)
    return [(fit @ turn * correlations)[:, :-1] for fit, turn in zip(fits, turns, strict=True)]


def _leverages(factor):
    """Return the diagonal of the inverse of what was factorised."""
    lower, _ = factor
    inverse = linalg.solve_triangular(lower, np.eye(len(lower)), lower=True, check_finite=False)
    return np.einsum("ij,ij->j", inverse, inverse)
