"""The index against brute force, scikit-learn and FAISS; its files against damage and malice."""

import functools
import json
import os
import pickle
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

import h5py
import numpy as np
import pandas as pd
import pytest
import skops.io
from given import Given
from registry import DEEP, embeddings, is_hashing
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, normalize
from skorch.callbacks import EpochTimer
from threadpoolctl import threadpool_info, threadpool_limits

from cca_estimators import (
    CCA,
    CCCA,
    CDCCA,
    CKCCA,
    DCCA,
    KCCA,
    TNNCCCA,
    UGACH,
    CrossModalIndex,
    PerView,
)
from cca_estimators.datasets import make_views
from cca_estimators.retrieval import _search


@pytest.fixture(scope="module")
def data():
    return make_views(n_samples=80, n_classes=3, n_features=(8, 9), n_steps=3, random_state=0)


def index_of(rows, metric="cosine", **options):
    return CrossModalIndex(Given(metric), **options).fit({"visual": rows})


def ask(index, rows, n_neighbors=None):
    return index.kneighbors({"audio": rows}, n_neighbors)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def assert_alike(found, expected, atol=1e-12):
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=atol)
    np.testing.assert_array_equal(found[1], expected[1])


def cosine_distances(queries, gallery):
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, gallery)]
    return 1 - np.einsum("id,jd->ij", *(rows.astype(np.longdouble) for rows in unit))


def hamming_distances(queries, gallery):
    return (queries[:, None] != gallery).mean(axis=2)


def ordered(distances, n_neighbors):
    """Return the nearest by a full sort, ties by row."""
    rows = np.argsort(distances, axis=1, kind="stable")[:, :n_neighbors]
    return np.take_along_axis(distances, rows, axis=1), rows


