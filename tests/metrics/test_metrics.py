"""Figures of retrieval against brute force and scikit-learn, and scorers inside scikit-learn."""

import pickle
import tracemalloc
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, normalize

from cca_estimators import PerView, Views
from cca_estimators.metrics import (
    _ranking,
    average_precision,
    cross_modal_map,
    cross_modal_scores,
    make_cross_modal_scorer,
    mean_average_precision,
    mean_reciprocal_rank,
    ndcg,
    precision_at_k,
    precision_recall_curve,
    recall_at_k,
)


def make_embeddings(seed, n_query=37, n_gallery=53, d=5, n_classes=4, dtype=np.float64):
    rng = np.random.default_rng(seed)
    query_labels = rng.integers(n_classes, size=n_query)
    gallery_labels = np.r_[
        np.arange(n_classes), rng.integers(n_classes, size=n_gallery - n_classes)
    ]
    centres = rng.standard_normal((n_classes, d))
    query = centres[query_labels] + rng.standard_normal((n_query, d))
    gallery = centres[gallery_labels] + rng.standard_normal((n_gallery, d))
    return query.astype(dtype), gallery.astype(dtype), query_labels, gallery_labels


def make_bits(seed, n_bits=6, **sizes):
    query, gallery, *labels = make_embeddings(seed, d=n_bits, **sizes)
    return (query > 0).astype(np.uint8), (gallery > 0).astype(np.uint8), *labels


def similarities(query, gallery, metric):
    if metric == "hamming":
        return -(query[:, None] != gallery).sum(axis=2).astype(float)
    return normalize(query) @ normalize(gallery).T


def lists(query, gallery, query_labels, gallery_labels, metric="cosine"):
    """Yield what is relevant, and the similarities, for each query."""
    for label, row in zip(query_labels, similarities(query, gallery, metric), strict=True):
        yield gallery_labels == label, row


def mean_over_lists(figure, *data):
    return np.mean([figure(*pair) for pair in lists(*data)])


