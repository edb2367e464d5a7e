"""Figures of retrieval against brute force and scikit-learn, and scorers inside scikit-learn."""

import pickle
from itertools import permutations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import normalize

from cca_estimators import Views, _ranking
from cca_estimators.metrics import (
    average_precision,
    cross_modal_map,
    cross_modal_scores,
    make_cross_modal_scorer,
    mean_average_precision,
    mean_reciprocal_rank,
    precision_at_k,
    precision_recall_curve,
    recall_at_k,
)


def make_embeddings(rng, n_query=37, n_gallery=53, d=5, n_classes=4, dtype=np.float64):
    query_labels = rng.integers(n_classes, size=n_query)
    gallery_labels = np.r_[
        np.arange(n_classes), rng.integers(n_classes, size=n_gallery - n_classes)
    ]
    centres = rng.standard_normal((n_classes, d))
    query = centres[query_labels] + rng.standard_normal((n_query, d))
    gallery = centres[gallery_labels] + rng.standard_normal((n_gallery, d))
    return query.astype(dtype), gallery.astype(dtype), query_labels, gallery_labels


def make_bits(rng, n_bits=6):
    _, _, query_labels, gallery_labels = make_embeddings(rng)
    query = rng.integers(2, size=(len(query_labels), n_bits), dtype=np.uint8)
    gallery = rng.integers(2, size=(len(gallery_labels), n_bits), dtype=np.uint8)
    return query, gallery, query_labels, gallery_labels


def lists(query, gallery, query_labels, gallery_labels, metric="cosine"):
    """Yield what is relevant, and the similarities, for each query."""
    if metric == "cosine":
        similarity = normalize(query) @ normalize(gallery).T
    else:
        similarity = -(query[:, None] != gallery).sum(axis=2).astype(float)
    for label, row in zip(query_labels, similarity, strict=True):
        yield gallery_labels == label, row


def expected_over_ties(figure, relevant, similarity):
    """Average a figure of an ordered list over the orders of tied items."""
    values = []
    for order in permutations(range(len(similarity))):
        ordered = similarity[list(order)]
        if np.all(np.diff(ordered) <= 0):
            values.append(figure(relevant[list(order)]))
    return np.mean(values)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_map_is_the_mean_of_sklearn_average_precisions(dtype):
    data = make_embeddings(np.random.default_rng(0), dtype=dtype)
    expected = np.mean([average_precision_score(*pair) for pair in lists(*data)])
    assert mean_average_precision(*data) == pytest.approx(expected, abs=1e-12)


def test_map_is_the_label_ranking_average_precision():
    query, gallery, query_labels, gallery_labels = make_embeddings(np.random.default_rng(1))
    similarity = normalize(query) @ normalize(gallery).T
    expected = label_ranking_average_precision_score(
        query_labels[:, None] == gallery_labels, similarity
    )
    measured = mean_average_precision(query, gallery, query_labels, gallery_labels)
    assert measured == pytest.approx(expected, abs=1e-12)


def test_map_of_bits_counts_ties_as_sklearn_does():
    data = make_bits(np.random.default_rng(2))
    expected = np.mean([average_precision_score(*pair) for pair in lists(*data, "hamming")])
    assert mean_average_precision(*data, metric="hamming") == pytest.approx(expected, abs=1e-12)


def test_average_precision_of_one_list_by_hand():
    relevant, similarity = [True, False, True, False, True], [5, 4, 3, 2, 1]
    assert average_precision(relevant, similarity) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


@pytest.mark.parametrize("k", [1, 3, 10, 53])
def test_cut_figures_are_those_of_a_loop(k):
    data = make_embeddings(np.random.default_rng(3))
    precision, recall, cut = [], [], []
    for relevant, similarity in lists(*data):
        first = relevant[np.argsort(-similarity)][:k]
        precision.append(first.mean())
        recall.append(first.sum() / relevant.sum())
        ranks = np.flatnonzero(first) + 1
        cut.append(np.sum(np.arange(1, len(ranks) + 1) / ranks) / min(k, relevant.sum()))
    assert precision_at_k(*data, k=k) == pytest.approx(np.mean(precision))
    assert recall_at_k(*data, k=k) == pytest.approx(np.mean(recall))
    assert mean_average_precision(*data, k=k) == pytest.approx(np.mean(cut))


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6])
def test_cut_figures_expect_random_order_of_ties(k):
    rng = np.random.default_rng(4)
    query, gallery = rng.integers(2, size=(8, 2)), rng.integers(2, size=(6, 2))
    labels = rng.integers(2, size=8), np.array([0, 1, 0, 1, 1, 0])
    data = (query, gallery, *labels)
    expected = np.mean(
        [
            expected_over_ties(lambda first: first[:k].mean(), *pair)
            for pair in lists(*data, "hamming")
        ]
    )
    assert precision_at_k(*data, k=k, metric="hamming") == pytest.approx(expected)


