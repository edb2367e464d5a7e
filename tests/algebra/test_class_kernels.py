"""Duals of the classes, and what they give for rows left out."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel

from cca_estimators import CKCCA
from cca_estimators._algebra.class_kernels import class_directions, class_duals, left_out_variates
from cca_estimators._algebra.kernels import Centring
from cca_estimators.datasets import make_views


@pytest.fixture(scope="module")
def parts():
    """Return centred kernels of two views, pairs of the rows, and an indicator of their classes."""
    X, y = make_views(60, 3, (5, 6), shared_rank=2, imbalance=2.0, random_state=0)
    pairs = np.bincount(y)[y].astype(float)
    kernels = [rbf_kernel(rows, gamma=0.1) for rows in X.values()]
    kernels = [Centring(kernel, pairs / pairs.sum()).train(kernel) for kernel in kernels]
    return kernels, pairs, np.eye(3)[y]


def test_the_duals_solve_their_system(parts):
    (kernel, _), pairs, members = parts
    duals, root, _ = class_duals(kernel.copy(), 7.0, pairs, members)
    system = np.diag(pairs) @ kernel + 7.0 * np.eye(60)
    np.testing.assert_allclose(system @ duals, members, atol=1e-9)
    np.testing.assert_allclose(root @ root.T, members.T @ kernel @ duals, atol=1e-9)


def test_rows_left_out_are_those_of_fits_without_them(parts):
    kernels, pairs, members = parts
    ridges = (1e-3, 1e-2)
    fits, roots = [], []
    for kernel, ridge in zip(kernels, ridges, strict=True):
        constant = ridge * (pairs @ kernel.diagonal())
        roots.append(class_duals(kernel.copy(), constant, pairs, members)[1])
        rows = []
        for i in range(60):
            others = np.arange(60) != i
            system = pairs[others, None] * kernel[np.ix_(others, others)] + constant * np.eye(59)
            rows.append(kernel[i, others] @ np.linalg.solve(system, members[others]))
        fits.append(np.array(rows))
    correlations, turns = class_directions(*roots)
    expected = [(fit @ turn * correlations)[:, :2] for fit, turn in zip(fits, turns, strict=True)]
    for variates, of_fits in zip(
        left_out_variates(kernels, ridges, [(pairs, members)] * 2), expected, strict=True
    ):
        np.testing.assert_allclose(variates, of_fits, atol=1e-10)


def test_auto_takes_what_retrieves_best_without_the_row():
    X, y = make_views(300, 4, (30, 40), shared_rank=3, noise=2.0, random_state=0)
    scores = {}
    scale = {name: 1 / (rows.shape[1] * rows.var()) for name, rows in X.items()}
    train, test = X[:200], X[200:]
    for factor in (1, 1 / 2, 1 / 4, 1 / 8):
        for reg in (1e-3, 1e-4, 1e-5):
            gamma = {name: factor * value for name, value in scale.items()}
            scores[factor, reg] = (
                CKCCA(gamma=gamma, reg=reg).fit(train, y[:200]).score(test, y[200:])
            )
    chosen = CKCCA(gamma="auto", reg="auto", random_state=0).fit(train, y[:200])
    assert chosen.score(test, y[200:]) > np.mean(list(scores.values()))
    assert chosen.score(test, y[200:]) > max(scores.values()) - 0.05