def all_figures(*data, metric):
    return np.r_[
        mean_average_precision(*data, metric=metric),
        mean_average_precision(*data, metric=metric, k=7),
        precision_at_k(*data, metric=metric, k=7),
        recall_at_k(*data, metric=metric, k=7),
        mean_reciprocal_rank(*data, metric=metric),
        precision_recall_curve(*data, metric=metric)[0],
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_map_is_the_mean_of_sklearn_average_precisions(dtype):
    data = make_embeddings(0, dtype=dtype)
    expected = mean_over_lists(average_precision_score, *data)
    assert mean_average_precision(*data) == pytest.approx(expected, abs=1e-12)


def test_map_is_the_label_ranking_average_precision():
    query, gallery, query_labels, gallery_labels = make_embeddings(1)
    expected = label_ranking_average_precision_score(
        query_labels[:, None] == gallery_labels, normalize(query) @ normalize(gallery).T
    )
    measured = mean_average_precision(query, gallery, query_labels, gallery_labels)
    assert measured == pytest.approx(expected, abs=1e-12)


def test_map_is_that_of_a_loop():
    def loop(relevant, similarity):
        precisions = [np.mean(relevant[similarity >= value]) for value in similarity[relevant]]
        return np.mean(precisions)

    data = make_embeddings(2)
    assert mean_average_precision(*data) == pytest.approx(mean_over_lists(loop, *data), abs=1e-12)


@pytest.mark.parametrize("n_bits", [1, 2, 6, 33])
@pytest.mark.parametrize("dtype", [np.uint8, bool, np.int64, np.float32])
def test_map_of_bits_counts_ties_as_sklearn_does(n_bits, dtype):
    query, gallery, *labels = make_bits(3, n_bits=n_bits)
    data = (query.astype(dtype), gallery.astype(dtype), *labels)
    expected = mean_over_lists(average_precision_score, *data, "hamming")
    assert mean_average_precision(*data, metric="hamming") == pytest.approx(expected, abs=1e-12)


def test_average_precision_of_one_list_by_hand():
    relevant, similarity = [True, False, True, False, True], [5, 4, 3, 2, 1]
    assert average_precision(relevant, similarity) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert average_precision([1, 1, 0, 0], [3, 1, 1, 1]) == pytest.approx((1 + 2 / 4) / 2)


def test_average_precision_of_rows_is_that_of_sklearn():
    rng = np.random.default_rng(4)
    relevant = rng.random((20, 30)) < rng.uniform(0.1, 0.9, (20, 1))
    similarity = 1e6 * rng.integers(-9, 9, size=(20, 30))
    expected = [average_precision_score(*pair) for pair in zip(relevant, similarity, strict=True)]
    np.testing.assert_allclose(average_precision(relevant, similarity), expected, rtol=1e-12)


@pytest.mark.parametrize("k", [1, 3, 10, 53])
def test_cut_figures_are_those_of_a_loop(k):
    data = make_embeddings(5)
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
    def expectation(figure):
        def over_orders(relevant, similarity):
            orders = [list(order) for order in permutations(range(6))]
            ranked = [order for order in orders if np.all(np.diff(similarity[order]) <= 0)]
            return np.mean([figure(relevant[order], similarity[order]) for order in ranked])

        return mean_over_lists(over_orders, *data, "hamming")

    def precision(relevant, _):
        return relevant[:k].mean()

    def recall(relevant, _):
        return relevant[:k].sum() / relevant.sum()

    def cut_average_precision(relevant, similarity):
        hits = relevant[:k].sum()
        if hits == 0:
            return 0.0
        average = average_precision_score(relevant[:k], similarity[:k])
        return average * hits / min(k, relevant.sum())

    data = make_bits(6, n_bits=2, n_query=4, n_gallery=6, n_classes=2)
    measured = [
        figure(*data, k=k, metric="hamming")
        for figure in (precision_at_k, recall_at_k, mean_average_precision)
    ]
    expected = [expectation(figure) for figure in (precision, recall, cut_average_precision)]
    np.testing.assert_allclose(measured, expected, rtol=1e-12)


def test_map_cut_at_the_whole_gallery_is_the_map():
    data = make_bits(7)
    full = mean_average_precision(*data, metric="hamming")
    assert mean_average_precision(*data, metric="hamming", k=len(data[1])) == pytest.approx(full)


@pytest.mark.parametrize("metric", ["cosine", "hamming"])
def test_mean_reciprocal_rank_is_that_of_a_loop(metric):
    def reciprocal_rank(relevant, similarity):
        return 1 / np.sum(similarity >= similarity[relevant].max())

    data = make_bits(8) if metric == "hamming" else make_embeddings(8)
    expected = mean_over_lists(reciprocal_rank, *data, metric)
    assert mean_reciprocal_rank(*data, metric=metric) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["cosine", "hamming"])
def test_precision_recall_curve_is_that_of_a_loop(metric):
    data = make_bits(9) if metric == "hamming" else make_embeddings(9)
    precision, levels = precision_recall_curve(*data, metric=metric)
    expected = np.zeros(101)
    for relevant, similarity in lists(*data, metric):
        above = similarity >= np.unique(similarity)[:, None]
        hits = (above & relevant).sum(axis=1)
        recalls, precisions = hits / relevant.sum(), hits / above.sum(axis=1)
        expected += [precisions[recalls >= level - 1e-9].max() for level in levels]
    np.testing.assert_allclose(levels, np.arange(101) / 100)
    np.testing.assert_allclose(precision, expected / len(data[0]))


@pytest.mark.parametrize("metric", ["cosine", "hamming"])
def test_ties_do_not_depend_on_the_order_of_the_gallery(metric):
    query, gallery, query_labels, gallery_labels = make_bits(10, n_bits=3)
    order = np.random.default_rng(0).permutation(len(gallery))
    straight = all_figures(query, gallery, query_labels, gallery_labels, metric=metric)
    shuffled = all_figures(
        query, gallery[order], query_labels, gallery_labels[order], metric=metric
    )
    np.testing.assert_array_equal(straight, shuffled)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("several", [False, True])
