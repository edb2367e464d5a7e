"""Rows that come in parts: `partial_fit` of wide views, and `merge`."""

import numpy as np
import pytest

from cca_estimators import CCA, CCCA, KCCA, Views
from cca_estimators._algebra.wide import HeldRows
from cca_estimators.datasets import make_views

METHODS = [CCA(3), CCCA(), CCCA(4, pair_weight=0.3), CCCA(class_weight="balanced")]
methods = pytest.mark.parametrize("method", METHODS, ids=str)


def new(method):
    return type(method)(**method.get_params())


def data(widths):
    X, y = make_views(200, 3, widths, shared_rank=3, imbalance=2.0, random_state=0)
    return X, y, np.random.default_rng(0).permutation(200)


def assert_equal(found, expected, X, tolerance=1e-8):
    np.testing.assert_allclose(found.correlations_, expected.correlations_, atol=tolerance)
    for name in X:
        np.testing.assert_allclose(found.means_[name], expected.means_[name], atol=tolerance)
        np.testing.assert_allclose(
            found.transform(X)[name], expected.transform(X)[name], atol=tolerance
        )


@methods
@pytest.mark.parametrize("widths", [(300, 250), (300, 8), (150, 140)])
def test_wide_views_in_blocks_equal_one_fit(method, widths):
    X, y, order = data(widths)
    gradual, held = new(method), []
    for rows in np.split(order, [12, 70, 150]):
        gradual.partial_fit(X[np.sort(rows)], y[np.sort(rows)])
        held.append(isinstance(gradual.scatter_, HeldRows))
    assert_equal(gradual, new(method).fit(X, y), X)
    assert held[0]
    if widths == (300, 250):
        assert held == [True] * 4
    if widths == (150, 140) and isinstance(method, CCA):
        assert held == [True, True, True, True]


def test_rows_give_way_to_moments_when_these_take_less():
    X, y, order = data((9, 11))
    gradual, numbers = CCA(3), 9 * 9 + 11 * 11 + 9 * 11
    last = numbers // 20
    gradual.partial_fit(X[:last])
    assert isinstance(gradual.scatter_, HeldRows)
    assert gradual.scatter_.n_rows == last
    gradual.partial_fit(X[last : last + 1])
    assert gradual.scatter_.x.weight == last + 1
    assert_equal(gradual.partial_fit(X[last + 1 :]), CCA(3).fit(X), X)


def test_held_rows_are_copies():
    X, _, _ = data((300, 250))
    rows = Views(X)
    gradual = CCA(3).partial_fit(rows)
    rows["audio"][:] = 0
    X, _, _ = data((300, 250))
    gradual.partial_fit(X[:1])
    again = Views({name: np.vstack([view, view[:1]]) for name, view in X.items()})
    assert_equal(gradual, CCA(3).fit(again), X)


@methods
@pytest.mark.parametrize("widths", [(9, 11), (300, 250), (60, 12)])
def test_merged_parts_equal_one_fit_in_any_order(method, widths):
    X, y, order = data(widths)
    parts = [new(method).partial_fit(X[rows], y[rows]) for rows in np.split(order, [25, 60, 160])]
    before = [part.correlations_.copy() for part in parts]
    expected = new(method).fit(X, y)
    left = new(method)
    for part in parts:
        assert left.merge(part) is left
    right = new(method).merge(parts[3]).merge(new(method).merge(parts[1]).merge(parts[0]))
    right.merge(parts[2])
    for merged in (left, right):
        assert_equal(merged, expected, X)
        assert merged.n_features_in_ == expected.n_features_in_
        merged.partial_fit(X[:5], y[:5])
    for part, correlations in zip(parts, before, strict=True):
        np.testing.assert_array_equal(part.correlations_, correlations)


def test_parts_of_one_class_each_merge():
    X, y, _ = data((9, 11))
    parts = [CCCA().partial_fit(X[y == c], y[y == c]) for c in (2, 0, 1)]
    merged = CCCA()
    for part in parts:
        merged.merge(part)
    assert_equal(merged, CCCA().fit(X, y), X)
    assert merged.classes_.tolist() == [0, 1, 2]


def test_merge_takes_one_array_too():
    X, _, _ = data((10, 10))
    stacked = np.hstack(list(X.values()))
    parts = [CCA(2).partial_fit(rows) for rows in np.split(stacked, 2)]
    np.testing.assert_allclose(
        parts[0].merge(parts[1]).transform(stacked), CCA(2).fit(stacked).transform(stacked)
    )


def test_what_cannot_be_merged_is_named_and_changes_nothing():
    X, y, _ = data((9, 11))
    part, fitted = CCA(2).partial_fit(X[:90]), CCA(2).fit(X)
    before = part.correlations_
    with pytest.raises(TypeError, match="other is a KCCA; only another CCA"):
        part.merge(KCCA())
    for target, other in ((part, fitted), (part, CCA(2)), (CCA(2), fitted)):
        with pytest.raises(ValueError, match="other holds no rows to merge: fit keeps none"):
            target.merge(other)
    with pytest.raises(ValueError, match="This estimator holds no rows to merge"):
        fitted.merge(part)
    narrow = CCA(2).partial_fit({"audio": X["audio"][:, :5], "visual": X["visual"]})
    with pytest.raises(ValueError, match=r"not the same: \[\('audio', 9\), .*\('audio', 5\)"):
        part.merge(narrow)
    turned = CCA(2).partial_fit({name: X[name] for name in ("visual", "audio")})
    with pytest.raises(ValueError, match="in the same order"):
        part.merge(turned)
    other = CCCA().partial_fit(X, np.array(["a", "b", "c"])[y])
    with pytest.raises(ValueError, match="labels of other types than before: int and str"):
        CCCA().partial_fit(X, y).merge(other)
    assert part.correlations_ is before
