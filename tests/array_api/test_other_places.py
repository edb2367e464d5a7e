"""Kernel methods, figures and searches in a gallery compute where the arrays lie."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import average_precision_score

from cca_estimators import CCA, CKCCA, KCCA, CrossModalIndex, Views, cross_modal_scores, kernel
from cca_estimators.metrics import (
    map_per_class,
    mean_average_precision,
    mean_reciprocal_rank,
    ndcg,
    precision_at_k,
    precision_recall_curve,
    recall_at_k,
    retrieved_classes,
)

KERNEL = [
    KCCA(3, reg=0.01),
    KCCA(3, reg=0.1, gamma=None),
    KCCA(3, reg=0.1, kernel={"audio": "linear", "visual": "laplacian"}),
    KCCA(2, reg=0.1, kernel="cosine", weighted=False),
    KCCA(3, approx="nystroem", n_landmarks=30, random_state=0),
    CKCCA(),
    CKCCA(gamma="auto", reg="auto"),
    CKCCA(kernel="poly", gamma="median"),
    CKCCA(approx="nystroem", n_landmarks=30, random_state=0),
]


def same_signs(given, expected):
    """Return columns with the signs of others: those of the bases of landmarks are arbitrary."""
    return given * np.sign((given * expected).sum(axis=0))


@pytest.mark.parametrize("estimator", KERNEL, ids=str)
def test_kernel_methods_give_what_they_give_on_numpy(estimator, library, there, data):
    X, y = data
    expected = clone(estimator).fit(X, y).transform(X)
    given = there(X)
    fitted = clone(estimator).fit(given, library(y))
    for model in (fitted, pickle.loads(pickle.dumps(fitted))):
        for name, rows in model.transform(given).items():
            back = same_signs(library.back(rows), expected[name])
            np.testing.assert_allclose(back, expected[name], atol=1e-10)
    assert library.back(fitted.correlations_).dtype == np.float64


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_kernel_methods_refuse_what_is_not_finite(there, data, value):
    X = Views({name: rows.copy() for name, rows in data[0].items()})
    X["visual"][7, 1] = value
    with pytest.raises(ValueError, match="'visual'"):
        KCCA(2, reg=0.1).fit(there(X))


def test_what_is_no_kernel_is_refused_in_words_of_kernels(there, data):
    with pytest.raises(ValueError, match="'sigmoid'.* not positive semi-definite"):
        KCCA(2, kernel="sigmoid").fit(there(data[0]))


def test_correlations_are_those_of_the_generalised_problem(library, there, data):
    X, _ = data
    kcca = KCCA(3, reg=0.1).fit(there(X))
    halves = []
    for name, rows in X.items():
        distances = ((rows[:, None] - rows) ** 2).sum(axis=2)
        matrix = np.exp(-kcca.gamma_[name] * distances)
        centring = np.eye(90) - 1 / 90
        matrix = centring @ matrix @ centring
        ridge = 0.1 * np.trace(matrix) / 90 * 90
        halves.append(np.linalg.solve(matrix + ridge * np.eye(90), matrix))
    squares = np.sort(np.linalg.eigvals(halves[0] @ halves[1]).real)[::-1]
    expected = np.sqrt(squares[:3])
    np.testing.assert_allclose(library.back(kcca.correlations_), expected, atol=1e-10)


def test_precomputed_and_callable_kernels(library, there, data):
    X, _ = data
    expected = KCCA(2, kernel="linear", reg=0.1).fit(X).transform(X)
    own = KCCA(2, kernel=lambda x, y: x @ y.T, reg=0.1).fit(there(X)).transform(there(X))
    grams = there({name: rows @ rows.T for name, rows in X.items()})
    given = KCCA(2, kernel="precomputed", reg=0.1).fit(grams).transform(grams)
    for name in X:
        for rows in (own[name], given[name]):
            back = same_signs(library.back(rows), expected[name])
            np.testing.assert_allclose(back, expected[name], atol=1e-9)


def test_the_memory_of_a_device_tells_how_many_rows_are_exact(strict, monkeypatch, data):
    X, _ = data
    given = {name: strict(rows) for name, rows in X.items()}
    for free, is_exact in ((32 * 90**2, True), (32 * 90**2 - 1, False)):
        monkeypatch.setattr(kernel, "free_bytes", lambda rows, free=free: free)
        kcca = KCCA(2, n_landmarks=20, random_state=0).fit(given)
        assert hasattr(kcca, "dual_coef_") == is_exact


@pytest.fixture(params=["distinct", "tied", "bits"])
def embeddings(request):
    rng = np.random.default_rng(0)
    query, gallery = rng.standard_normal((2, 40, 5))
    if request.param == "tied":
        gallery[20:] = gallery[:20]
    if request.param == "bits":
        query, gallery = (query > 0).astype(np.uint8), (gallery > 0).astype(np.uint8)
    return query, gallery, "hamming" if request.param == "bits" else "cosine"


FIGURES = [
    mean_average_precision,
    lambda *args, **kwargs: mean_average_precision(*args, k=7, **kwargs),
    lambda *args, **kwargs: precision_at_k(*args, k=7, **kwargs),
    lambda *args, **kwargs: recall_at_k(*args, k=3, **kwargs),
    mean_reciprocal_rank,
    ndcg,
    lambda *args, **kwargs: ndcg(*args, k=7, **kwargs),
    lambda *args, **kwargs: retrieved_classes(*args, k=7, **kwargs)[0],
    lambda *args, **kwargs: precision_recall_curve(*args, **kwargs)[0],
    lambda *args, **kwargs: list(map_per_class(*args, **kwargs).values()),
]


@pytest.mark.parametrize("exclude_self", [False, True])
def test_figures_are_those_of_numpy(exclude_self, embeddings, library):
    query, gallery, metric = embeddings
    labels = np.arange(40) % 3, np.arange(40) % (3 if exclude_self else 4)
    options = {"metric": metric, "exclude_self": exclude_self}
    there = library(query), library(gallery), *map(library, labels)
    for figure in FIGURES:
        expected = figure(query, gallery, *labels, **options)
        np.testing.assert_allclose(figure(*there, **options), expected, rtol=1e-12)


def test_map_is_the_mean_of_scikit_learns_average_precision(library):
    query, gallery = np.random.default_rng(0).standard_normal((2, 30, 4))
    labels = np.arange(30) % 3
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (query, gallery)]
    similarity = unit[0] @ unit[1].T
    expected = np.mean(
        [
            average_precision_score(labels == own, row)
            for own, row in zip(labels, similarity, strict=True)
        ]
    )
    given = mean_average_precision(library(query), library(gallery), labels, labels)
    np.testing.assert_allclose(given, expected, rtol=1e-12)


def test_several_labels(library):
    query, gallery = np.random.default_rng(0).standard_normal((2, 30, 4))
    labels = np.random.default_rng(1).integers(2, size=(30, 5))
    labels[:, 0] |= labels.sum(axis=1) == 0
    expected = mean_average_precision(query, gallery, labels, labels)
    given = mean_average_precision(library(query), library(gallery), library(labels), labels)
    np.testing.assert_allclose(given, expected, rtol=1e-12)


def test_scores(library, there, data):
    X, y = data
    expected = cross_modal_scores(CCA(3).fit(X), X, y)
    given = there(X)
    scores = cross_modal_scores(CCA(3).fit(given), given, library(y))
    assert scores == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_gallery_is_searched_where_it_lies(dtype, library, data, tmp_path):
    X, y = data
    X = {name: rows.astype(dtype) for name, rows in X.items()}
    X["visual"][50:60] = X["visual"][10:20]  # ties
    there = {name: library(rows) for name, rows in X.items()}
    with sklearn.config_context(array_api_dispatch=False):
        fitted = CCA(3).fit(X)
        index = CrossModalIndex(fitted).fit(X)
        expected = index.kneighbors({"audio": X["audio"]}, 12)
    at_rest = CCA(3).fit(X)  # with NumPy, as one that was loaded
    first = {name: rows[:60, ...] for name, rows in there.items()}
    rest = {name: rows[60:, ...] for name, rows in there.items()}
    placed = CrossModalIndex(at_rest).fit(first).add(rest)
    distances, rows = placed.kneighbors({"audio": there["audio"]}, 12)
    np.testing.assert_array_equal(library.back(rows), expected[1])
    np.testing.assert_allclose(
        library.back(distances), expected[0], atol=1e-6 if "32" in dtype else 1e-12
    )
    placed.save(tmp_path / "index.cca")
    for again in (pickle.loads(pickle.dumps(placed)), CrossModalIndex.load(tmp_path / "index.cca")):
        np.testing.assert_array_equal(again.kneighbors({"audio": X["audio"]}, 12)[1], expected[1])


def test_where_all_is_tied_the_host_searches(strict):
    rows = np.tile([[1.0, 2.0]], (300, 1))

    class Same(BaseEstimator):
        metric = "cosine"

        def fit(self, X, y=None):
            return self

        def transform(self, X):
            return Views(X)

        def __sklearn_is_fitted__(self):
            return True

    given = {"audio": strict(rows)}
    found = CrossModalIndex(Same()).fit(given).kneighbors(given, 2)[1]
    np.testing.assert_array_equal(strict.back(found), np.tile([[0, 1]], (300, 1)))
