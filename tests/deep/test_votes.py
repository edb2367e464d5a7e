"""Labels voted by neighbours, against a loop."""

import numpy as np
import pytest

from cca_estimators.datasets import make_views
from cca_estimators.deep.training.votes import voted_labels


@pytest.fixture
def data():
    X, y = make_views(300, 3, (6, 8), shared_rank=2, random_state=0)
    return dict(X), y


def by_loop(views, codes):
    """Return the votes of two rounds, one row after the other, each label with a weight of 1."""
    n, graphs = len(codes), []
    for rows in views.values():
        rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
        distances = ((rows[:, None] - rows) ** 2).sum(axis=2)
        np.fill_diagonal(distances, np.inf)
        graphs.append(distances.argsort(axis=1)[:, :30])
    votes = np.array([[float(code == c) for c in range(3)] for code in codes])
    for _ in range(2):
        votes = np.array([vote / votes.sum(axis=0) for vote in votes])
        votes = np.array([sum(votes[graph[i]].sum(axis=0) for graph in graphs) for i in range(n)])
    return votes.argmax(axis=1)


@pytest.mark.parametrize("unlabelled", [0.0, 0.3])
def test_votes_are_those_of_a_loop(data, unlabelled):
    views, y = data
    rng = np.random.default_rng(0)
    codes = np.where(rng.random(300) < 0.5, rng.integers(3, size=300), y)
    known = rng.random(300) >= unlabelled
    codes[~known] = -1
    voted = voted_labels(views, codes)
    assert np.array_equal(voted[known], by_loop(views, codes)[known])
    assert (voted[~known] == -1).all()


def test_most_wrong_labels_are_outvoted(data):
    views, y = data
    rng = np.random.default_rng(0)
    wrong = np.where(rng.random(300) < 0.4, (y + rng.integers(1, 3, size=300)) % 3, y)
    assert np.mean(wrong == y) < 0.7
    assert np.mean(voted_labels(views, wrong) == y) > 0.9


def test_a_rare_label_is_kept():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [200, 20])  # among 30 neighbours most are of the common class
    views = {name: y[:, None] * 3.0 + rng.normal(size=(220, 2)) for name in ("audio", "visual")}
    assert np.mean(voted_labels(views, y)[200:] == 1) > 0.9


def test_units_and_padding_change_no_vote(data):
    views, y = data
    expected = voted_labels(views, y)
    scaled = {name: rows * 10.0 ** np.arange(rows.shape[1]) for name, rows in views.items()}
    assert np.array_equal(voted_labels(scaled, y), expected)
    padded = {name: np.dstack([rows, np.full_like(rows, np.nan)]) for name, rows in views.items()}
    assert np.array_equal(voted_labels(padded, y), expected)


def test_a_row_without_votes_keeps_its_label(data):
    views, _ = data
    codes = np.full(300, -1)
    codes[5] = 2
    assert voted_labels(views, codes)[5] == 2


def test_of_few_rows_all_others_vote():
    codes = np.array([0, 0, 1, 0, 0])
    views = {name: np.array([[0.0], [0.1], [0.3], [9.0], [9.1]]) for name in ("audio", "visual")}
    assert voted_labels(views, codes).tolist() == [0, 0, 1, 0, 0]  # 13/16 > 3/4, and 1 > 3/4


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_named(data, value):
    views, y = data
    views["visual"][3, 2] = value
    with pytest.raises(ValueError, match="View 'visual' contains"):
        voted_labels(views, y)


def test_a_row_whose_neighbours_have_no_label_keeps_its_own():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((101, 2)) + np.repeat([[0.0], [40.0]], [50, 51], axis=0)
    rows[100] = 60.0
    codes = np.repeat([0, -1, 1], [50, 50, 1])
    assert voted_labels({"audio": rows, "visual": rows}, codes)[100] == 1