def test_cut_map_of_a_straddling_tie_by_hand():
    # one relevant item ahead, then a tie of one relevant and two others cut in the middle
    relevant, similarity = np.array([True, True, False, False]), np.array([3.0, 1, 1, 1])
    ranked = _ranking.ranked(similarity[None].copy(), np.zeros(1, int), 2)
    hits = 1 + 1 / 3
    assert _ranking.average_precisions(ranked, k=2)[0] == pytest.approx((1 + hits / 2 / 3) / 2)
    assert average_precision(relevant, similarity) == pytest.approx((1 + 2 / 4) / 2)


def test_full_cut_map_is_the_map():
    data = make_bits(np.random.default_rng(5))
    full = mean_average_precision(*data, metric="hamming")
    assert mean_average_precision(*data, metric="hamming", k=len(data[1])) == pytest.approx(full)


def test_mean_reciprocal_rank_is_that_of_a_loop():
    data = make_embeddings(np.random.default_rng(6))
    expected = [
        1 / (1 + np.argmax(relevant[np.argsort(-similarity)]))
        for relevant, similarity in lists(*data)
    ]
    assert mean_reciprocal_rank(*data) == pytest.approx(np.mean(expected))


def test_precision_recall_curve_is_that_of_a_loop():
    data = make_embeddings(np.random.default_rng(7))
    precision, levels = precision_recall_curve(*data, n_levels=11)
    expected = np.zeros(11)
    for relevant, similarity in lists(*data):
        hits = relevant[np.argsort(-similarity)].cumsum()
        recalls, precisions = hits / hits[-1], hits / np.arange(1, len(hits) + 1)
        expected += [precisions[recalls >= level - 1e-9].max() for level in levels]
    np.testing.assert_allclose(precision, expected / len(data[0]))


@pytest.mark.parametrize("metric", ["cosine", "hamming"])
def test_ties_do_not_depend_on_the_order_of_the_gallery(metric):
    rng = np.random.default_rng(8)
    query, gallery, query_labels, gallery_labels = make_bits(rng, n_bits=3)
    figures = [
        lambda *data: mean_average_precision(*data, metric=metric),
        lambda *data: mean_average_precision(*data, metric=metric, k=5),
        lambda *data: precision_at_k(*data, metric=metric, k=5),
        lambda *data: mean_reciprocal_rank(*data, metric=metric),
        lambda *data: precision_recall_curve(*data, metric=metric)[0].sum(),
    ]
    order = rng.permutation(len(gallery))
    for figure in figures:
        straight = figure(query, gallery, query_labels, gallery_labels)
        shuffled = figure(query, gallery[order], query_labels, gallery_labels[order])
        assert straight == pytest.approx(shuffled, abs=1e-12)


def test_collapsed_embedding_is_at_chance():
    labels = np.repeat([0, 1, 2], [10, 20, 30])
    collapsed = np.ones((60, 4))
    chance = np.sum(np.square([1 / 6, 1 / 3, 1 / 2]))
    assert mean_average_precision(collapsed, collapsed, labels, labels) == pytest.approx(chance)


def test_zero_rows_have_similarity_zero():
    gallery = np.array([[1.0, 0], [-1.0, 0]])
    assert mean_average_precision(np.zeros((1, 2)), gallery, [0], [0, 1]) == pytest.approx(0.5)
    query = np.array([[1.0, 0]])
    order = np.array([[0.0, 0], [1, 0], [-1, 0]])
    assert mean_reciprocal_rank(query, order, [0], [0, 1, 1]) == pytest.approx(1 / 2)


def test_figures_do_not_depend_on_the_blocks(monkeypatch):
    data = make_embeddings(np.random.default_rng(9))
    whole = mean_average_precision(*data)
    monkeypatch.setattr(_ranking, "_BLOCK_ELEMENTS", 100)
    assert mean_average_precision(*data) == pytest.approx(whole, abs=1e-14)