SIZES = [(1, 1, 1, 3), (50, 7, 50, 4), (5_000, 3, 9, 1), (9_000, 40, 10, 5), (9_000, 2, 9_000, 6)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n_gallery", "n_queries", "n_neighbors", "d"), SIZES)
def test_cosine_neighbors_are_those_of_a_full_sort(n_gallery, n_queries, n_neighbors, d, dtype):
    rng = np.random.default_rng(0)
    gallery, queries = (rng.standard_normal((n, d)).astype(dtype) for n in (n_gallery, n_queries))
    found = ask(index_of(gallery), queries, n_neighbors)
    distances = cosine_distances(queries, gallery) if d > 1 else 1 - np.sign(queries @ gallery.T)
    atol = 1e-12 if dtype == np.float64 else 1e-6
    expected = ordered(distances, n_neighbors)
    np.testing.assert_allclose(found[0], expected[0].astype(float), rtol=0, atol=atol)
    assert found[0].dtype == np.float64
    if dtype == np.float64 or d == 1:
        np.testing.assert_array_equal(found[1], expected[1])


def test_cosine_neighbors_are_those_of_sklearn():
    rng = np.random.default_rng(1)
    gallery, queries = rng.standard_normal((6_000, 10)), rng.standard_normal((30, 10))
    search = NearestNeighbors(n_neighbors=7, metric="cosine").fit(gallery)
    assert_alike(ask(index_of(gallery, n_neighbors=7), queries), search.kneighbors(queries))


@pytest.mark.parametrize("n_bits", [1, 7, 8, 64, 65, 200, 255, 300])
@pytest.mark.parametrize("dtype", [np.uint8, bool, np.float32])
def test_hamming_neighbors_are_those_of_a_full_sort_and_of_sklearn(n_bits, dtype):
    rng = np.random.default_rng(2)
    gallery, queries = (rng.integers(2, size=(n, n_bits)).astype(dtype) for n in (5_000, 20))
    found = ask(index_of(gallery, "hamming"), queries, 12)
    assert_alike(found, ordered(hamming_distances(queries, gallery), 12))
    search = NearestNeighbors(n_neighbors=12, metric="hamming", algorithm="brute").fit(gallery)
    np.testing.assert_allclose(found[0], search.kneighbors(queries)[0], atol=1e-12)


def test_the_farthest_bits_of_all_are_counted():
    gallery = np.ones((3_000, 255), np.uint8)
    distances, rows = ask(index_of(gallery, "hamming"), np.zeros((1, 255), np.uint8), 3)
    assert_same((distances, rows), ([[1.0] * 3], [[0, 1, 2]]))


def test_rows_that_single_precision_cannot_tell_apart_are_ordered():
    rng = np.random.default_rng(3)
    gallery = rng.standard_normal(6) + 1e-8 * rng.standard_normal((20_000, 6))
    queries = rng.standard_normal((5, 6))
    found = ask(index_of(gallery), queries, 20)
    assert len(np.unique(gallery.astype(np.float32), axis=0)) < len(gallery)
    distances = cosine_distances(queries, gallery)
    chosen = np.take_along_axis(distances, found[1], axis=1)
    np.testing.assert_allclose(chosen, ordered(distances, 20)[0], rtol=0, atol=1e-15)


@pytest.mark.parametrize("metric", ["cosine", "hamming"])
def test_ties_go_to_the_first_rows(metric):
    rng = np.random.default_rng(4)
    distinct = rng.integers(2, size=(12, 9)) if metric == "hamming" else rng.normal(size=(12, 9))
    drawn = rng.integers(12, size=30_000)
    queries = distinct[:4] if metric == "hamming" else rng.standard_normal((4, 9))
    function = hamming_distances if metric == "hamming" else cosine_distances
    distances = function(queries, distinct)[:, drawn].astype(float)
    found = ask(index_of(distinct[drawn], metric), queries, 4_000)
    assert_alike(found, ordered(distances, 4_000))
    again = found[0][:, 1:] == found[0][:, :-1]
    assert (found[1][:, 1:] > found[1][:, :-1])[again].all()
    assert again.mean() > 0.99


@pytest.mark.parametrize("metric", ["cosine", "hamming"])
def test_memory_batches_and_threads_change_nothing(metric):
    rng = np.random.default_rng(5)
    gallery = rng.integers(3, size=(12_000, 4)).astype(float)
    if metric == "hamming":
        gallery = gallery > 0
    index = index_of(gallery, metric, n_neighbors=50)
    expected = ask(index, gallery[:70])
    with config_context(working_memory=0.1):
        assert_same(ask(index, gallery[:70]), expected)
    for n_threads in (1, 3):
        with threadpool_limits(n_threads):
            assert_same(ask(index, gallery[:70]), expected)
    single = [ask(index, row[None]) for row in gallery[:70]]
    assert_same([np.concatenate(parts) for parts in zip(*single, strict=True)], expected)


@pytest.mark.parametrize("depth", [1, 10, 64, 256, 300, 1024])
@pytest.mark.parametrize("shape", [(1, 1), (130, 1), (1, 70), (128, 64), (300, 257)])
def test_products_in_pieces_are_products(depth, shape):
    rng = np.random.default_rng(depth)
    rows = rng.integers(-3, 4, (shape[0], depth)).astype(np.float32)
    columns = rng.integers(-3, 4, (depth, shape[1])).astype(np.float32)
    product = _search._product(rows, columns)
    np.testing.assert_array_equal(product, rows @ columns)  # integers: nothing is rounded
    assert product.dtype == np.float32


def test_queries_from_several_threads_leave_the_threads_of_blas_alone():
    rng = np.random.default_rng(8)
    index, queries = index_of(rng.standard_normal((3_000, 8))), rng.standard_normal((40, 8))
    expected = ask(index, queries)
    with threadpool_limits(3):
        before = [pool["num_threads"] for pool in threadpool_info()]
        with ThreadPoolExecutor(6) as pool:
            for answer in pool.map(lambda _: ask(index, queries), range(60)):
                assert_same(answer, expected)
        assert [pool["num_threads"] for pool in threadpool_info()] == before


def peak_of(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("tied", [False, True])
def test_memory_is_bounded(tied):
    rng = np.random.default_rng(6)
    gallery = np.ones((100_000, 3)) if tied else rng.standard_normal((100_000, 3))
    queries = rng.standard_normal((300, 3))
    index = index_of(gallery)
    with config_context(working_memory=16), threadpool_limits(1):
        assert peak_of(lambda: ask(index, queries)) < 22e6  # all similarities: 120e6 in float32


def test_distances_are_within_0_and_2():
    rows = np.random.default_rng(10).standard_normal((200, 3))
    distances = ask(index_of(np.concatenate([rows, -rows])), rows, 400)[0]
    assert (distances.min(), distances.max()) == (0, 2)


def test_rows_as_near_as_can_be_are_screened_out_once_there_are_enough():
    bounds = _search.Cosine(1).bounds(np.array([0.0, 1.0]))
    assert bounds[0] == -np.inf
    assert 0 < bounds[1] < 1e-6


def test_any_magnitude_and_rows_of_zeros():
    gallery = np.array([[1e200, 0.0], [0.0, 1e-300], [0.0, 0.0], [-1e300, 0.0]])
    found = ask(index_of(gallery), np.array([[1e-200, 0.0], [0.0, 0.0]]), 4)
    assert_same(found, ([[0, 1, 1, 2], [1, 1, 1, 1]], [[0, 1, 2, 3], [0, 1, 2, 3]]))


def test_equal_gallery_rows_are_as_near_to_a_query_as_it_is_to_itself(data):
    X, y = data
    twice = {name: np.concatenate([rows, rows]) for name, rows in X.items()}
    index = CrossModalIndex(CCCA().fit(X, y), gallery="audio").fit(twice)
    distances, rows = index.kneighbors({"audio": X["audio"]}, 2)
    np.testing.assert_allclose(distances, 0, atol=1e-12)
    np.testing.assert_array_equal(np.sort(rows % len(y), axis=1), np.arange(80)[:, None] + [0, 0])


@pytest.mark.parametrize("metric", ["cosine", "hamming"])
def test_faiss_finds_the_same(metric):
    rng = np.random.default_rng(7)
    gallery, queries = rng.standard_normal((4_000, 24)), rng.standard_normal((9, 24))
    if metric == "hamming":
        gallery, queries = gallery > 0, queries > 0
    exact = ask(index_of(gallery, metric), queries, 6)
    faiss = index_of(gallery[:1_000], metric, backend="faiss").add({"visual": gallery[1_000:]})
    found = ask(faiss, queries, 6)
    np.testing.assert_array_equal(found[0], exact[0])
    if metric == "cosine":
        np.testing.assert_array_equal(found[1], exact[1])
    assert_same(ask(pickle.loads(pickle.dumps(faiss)), queries, 6), found)


@pytest.mark.parametrize(
    ("package", "extra", "call"),
    [
        ("faiss", "faiss", lambda path: index_of(np.eye(3), backend="faiss")),
        ("skops.io", "save", lambda path: index_of(np.eye(3)).save(path)),
    ],
)
def test_a_missing_package_is_named(package, extra, call, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'cca_estimators\[{extra}\]'"):
        call(tmp_path / "index")


def test_either_view_asks_and_the_second_is_the_gallery(data):
    X, y = data
    ccca = CCCA().fit(X, y)
    index = CrossModalIndex(ccca).fit(X)
    assert (index.gallery_, index.metric_, index.n_samples_fit_) == ("visual", "cosine", 80)
    assert index.estimator_ is ccca
    embedded = {name: normalize(rows) for name, rows in ccca.transform(X).items()}
    for view in X:
        expected = ordered(1 - embedded[view] @ embedded["visual"].T, 5)
        found = index.kneighbors({view: X[view]})
        np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-12)
        assert (found[1] == expected[1]).mean() > 0.99
    rows = index.kneighbors({"audio": X["audio"]}, return_distance=False)
    np.testing.assert_array_equal(rows, index.kneighbors({"audio": X["audio"]})[1])


def test_one_view_is_as_good_as_both_and_the_gallery_can_be_named(data):
    X, y = data
    ccca = CCCA().fit(X, y)
    alone = CrossModalIndex(ccca).fit({"audio": X["audio"]})
    named = CrossModalIndex(ccca, gallery="audio").fit(X)
    queries = {"visual": X["visual"]}
    assert alone.gallery_ == named.gallery_ == "audio"
    assert_same(alone.kneighbors(queries), named.kneighbors(queries))


def test_an_estimator_that_is_not_fitted_is_cloned_and_fitted(data):
    X, y = data
    ccca = CCCA()
    index = CrossModalIndex(ccca).fit(X, y)
    assert not hasattr(ccca, "weights_")
    expected = CrossModalIndex(CCCA().fit(X, y)).fit(X)
    queries = {"audio": X["audio"]}
    assert_same(index.kneighbors(queries), expected.kneighbors(queries))


def test_a_search_over_a_pipeline_is_fitted_on_a_plain_dict(data):
    X, y = data
    pipe = make_pipeline(PerView(StandardScaler()), CCCA())
    search = GridSearchCV(pipe, {"ccca__reg": [0.01, 0.1]}, cv=2)
    index = CrossModalIndex(search).fit(dict(X), y)
    best = CrossModalIndex(index.estimator_.best_estimator_).fit(X)
    queries = {"audio": X["audio"]}
    assert_same(index.kneighbors(queries), best.kneighbors(queries))


def test_codes_are_compared_by_hamming_distance(data):
    X, y = data
    index = CrossModalIndex(UGACH(n_bits=12, n_pretrain=5, **DEEP)).fit(X)
    assert index.metric_ == "hamming"
    codes = index.estimator_.transform(X)
    expected = ordered(hamming_distances(codes["audio"], codes["visual"]), 5)
    assert_alike(index.kneighbors({"audio": X["audio"]}), expected)


def test_an_estimator_of_one_array_is_asked_by_first_and_second():
    X, y = make_views(n_samples=60, n_classes=3, n_features=(8, 8), random_state=0)
    cca = CCA(3).fit(np.hstack([X["audio"], X["visual"]]))
    index = CrossModalIndex(cca).fit({"second": X["visual"]})
    expected = CrossModalIndex(CCA(3).fit(X)).fit(X)
    found = index.kneighbors({"first": X["audio"]})
    assert_alike(found, expected.kneighbors({"audio": X["audio"]}))


def containers(rows, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    yield np.load(tmp_path / "rows.npy", mmap_mode="r")
    yield pd.DataFrame(rows)
    yield rows.tolist()
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        yield file.create_dataset("rows", data=rows)


def test_rows_come_in_any_container(tmp_path):
    X, y = make_views(n_samples=60, n_classes=3, n_features=(8, 8), random_state=0)
    ccca = CCCA().fit(X, y)
    expected = CrossModalIndex(ccca).fit(X).kneighbors({"audio": X["audio"]})
    for rows in containers(X["visual"], tmp_path):
        index = CrossModalIndex(ccca).fit({"visual": rows})
        assert_same(index.kneighbors({"audio": X["audio"]}), expected)


@pytest.mark.parametrize("backend", ["exact", "faiss"])
@pytest.mark.parametrize("metric", ["cosine", "hamming"])
def test_adding_is_fitting_on_all(metric, backend):
    rng = np.random.default_rng(8)
    rows = rng.standard_normal((3_000, 10))
    rows = rows > 0 if metric == "hamming" else rows
    ids = np.arange(3_000)[::-1]
    whole = CrossModalIndex(Given(metric), backend=backend).fit({"visual": rows}, ids=ids)
    parts = CrossModalIndex(Given(metric), backend=backend).fit(
        {"visual": rows[:1_000]}, ids=ids[:1_000]
    )
    parts.add({"visual": rows[1_000:1_001]}, ids=ids[1_000:1_001])
    parts.add({"visual": rows[1_001:]}, ids=ids[1_001:])
    assert parts.n_samples_fit_ == 3_000
    assert_same(ask(parts, rows[:50]), ask(whole, rows[:50]))


@pytest.mark.parametrize(
    ("ids", "dtype"),
    [
        (["c", "a", "b"], "U"),
        ((7, 5, 6), "i"),
        (pd.Series(["x", "y", "zz"]), "U"),
        (np.array(["2001", "2002", "2003"], "datetime64[ns]"), "M"),
        (np.array([b"p", b"q", b"r"]), "S"),
    ],
)
def test_ids_take_the_place_of_rows(ids, dtype):
    index = CrossModalIndex(Given()).fit({"visual": np.eye(3)}, ids=ids)
    assert index.ids_.dtype.kind == dtype
    assert ask(index, np.eye(3), 1)[1].tolist() == [[id_] for id_ in np.asarray(ids).tolist()]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2], "There are 2 ids for 3 rows"),
        ([1, 2, 1], "ids must be distinct, but .*1.* occurs"),
        ([1, "2", 3], "of one type"),
        ([[1], [2], [3]], "in one dimension"),
        ([None, 1, 2], "numbers, strings or dates"),
    ],
)
def test_bad_ids_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        CrossModalIndex(Given()).fit({"visual": np.eye(3)}, ids=ids)


