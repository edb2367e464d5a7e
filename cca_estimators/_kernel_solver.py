"""Exact regularised kernel CCA, by Cholesky solves and a block Krylov search for the leading pairs.

With a centred kernel `K` and the constant `c`, the smoother ``S = K (K + c I)^-1`` equals
``I - c (K + c I)^-1``. Variates ``u = S_x p`` and ``v = S_y q`` maximise ``p' S_x S_y q`` subject
to ``p' S_x p = q' S_y q = 1``: no problem of twice the size of the data is ever formed.
"""

import numpy as np
from scipy import linalg

_EXTRA_VECTORS = 10
_MAX_BLOCKS = 40
_TOLERANCE = 1e-10  # of a change: the error of the correlations is of its square


class Smoother:
    """The map ``S = K (K + c I)^-1`` of a centred kernel matrix, which is overwritten.

    Parameters
    ----------
    kernel : ndarray, shape (n, n)
    ridge : float
        The constant `c`, positive.
    """

    def __init__(self, kernel, ridge):
        self.ridge = ridge
        kernel[np.diag_indices_from(kernel)] += ridge
        self.factor = linalg.cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)

    def solve(self, vectors):
        """Return ``(K + c I)^-1 vectors``."""
        return linalg.cho_solve(self.factor, vectors, check_finite=False)

    def __call__(self, vectors):
        """Return ``S vectors``."""
        return vectors - self.ridge * self.solve(vectors)


def leading_pairs(x, y, n_components):
    """Return the leading canonical correlations, and `p`, `q` for each of them.

    Parameters
    ----------
    x, y : Smoother
    n_components : int

    Returns
    -------
    correlations : ndarray, shape (n_components,)
    p, q : ndarray, shape (n, n_components)
        With ``p' S_x p = q' S_y q = I``.
    """
    n_rows = len(x.factor[0])
    width = min(n_components + _EXTRA_VECTORS, n_rows)
    block = np.random.default_rng(0).standard_normal((n_rows, width))
    sides = _Side(x), _Side(y)
    sides[0].extend(block)
    sides[1].extend(sides[0].smoothed[-1])
    solution = _solution(*sides, n_components)
    for _ in range(_MAX_BLOCKS):
        sides[0].extend(sides[1].smoothed[-1])
        sides[1].extend(sides[0].smoothed[-1])
        previous, solution = solution, _solution(*sides, n_components)
        if np.abs(solution[0] - previous[0]).max() < _TOLERANCE:
            break
    return solution


class _Side:
    """A growing basis `Z` of one side, with ``S Z``."""

    def __init__(self, smoother):
        self.smoother = smoother
        self.blocks, self.smoothed = [], []

    def extend(self, block):
        """Add what a block has outside the basis."""
        for _ in range(2):
            for older in self.blocks:
                block = block - older @ (older.T @ block)
            block = np.linalg.qr(block)[0]
        size = sum(older.shape[1] for older in self.blocks)
        block = block[:, : len(block) - size]
        if block.shape[1]:
            self.blocks.append(block)
            self.smoothed.append(self.smoother(block))

    @property
    def basis(self):
        return np.hstack(self.blocks), np.hstack(self.smoothed)


def _solution(x, y, n_components):
    """Solve the problem in the bases of both sides."""
    (basis_x, smoothed_x), (basis_y, smoothed_y) = x.basis, y.basis
    root_x, root_y = _root(basis_x.T @ smoothed_x), _root(basis_y.T @ smoothed_y)
    left, correlations, right = np.linalg.svd(root_x.T @ (smoothed_x.T @ smoothed_y) @ root_y)
    return (
        correlations[:n_components],
        basis_x @ (root_x @ left[:, :n_components]),
        basis_y @ (root_y @ right[:n_components].T),
    )


def _root(gram):
    """Return `K` with ``K' G K = I`` on the range of `G`."""
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    kept = values > 1e-14 * values[-1]
    return vectors[:, kept] / np.sqrt(values[kept])