@pytest.mark.parametrize("names", [np.array(["b", "a", "d", "c"]), np.array([3, -1, 7, 0])])
def test_labels_of_any_type(names):
    query, gallery, query_labels, gallery_labels = make_embeddings(np.random.default_rng(10))
    expected = mean_average_precision(query, gallery, query_labels, gallery_labels)
    named = mean_average_precision(query, gallery, names[query_labels], names[gallery_labels])
    assert named == expected


def test_queries_without_relevant_items_are_left_out():
    query, gallery, query_labels, gallery_labels = make_embeddings(np.random.default_rng(11))
    kept = query_labels != 3
    gallery, gallery_labels = gallery[gallery_labels != 3], gallery_labels[gallery_labels != 3]
    expected = mean_average_precision(query[kept], gallery, query_labels[kept], gallery_labels)
    with pytest.warns(UserWarning, match=f"{(~kept).sum()} queries have no relevant item"):
        measured = mean_average_precision(query, gallery, query_labels, gallery_labels)
    assert measured == pytest.approx(expected)


def test_no_relevant_item_at_all_is_nan():
    with pytest.warns(UserWarning, match="1 queries have no relevant item"):
        assert np.isnan(mean_average_precision([[1.0]], [[1.0]], [0], [1]))
    with pytest.warns(UserWarning, match="no relevant item"):
        assert np.isnan(average_precision([False, False], [1.0, 2.0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": [[np.nan, 1.0]]}, "query contains NaN"),
        ({"gallery": [[np.inf, 1.0]] * 2}, "gallery contains infinity"),
        ({"query": [[1.0, 2.0, 3.0]]}, "query has 3 columns and gallery 2"),
        ({"query_labels": [0, 1]}, "inconsistent numbers of samples"),
        ({"k": 3}, "k=3 is out of range: the gallery has 2 items"),
        ({"k": 0}, "k=0 is out of range"),
        ({"metric": "manhattan"}, "metric='manhattan' is not known"),
        ({"metric": "hamming", "query": [[0.5, 1.0]]}, "query has values other than 0 and 1"),
    ],
)
def test_bad_input(change, message):
    good = {
        "query": [[1.0, 0.0]],
        "gallery": [[1.0, 0.0], [0.0, 1.0]],
        "query_labels": [0],
        "gallery_labels": [0, 1],
    }
    with pytest.raises(ValueError, match=message):
        mean_average_precision(**{**good, **change})


class Shrink(TransformerMixin, BaseEstimator):
    """Multiply one column by a factor, in either form of X."""

    def __init__(self, factor=1.0, metric="cosine"):
        self.factor = factor
        self.metric = metric

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        if isinstance(X, dict):
            return Views({name: self._one(rows) for name, rows in X.items()})
        return np.hstack([self._one(half) for half in np.hsplit(X, 2)])

    def _one(self, rows):
        scales = np.ones(rows.shape[1])
        scales[-1] = self.factor
        return rows * scales

    def __sklearn_is_fitted__(self):
        return True


@pytest.fixture
def two_views():
    rng = np.random.default_rng(12)
    y = np.repeat(np.arange(4), 30)
    centres = rng.standard_normal((4, 3))
    audio, visual = (centres[y] + 0.7 * rng.standard_normal((120, 3)) for _ in range(2))
    noise = 10 * rng.standard_normal((2, 120, 1))
    return Views(audio=np.hstack([audio, noise[0]]), visual=np.hstack([visual, noise[1]])), y


def test_scorer_is_the_mean_of_both_directions(two_views):
    X, y = two_views
    both = [
        mean_average_precision(X["audio"], X["visual"], y, y),
        mean_average_precision(X["visual"], X["audio"], y, y),
    ]
    assert cross_modal_map(Shrink(), X, y) == pytest.approx(np.mean(both))
    for direction, expected in zip([("audio", "visual"), ("visual", "audio")], both, strict=True):
        scorer = make_cross_modal_scorer(direction=direction)
        assert scorer(Shrink(), X, y) == pytest.approx(expected)


def test_scorers_read_both_forms(two_views):
    X, y = two_views
    stacked = np.hstack([X["audio"], X["visual"]])
    assert cross_modal_map(Shrink(), stacked, y) == pytest.approx(cross_modal_map(Shrink(), X, y))
    assert cross_modal_map(Shrink(), dict(X), y) == pytest.approx(cross_modal_map(Shrink(), X, y))
    scorer = make_cross_modal_scorer(direction=("first", "second"), k=7)
    named = make_cross_modal_scorer(direction=("audio", "visual"), k=7)
    assert scorer(Shrink(), stacked, y) == pytest.approx(named(Shrink(), X, y))


def test_without_labels_each_row_is_its_own_class(two_views):
    X, _ = two_views
    expected = cross_modal_scores(Shrink(), X)
    assert cross_modal_map(Shrink(), X) == pytest.approx(expected["mrr"])


def test_all_scores_agree_with_the_single_figures(two_views):
    X, y = two_views
    scores = cross_modal_scores(Shrink(), X, y)
    pair = X["visual"], X["audio"], y, y
    assert scores["map_visual_to_audio"] == pytest.approx(mean_average_precision(*pair))
    assert scores["mrr_visual_to_audio"] == pytest.approx(mean_reciprocal_rank(*pair))
    assert scores["precision_at_10_visual_to_audio"] == pytest.approx(precision_at_k(*pair, k=10))
    assert scores["recall_at_10_visual_to_audio"] == pytest.approx(recall_at_k(*pair, k=10))
    assert scores["map"] == pytest.approx(cross_modal_map(Shrink(), X, y))
    assert len(scores) == 12


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_scorers_in_grid_search_over_a_pipeline(two_views, n_jobs):
    X, y = two_views
    grid = {"shrink__factor": [10.0, 1.0, 0.0]}
    search = GridSearchCV(
        make_pipeline(Shrink(), Shrink()).set_params(steps=[("shrink", Shrink())]),
        grid,
        scoring=cross_modal_scores,
        refit="map",
        cv=KFold(3, shuffle=True, random_state=0),
        n_jobs=n_jobs,
    ).fit(X, y)
    assert search.best_params_ == {"shrink__factor": 0.0}
    assert search.cv_results_["mean_test_map"].argmax() == 2
    assert cross_modal_map(search, X, y) == cross_modal_map(Shrink(0.0), X, y)


def test_scorers_in_cross_validation(two_views):
    X, y = two_views
    folds = KFold(3, shuffle=True, random_state=0)
    single = cross_val_score(Shrink(), X, y, scoring=cross_modal_map, cv=folds)
    several = cross_validate(Shrink(), X, y, scoring=cross_modal_scores, cv=folds)
    np.testing.assert_allclose(single, several["test_map"])
    first = next(folds.split(X))[1]
    assert single[0] == pytest.approx(cross_modal_map(Shrink(), X[first], y[first]))


def test_metric_is_that_of_the_last_step(two_views):
    _, y = two_views
    bits = Views(dict.fromkeys(["a", "b"], np.random.default_rng(0).integers(2, size=(120, 4))))
    hamming = mean_average_precision(bits["a"], bits["b"], y, y, metric="hamming")
    assert cross_modal_map(make_pipeline(Shrink(metric="hamming")), bits, y) == hamming
    search = GridSearchCV(Shrink(metric="hamming"), {"factor": [1.0]}, scoring=cross_modal_map)
    assert cross_modal_map(search.fit(bits, y), bits, y) == hamming
    assert cross_modal_map(Shrink(), bits, y) != hamming


def test_scorer_pickles_and_shows_its_parameters():
    scorer = make_cross_modal_scorer(direction=("audio", "visual"), k=5)
    expected = "make_cross_modal_scorer(direction=('audio', 'visual'), k=5)"
    assert repr(pickle.loads(pickle.dumps(scorer))) == expected


def test_bad_directions(two_views):
    X, y = two_views
    with pytest.raises(ValueError, match="direction='audio' is not known"):
        make_cross_modal_scorer(direction="audio")
    with pytest.raises(
        ValueError, match=r"views are \['audio', 'visual'\]; there is no \['text'\]"
    ):
        make_cross_modal_scorer(direction=("audio", "text"))(Shrink(), X, y)


def test_halves_of_an_odd_array_are_refused(two_views):
    class Odd(Shrink):
        def transform(self, X):
            return np.ones((4, 3))

    with pytest.raises(ValueError, match="3 columns, which are not two equal halves"):
        cross_modal_map(Odd(), np.ones((4, 4)), [0, 0, 1, 1])