def test_ids_are_given_always_or_never():
    rows = {"visual": np.eye(3)}
    named = CrossModalIndex(Given()).fit(rows, ids=["a", "b", "c"])
    with pytest.raises(ValueError, match="pass ids for those to add"):
        named.add(rows)
    with pytest.raises(ValueError, match=r"dtype <U1, those to add int64"):
        named.add(rows, ids=[1, 2, 3])
    with pytest.raises(ValueError, match="'c' occurs repeatedly"):
        named.add(rows, ids=["d", "e", "c"])
    assert named.n_samples_fit_ == len(named.ids_) == 3
    with pytest.raises(ValueError, match="fit was given none"):
        CrossModalIndex(Given()).fit(rows).add(rows, ids=[1, 2, 3])


def test_it_is_an_estimator(data):
    X, y = data
    index = CrossModalIndex(CCCA(reg=0.1), n_neighbors=3).fit(X, y)
    copy = clone(index.set_params(estimator__reg=0.2, backend="faiss"))
    assert copy.get_params()["estimator__reg"] == 0.2
    assert (copy.n_neighbors, copy.backend, hasattr(copy, "estimator_")) == (3, "faiss", False)
    with pytest.raises(NotFittedError):
        copy.kneighbors({"audio": X["audio"]})
    with pytest.raises(ValueError, match="'n_neighbors' parameter"):
        CrossModalIndex(CCCA(), n_neighbors=0).fit(X, y)


