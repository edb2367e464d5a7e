"""More features than rows: equal to the form of covariances, to a closed form, and exact."""

import warnings

import h5py
import numpy as np
import pytest
from scipy import linalg
from sklearn.base import clone

from cca_estimators import CCA, CCCA, TNNCCCA, Views
from cca_estimators._algebra import wide
from cca_estimators._algebra.wide import RowSpace
from cca_estimators.datasets import make_views

N = 60


def data(widths=(90, 70), dtype=np.float64, shift=0.0, imbalance=2.0):
    """Return training rows, new rows, and the labels of the former."""
    X, y = make_views(100, 3, widths, shared_rank=3, noise=0.5, imbalance=imbalance, random_state=0)
    X = Views({name: (rows + shift).astype(dtype) for name, rows in X.items()})
    return X[:N], X[N:], y[:N]


def both_forms(estimator, X, y, monkeypatch):
    """Return the estimator fitted in the wide form, and by covariances of features."""
    taken = []
    monkeypatch.setattr(wide, "RowSpace", lambda *a, **k: taken.append(a) or RowSpace(*a, **k))
    fitted = estimator.fit(X, y)
    assert len(taken) == sum(rows[0].size > len(rows) for rows in X.values())
    monkeypatch.setattr(wide, "_is_wide", lambda rows: False)
    return fitted, type(estimator)(**estimator.get_params()).fit(X, y)


def assert_equal_fits(found, expected, new, tolerance):
    np.testing.assert_allclose(found.correlations_, expected.correlations_, atol=tolerance)
    assert found.reg_ == pytest.approx(expected.reg_, rel=100 * tolerance)
    embedded = found.transform(new), expected.transform(new)
    for name in new:
        scale = np.abs(embedded[1][name]).max()
        np.testing.assert_allclose(embedded[0][name], embedded[1][name], atol=tolerance * scale)
        np.testing.assert_allclose(found.means_[name], expected.means_[name], atol=tolerance)


@pytest.mark.parametrize("widths", [(90, 70), (90, 12), (7, 130), (60, 61)])
@pytest.mark.parametrize(
    "estimator",
    [
        CCA(5),
        CCA(5, reg=0.3, weighted=False),
        CCA(5, reg={"audio": 1e-3, "visual": "auto"}),
        CCCA(),
        CCCA(reg=0.1, class_weight="balanced"),
        CCCA(4, reg={"audio": "auto", "visual": 0.5}, pair_weight=0.3, weighted=False),
        CCCA(4, reg=1e-2, pair_weight=1.0, class_weight="balanced"),
    ],
    ids=str,
)
def test_it_equals_the_form_of_covariances(estimator, widths, monkeypatch):
    X, new, y = data(widths)
    assert_equal_fits(*both_forms(estimator, X, y, monkeypatch), new, 1e-10)


@pytest.mark.parametrize("method", [CCA(3), CCCA(2), CCCA(3, reg=0.1, pair_weight=0.2)], ids=str)
def test_float32_equals_the_form_of_covariances(method, monkeypatch):
    X, new, y = data(dtype=np.float32)
    found, expected = both_forms(method, X, y, monkeypatch)
    assert_equal_fits(found, expected, new, 1e-5)
    assert found.transform(new)["audio"].dtype == np.float32


@pytest.mark.parametrize("shift", [1e3, -1e6])
def test_means_far_from_zero_do_not_matter(shift):
    X, new, y = data()
    far, far_new, _ = data(shift=shift)
    for method in (CCA(3, reg=0.1), CCCA(reg=0.1)):
        near = type(method)(**method.get_params()).fit(X, y)
        method.fit(far, y)
        np.testing.assert_allclose(method.correlations_, near.correlations_, atol=1e-8)
        embedded, expected = method.transform(far_new)["audio"], near.transform(new)["audio"]
        np.testing.assert_allclose(embedded, expected, atol=1e-7)


def test_correlations_are_those_of_the_regularised_problem():
    X, _, _ = data()
    whitened, views = [], [np.asarray(rows) for rows in X.values()]
    for rows in views:
        covariance = np.cov(rows.T)
        covariance += 0.2 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        whitened.append(linalg.inv(linalg.sqrtm(covariance).real))
    cross = np.cov(views[0].T, views[1].T)[:90, 90:]
    expected = linalg.svdvals(whitened[0] @ cross @ whitened[1])[:5]
    np.testing.assert_allclose(CCA(5, reg=0.2).fit(X).correlations_, expected, atol=1e-10)


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_a_wide_view_without_a_ridge_beside_a_narrow_one(scale):
    """C-CCA then separates the classes of the wide view perfectly: those of the other decide."""
    X, _, y = data((90, 5))
    X["audio"][:, ::2] *= scale
    X["audio"][:, 1] = 3.3
    found = CCCA(reg=0.0).fit(X, y)
    indicators = np.eye(3)[y]
    weights = indicators.sum(axis=0)[y]
    weights /= weights.sum()
    rows = X["visual"] - weights @ X["visual"]
    total, means = (rows.T * weights) @ rows, indicators.T @ (rows * weights[:, None])
    between = means.T @ np.diag(1 / (indicators.T @ weights)) @ means
    expected = np.sqrt(linalg.eigh(between, total, eigvals_only=True)[::-1][:2])
    np.testing.assert_allclose(found.correlations_, expected, atol=1e-9)
    assert not found.weights_["audio"][1].any()


