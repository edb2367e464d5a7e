"""Searches among the rows of a gallery: no row is its own neighbour."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from cca_estimators import CCA, CrossModalIndex
from cca_estimators.datasets import make_views


@pytest.fixture(scope="module")
def fitted():
    X, _ = make_views(50, 3, (8, 12), shared_rank=3, random_state=0)
    X["visual"][7] = X["visual"][3]  # at no distance from each other
    return CCA(3).fit(X), X


@pytest.mark.parametrize("backend", ["exact", "faiss"])
@pytest.mark.parametrize("on_disk", [False, True])
def test_neighbours_are_those_of_scikit_learn(fitted, backend, on_disk, tmp_path):
    method, X = fitted
    if backend == "faiss":
        pytest.importorskip("faiss")
    embedding = method.transform(X)["visual"]
    peers = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(embedding)
    index = CrossModalIndex(method, backend=backend).fit(X, folder=tmp_path if on_disk else None)
    distances, rows = index.kneighbors(n_neighbors=6)
    expected, expected_rows = peers.kneighbors()
    np.testing.assert_allclose(distances, expected, atol=1e-6)
    one_of_two = (np.where(found == 7, 3, found) for found in (rows, expected_rows))
    np.testing.assert_array_equal(*one_of_two)  # scikit-learn has no order among equal ones
    assert rows[7, 0] == 3
    assert rows[3, 0] == 7


def test_ids_and_limits(fitted):
    method, X = fitted
    names = [f"clip{i}" for i in range(50)]
    index = CrossModalIndex(method).fit(X, ids=names)
    found = index.kneighbors(n_neighbors=49, return_distance=False)
    for own, others in zip(names, found, strict=True):
        assert sorted(others) == sorted(set(names) - {own})
    with pytest.raises(ValueError, match="from 1 to the gallery's 49 rows"):
        index.kneighbors(n_neighbors=50)


def test_a_row_among_many_equal_ones_is_left_out():
    rows = np.ones((6, 4))
    method = CCA(2).fit({"a": np.random.default_rng(0).random((9, 4)), "b": np.eye(9)})
    index = CrossModalIndex(method, gallery="a").fit({"a": rows})
    found = index.kneighbors(n_neighbors=2, return_distance=False)
    assert found.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1], [0, 1]]
