"""Rows that one view lacks: NaN throughout, left out where they must be, used where they can be."""

import numpy as np
import pytest
from registry import embeddings, is_hashing
from sklearn.base import clone

from cca_estimators import CCA, CCCA, Views, cross_modal_map, cross_modal_scores
from cca_estimators.datasets import make_views
from cca_estimators.metrics import mean_average_precision

LACKING = {"audio": [3, 10, 11], "visual": [20, 3]}
each_embedding = pytest.mark.parametrize(
    "estimator",
    [one for one in embeddings() if one._missing_partners],
    ids=lambda one: type(one).__name__,
)


@pytest.fixture(scope="module")
def data():
    return make_views(60, 3, (8, 12), shared_rank=3, random_state=0)


def with_gaps(X):
    """Return the views with rows missing, and which rows are whole pairs."""
    gaps = {name: rows.copy() for name, rows in X.items()}
    whole = np.ones(60, bool)
    for name, rows in LACKING.items():
        gaps[name][rows] = np.nan
        whole[rows] = False
    return Views(gaps), whole


@each_embedding
def test_fit_takes_what_is_there_and_transform_marks_what_is_not(estimator, data):
    X, y = data
    gaps, whole = with_gaps(X)
    with pytest.warns(UserWarning, match=r"\{'audio': 3, 'visual': 2\} by view, of 60"):
        fitted = clone(estimator).fit(gaps, y)
    if not isinstance(estimator, CCCA):
        expected = clone(estimator).fit(X[whole], y[whole]).transform(X)
        for name, rows in fitted.transform(X).items():
            np.testing.assert_array_equal(rows, expected[name])
    complete = fitted.transform(X)
    for name, rows in fitted.transform(gaps).items():
        there = ~np.isin(np.arange(60), LACKING[name])
        missing = np.ma.getmaskarray(rows) if is_hashing(estimator) else np.isnan(rows)
        assert missing[~there].all()
        assert not missing[there].any()
        np.testing.assert_allclose(rows[there], complete[name][there], rtol=1e-5, atol=1e-6)
    with pytest.warns(UserWarning, match="Rows of NaN are left out"):
        assert 1 / 3 < fitted.score(gaps, y) <= 1


def test_ccca_uses_the_rows_that_each_view_has(data):
    X, y = data
    gaps, _ = with_gaps(X)
    with pytest.warns(UserWarning, match="all rows that there are of each view"):
        fitted = CCCA(reg=0.1).fit(gaps, y)
    own = {name: np.setdiff1d(np.arange(60), rows) for name, rows in LACKING.items()}
    pairs = [(i, j) for i in own["audio"] for j in own["visual"] if y[i] == y[j]]
    rows, columns = np.array(pairs).T
    listed = CCA(2, reg=0.1).fit({"audio": X["audio"][rows], "visual": X["visual"][columns]})
    np.testing.assert_allclose(fitted.correlations_, listed.correlations_, rtol=1e-8)
    for name in X:
        mine, theirs = fitted.weights_[name], listed.weights_[name]
        cosines = np.abs((mine * theirs).sum(0)) / np.prod(
            [np.linalg.norm(w, axis=0) for w in (mine, theirs)], axis=0
        )
        np.testing.assert_allclose(cosines, 1, atol=1e-8)


def test_a_class_that_a_view_lacks_forms_no_pairs(data):
    X, y = data
    gaps = Views({name: rows.copy() for name, rows in X.items()})
    gaps["audio"][y == 2] = np.nan
    with pytest.warns(UserWarning, match="missing"):
        fitted = CCCA(reg=0.1).fit(gaps, y)
    kept = y != 2
    expected = CCCA(reg=0.1).fit(X[kept], y[kept])
    assert fitted.classes_.tolist() == [0, 1]
    np.testing.assert_allclose(fitted.correlations_, expected.correlations_, rtol=1e-10)


def test_figures_are_of_the_rows_that_are_there(data):
    X, y = data
    gaps, whole = with_gaps(X)
    method = CCA(3).fit(X)
    embedded = method.transform(X)
    own = {name: np.setdiff1d(np.arange(60), rows) for name, rows in LACKING.items()}
    a, b = (embedded[name][rows] for name, rows in own.items())
    of_a, of_b = (y[rows] for rows in own.values())
    both = mean_average_precision(a, b, of_a, of_b), mean_average_precision(b, a, of_b, of_a)
    with pytest.warns(UserWarning, match=r"\{'audio': 3, 'visual': 2\} by view, of 60"):
        assert cross_modal_map(method, gaps, y) == pytest.approx(np.mean(both))
    with pytest.warns(UserWarning, match="left out"):
        scores = cross_modal_scores(method, gaps, y)
    assert scores["map"] == pytest.approx(np.mean(both))
    assert scores["pair_mrr"] == pytest.approx(cross_modal_scores(method, X[whole])["mrr"])


def test_too_few_whole_pairs_are_counted(data):
    X, y = data
    gaps = Views({name: rows.copy() for name, rows in X.items()})
    gaps["audio"][:30] = np.nan
    gaps["visual"][31:] = np.nan
    message = (
        r"needs rows that both views have, 2 at least, but there are 1.*'audio': 30, 'visual': 29"
    )
    with (
        pytest.warns(UserWarning, match="missing"),
        pytest.raises(ValueError, match=message),
    ):
        CCA(2).fit(gaps)
    with pytest.warns(UserWarning, match="missing"):
        CCCA().fit(gaps, y)  # its pairs need no partners


def test_a_view_that_is_missing_throughout_is_all_nan(data):
    X, _ = data
    nothing = np.full((4, 8), np.nan)
    assert np.isnan(CCA(2).fit(X).transform({"audio": nothing})["audio"]).all()