def test_no_bit_depends_on_the_order_of_the_gallery(dtype, several):
    """Rows that are not equal may have equal cosines, which rounding tells apart."""
    rng = np.random.default_rng(14)
    for trial in range(100):
        n, d = rng.integers(3, 300), rng.integers(1, 60)
        query, gallery = (rng.integers(-2, 3, (n, d)).astype(dtype) for _ in range(2))
        labels = rng.integers(2, size=(n, 3)) | np.eye(3, dtype=int)[rng.integers(3, size=n)]
        labels = labels if several else labels @ [1, 2, 4]
        order = rng.permutation(n)
        straight = mean_average_precision(query, gallery, labels, labels)
        shuffled = mean_average_precision(query, gallery[order], labels, labels[order])
        assert straight == shuffled, trial


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [3, 10, 33, 64, 257])
def test_collapsed_embedding_is_at_chance(d, dtype):
    labels = np.repeat([0, 1, 2], [101, 200, 302])
    direction = np.random.default_rng(d).standard_normal(d).astype(dtype)
    collapsed = np.tile(direction, (len(labels), 1))
    chance = np.sum(np.square(np.bincount(labels) / len(labels)))
    measured = mean_average_precision(collapsed, collapsed, labels, labels)
    assert measured == pytest.approx(chance, abs=1e-12)


def test_repeated_rows_of_the_gallery_tie():
    query, rows, query_labels, _ = make_embeddings(11, n_gallery=20, d=33, dtype=np.float32)
    rng = np.random.default_rng(0)
    repeated, labels = rng.integers(20, size=301), rng.integers(4, size=301)
    similarity = similarities(query, rows, "cosine")[:, repeated]
    expected = average_precision(query_labels[:, None] == labels, similarity).mean()
    measured = mean_average_precision(query, rows[repeated], query_labels, labels)
    assert measured == pytest.approx(expected, abs=1e-12)


def test_zero_rows_have_similarity_zero():
    gallery = np.array([[1.0, 0], [-1.0, 0]])
    assert mean_average_precision(np.zeros((1, 2)), gallery, [0], [0, 1]) == pytest.approx(0.5)
    order = np.array([[0.0, 0], [1, 0], [-1, 0]])
    assert mean_reciprocal_rank([[1.0, 0]], order, [0], [0, 1, 1]) == pytest.approx(1 / 2)


@pytest.mark.parametrize(("dtype", "largest"), [(np.float32, 2.0**120), (np.float64, 2.0**1000)])
def test_cosine_does_not_depend_on_the_length_of_rows(dtype, largest):
    query, gallery, *labels = make_embeddings(12, dtype=dtype)
    lengths = np.resize(np.array([largest, 1, 1 / largest], dtype), (53, 1))
    expected = mean_average_precision(query, gallery, *labels)
    assert mean_average_precision(query, gallery * lengths, *labels) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_keys_keep_order_and_ties(dtype):
    rng = np.random.default_rng(13)
    tiny = np.finfo(dtype).smallest_subnormal
    special = [0.0, -0.0, tiny, -tiny, 1.0, -1.0, np.nextafter(dtype(2), dtype(0))]
    values = np.r_[special, rng.uniform(-2, 2, 500), rng.normal(scale=1e-9, size=500)]
    values = rng.choice(values.astype(dtype), 3000)
    keys = _ranking._keys(values.copy())
    assert not np.any(keys & 1)
    expected, order = (np.unique(column, return_inverse=True)[1] for column in (values, keys))
    np.testing.assert_array_equal(order, expected)


@pytest.mark.parametrize("metric", ["cosine", "hamming"])
def test_figures_do_not_depend_on_the_blocks(monkeypatch, metric):
    data = make_bits(14) if metric == "hamming" else make_embeddings(14)
    whole = all_figures(*data, metric=metric)
    monkeypatch.setattr(_ranking, "_BLOCK_BYTES", 53 * 8)
    monkeypatch.setattr(_ranking, "_PRODUCT_BYTES", 53 * 8 * 3)
    np.testing.assert_allclose(all_figures(*data, metric=metric), whole, rtol=1e-12)