def test_refitting_forgets_and_a_failed_one_changes_nothing(data):
    X, y = data
    index = CrossModalIndex(CCCA(n_components=2)).fit(X, y, ids=np.arange(80))
    broken = X["visual"].copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        index.fit({"audio": X["audio"], "visual": broken}, y)
    before = index.estimator_
    with pytest.raises(ValueError, match="There are 1 ids for 40 rows"):
        index.fit(X[:40], y[:40], ids=[1])
    assert (index.estimator_, index.n_components_, len(index.ids_)) == (before, 2, 80)
    index.set_params(estimator=CCCA(n_components=1)).fit(X, y)
    assert (index.n_components_, index.ids_) == (1, None)


def test_bad_input_is_refused(data):
    X, y = data
    index = CrossModalIndex(CCCA()).fit(X, y)
    audio = {"audio": X["audio"]}
    with pytest.raises(ValueError, match=r"n_neighbors=81 must be an int from 1 to .* 80 rows"):
        index.kneighbors(audio, 81)
    with pytest.raises(ValueError, match="n_neighbors=2.5"):
        index.kneighbors(audio, 2.5)
    with pytest.raises(ValueError, match=r"holds the views \['audio', 'visual'\]; pass the one"):
        index.kneighbors(X)
    with pytest.raises(ValueError, match=r"X is a ndarray; an index takes views by name"):
        index.kneighbors(X["audio"])
    with pytest.raises(ValueError, match=r"holds the views \['text'\]"):
        index.kneighbors({"text": X["audio"]})
    with pytest.raises(ValueError, match="View 'audio' has 27 features"):
        index.kneighbors({"audio": X["visual"]})
    with pytest.raises(ValueError, match="X holds no view"):
        index.kneighbors({})
    with pytest.raises(ValueError, match="gallery is 'visual'; X holds the views"):
        index.add(audio)
    with pytest.raises(ValueError, match="gallery is 'text'"):
        CrossModalIndex(CCCA(), gallery="text").fit(X, y)
    with pytest.raises(TypeError, match="Name the views"):
        CrossModalIndex(CCCA()).fit([X["audio"], X["visual"]], y)