def test_cca_without_a_ridge_says_that_anything_correlates():
    X, _, _ = data((90, 5))
    with pytest.warns(UserWarning, match="View 'audio' has 90 features for 60 rows, .* Set reg="):
        fitted = CCA(reg=0.0).fit(X)
    np.testing.assert_allclose(fitted.correlations_, 1, atol=1e-10)


def test_files_sequences_and_integers(tmp_path):
    X, _, y = data()
    steps = Views(audio=X["audio"].reshape(N, 9, 10), visual=X["visual"])
    expected = CCCA().fit(X, y)
    np.testing.assert_array_equal(
        CCCA().fit(steps, y).weights_["audio"], expected.weights_["audio"]
    )
    with h5py.File(tmp_path / "X.h5", "w") as file:
        for name, rows in steps.items():
            file[name] = rows
        fitted = CCCA().fit(Views(dict(file)), y)
    np.testing.assert_array_equal(fitted.weights_["visual"], expected.weights_["visual"])
    integers = Views({name: (20 * rows).astype(np.int16) for name, rows in X.items()})
    floats = Views({name: rows.astype(float) for name, rows in integers.items()})
    left, right = (CCCA().fit(views, y).correlations_ for views in (integers, floats))
    np.testing.assert_array_equal(left, right)


def test_blocks_of_features_do_not_matter(monkeypatch):
    X, new, y = data()
    expected = CCCA().fit(X, y)
    monkeypatch.setattr(wide, "_BLOCK_BYTES", 8 * N * 7)
    assert_equal_fits(CCCA().fit(X, y), expected, new, 1e-11)


def test_constant_and_repeated_features_and_rows(monkeypatch):
    X, new, y = data()
    for views in (X, new):
        views["audio"][:, 3] = 0.1
        views["visual"][:, 5:9] = views["visual"][:, :4]
    X["audio"][10:20] = X["audio"][0]
    assert_equal_fits(*both_forms(CCA(4, reg=0.05), X, y, monkeypatch), new, 1e-10)


def test_what_is_wrong_is_named_by_feature():
    X, _, y = data()
    X["audio"][7, 80] = np.nan
    with pytest.raises(ValueError, match="View 'audio' contains NaN .* in row 7, feature 80"):
        CCA(2).fit(X)
    X["audio"][7, 80] = 1e200
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="overflow or .* feature 80"):
        CCA(2).fit(X)
    with pytest.raises(ValueError, match="View 'visual' does not vary"):
        CCA(2).fit({"audio": X["visual"], "visual": np.full((N, 70), 0.1)})


def test_first_stages_of_deep_estimators_take_it(monkeypatch):
    X, _, y = data()
    taken = []
    monkeypatch.setattr(wide, "RowSpace", lambda *a, **k: taken.append(a) or RowSpace(*a, **k))
    TNNCCCA(2, first="ccca", hidden_layer_sizes=(8,), max_epochs=1, random_state=0).fit(X, y)
    assert len(taken) >= 2  # and more, of folds


@pytest.mark.parametrize("scale", [1e-23, 1e-35, 1e30])
def test_squares_that_float32_cannot_hold_are_taken_in_float64(scale):
    X, _, y = data()
    for method in (CCA(2), CCA(2, reg=0.0), CCCA()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # without a ridge, all is ambiguous
            expected = clone(method).fit(X, y).correlations_
            tiny = {name: (scale * rows).astype(np.float32) for name, rows in X.items()}
            fitted = clone(method).fit(tiny, y)
        np.testing.assert_allclose(fitted.correlations_, expected, rtol=1e-3)


def test_large_negative_values_of_float32_are_computed_in_float64():
    X, _, _ = data(dtype=np.float32)
    X["audio"][0, 0] = -1e20
    double = {name: rows.astype(np.float64) for name, rows in X.items()}
    found, expected = CCA(1, reg=0.1).fit(X), CCA(1, reg=0.1).fit(double)
    np.testing.assert_allclose(found.correlations_, expected.correlations_, rtol=1e-5)
