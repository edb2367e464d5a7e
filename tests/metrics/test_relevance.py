"""Several labels a row, graded relevance, and searches among the rows of one view."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from cca_estimators import CCA, Views, cross_modal_map, cross_modal_scores
from cca_estimators.metrics import (
    mean_average_precision,
    mean_reciprocal_rank,
    ndcg,
    precision_at_k,
    precision_recall_curve,
    recall_at_k,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def indicator(rng, n_rows, n_labels=8, most=3):
    """Return an indicator matrix of 1 to `most` labels a row."""
    labels = np.zeros((n_rows, n_labels), int)
    for row in labels:
        row[rng.choice(n_labels, rng.integers(1, most + 1), replace=False)] = 1
    return labels


def cosines(x, y):
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))
    return x @ y.T


def test_map_is_that_of_scikit_learn(rng):
    query, gallery = rng.standard_normal((30, 5)), rng.standard_normal((70, 5))
    of_query, of_gallery = indicator(rng, 30), indicator(rng, 70)
    relevant = of_query @ of_gallery.T > 0
    expected = label_ranking_average_precision_score(relevant, cosines(query, gallery))
    for form in (np.asarray, csr_array, lambda labels: labels.astype(bool)):
        measured = mean_average_precision(query, gallery, form(of_query), form(of_gallery))
        assert measured == pytest.approx(expected, abs=1e-12)


def test_one_label_a_row_gives_what_classes_give(rng):
    query, gallery = rng.integers(-2, 3, (40, 3)), rng.integers(-2, 3, (60, 3))  # with ties
    a, b = rng.integers(0, 4, 40), rng.integers(0, 4, 60)
    one_hot = np.eye(4, dtype=int)
    for figure in (mean_average_precision, mean_reciprocal_rank, ndcg):
        assert figure(query, gallery, one_hot[a], one_hot[b]) == figure(query, gallery, a, b)
    for figure in (precision_at_k, recall_at_k):
        measured = figure(query, gallery, one_hot[a], one_hot[b], k=7)
        assert measured == figure(query, gallery, a, b, k=7)
    forms = (a, b), (one_hot[a], one_hot[b])
    curves = [precision_recall_curve(query, gallery, *labels)[0] for labels in forms]
    np.testing.assert_array_equal(*curves)


@pytest.mark.parametrize("k", [None, 1, 5, 40])
@pytest.mark.parametrize("rounded", [False, True])
def test_ndcg_is_that_of_scikit_learn(rng, k, rounded):
    query, gallery = rng.standard_normal((25, 4)), rng.standard_normal((40, 4))
    if rounded:
        query, gallery = np.sign(query), np.sign(gallery)  # many ties
    of_query, of_gallery = indicator(rng, 25), indicator(rng, 40)
    shared = of_query @ of_gallery.T
    similarity = cosines(query, gallery).round(9)
    expected = ndcg_score(shared, similarity, k=k) if shared.any(axis=1).all() else None
    assert expected is not None
    assert ndcg(query, gallery, of_query, of_gallery, k=k) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("several", [False, True])
def test_a_row_is_left_out_of_its_own_list(rng, several):
    rows = rng.standard_normal((30, 4))
    labels = indicator(rng, 30) if several else rng.integers(0, 3, 30)
    members = labels if several else np.eye(3)[labels]
    similarity, shared = cosines(rows, rows), members @ members.T
    others = ~np.eye(30, dtype=bool)
    precisions, gains = [], []
    for i in range(30):
        relevant = shared[i, others[i]] > 0
        if relevant.any():
            one = similarity[i, others[i]][None]
            precisions.append(label_ranking_average_precision_score(relevant[None], one))
            gains.append(ndcg_score(shared[i, others[i]][None], one))
    measured = mean_average_precision(rows, rows, labels, labels, exclude_self=True)
    assert measured == pytest.approx(np.mean(precisions), abs=1e-12)
    measured = ndcg(rows, rows, labels, labels, exclude_self=True)
    assert measured == pytest.approx(np.mean(gains), abs=1e-12)
    with pytest.raises(ValueError, match="29 queries and 30 items"):
        mean_average_precision(rows[1:], rows, labels[1:], labels, exclude_self=True)


def test_rows_without_a_label_are_left_out(rng):
    rows, labels = rng.standard_normal((20, 3)), indicator(rng, 20)
    labels[3] = 0
    with pytest.warns(UserWarning, match="1 of 20 queries"):
        measured = mean_average_precision(rows, rows, labels, labels)
    kept = np.arange(20) != 3
    relevant = (labels @ labels.T > 0)[kept]
    expected = label_ranking_average_precision_score(relevant, cosines(rows, rows)[kept])
    assert measured == pytest.approx(expected, abs=1e-12)


def test_classes_and_indicators_do_not_mix(rng):
    rows = rng.standard_normal((10, 3))
    with pytest.raises(ValueError, match="indicators of the same labels"):
        mean_average_precision(rows, rows, np.arange(10) % 2, indicator(rng, 10))
    with pytest.raises(ValueError, match="indicators of the same labels"):
        mean_average_precision(rows, rows, indicator(rng, 10, 5), indicator(rng, 10))


def test_scorers_take_several_labels(rng):
    X = Views(audio=rng.standard_normal((50, 6)), visual=rng.standard_normal((50, 5)))
    labels = indicator(rng, 50)
    method = CCA(2).fit(X)
    embedded = method.transform(X)
    a, b = embedded["audio"], embedded["visual"]
    both = [mean_average_precision(*pair, labels, labels) for pair in ((a, b), (b, a))]
    assert cross_modal_map(method, X, labels) == pytest.approx(np.mean(both))
    assert method.score(X, labels) == pytest.approx(np.mean(both))
    assert cross_modal_scores(method, X, labels)["map"] == pytest.approx(np.mean(both))