def test_working_memory_bounds_the_blocks():
    with config_context(working_memory=1):
        assert _ranking._n_rows(2**23, row_bytes=2**10) == 2**10
        assert _ranking._n_rows(2**23, row_bytes=2**30) == 1
    assert _ranking._n_rows(2**23, row_bytes=2**10) == 2**13


def test_memory_is_far_below_that_of_all_similarities():
    data = make_embeddings(15, n_query=4000, n_gallery=4000, dtype=np.float32)
    tracemalloc.start()
    mean_average_precision(*data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.4 * 4000 * 4000 * 4


@pytest.mark.parametrize(
    "names",
    [
        np.array(["b", "a", "d", "c"]),
        np.array(["b", "a", "d", "c"], dtype=object),
        np.array([3, -1, 7, 0]),
        np.array([0.5, -1.5, 7.0, 0.0]),
    ],
)
def test_labels_of_any_type(names):
    query, gallery, query_labels, gallery_labels = make_embeddings(16)
    expected = mean_average_precision(query, gallery, query_labels, gallery_labels)
    named = mean_average_precision(query, gallery, names[query_labels], names[gallery_labels])
    assert named == expected
    as_lists = list(names[query_labels]), pd.Series(names[gallery_labels])
    assert mean_average_precision(query, gallery, *as_lists) == expected


@pytest.mark.parametrize("figure", [mean_average_precision, ndcg])
def test_queries_without_relevant_items_are_left_out(figure):
    query, gallery, query_labels, gallery_labels = make_embeddings(17)
    kept = query_labels != 3
    gallery, gallery_labels = gallery[gallery_labels != 3], gallery_labels[gallery_labels != 3]
    expected = figure(query[kept], gallery, query_labels[kept], gallery_labels)
    message = f"{(~kept).sum()} of 37 queries have no relevant item"
    with pytest.warns(UndefinedMetricWarning, match=message):
        measured = figure(query, gallery, query_labels, gallery_labels)
    assert measured == pytest.approx(expected)


def test_average_precision_without_relevant_items_is_nan():
    with pytest.warns(UndefinedMetricWarning, match="1 of 1 queries have no relevant item"):
        assert np.isnan(average_precision([False, False], [1.0, 2.0]))
    with pytest.warns(UndefinedMetricWarning, match="1 of 2 queries have no relevant item"):
        measured = average_precision([[0, 0], [0, 1]], [[1.0, 2.0]] * 2)
    np.testing.assert_array_equal(measured, [np.nan, 1.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": [[np.nan, 1.0]]}, "query contains NaN"),
        ({"gallery": [[np.inf, 1.0]] * 2}, "gallery contains infinity"),
        ({"query": [1.0, 2.0]}, "Expected 2D array"),
        ({"query": [[1.0, 2.0, 3.0]]}, "query has 3 columns and gallery 2"),
        ({"query_labels": [0, 1]}, "query has 1 rows and query_labels 2"),
        ({"gallery_labels": [0]}, "gallery has 2 rows and gallery_labels 1"),
        ({"gallery_labels": [0, np.nan]}, "gallery_labels contains NaN"),
        ({"gallery_labels": [[0, 2], [1, 0]]}, r"gallery_labels has shape \(2, 2\)"),
        ({"gallery_labels": [[0, 1], [1, 0]]}, "indicators of the same labels"),
        ({"gallery_labels": [1, 2]}, "No query has a relevant item"),
        ({"k": 3}, "k=3 must be an int from 1 to the gallery's 2 items"),
        ({"k": 0}, "k=0 must be an int from 1"),
        ({"k": 1.5}, "k=1.5 must be an int from 1"),
        ({"metric": "manhattan"}, "metric='manhattan' is not known"),
        ({"metric": "hamming", "query": [[0.5, 1.0]]}, "query has values other than 0 and 1"),
        ({"metric": "hamming", "gallery": [[0, 2]] * 2}, "gallery has values other than 0 and 1"),
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


def test_average_precision_refuses_unequal_shapes():
    with pytest.raises(ValueError, match=r"relevant has shape \(2,\) and similarity \(3,\)"):
        average_precision([True, False], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="similarity contains NaN"):
        average_precision([True, False], [1.0, np.nan])


class Shrink(TransformerMixin, BaseEstimator):
    """Multiply the last column of each view by a factor, in either form of X."""

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

    def get_feature_names_out(self, input_features=None):
        return np.array([f"shrink{i}" for i in range(8)])

    def __sklearn_is_fitted__(self):
        return True


@pytest.fixture
def two_views():
    """Two views of four classes whose last column is noise."""
    rng = np.random.default_rng(12)
    y = np.repeat(np.arange(4), 30)
    centres = rng.standard_normal((4, 3))
    audio, visual = (centres[y] + 0.7 * rng.standard_normal((120, 3)) for _ in range(2))
    noise = 10 * rng.standard_normal((2, 120, 1))
    return Views(audio=np.hstack([audio, noise[0]]), visual=np.hstack([visual, noise[1]])), y


@pytest.mark.parametrize("k", [None, 7])
def test_scorer_is_the_mean_of_both_directions(two_views, k):
    X, y = two_views
    both = [
        mean_average_precision(X["audio"], X["visual"], y, y, k=k),
        mean_average_precision(X["visual"], X["audio"], y, y, k=k),
    ]
    assert make_cross_modal_scorer(k=k)(Shrink(), X, y) == pytest.approx(np.mean(both))
    for direction, expected in zip([("audio", "visual"), ["visual", "audio"]], both, strict=True):
        scorer = make_cross_modal_scorer(direction=direction, k=k)
        assert scorer(Shrink(), X, y) == pytest.approx(expected)


def test_scorers_read_both_forms(two_views):
    X, y = two_views
    stacked = np.hstack([X["audio"], X["visual"]])
    expected = cross_modal_map(Shrink(), X, y)
    assert cross_modal_map(Shrink(), dict(X), y) == expected
    assert cross_modal_map(Shrink(), stacked, y) == pytest.approx(expected)
    frames = Shrink().set_output(transform="pandas")
    assert isinstance(frames.transform(stacked), pd.DataFrame)
    assert cross_modal_map(frames, stacked, y) == pytest.approx(expected)
    scorer = make_cross_modal_scorer(direction=("second", "first"), k=7)
    named = make_cross_modal_scorer(direction=("visual", "audio"), k=7)
    assert scorer(Shrink(), stacked, y) == pytest.approx(named(Shrink(), X, y))


def test_without_labels_each_row_is_its_own_class(two_views):
    X, _ = two_views
    scores = cross_modal_scores(Shrink(), X)
    similarity = similarities(X["audio"], X["visual"], "cosine")
    ranks = (similarity >= np.diag(similarity)[:, None]).sum(axis=1)
    assert scores["mrr_audio_to_visual"] == pytest.approx(np.mean(1 / ranks))
    assert scores["recall_at_10_audio_to_visual"] == pytest.approx(np.mean(ranks <= 10))
    assert cross_modal_map(Shrink(), X) == scores["map"] == pytest.approx(scores["mrr"])


def test_all_scores_agree_with_the_single_figures(two_views):
    X, y = two_views
    scores = cross_modal_scores(Shrink(), X, y)
    pairs = {
        "audio_to_visual": (X["audio"], X["visual"], y, y),
        "visual_to_audio": (X["visual"], X["audio"], y, y),
    }
    expected = {}
    for direction, pair in pairs.items():
        expected[f"map_{direction}"] = mean_average_precision(*pair)
        expected[f"mrr_{direction}"] = mean_reciprocal_rank(*pair)
        expected[f"precision_at_10_{direction}"] = precision_at_k(*pair, k=10)
        expected[f"recall_at_10_{direction}"] = recall_at_k(*pair, k=10)
        own = (*pair[:2], np.arange(len(y)), np.arange(len(y)))
        expected[f"pair_mrr_{direction}"] = mean_reciprocal_rank(*own)
        expected[f"pair_recall_at_1_{direction}"] = recall_at_k(*own, k=1)
        expected[f"pair_recall_at_10_{direction}"] = recall_at_k(*own, k=10)
    of_pairs = "pair_mrr", "pair_recall_at_1", "pair_recall_at_10"
    for name in ("map", "mrr", "precision_at_10", "recall_at_10", *of_pairs):
        expected[name] = np.mean([expected[f"{name}_{direction}"] for direction in pairs])
    assert scores == pytest.approx(expected)


def test_scores_of_a_small_gallery_have_the_same_names(two_views):
    X, y = two_views
    few = cross_modal_scores(Shrink(), X[::20], y[::20])
    assert few.keys() == cross_modal_scores(Shrink(), X, y).keys()
    assert few["recall_at_10"] == 1


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(
    ("scoring", "refit"),
    [
        (cross_modal_map, True),
        (make_cross_modal_scorer(direction=("audio", "visual"), k=20), True),
        (cross_modal_scores, "map"),
        ({"map": cross_modal_map, "cut": make_cross_modal_scorer(k=20)}, "cut"),
    ],
)
def test_scorers_in_grid_search_over_a_pipeline(two_views, scoring, refit, n_jobs):
    X, y = two_views
    search = GridSearchCV(
        make_pipeline(Shrink(), Shrink()),
        {"shrink-2__factor": [10.0, 1.0, 0.0]},
        scoring=scoring,
        refit=refit,
        cv=KFold(3, shuffle=True, random_state=0),
        n_jobs=n_jobs,
    )
    search = clone(search).fit(X, y)
    assert search.best_params_ == {"shrink-2__factor": 0.0}
    assert cross_modal_map(search, X, y) == cross_modal_map(Shrink(0.0), X, y)


def test_scorers_in_cross_validation(two_views):
    X, y = two_views
    folds = KFold(3, shuffle=True, random_state=0)
    single = cross_val_score(Shrink(), X, y, scoring=cross_modal_map, cv=folds)
    several = cross_validate(Shrink(), X, y, scoring=cross_modal_scores, cv=folds)
    expected = [cross_modal_map(Shrink(), X[test], y[test]) for _, test in folds.split(X)]
    np.testing.assert_allclose(single, expected)
    np.testing.assert_allclose(several["test_map"], expected)


def test_metric_is_that_of_the_last_step(two_views):
    _, y = two_views
    bits = Views(
        {name: np.random.default_rng(i).integers(2, size=(120, 4)) for i, name in enumerate("ab")}
    )
    both = [
        mean_average_precision(bits[q], bits[g], y, y, metric="hamming") for q, g in ("ab", "ba")
    ]
    hamming, expected = Shrink(metric="hamming"), pytest.approx(np.mean(both))
    search = GridSearchCV(hamming, {"factor": [1.0]}, scoring=cross_modal_map, cv=2).fit(bits, y)
    nested = GridSearchCV(make_pipeline(Shrink(), hamming), {}, scoring=cross_modal_map, cv=2)
    for estimator in (
        hamming,
        make_pipeline(Shrink(), hamming),
        search,
        make_pipeline(Shrink(), search),
        nested.fit(bits, y),
    ):
        assert cross_modal_map(estimator, bits, y) == expected
    assert cross_modal_map(make_pipeline(hamming, Shrink()), bits, y) != expected


def test_metric_of_codes_is_kept_by_steps_that_have_none(two_views):
    _, y = two_views
    rng = np.random.default_rng(0)
    bits = Views({name: rng.integers(2, size=(120, 4)) for name in "ab"})
    hamming = Shrink(metric="hamming")
    expected = cross_modal_map(hamming, bits, y)
    whole = make_pipeline(hamming, PerView(FunctionTransformer(lambda codes: codes.astype("u1"))))
    assert cross_modal_map(whole.fit(bits), bits, y) == expected
    for last in ("passthrough", PerView(), make_pipeline("passthrough")):
        assert cross_modal_map(make_pipeline(hamming, last).fit(bits), bits, y) == expected


def test_scorers_warn_where_all_of_the_gallery_is_relevant(two_views):
    X, _ = two_views
    for scorer in (cross_modal_map, cross_modal_scores):
        with pytest.warns(
            UndefinedMetricWarning, match="All 120 rows .* class 'dog'.*shuffle=True"
        ):
            scorer(Shrink(), X, ["dog"] * 120)
    y = np.repeat([0, 1, 2], 40)  # sorted by class: folds of one class each
    with pytest.warns(UndefinedMetricWarning, match="the MAP 1"):
        scores = cross_val_score(Shrink(), X, y, scoring=cross_modal_map, cv=3)
    np.testing.assert_array_equal(scores, 1)


def test_scorer_pickles_compares_and_shows_its_parameters():
    scorer = make_cross_modal_scorer(direction=("audio", "visual"), k=5)
    assert repr(scorer) == "make_cross_modal_scorer(direction=('audio', 'visual'), k=5)"
    assert pickle.loads(pickle.dumps(scorer)) == scorer != make_cross_modal_scorer(k=5)
    assert len({scorer, pickle.loads(pickle.dumps(scorer))}) == 1


def test_bad_directions(two_views):
    X, y = two_views
    for direction in ("audio", "ab", ("audio",), ("audio", "audio")):
        with pytest.raises(ValueError, match=r"direction=.* is not known"):
            make_cross_modal_scorer(direction=direction)
    with pytest.raises(ValueError, match=r"names \['text'\], but the views are \['audio', 'vis"):
        make_cross_modal_scorer(direction=("audio", "text"))(Shrink(), X, y)


def test_bad_embeddings(two_views):
    class Odd(Shrink):
        def transform(self, X):
            return np.ones((4, 3))

    X, y = two_views
    with pytest.raises(ValueError, match="returned 3 columns, which are not two equal halves"):
        cross_modal_map(Odd(), np.ones((4, 4)), [0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"returned the views \['audio'\]: scoring needs two"):
        cross_modal_map(Shrink(), {"audio": X["audio"]}, y)
    with pytest.raises(ValueError, match="X has 120 rows and y 119 labels"):
        cross_modal_map(Shrink(), X, y[1:])
    with pytest.raises(ValueError, match="query contains NaN"):
        cross_modal_map(Shrink(np.nan), X, y)
    with pytest.raises(ValueError, match="k=121 must be an int from 1 to the gallery's 120 items"):
        make_cross_modal_scorer(k=121)(Shrink(), X, y)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_figures_take_the_tensors_that_estimators_take(dtype):
    query, gallery, *labels = make_embeddings(18)
    tensors = [torch.from_numpy(rows).to(dtype).requires_grad_() for rows in (query, gallery)]
    arrays = [rows.detach().double().numpy() for rows in tensors]
    expected = mean_average_precision(*arrays, *labels)
    measured = mean_average_precision(*tensors, *map(torch.from_numpy, labels))
    assert measured == pytest.approx(expected, abs=1e-3 if dtype == torch.float16 else 1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.float16])
def test_narrow_numbers_give_the_figures_of_wide_ones(dtype):
    rng = np.random.default_rng(0)
    rows, labels = rng.integers(0, 128, (40, 5)).astype(dtype), rng.integers(0, 3, 40)
    wide = rows.astype(np.float64)
    expected = mean_average_precision(wide, wide, labels, labels)
    assert mean_average_precision(rows, rows, labels, labels) == expected
    lowest = np.array([np.iinfo(np.int8).min, 5], dtype=np.int8)  # whose minus is itself
    assert average_precision([0, 1], lowest) == 1.0


def test_recall_levels_are_handed_out_as_a_copy():
    query, gallery, *labels = make_embeddings(19)
    precision_recall_curve(query, gallery, *labels)[1][:] = 7
    np.testing.assert_array_equal(
        precision_recall_curve(query, gallery, *labels)[1], np.linspace(0, 1, 101)
    )
