"""What every estimator promises, on generated inputs of every form.

A short run takes two cases of each property and estimator, ``--long`` 150: more than 10,000 in all.
"""

import copy
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from registry import estimators, is_supervised
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from cca_estimators import CCA, CCCA, Views

each = pytest.mark.parametrize("estimator", estimators(), ids=lambda one: type(one).__name__)
DEEP = [one for one in estimators() if "max_epochs" in one.get_params()]
FORMS = {
    "array": lambda rows: rows,
    "list": lambda rows: rows.tolist(),
    "DataFrame": lambda rows: pd.DataFrame(rows.reshape(len(rows), -1)),
    "tensor": torch.from_numpy,
    "Fortran": np.asfortranarray,
}
DTYPES = [np.float64, np.float32, np.int64, np.float16]


def cases(function):
    """Run a test on generated cases, which are the same each time."""
    return settings(
        max_examples=pytest.n_cases,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )(function)


@st.composite
def inputs(draw, forms=tuple(FORMS)):
    """Draw two views of some rows, their labels, and what holds them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    n_classes = draw(st.integers(2, 3))
    n = draw(st.integers(6 * n_classes, 40))
    y = rng.permutation(np.arange(n) % n_classes)
    dtype, scale = draw(st.sampled_from(DTYPES)), draw(st.sampled_from([1.0, 10.0]))
    views = {}
    for name in ("audio", "visual"):
        steps = draw(st.sampled_from([None, None, 2]))
        shape = (
            (n, draw(st.integers(2, 6))) if steps is None else (n, steps, draw(st.integers(2, 4)))
        )
        centres = rng.standard_normal((n_classes, *shape[1:]))
        rows = scale * (2 * centres[y] + rng.standard_normal(shape))
        views[name] = np.ascontiguousarray((5 * rows if dtype == np.int64 else rows).astype(dtype))
    form = FORMS[draw(st.sampled_from(forms))]
    return Views({name: form(rows) for name, rows in views.items()}), y


def fitted(estimator, X, y):
    """Fit a clone that is quick and says nothing of how many components the rows allow."""
    estimator = clone(estimator)
    if "max_epochs" in estimator.get_params():
        estimator.set_params(max_epochs=2)
    if "n_components" in estimator.get_params():
        estimator.set_params(n_components=1)
    return estimator.fit(X, y)


def outputs(estimator, X):
    return {name: np.asarray(rows) for name, rows in estimator.transform(X).items()}


@each
@cases
@given(data=inputs(), row=st.integers(0, 5))
def test_transform_is_finite_and_does_not_depend_on_what_is_beside_it(estimator, data, row):
    X, y = data
    model = fitted(estimator, X, y)
    both = outputs(model, X)
    for name, rows in both.items():
        assert np.isfinite(rows).all()
        alone = outputs(model, {name: X[name]})
        np.testing.assert_array_equal(alone[name], rows)
        single = outputs(model, {name: X[[row]][name]})[name]
        np.testing.assert_allclose(single, rows[[row]], rtol=1e-5, atol=1e-5 * np.abs(rows).max())


@each
@cases
@given(data=inputs(), other=inputs())
def test_a_refit_forgets_and_a_clone_gives_the_same_bits(estimator, data, other):
    X, y = data
    model = fitted(estimator, X, y)
    expected = outputs(model, X)
    again = fitted(estimator, *other).set_params(**model.get_params(deep=False)).fit(X, y)
    for same in (again, fitted(estimator, X, y), copy.deepcopy(model)):
        for name, rows in outputs(same, X).items():
            np.testing.assert_array_equal(rows, expected[name])


def broken(X, y, kind):
    """Return input with one thing wrong, and what the refusal must name."""
    views = {name: np.array(rows, dtype=np.float64) for name, rows in X.items()}
    name = "visual"
    if kind == "not finite":
        views[name].reshape(-1)[1] = np.inf
    elif kind == "unaligned":
        views[name] = views[name][1:]
    elif kind == "no features":
        views[name] = views[name].reshape(len(y), -1)[:, :0]
    elif kind == "one dimension":
        views[name] = views[name].reshape(-1)[: len(y)]
    elif kind == "words":
        views[name] = np.full(views[name].shape, "word")
    elif kind == "complex":
        views[name] = views[name] * 1j
    elif kind == "three views":
        views["text"] = views[name]
        name = "text"
    elif kind == "second view as y":
        return views["audio"].reshape(len(y), -1), views[name].reshape(len(y), -1), "y"
    return views, y, name


KINDS = ["not finite", "unaligned", "no features", "one dimension", "words", "complex"]
KINDS += ["three views", "second view as y"]


@each
@cases
@given(data=inputs(forms=("array",)), kind=st.sampled_from(KINDS))
def test_a_refusal_names_what_is_wrong_and_changes_nothing(estimator, data, kind):
    X, y = data
    model = fitted(estimator, X, y)
    before, attributes = outputs(model, X), set(vars(model))
    wrong, target, name = broken(X, y, kind)
    calls = [model.fit, model.fit_transform]
    if hasattr(model, "net_"):
        calls.append(model.partial_fit)
    for call in calls:
        with pytest.raises((ValueError, TypeError), match=name):
            call(wrong, target)
    assert set(vars(model)) == attributes
    for view, rows in outputs(model, X).items():
        np.testing.assert_array_equal(rows, before[view])
    new = clone(estimator)
    with pytest.raises((ValueError, TypeError), match=name):
        new.fit(wrong, target)
    with pytest.raises(NotFittedError):
        new.transform(X)


@each
@cases
@given(data=inputs(forms=("array",)))
def test_labels_that_cannot_be_are_refused(estimator, data):
    X, y = data
    if not is_supervised(estimator):
        return
    model = clone(estimator)
    holes = [None, *map(str, y[1:])]
    for target in (y[1:], y[:, None] + np.zeros((1, 3)) + 0.5, holes, None):
        with pytest.raises((ValueError, TypeError), match=r"\by\b|labels|Unknown label"):
            model.fit(X, target)


@pytest.mark.parametrize("method", [CCA, CCCA])
@cases
@given(data=inputs(forms=("array",)), cuts=st.lists(st.integers(0, 39), max_size=6))
def test_partial_fit_in_any_cut_is_one_fit(method, data, cuts):
    X, y = data
    X = Views({name: np.asarray(rows, dtype=np.float64) for name, rows in X.items()})
    whole = method(1).fit(X, y)
    parts = method(1)
    edges = sorted({0, len(y), *(cut for cut in cuts if cut < len(y))})
    for start, stop in pairwise(edges):
        parts.partial_fit(X[start:stop], y[start:stop])
    np.testing.assert_allclose(parts.correlations_, whole.correlations_, rtol=1e-8)
    for name, rows in outputs(whole, X).items():
        np.testing.assert_allclose(outputs(parts, X)[name], rows, atol=1e-8 * np.abs(rows).max())


@pytest.mark.parametrize("method", [CCA, CCCA])
@cases
@given(data=inputs(forms=("array",)), kind=st.sampled_from(KINDS), cut=st.integers(4, 11))
def test_a_failed_partial_fit_leaves_what_was_seen(method, data, kind, cut):
    X, y = data
    X = Views({name: np.asarray(rows, dtype=np.float64) for name, rows in X.items()})
    wrong, target, name = broken(X, y, kind)
    new = method(1)
    with pytest.raises((ValueError, TypeError), match=name):
        new.partial_fit(wrong, target)
    with pytest.raises(NotFittedError):
        new.transform(X)
    expected = method(1).partial_fit(X[:cut], y[:cut])
    model = new.partial_fit(X[:cut], y[:cut])
    with pytest.raises((ValueError, TypeError), match=name):
        model.partial_fit(wrong, target)
    for each_of_both in (model, expected):
        each_of_both.partial_fit(X[cut:], y[cut:])
    for view, rows in outputs(expected, X).items():
        np.testing.assert_array_equal(outputs(model, X)[view], rows)


@pytest.mark.parametrize("estimator", DEEP, ids=lambda one: type(one).__name__)
@cases
@given(
    data=inputs(forms=("array",)),
    unit=st.integers(-60, 60),
    origin=st.integers(-(2**30), 2**30),
)
def test_units_and_origin_do_not_matter_to_deep_methods(estimator, data, unit, origin):
    X, y = data
    near = {name: np.round(64 * rows.astype(np.float64)) / 64 for name, rows in X.items()}
    expected = fitted(estimator, near, y)
    other_units = {name: 2.0**unit * rows for name, rows in near.items()}
    for name, rows in outputs(fitted(estimator, other_units, y), other_units).items():
        np.testing.assert_array_equal(rows, outputs(expected, near)[name])
    far = {name: 2.0**unit * (rows + origin) for name, rows in near.items()}  # exactly
    got = fitted(estimator, far, y)
    for name in near:
        means, scales = (values[name] / 2.0**unit for values in (got.means_, got.scales_))
        np.testing.assert_allclose(means, expected.means_[name] + origin, rtol=1e-15, atol=1e-12)
        np.testing.assert_allclose(scales, expected.scales_[name], rtol=1e-12)