def test_what_is_missing_to_fit_the_estimator_is_named(data):
    X, y = data
    with pytest.raises(ValueError, match="requires y to be passed"):
        CrossModalIndex(CCCA()).fit(X)
    with pytest.raises(NotFittedError, match=r"X holds the views \['visual'\] only"):
        CrossModalIndex(CCCA()).fit({"visual": X["visual"]}, y)


def test_what_is_no_joint_embedding_is_refused():
    rows = np.eye(3)
    with pytest.raises(ValueError, match="'audio' has 2 columns, that of the gallery 3"):
        ask(index_of(rows), rows[:, :2], 1)
    with pytest.raises(ValueError, match="metric='euclidean'"):
        index_of(rows, "euclidean")
    with pytest.raises(ValueError, match="other than 0 and 1"):
        index_of(2 * rows, "hamming")
    with pytest.raises(ValueError, match="contains NaN"):
        index_of(np.where(rows > 0, np.nan, rows))
    stacked = FunctionTransformer(lambda X: X["visual"])
    with pytest.raises(ValueError, match="returned ndarray for a mapping"):
        CrossModalIndex(stacked).fit({"visual": rows})


def saved(index, path):
    index.save(path)
    return CrossModalIndex.load(path)


@pytest.mark.parametrize("estimator", embeddings(), ids=lambda estimator: type(estimator).__name__)
def test_what_is_loaded_answers_as_what_was_saved(estimator, data, tmp_path):
    X, y = data
    index = CrossModalIndex(clone(estimator), n_neighbors=7).fit(X, y)
    loaded = saved(index, tmp_path / "index")
    kernel = hasattr(estimator, "kernel")  # arrays in another memory order are summed in another
    for name, rows in X.items():
        found, expected = (each.kneighbors({name: rows}) for each in (loaded, index))
        assert_alike(found, expected) if kernel else assert_same(found, expected)
    embedded = [each.estimator_.transform(X) for each in (loaded, index)]
    for name in X:
        np.testing.assert_allclose(embedded[0][name], embedded[1][name], rtol=0, atol=1e-12)
    if is_hashing(estimator):
        values = [each.estimator_.decision_function(X)["audio"] for each in (loaded, index)]
        np.testing.assert_array_equal(*values)
    assert (loaded.n_neighbors, loaded.metric_) == (7, index.metric_)
    assert repr(clone(loaded.estimator_)) == repr(estimator)


@pytest.mark.parametrize(
    "estimator",
    [
        TNNCCCA(order="tnn_first", **DEEP),
        TNNCCCA(first="ccca", pair_weight=0.2, early_stopping="map", **DEEP),
        TNNCCCA(first=CKCCA(gamma=0.02), **DEEP),
        DCCA(3, autoencoder_weight=0.1, hidden_layer_sizes=8, max_epochs=3, device="cpu"),
        KCCA(3, approx="nystroem", n_landmarks=20, random_state=np.random.RandomState(0)),
        CCA(3, reg={"audio": 0.1, "visual": "auto"}),
        make_pipeline(PerView(SimpleImputer(), visual=PCA(5, random_state=0)), CCCA()),
    ],
    ids=repr,
)
def test_other_settings_come_back_too(estimator, data, tmp_path):
    X, y = data
    index = CrossModalIndex(estimator).fit(X, y)
    queries = {"audio": X["audio"]}
    found = saved(index, tmp_path / "index").kneighbors(queries)
    assert_alike(found, index.kneighbors(queries))


def test_a_search_comes_back_as_its_best_pipeline(data, tmp_path):
    X, y = data
    pipe = make_pipeline(PerView(StandardScaler()), TNNCCCA(**DEEP))
    search = GridSearchCV(pipe, {"tnnccca__margin": [0.5, 1.0]}, cv=2)
    index = CrossModalIndex(search, gallery="audio").fit(X, y, ids=np.arange(80) + 100)
    loaded = saved(index, tmp_path / "index")
    assert_same(*(each.kneighbors({"visual": X["visual"]}) for each in (loaded, index)))
    assert repr(clone(loaded.estimator)) == repr(clone(index.estimator_.best_estimator_))
    assert list(loaded.estimator_.named_steps) == ["perview", "tnnccca"]


