"""Rows that one view lacks: NaN throughout, left out where they must be, used where they can be."""

import numpy as np
import pytest
from registry import DEEP, embeddings, is_hashing, is_supervised
from sklearn.base import clone
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils import get_tags

from cca_estimators import (
    AGAH,
    CCA,
    CCCA,
    CKCCA,
    CrossModalIndex,
    Views,
    cross_modal_map,
    cross_modal_scores,
)
from cca_estimators.datasets import make_views
from cca_estimators.metrics import mean_average_precision

LACKING = {"audio": [3, 10, 11], "visual": [20, 3]}
each_embedding = pytest.mark.parametrize(
    "estimator", embeddings(), ids=lambda one: type(one).__name__
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
    uses = get_tags(estimator).missing_partners
    assert (uses == "whole pairs") != is_supervised(estimator)
    if uses == "whole pairs":
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


def two_sets(X, y):
    """Return 40 sounds and 20 other images in one mapping, without a whole pair."""
    apart = Views({name: rows.copy() for name, rows in X.items()})
    apart["audio"][40:] = np.nan
    apart["visual"][:40] = np.nan
    own = {"audio": np.arange(40), "visual": np.arange(40, 60)}
    pairs = [(i, j) for i in own["audio"] for j in own["visual"] if y[i] == y[j]]
    return apart, own, np.array(pairs).T


def features_of(kernel):
    """Return features whose inner products are a kernel matrix."""
    values, vectors = np.linalg.eigh(kernel)
    return vectors * np.sqrt(np.maximum(values, 0))


def listed_correlations(a, b, ridge):
    """Return canonical correlations of paired features, the ridge relative to their variance."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    roots = []
    for side in (a, b):
        covariance = side.T @ side / len(a)
        covariance += ridge * np.trace(covariance) * np.eye(len(covariance))
        roots.append(np.linalg.inv(np.linalg.cholesky(covariance)))
    return np.linalg.svd(roots[0] @ (a.T @ b / len(a)) @ roots[1].T, compute_uv=False)


def test_ckcca_of_two_labelled_sets_of_unequal_size(data):
    X, y = data
    apart, own, (rows, columns) = two_sets(X, y)
    with pytest.warns(UserWarning, match=r"'audio': 20, 'visual': 40.*all rows that there are"):
        fitted = CKCCA(gamma=0.05, reg=0.01).fit(apart, y)
    a, b = (features_of(rbf_kernel(X[name][numbers], gamma=0.05)) for name, numbers in own.items())
    expected = listed_correlations(a[rows], b[columns - 40], 0.01)
    np.testing.assert_allclose(fitted.correlations_, expected[:2], rtol=1e-7)
    assert [len(dual) for dual in fitted.dual_coef_.values()] == [40, 20]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("approx", ["exact", "nystroem"])
def test_linear_ckcca_of_two_sets_is_ccca(data, approx, several):
    X, y = data
    apart, _, _ = two_sets(X, y)
    labels = np.eye(4, dtype=int)[y]
    labels[::3, 3] = several
    ridges = {name: 0.1 * rows.shape[1] for name, rows in X.items()}  # of the mean of variances
    with pytest.warns(UserWarning, match="missing"):
        linear = CCCA(reg=ridges).fit(apart, labels)
    with pytest.warns(UserWarning, match="missing"):
        kernel = CKCCA(kernel="linear", reg=0.1, approx=approx).fit(apart, labels)
    np.testing.assert_allclose(kernel.correlations_, linear.correlations_, rtol=1e-7)
    for name, rows in kernel.transform(X).items():
        expected = linear.transform(X)[name]
        np.testing.assert_allclose(np.abs(rows), np.abs(expected), atol=1e-6)


def test_ckcca_chooses_by_rows_left_out_of_each_view(data):
    X, y = data
    apart, _, _ = two_sets(X, y)
    with pytest.warns(UserWarning, match="missing"):
        fitted = CKCCA(gamma="auto", reg="auto").fit(apart, y)
    assert set(fitted.reg_.values()) <= {1e-5, 1e-4, 1e-3}
    assert fitted.score(X, y) > 0.9


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


def test_an_index_leaves_out_rows_and_keeps_numbers_and_ids(data, tmp_path):
    X, y = data
    gaps, _ = with_gaps(X)
    method = CCCA(reg=0.1).fit(X, y)
    there = np.setdiff1d(np.arange(60), LACKING["visual"])
    query = {"audio": X["audio"][:5]}
    whole = CrossModalIndex(method).fit(X[there]).kneighbors(query, 58)
    with pytest.warns(UserWarning, match=r"left out of the gallery: 2 of 60") as record:
        numbered = CrossModalIndex(method).fit(gaps)
    assert record[0].filename == __file__
    assert numbered.n_samples_fit_ == 58
    np.testing.assert_array_equal(numbered.kneighbors(query, 58)[0], whole[0])
    np.testing.assert_array_equal(numbered.kneighbors(query, 58)[1], there[whole[1]])
    names = np.array([f"clip{i}" for i in range(60)])
    for folder in (None, tmp_path / "gallery"):
        with pytest.warns(UserWarning, match="2 of 60"):
            named = CrossModalIndex(method).fit(gaps, ids=names, folder=folder)
        np.testing.assert_array_equal(named.kneighbors(query, 58)[1], names[there[whole[1]]])
    with pytest.raises(ValueError, match="2 rows, the first of them row 3: missing rows are left"):
        CrossModalIndex(method).fit([X[:20], gaps])
    with pytest.raises(ValueError, match=r"3 missing rows .*the first of them row 3: leave"):
        numbered.kneighbors({"audio": gaps["audio"]})
    with pytest.raises(ValueError, match="no row that is there"):
        numbered.fit({"visual": np.full((4, 12), np.nan)})


def test_codes_of_missing_rows_are_masked(data):
    X, y = data
    gaps, _ = with_gaps(X)
    agah = AGAH(8, feature_size=8, **DEEP).fit(X, y)
    packed, sure = agah.pack(gaps)["audio"], agah.decision_function(gaps)["audio"]
    there = ~np.isin(np.arange(60), LACKING["audio"])
    np.testing.assert_array_equal(np.ma.getmaskarray(packed).all(axis=1), ~there)
    np.testing.assert_array_equal(np.isnan(sure).all(axis=1), ~there)
    np.testing.assert_array_equal(packed[there], agah.pack(X)["audio"][there])
    codes, own = agah.transform(X), {name: ~np.isin(np.arange(60), LACKING[name]) for name in X}
    both = (
        mean_average_precision(
            codes[q][own[q]], codes[g][own[g]], y[own[q]], y[own[g]], metric="hamming"
        )
        for q, g in (("audio", "visual"), ("visual", "audio"))
    )
    with pytest.warns(UserWarning, match="left out"):
        assert cross_modal_map(agah, gaps, y) == pytest.approx(np.mean(list(both)))
    with pytest.warns(UserWarning, match="3 of 60"):
        index = CrossModalIndex(agah, gallery="audio").fit(gaps)
    assert not np.isin(index.kneighbors({"visual": X["visual"]}, 57)[1], LACKING["audio"]).any()


def test_a_view_that_is_missing_throughout_is_all_nan(data):
    X, _ = data
    nothing = np.full((4, 8), np.nan)
    assert np.isnan(CCA(2).fit(X).transform({"audio": nothing})["audio"]).all()


def test_the_ridge_of_a_view_is_that_of_its_own_rows(data):
    X, y = data
    kept = np.concatenate([np.flatnonzero(y == label)[: sum(y == label) // 2] for label in set(y)])
    gaps = Views(audio=X["audio"], visual=np.full_like(X["visual"], np.nan))
    gaps["visual"][kept] = X["visual"][kept]
    with pytest.warns(UserWarning, match="missing"):
        found = CCCA(2, reg="auto").fit(gaps, y).reg_
    whole = CCCA(2, reg="auto").fit(X[kept], y[kept]).reg_
    assert found["visual"] == pytest.approx(whole["visual"], rel=1e-9)
    assert found["audio"] < whole["audio"]
