"""Cluster methods of several labels a row, against the explicit list of weighted pairs."""

import numpy as np
import pytest
from registry import embeddings, is_supervised
from scipy.linalg import eigh
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from cca_estimators import CCA, CCCA, CKCCA, PerView, Views
from cca_estimators.datasets import make_views


@pytest.fixture(scope="module")
def data():
    """Return two views of 90 rows, and labels: the class of make_views and some at random."""
    X, y = make_views(90, 4, (6, 8), shared_rank=3, random_state=0)
    labels = np.eye(6, dtype=int)[y]
    labels |= np.random.default_rng(0).random((90, 6)) < 0.15
    return Views(X), labels


def weighted_pairs(X, labels):
    """Return the rows of both views pair by pair, and the number of labels of each pair."""
    shared = labels @ labels.T
    rows, columns = np.nonzero(shared)
    return X["audio"][rows], X["visual"][columns], shared[rows, columns].astype(float)


def explicit_correlations(a, b, weights, ridge):
    """Return the canonical correlations of weighted pairs by a generalised eigenproblem."""
    weights = weights / weights.sum()
    a, b = (rows - weights @ rows for rows in (a, b))
    aa, bb, ab = (x.T @ (weights[:, None] * y) for x, y in ((a, a), (b, b), (a, b)))
    aa, bb = (c + ridge * np.trace(c) / len(c) * np.eye(len(c)) for c in (aa, bb))
    values = eigh(ab @ np.linalg.solve(bb, ab.T), aa, eigvals_only=True)
    return np.sqrt(np.maximum(values[::-1], 0))


@pytest.mark.parametrize("form", [np.asarray, csr_array, lambda y: y.astype(bool)])
def test_ccca_is_cca_of_all_pairs_by_shared_labels(data, form):
    X, labels = data
    expected = explicit_correlations(*weighted_pairs(X, labels), 0.1)
    fitted = CCCA(reg=0.1).fit(X, form(labels))
    assert fitted.n_components_ == 5  # the class sums, weighted by their sizes, add up to 0
    assert fitted.classes_.tolist() == list(range(6))
    np.testing.assert_allclose(fitted.correlations_, expected[:5], atol=1e-10)


def test_linear_ckcca_is_ccca(data):
    X, labels = data
    centred = {name: rows - rows.mean(axis=0) for name, rows in X.items()}
    exact = CKCCA(kernel="linear", reg=0.1).fit(centred, labels)
    landmarks = CKCCA(kernel="linear", reg=0.1, approx="nystroem").fit(centred, labels)
    # the ridge of a linear method is relative to the mean of the variances, not to their sum
    by_sum = {name: 0.1 * rows.shape[1] for name, rows in X.items()}
    linear = CCCA(reg=by_sum).fit(centred, labels)
    for fitted in (exact, landmarks):
        np.testing.assert_allclose(fitted.correlations_, linear.correlations_, atol=1e-9)


@pytest.mark.parametrize("estimator", [CCCA(reg=0.1), CKCCA(reg=0.1), CCCA(pair_weight=0.2)])
def test_one_label_a_row_is_a_class(data, estimator):
    X, _ = data
    y = np.random.default_rng(1).integers(0, 3, 90)
    by_class = clone(estimator).fit(X, y)
    by_indicator = clone(estimator).fit(X, np.eye(5, dtype=int)[y])
    assert by_indicator.classes_.tolist() == [0, 1, 2]
    for name, rows in by_class.transform(X).items():
        np.testing.assert_array_equal(by_indicator.transform(X)[name], rows)


@pytest.mark.parametrize("estimator", [CCCA(), CKCCA(reg=0.1)])
def test_labels_shared_are_found_again(data, estimator):
    X, labels = data
    pipe = make_pipeline(PerView(StandardScaler()), estimator)
    scores = cross_val_score(pipe, X, labels, cv=3)
    rng = np.random.default_rng(0)
    chance = CCA(2).fit({name: rng.standard_normal((90, 3)) for name in X})
    noise = {name: rng.standard_normal((90, 3)) for name in X}
    assert scores.mean() > chance.score(noise, labels) + 0.1


def test_refusals(data):
    X, labels = data
    unlabelled = labels.copy()
    unlabelled[[4, 7]] = 0
    with pytest.raises(ValueError, match="2 rows without a label, the first of them row 4"):
        CCCA().fit(X, unlabelled)
    with pytest.raises(ValueError, match="one class only"):
        CCCA().fit(X, np.c_[np.ones(90, int), np.zeros(90, int)])
    side_by_side = np.hstack(list(X.values()))
    CCCA(view_split=6).fit(side_by_side, labels)
    with pytest.raises(ValueError, match="like a second view"):
        CCA(view_split=6).fit(side_by_side, labels)
    with pytest.raises(ValueError, match="like a second view"):
        CCCA(view_split=6).fit(side_by_side, labels * 2)


@pytest.mark.parametrize("pair_weight", [0.0, 0.2])
@pytest.mark.parametrize("held", [True, False])
def test_rows_added_of_several_labels_give_one_fit(data, held, pair_weight, monkeypatch):
    X, labels = data
    monkeypatch.setattr("cca_estimators.linear._incremental.rows_take_less", lambda *_: held)
    method = CCCA(reg=0.1, pair_weight=pair_weight)
    single = (labels == 0).sum(axis=1) == 5  # of one label only, as a class and as an indicator
    classes = labels.argmax(axis=1)
    parts = [clone(method).partial_fit(X[:20], csr_array(labels[:20]))]
    rest = np.arange(90) >= 20
    parts[0].partial_fit(X[rest & ~single], labels[rest & ~single])
    parts.append(clone(method).partial_fit(X[rest & single], classes[rest & single]))
    merged = clone(method).merge(parts[0]).merge(parts[1])
    expected = clone(method).fit(X, labels)
    assert merged.classes_.tolist() == list(range(6))
    assert hasattr(merged.scatter_, "blocks") == held
    np.testing.assert_allclose(merged.correlations_, expected.correlations_, rtol=1e-9)
    for name, rows in merged.transform(X).items():
        np.testing.assert_allclose(np.abs(rows), np.abs(expected.transform(X)[name]), atol=1e-8)


@pytest.mark.parametrize("estimator", embeddings(), ids=lambda one: type(one).__name__)
def test_tags_tell_who_takes_several_labels(estimator):
    assert get_tags(estimator).several_labels == is_supervised(estimator)