@pytest.mark.parametrize("labels", [np.array([3, 5, 9]), np.array(["a", "b", "c"])])
def test_a_loaded_estimator_takes_more_rows(labels, data, tmp_path):
    X, y = data[0], labels[data[1]]
    ccca = CCCA().partial_fit(X[:60], y[:60])
    loaded = saved(CrossModalIndex(ccca).fit(X), tmp_path / "index").estimator_
    found, expected = (each.partial_fit(X[60:], y[60:]).transform(X) for each in (loaded, ccca))
    for name in X:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-12)


def test_a_loaded_index_goes_on(data, tmp_path):
    X, y = data
    index = CrossModalIndex(CCCA().fit(X, y)).fit(X[:50], ids=[f"a{i}" for i in range(50)])
    loaded = saved(index, tmp_path / "index")
    for each in (loaded, index):
        each.add(X[50:], ids=[f"b{i}" for i in range(30)])
    assert_same(*(each.kneighbors({"audio": X["audio"]}) for each in (loaded, index)))


def test_a_loaded_deep_estimator_has_its_history_and_trains_on(data, tmp_path):
    X, y = data
    index = CrossModalIndex(CDCCA(**DEEP)).fit(X, y)
    loaded = saved(index, tmp_path / "index").estimator_
    losses = [each.history_[:, "train_loss"] for each in (loaded, index.estimator_)]
    assert losses[0] == losses[1]
    loaded.partial_fit(X, y)
    assert len(loaded.history_) == 16
    assert loaded.history_[-1, "train_loss"] < np.mean(losses[0])


def test_callbacks_are_left_out(data, tmp_path):
    X, y = data
    estimator = CDCCA(callbacks=[EpochTimer()], **DEEP)
    loaded = saved(CrossModalIndex(estimator).fit(X, y), tmp_path / "index").estimator_
    assert loaded.callbacks is None


def test_a_device_that_is_not_there_is_replaced(data, tmp_path):
    X, y = data
    estimator = CDCCA(**DEEP).fit(X, y).set_params(device="cuda:99")
    index = CrossModalIndex(estimator).fit(X)
    queries = {"audio": X["audio"]}
    with pytest.warns(UserWarning, match="device='cuda:99', which is not there"):
        loaded = saved(index, tmp_path / "index")
    assert_same(loaded.kneighbors(queries), index.kneighbors(queries))


@pytest.mark.parametrize("backend", ["exact", "faiss"])
def test_codes_and_the_backend_come_back(backend, data, tmp_path):
    X, y = data
    hashing = UGACH(n_bits=70, n_pretrain=5, **DEEP).fit(X)
    index = CrossModalIndex(hashing, backend=backend).fit(X)
    loaded = saved(index, tmp_path / "index")
    assert loaded.backend == backend
    assert_same(*(each.kneighbors({"audio": X["audio"]}) for each in (loaded, index)))


def test_what_is_code_is_not_saved(data, tmp_path):
    from cca_estimators.deep.towers import MLPTower

    X, y = data
    path = tmp_path / "index"
    towers = {name: MLPTower(3 * n, (8,), 4) for name, n in {"audio": 8, "visual": 9}.items()}
    with pytest.raises(ValueError, match="CDCCA has towers of its own"):
        CrossModalIndex(CDCCA(towers=towers, max_epochs=1)).fit(X, y).save(path)
    kernel = KCCA(3, kernel={"audio": lambda x, y: x[:, 0] @ y[:, 0].T, "visual": "rbf"})
    with pytest.raises(ValueError, match="kernel of KCCA is a function"):
        CrossModalIndex(make_pipeline(PerView(), kernel)).fit(X).save(path)
    own = type("Own", (CDCCA,), {})
    with pytest.raises(ValueError, match="Own is a class of its own"):
        CrossModalIndex(own(max_epochs=1)).fit(X, y).save(path)
    assert not path.exists()


def test_types_that_are_not_known_must_be_named(data, tmp_path):
    X, y = data
    path = tmp_path / "index"
    index = CrossModalIndex(make_pipeline(Given(), CCCA())).fit(X, y)
    name = f"{Given.__module__}.Given"
    with pytest.warns(UserWarning, match=rf"pass trusted=\['{name}'\]"):
        index.save(path)
    with pytest.raises(ValueError, match=rf"not trusted: \['{name}'\]. Nothing of it was loaded"):
        CrossModalIndex.load(path)
    loaded = CrossModalIndex.load(path, trusted=[name])
    assert_same(*(each.kneighbors({"audio": X["audio"]}) for each in (loaded, index)))


@pytest.fixture
def stored(data, tmp_path):
    """Return an index with ids, and the path of its file."""
    X, y = data
    index = CrossModalIndex(CCCA()).fit(X, y, ids=np.arange(80))
    index.save(tmp_path / "index")
    return index, tmp_path / "index"


def entries(path):
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, compression=0, **changes):
    """Write a file anew with other entries; None leaves one out. Dots are underscores."""
    contents = entries(path) | {name.replace("_", "."): value for name, value in changes.items()}
    with ZipFile(path, "w", compression) as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)


