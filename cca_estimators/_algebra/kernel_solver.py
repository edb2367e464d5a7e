"""Exact regularised kernel CCA, by one Cholesky factorisation and a block Krylov search.

With centred kernels `K`, constants `c` of their ridges, and ``A = K_x / c_x``, ``B = K_y / c_y``,
dual coefficients that maximise ``a' A B b`` subject to ``a' (A^2 + A) a = b' (B^2 + B) b = 1``
fulfil ::

    B b = r (I + A) a,   A a = r (I + B) b

with `r` the correlation. For ``p = (I + A) a`` that is ``B (I + A + B)^-1 A p = t p`` with
``t = r^2 / (1 - r^2)``: correlations near 1, which a small ridge brings together, are far apart in
`t`, so few steps find them. No problem of twice the size of the data is ever formed.
"""

import numpy as np

from cca_estimators._algebra.namespace import (
    add_to_diagonal,
    beside,
    like,
    namespace,
    positive_factor,
    solve_positive,
    trace,
)
from cca_estimators._reading.arrays import to_host

_EXTRA_VECTORS = 10
_MAX_BLOCKS = 40
_TOLERANCE = 1e-9  # of a change relative to 1 - r: the error of correlations is of its square
_ROUNDING = 1e-13


def leading_pairs(x, y, n_components):
    """Return the leading canonical correlations, and the dual coefficients of each.

    Parameters
    ----------
    x, y : ndarray, shape (n, n)
        The centred kernels, each divided by the constant of its ridge: `A` and `B`.
    n_components : int

    Returns
    -------
    correlations : ndarray, shape (n_components,)
        Fewer than `n_components` where the kernels have a lower rank.
    a, b : ndarray, shape (n, n_components)
    """
    search = _Search(x, y, min(n_components + _EXTRA_VECTORS, x.shape[0]))
    correlations = search.step(n_components)
    for _ in range(_MAX_BLOCKS):
        previous, correlations = correlations, search.step(n_components)
        if _is_settled(correlations, previous):
            break
    correlations = correlations[correlations > search.floor]
    return correlations, *search.duals(len(correlations))


def _is_settled(correlations, previous):
    if len(correlations) != len(previous):
        return False
    allowed = _TOLERANCE * (1 - correlations) + _ROUNDING
    return np.all(np.abs(correlations - previous) <= allowed)


class _Search:
    """Growing bases of `p`, and of the coefficients `a` and `b` that stem from them.

    With ``h = (I + A + B)^-1 A p`` and ``w = p + B h``, those of `w` are ``a = p - h`` and
    ``b = h``, whose variates are ``A a = h + B h`` and ``B b = B h``. Correlations below `floor`
    come of directions in which the kernels vary by rounding only.
    """

    def __init__(self, x, y, width):
        self.x, self.y = x, y
        self.floor = np.sqrt(10 * np.finfo(float).eps * max(trace(x), trace(y)))
        self.factor = self._factor()
        n_rows = x.shape[0]
        self.basis, self.lifted, self.variates = (like(np.empty((n_rows, 0)), x) for _ in range(3))
        self.next = like(np.random.default_rng(0).standard_normal((n_rows, width)), x)

    def _factor(self):
        system = self.x + self.y
        add_to_diagonal(system, 1)
        return positive_factor(system)

    def solved(self, vectors):
        """Return ``(I + A + B)^-1 vectors``."""
        return solve_positive(self.factor, vectors)

    def step(self, n_components):
        """Add a block to the bases, and return the correlations within them."""
        block = self._new_directions(self.next)
        lifted = self.solved(self.x @ block)
        self.next = self.y @ lifted
        self.basis = beside(self.basis, block)
        self.lifted = beside(self.lifted, lifted)
        self.variates = beside(self.variates, self.next)
        a, b, v = self.basis - self.lifted, self.lifted, self.variates
        u = b + v
        inner, outer, cross = map(to_host, (u.T @ (u + a), v.T @ (v + b), u.T @ v))
        self.root_x, self.root_y = _root(inner), _root(outer)
        self.left, correlations, self.right = np.linalg.svd(self.root_x.T @ cross @ self.root_y)
        return correlations[:n_components]

    def _new_directions(self, block):
        """Return an orthonormal basis of what a block has outside the basis."""
        for _ in range(2):
            rest = block - self.basis @ (self.basis.T @ block)
            block = namespace(rest).linalg.qr(rest)[0]
        left = block.shape[0] - self.basis.shape[1]
        return block[:, : min(left, block.shape[1])]

    def duals(self, n_components):
        """Return `a` and `b` of the leading correlations."""
        turn_x = self.root_x @ self.left[:, :n_components]
        turn_y = self.root_y @ self.right[:n_components].T
        p, b = self.basis @ like(turn_x, self.x), self.lifted @ like(turn_y, self.x)
        return self.solved(p + self.y @ p), b  # p less h would cancel digits


def _root(gram):
    """Return `K` with ``K' G K = I`` on the range of `G`."""
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    kept = values > 1e-14 * values[-1]
    return vectors[:, kept] / np.sqrt(values[kept])
