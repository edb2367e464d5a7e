"""The solver against a closed form, on well behaved and on hard data."""

import numpy as np
import pytest
from scipy import linalg
from sklearn.covariance import OAS

from cca_estimators._algebra.moments import PairedScatter, paired_moments
from cca_estimators._algebra.solver import leading_pairs, shrinkage_ridge, solve


def moments_of(x, y):
    scatter = PairedScatter()
    scatter.update(x, y)
    return paired_moments(scatter)


def orthonormal(rows):
    """Return a basis of the centred columns, by a singular value decomposition of the data."""
    rows = rows - rows.mean(axis=0)
    rows = rows - rows.mean(axis=0)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=0), 1e-300)
    left, values, _ = np.linalg.svd(rows, full_matrices=False)
    return left[:, values > 1e-9 * values[0]]


def true_correlations(x, y):
    return np.linalg.svd(orthonormal(x).T @ orthonormal(y), compute_uv=False)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((400, 4))
    x = shared @ rng.standard_normal((4, 7)) + rng.standard_normal((400, 7))
    y = shared @ rng.standard_normal((4, 5)) + rng.standard_normal((400, 5))
    return x, y


def hard_cases(x, y):
    rng = np.random.default_rng(1)
    constant = np.full((len(x), 1), 3.3)
    return {
        "clean": (x, y),
        "duplicated column": (np.hstack([x, x[:, :2]]), y),
        "constant columns": (
            np.hstack([x, constant]),
            np.hstack([1e6 * constant, y, 0 * constant]),
        ),
        "units": (x * 10.0 ** rng.uniform(-6, 6, 7), y * 10.0 ** rng.uniform(-6, 6, 5)),
        "means": (x + 1e6, y - 1e6),
        "rank deficient": (np.hstack([x, x @ rng.standard_normal((7, 3))]), y),
    }


@pytest.mark.parametrize("case", list(hard_cases(np.ones((2, 7)), np.ones((2, 5)))))
def test_correlations_are_exact_on_hard_data(data, case):
    x, y = hard_cases(*data)[case]
    solution = solve(moments_of(x, y))
    np.testing.assert_allclose(solution.correlations, true_correlations(*data), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
@pytest.mark.parametrize("seed", range(5))
def test_dependent_columns_add_no_directions(dtype, tolerance, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((400, 4))
    y = x @ rng.standard_normal((4, 20)) + rng.standard_normal((400, 20))
    for mixing in (np.hstack([np.eye(4), np.eye(4)]), rng.standard_normal((4, 15))):
        correlations = solve(moments_of((x @ mixing).astype(dtype), y.astype(dtype))).correlations
        np.testing.assert_allclose(correlations, true_correlations(x, y), rtol=0, atol=tolerance)


@pytest.mark.parametrize("seed", range(5))
def test_columns_dependent_up_to_rounding_do_no_harm(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((400, 7))
    y = x @ rng.standard_normal((7, 15)) + rng.standard_normal((400, 15))
    nearly = x @ rng.standard_normal((7, 5)) + 1e-7 * rng.standard_normal((400, 5))
    correlations = solve(moments_of(np.hstack([x, nearly]), y)).correlations
    np.testing.assert_allclose(correlations, true_correlations(x, y), rtol=0, atol=1e-6)


@pytest.mark.parametrize("ridges", [(0.0, 0.0), (0.3, 1.5)])
def test_variates_are_orthonormal_and_correlate_as_told(data, ridges):
    moments = moments_of(*data)
    (w, v), correlations, _ = solve(moments, ridges=ridges)
    xx, yy = (
        covariance + ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        for covariance, ridge in zip((moments.xx, moments.yy), ridges, strict=True)
    )
    np.testing.assert_allclose(w.T @ xx @ w, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(v.T @ yy @ v, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(w.T @ moments.xy @ v, np.diag(correlations), atol=1e-12)


def test_more_features_than_rows_with_a_ridge():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((20, 50)), rng.standard_normal((20, 30))
    moments = moments_of(x, y)
    solution = solve(moments, 3, ridges=(0.5, 0.5))
    roots = []
    for covariance in (moments.xx, moments.yy):
        ridge = 0.5 * np.trace(covariance) / len(covariance)
        values, vectors = np.linalg.eigh(covariance + ridge * np.eye(len(covariance)))
        roots.append(vectors / np.sqrt(values) @ vectors.T)
    expected = np.linalg.svd(roots[0] @ moments.xy @ roots[1], compute_uv=False)[:3]
    np.testing.assert_allclose(solution.correlations, expected, atol=1e-10)


def test_signs_are_fixed(data):
    x, y = data
    (w, _), *_ = solve(moments_of(x, y), 3)
    (mirrored, _), *_ = solve(moments_of(-x, y), 3)
    assert np.all(w[np.abs(w).argmax(axis=0), range(3)] > 0)
    assert np.all(mirrored[np.abs(mirrored).argmax(axis=0), range(3)] > 0)
    np.testing.assert_allclose(np.abs(mirrored), np.abs(w), atol=1e-12)


def test_too_many_components_warn_and_are_cut(data):
    with pytest.warns(UserWarning, match="n_components=6 is above the 5 pairs"):
        assert len(solve(moments_of(*data), 6).correlations) == 5
    assert len(solve(moments_of(*data), None, most=2).correlations) == 2


@pytest.mark.parametrize(("n_rows", "n_features"), [(30, 10), (200, 4), (15, 40)])
def test_shrinkage_is_that_of_scikit_learn(n_rows, n_features):
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((n_rows, n_features)) * rng.uniform(0.5, 2, n_features)
    covariance = np.cov(rows.T, ddof=0)
    shrinkage = OAS().fit(rows).shrinkage_
    expected = min(shrinkage, 0.99) / (1 - min(shrinkage, 0.99))
    for unit in (1.0, 1e-200, 1e200):
        assert shrinkage_ridge(unit * covariance, n_rows) == pytest.approx(expected)


def test_shrinkage_of_a_single_feature_is_bounded():
    assert shrinkage_ridge(np.array([[2.0]]), 10) == pytest.approx(99)


@pytest.mark.parametrize("shape", [(300, 90), (90, 300)])
@pytest.mark.parametrize("decay", [1.0, 0.99, 0.5, 0.1])
def test_leading_pairs_are_those_of_the_whole_decomposition(shape, decay):
    rng = np.random.default_rng(0)
    left, right = (linalg.qr(rng.standard_normal((size, 90)), mode="economic")[0] for size in shape)
    values = decay ** np.arange(90)
    matrix = (left * values) @ right.T
    u, found, v = leading_pairs(matrix, 10)
    np.testing.assert_allclose(found, values[:10], atol=1e-14)
    np.testing.assert_allclose(u.T @ u, np.eye(10), atol=1e-12)
    np.testing.assert_allclose(v.T @ v, np.eye(10), atol=1e-12)
    np.testing.assert_allclose(matrix @ v, u * found, atol=1e-12)
