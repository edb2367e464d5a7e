"""Figures by class, intervals, the permutation test, and the form that others read."""

import json
import sys

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.exceptions import UndefinedMetricWarning

from cca_estimators import CCA, KCCA, Views, cross_modal_scores
from cca_estimators.datasets import make_views
from cca_estimators.metrics import (
    bootstrap_map,
    map_per_class,
    mean_average_precision,
    mean_reciprocal_rank,
    permutation_test,
    precision_at_k,
    recall_at_k,
    retrieved_classes,
    to_frame,
    to_mteb,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_map_per_class_is_map_of_the_queries_of_a_class(rng):
    query, gallery = rng.standard_normal((40, 3)), rng.standard_normal((50, 3))
    a, b = (np.array(["cat", "dog", "owl"])[rng.integers(0, 3, n)] for n in (40, 50))
    measured = map_per_class(query, gallery, a, b)
    assert list(measured) == ["cat", "dog", "owl"]
    for name, value in measured.items():
        assert value == mean_average_precision(query[a == name], gallery, a[a == name], b)
    members = np.eye(3, dtype=int)[np.unique(a, return_inverse=True)[1]]
    members[:, 0] = 1  # everybody is a cat
    of_gallery = np.eye(3, dtype=int)[np.unique(b, return_inverse=True)[1]]
    several = map_per_class(query, gallery, members, of_gallery)
    assert several[0] == pytest.approx(mean_average_precision(query, gallery, members, of_gallery))


@pytest.mark.parametrize("metric", ["cosine", "hamming"])
@pytest.mark.parametrize("k", [1, 4, 20])
def test_retrieved_classes_agree_with_precision(rng, metric, k):
    query, gallery = rng.integers(0, 2, (40, 5)), rng.integers(0, 2, (50, 5))  # many ties
    a, b = rng.integers(0, 3, 40), rng.integers(0, 3, 50)
    shares, classes = retrieved_classes(query, gallery, a, b, k=k, metric=metric)
    assert classes.tolist() == [0, 1, 2]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    for i in range(3):
        for j in range(3):
            asked = np.full((a == i).sum(), j)
            expected = precision_at_k(query[a == i], gallery, asked, b, k=k, metric=metric)
            assert shares[i, j] == pytest.approx(expected, abs=1e-12)


def test_a_class_that_nobody_asks_for_has_no_row(rng):
    rows = rng.standard_normal((4, 2))
    shares, _ = retrieved_classes(rows[:2], rows, [0, 0], [0, 0, 1, 1], k=2)
    assert np.isnan(shares[1]).all()
    assert np.isfinite(shares[0]).all()


def test_an_interval_covers_the_map_of_other_queries(rng):
    centres = rng.standard_normal((3, 4))
    gallery_labels = rng.integers(0, 3, 100)
    gallery = centres[gallery_labels] + rng.standard_normal((100, 4))

    def queries(n):
        labels = rng.integers(0, 3, n)
        return centres[labels] + rng.standard_normal((n, 4)), labels

    many, many_labels = queries(5000)
    truth = mean_average_precision(many, gallery, many_labels, gallery_labels)
    covered = 0
    for seed in range(100):
        query, labels = queries(60)
        low, high = bootstrap_map(
            query, gallery, labels, gallery_labels, n_resamples=300, random_state=seed
        )
        covered += low <= truth <= high
    assert 86 <= covered <= 100  # 95 are promised


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_an_interval_has_the_width_of_a_normal_distribution(rng, level):
    query, gallery = rng.standard_normal((200, 3)), rng.standard_normal((30, 3))
    a, b = rng.integers(0, 2, 200), rng.integers(0, 2, 30)
    each = [mean_average_precision(query[[i]], gallery, a[[i]], b) for i in range(200)]
    options = {"n_resamples": 10_000, "confidence_level": level, "random_state": 0}
    found = bootstrap_map(query, gallery, a, b, **options)
    half = norm.ppf((1 + level) / 2) * np.std(each) / np.sqrt(200)
    expected = np.mean(each) - half, np.mean(each) + half
    np.testing.assert_allclose(found, expected, atol=0.06 * half)


def test_permutations_tell_relation_from_none():
    X, _ = make_views(80, 3, (6, 7), shared_rank=1, random_state=0)
    rng = np.random.default_rng(1)
    options = {"n_permutations": 39, "random_state": 0}
    correlations, p_values = permutation_test(CCA(3), X, **options)
    np.testing.assert_array_equal(correlations, CCA(3).fit(X).correlations_)
    assert p_values[0] == 1 / 40
    assert (np.diff(p_values) >= 0).all()
    again = permutation_test(CCA(3), X, **options)[1]
    np.testing.assert_array_equal(again, p_values)
    assert permutation_test(KCCA(2, reg=0.1), X, **options)[1][0] == 1 / 40
    alarms = 0
    for _ in range(40):
        noise = Views(audio=rng.standard_normal((40, 3)), visual=rng.standard_normal((40, 3)))
        alarms += permutation_test(CCA(2), noise, n_permutations=19, random_state=0)[1].min() <= 0.1
    assert alarms <= 10  # four are expected at the level of 0.1


def test_pairs_in_the_scores(rng):
    X = Views(audio=rng.standard_normal((60, 4)), visual=rng.standard_normal((60, 4)))
    X["visual"] = X["visual"] + X["audio"]
    method, y = CCA(3).fit(X), rng.integers(0, 3, 60)
    scores = cross_modal_scores(method, X, y)
    embedded, own = method.transform(X), np.arange(60)
    there = embedded["audio"], embedded["visual"], own, own
    assert scores["pair_mrr_audio_to_visual"] == pytest.approx(mean_reciprocal_rank(*there))
    for k in (1, 10):
        name = f"pair_recall_at_{k}_audio_to_visual"
        assert scores[name] == pytest.approx(recall_at_k(*there, k=k))
    assert scores["pair_mrr"] == pytest.approx(cross_modal_scores(method, X)["mrr"])


def test_the_result_of_mteb_is_json():
    result = json.loads(json.dumps(to_mteb({"map": 0.5, "mrr": 0.7}, "Digits", split="dev")))
    (entry,) = result["scores"]["dev"]
    assert entry["main_score"] == entry["map"] == 0.5
    assert entry["mrr"] == 0.7
    assert result["task_name"] == "Digits"


def test_a_frame_has_a_row_for_each_direction(rng):
    pytest.importorskip("pandas")
    X = {"a_to_b": rng.standard_normal((40, 4)), "c": rng.standard_normal((40, 5))}
    labels = rng.random((40, 3)) < 0.4
    labels[:, 0] |= ~labels.any(axis=1)
    scores = cross_modal_scores(CCA(3).fit(X), X, labels)
    frame = to_frame(scores)
    assert frame.index.tolist() == ["mean", "a_to_b_to_c", "c_to_a_to_b"]
    assert frame.size == len(scores)
    assert frame.loc["mean", "ndcg"] == scores["ndcg"]
    for figure in ("map", "pair_recall_at_1", "pair_recall_at_10"):
        assert frame.loc["c_to_a_to_b", figure] == scores[f"{figure}_c_to_a_to_b"]
    named_alike = {"map": 0.5, "map_at_5": 0.4, "map_a_to_b": 0.6, "map_at_5_a_to_b": 0.3}
    assert to_frame(named_alike).loc["a_to_b"].tolist() == [0.6, 0.3]


def test_a_frame_without_pandas_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        to_frame({"map": 0.5})


def test_permutations_as_good_as_the_pairs_given_count():
    rows = {"audio": np.array([[0.0], [1.0], [3.0]]), "visual": np.array([[0.0], [1.0], [4.0]])}
    _, p_values = permutation_test(CCA(1), rows, n_permutations=50, random_state=0)
    rng, audio, visual = np.random.RandomState(0), *(view[:, 0] for view in rows.values())
    orders = [np.arange(3), *(rng.permutation(3) for _ in range(50))]
    found = [abs(np.corrcoef(audio, visual[order])[0, 1]) for order in orders]
    as_large = np.greater_equal(found, found[0] - 1e-12)
    assert as_large.sum() > 2
    assert p_values[0] == as_large.mean()


def test_queries_without_relevant_items_are_left_out_of_every_class():
    rng = np.random.default_rng(0)
    query, gallery = rng.standard_normal((4, 3)), rng.standard_normal((9, 3))
    labels, of_gallery = np.array([0, 7, 1, 0]), np.arange(9) % 2
    with pytest.warns(UndefinedMetricWarning, match="1 of 4 queries"):
        found = map_per_class(query, gallery, labels, of_gallery)
    answered = [0, 2, 3]
    expected = map_per_class(query[answered], gallery, labels[answered], of_gallery)
    assert {name: found[name] for name in (0, 1)} == expected
