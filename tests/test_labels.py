"""Labels: one for each row, or an error that says what is wrong with them."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.exceptions import DataConversionWarning

from cca_estimators import CCCA, cross_modal_map, mean_average_precision
from cca_estimators._reading.labels import label_array, looks_like_a_view, read_labels, strata
from cca_estimators.datasets import make_views


@pytest.mark.parametrize(
    "y",
    [
        ["b", "a"],
        ("b", "a"),
        np.array(["b", "a"]),
        np.array(["b", "a"], dtype=object),
        pd.Series(["b", "a"]),
        pd.Series(["b", "a"], dtype="category"),
    ],
)
def test_labels_in_any_container(y):
    assert label_array(y).tolist() == ["b", "a"]


def test_labels_in_a_tensor():
    assert label_array(torch.tensor([2, 0])).tolist() == [2, 0]


WRONG = [
    ([{1}, {1, 2}, {0}], "holds a set in row 0"),
    ([frozenset({1})] * 3, "holds a frozenset in row 0"),
    (["a", "b", None], r"holds None in row 2\. Drop rows"),
    (
        np.array(["a", 1, "b"], dtype=object),
        r"holds labels of types that cannot be sorted together: int, str",
    ),
    ([[1], [1, 2], [0]], r"has shape \(3, None\).* one for each row"),
    (2 * np.eye(3), r"has shape \(3, 3\).*an indicator matrix of 0 and 1"),
    (["a", "b", ["c"]], "holds a list in row 2|shape"),
    (1, "is 1: an array with one label for each row"),
    ([0.0, np.nan, 1.0], "contains NaN"),
]


@pytest.mark.parametrize(("y", "message"), WRONG, ids=lambda value: repr(value)[:20])
def test_labels_that_are_none_or_several_are_refused(y, message):
    with pytest.raises(ValueError, match=f"y {message}"):
        label_array(y)
    embedding = np.eye(3)
    with pytest.raises(ValueError, match=f"gallery_labels {message}"):
        mean_average_precision(embedding, embedding, [0, 1, 2], y)


def test_estimators_and_scorers_name_y():
    X, y = make_views(60, 3, (4, 5), shared_rank=1, random_state=0)
    sets = [{label} for label in y]
    model = CCCA().fit(X, y)
    for call in (
        CCCA().fit,
        CCCA().partial_fit,
        model.score,
        lambda X, y: cross_modal_map(model, X, y),
    ):
        with pytest.raises(ValueError, match="y holds a set in row 0"):
            call(X, sets)
    with pytest.warns(DataConversionWarning):
        assert CCCA().fit(X, y[:, None]).classes_.tolist() == [0, 1, 2]


def test_what_looks_like_a_second_view():
    views = [
        np.ones((3, 2)),
        np.ones((3, 1)),
        [[1], [2]],
        [[1, 2], [3]],
        {"b": 1},
        pd.DataFrame([1]),
    ]
    assert all(looks_like_a_view(y) for y in views)
    assert not any(looks_like_a_view(y) for y in ([1, 2], np.ones(3), "ab", pd.Series([1])))


def test_a_row_left_alone_joins_one_of_its_labels_if_there_is_one():
    members = csr_array(np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 1]]))
    chosen = strata(members)
    assert chosen[0] == chosen[1] == chosen[3]
    assert chosen[2] not in chosen[[0, 1, 3]]


def test_zeros_that_a_sparse_indicator_holds_stay_there():
    members = csr_array(np.eye(3, dtype=np.float64))
    members.data[1] = 0.0
    assert read_labels(members).nnz == 2
    assert members.nnz == 3