def npy(array, **options):
    file = BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


class Payload:
    """Leave a mark when a pickle of it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_a_pickle_is_refused_and_does_not_run(stored, tmp_path):
    _, path = stored
    mark = tmp_path / "mark"
    rewrite(path, rows_npy=npy(np.array([Payload(mark)], dtype=object), allow_pickle=True))
    with pytest.raises(ValueError, match="damaged or was not written by"):
        CrossModalIndex.load(path)
    rewrite(path, estimator_skops=pickle.dumps(Payload(mark)))
    with pytest.raises(ValueError, match="damaged or was not written by"):
        CrossModalIndex.load(path)
    path.write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(ValueError, match="damaged or was not written by"):
        CrossModalIndex.load(path)
    assert not mark.exists()


@pytest.mark.parametrize("place", ["attribute", "kernel", "deep"])
def test_a_call_hidden_in_the_estimator_is_refused_and_does_not_run(place, stored, tmp_path):
    index, path = stored
    mark = tmp_path / "mark"
    call = functools.partial(os.mkdir, str(mark))
    if place == "attribute":
        hidden = index.estimator_
        hidden.means_ = call
    elif place == "kernel":
        hidden = KCCA(kernel=os.mkdir)
    else:
        hidden = {"deep": "CDCCA", "params": {"callbacks": [call]}, "fitted": {}}
    rewrite(path, estimator_skops=skops.io.dumps(hidden))
    with pytest.raises(ValueError, match=r"not trusted: \[.*posix.mkdir"):
        CrossModalIndex.load(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["os", "__builtins__", "import_module", "HashingEstimator", None])
def test_only_the_public_deep_estimators_can_be_named(name, stored):
    _, path = stored
    rewrite(path, estimator_skops=skops.io.dumps({"deep": name}))
    with pytest.raises(ValueError, match="names an estimator|must be an object implementing"):
        CrossModalIndex.load(path)


def test_a_module_is_not_even_imported(stored, tmp_path, monkeypatch):
    _, path = stored
    (tmp_path / "unheard_of.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    schema = json.loads(ZipFile(BytesIO(skops.io.dumps(CCA()))).read("schema.json"))
    schema["__module__"] = "unheard_of"
    rewrite(path, estimator_skops=zipped({"schema.json": json.dumps(schema)}))
    with pytest.raises(ValueError, match="unheard_of.CCA"):
        CrossModalIndex.load(path)
    assert "unheard_of" not in sys.modules


def zipped(contents):
    file = BytesIO()
    with ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


def header(path, **changes):
    return json.dumps(json.loads(entries(path)["header.json"]) | changes)


UNIT = np.eye(80, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: {"header_json": None}, "header.json"),
        (lambda path: {"header_json": "[]"}, "version is not 1"),
        (lambda path: {"header_json": header(path, version=2)}, "version is not 1"),
        (lambda path: {"header_json": header(path, format="x")}, "its format is 'x'"),
        (lambda path: {"header_json": header(path, n_neighbors="x")}, "n_neighbors is x"),
        (lambda path: {"header_json": header(path, n_components="x")}, "n_components is x"),
        (lambda path: {"header_json": header(path, version=True)}, "version is not 1"),
        (lambda path: {"header_json": header(path, version=1.0)}, "version is not 1"),
        (lambda path: {"header_json": header(path, n_neighbors=10**400)}, "n_neighbors is 1000"),
        (lambda path: {"header_json": header(path, n_neighbors=2.0)}, "n_neighbors is 2.0, no int"),
        (lambda path: {"header_json": header(path, n_neighbors=True)}, "n_neighbors is True"),
        (lambda path: {"header_json": header(path, n_neighbors=0)}, "n_neighbors is 0"),
        (lambda path: {"header_json": header(path, n_components=10**400)}, "n_components is 1000"),
        (lambda path: {"header_json": header(path, n_components=2.0)}, "n_components is 2.0"),
        (lambda path: {"header_json": header(path, gallery="x")}, "gallery is 'x'; the views"),
        (lambda path: {"header_json": header(path, backend="x")}, "'backend' parameter"),
        (lambda path: {"header_json": header(path, gallery=3)}, "'gallery' parameter"),
        (lambda path: {"estimator_skops": None}, "estimator.skops"),
        (lambda path: {"estimator_skops": b"abc"}, "damaged"),
        (lambda path: {"estimator_skops": skops.io.dumps([1])}, "'estimator' parameter"),
        (lambda path: {"estimator_skops": skops.io.dumps(CCA())}, "not fitted"),
        (lambda path: {"estimator_skops": skops.io.dumps({"deep": "CDCCA"})}, "KeyError"),
        (lambda path: {"rows_npy": None}, "'rows'"),
        (lambda path: {"rows_npy": npy(UNIT)[:-8]}, "another size than its header says"),
        (lambda path: {"rows_npy": npy(UNIT) + b"0"}, "another size than its header says"),
        (lambda path: {"rows_npy": npy(UNIT[:, :1])}, r"shape \(80, 1\), not \(n, 2\)"),
        (lambda path: {"rows_npy": npy(UNIT[:0])}, r"shape \(0, 2\)"),
        (lambda path: {"rows_npy": npy(UNIT[:, :, None])}, r"shape \(80, 2, 1\)"),
        (lambda path: {"rows_npy": npy(UNIT.astype("i8"))}, "dtype int64"),
        (lambda path: {"rows_npy": npy(UNIT * np.nan)}, "not of norm 1"),
        (lambda path: {"rows_npy": npy(UNIT[:70])}, "There are 80 ids for 70 rows"),
        (lambda path: {"ids_npy": npy(np.zeros(80))}, "ids must be distinct"),
    ],
)
def test_a_damaged_file_is_refused(change, message, stored):
    _, path = stored
    rewrite(path, **change(path))
    with pytest.raises(ValueError, match=message) as caught:
        CrossModalIndex.load(path)
    assert str(path) in str(caught.value)


def test_bits_are_refused_where_they_do_not_fit(data, tmp_path):
    X, y = data
    path = tmp_path / "index"
    CrossModalIndex(UGACH(n_bits=12, max_epochs=1, device="cpu")).fit(X).save(path)
    rewrite(path, rows_npy=npy(np.zeros((80, 2), np.uint64)))
    with pytest.raises(ValueError, match=r"shape \(80, 2\), not \(n, 1\)"):
        CrossModalIndex.load(path)
    rewrite(path, rows_npy=npy(np.full((80, 1), 2**20, np.uint64)))
    with pytest.raises(ValueError, match="bits beyond the 12"):
        CrossModalIndex.load(path)
    rewrite(path, rows_npy=npy(np.zeros((80, 1))))
    with pytest.raises(ValueError, match="dtype float64, not uint64"):
        CrossModalIndex.load(path)


def test_a_compressed_entry_is_refused(stored):
    _, path = stored
    rewrite(path, ZIP_DEFLATED)
    with pytest.raises(ValueError, match="is compressed"):
        CrossModalIndex.load(path)


def deflated(contents):
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


def test_what_would_unpack_to_more_than_the_file_is_refused_before_it_is_read(stored):
    index, path = stored
    inside = entries(BytesIO(skops.io.dumps(index.estimator_)))
    array = next(name for name in inside if name.endswith(".npy"))
    huge = npy(np.zeros(3)).replace(b"(3,)", b"(3333333333,)".ljust(4))[:200]
    bombs = {
        "is compressed": deflated({**inside, "more": bytes(10**7)}),
        "another size than its header says": zipped({**inside, array: huge}),
        "unpacks to far more": zipped({**inside, "x.npz": deflated({"data.npy": bytes(10**7)})}),
    }
    for message, bomb in bombs.items():
        rewrite(path, estimator_skops=bomb)
        with pytest.raises(ValueError, match=message):
            CrossModalIndex.load(path)


def test_a_sparse_matrix_in_the_estimator_is_kept(tmp_path):
    rng = np.random.default_rng(0)
    X = {"audio": rng.random((30, 4)), "visual": rng.random((30, 5))}
    estimator = make_pipeline(PerView(StandardScaler()), CCA(2)).fit(X)
    estimator.steps[0][1].transformers_["audio"].matrix_ = csr_array(np.eye(2000))
    index, trusted = CrossModalIndex(estimator).fit(X), ["scipy.sparse._csr.csr_array"]
    with pytest.warns(UserWarning, match="csr_array"):
        index.save(tmp_path / "index")
    loaded = CrossModalIndex.load(tmp_path / "index", trusted=trusted).estimator_.steps[0][1]
    assert loaded.transformers_["audio"].matrix_.sum() == 2000


def test_devices_pipes_and_holes_are_refused_at_once(stored, tmp_path):
    _, path = stored
    for device in ("/dev/zero", "/dev/null", tmp_path / "pipe"):
        if device == tmp_path / "pipe":
            os.mkfifo(device)
        with pytest.raises(ValueError, match="no regular file|damaged"):
            CrossModalIndex.load(device)
    with path.open("r+b") as file:  # holes before the archive, where zip allows anything
        content = file.read()
        file.truncate(0)
        file.seek(10**11)
        file.write(content)
    with pytest.raises(ValueError, match="it is sparse"):
        CrossModalIndex.load(path)


def test_a_file_cut_or_changed_anywhere_is_refused_or_as_good(stored, data):
    index, path = stored
    queries = {"audio": data[0]["audio"]}
    content = path.read_bytes()
    rng = np.random.default_rng(9)
    refused = 0
    for place in rng.integers(len(content), size=60):
        flipped = bytes([content[place] ^ 255])
        for damaged in (content[:place], content[:place] + flipped + content[place + 1 :]):
            path.write_bytes(damaged)
            try:
                assert_same(
                    CrossModalIndex.load(path).kneighbors(queries), index.kneighbors(queries)
                )
            except ValueError:
                refused += 1
    assert refused > 110


def test_a_file_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        CrossModalIndex.load(tmp_path / "index")
