"""Views that are Dask collections: any chunks, lazily transformed, on a cluster of processes."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from scipy.sparse import csr_array
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCA, CCCA, CDCCA, CKCCA, KCCA, PerView, Views
from cca_estimators.datasets import make_views

dask = pytest.importorskip("dask", reason="dask is not installed")
da = pytest.importorskip("dask.array")

METHODS = [
    CCA(3),
    CCCA(),
    CCCA(4, pair_weight=0.3),
    CCCA(class_weight="balanced", reg={"audio": 0.1, "visual": "auto"}),
]
methods = pytest.mark.parametrize("method", METHODS, ids=str)


def new(method):
    return type(method)(**method.get_params())


def data(dtype=np.float64, shift=10.0):
    X, y = make_views(300, 4, (9, 11), shared_rank=3, imbalance=3.0, random_state=0)
    return Views({name: (rows + shift).astype(dtype) for name, rows in X.items()}), y


def lazy(X, *chunks):
    pairs = zip(X.items(), chunks, strict=True)
    return Views({name: da.from_array(rows, chunks=sizes) for (name, rows), sizes in pairs})


def unknown(rows, chunks):
    """Return a Dask array of rows whose chunk sizes are not known."""
    rows = da.from_array(rows, chunks=(chunks, *(-1 for _ in rows.shape[1:])))
    return rows[da.ones(len(rows), chunks=chunks, dtype=bool)]


def assert_equal(found, expected, X, tolerance=1e-10):
    np.testing.assert_allclose(found.correlations_, expected.correlations_, atol=tolerance)
    assert found.reg_ == pytest.approx(expected.reg_, rel=tolerance)
    for name in X:
        np.testing.assert_allclose(found.means_[name], expected.means_[name], rtol=tolerance)
        embedded = found.transform(X)[name], expected.transform(X)[name]
        np.testing.assert_allclose(*embedded, atol=10 * tolerance)


@methods
@pytest.mark.parametrize(
    "chunks",
    [
        ((300, 9), (300, 11)),
        ((100, 9), (100, 11)),
        ((7, 4), (7, 5)),
        ((100, 9), (32, 11)),
        (((1, 299), 9), ((150, 150), 11)),
    ],
    ids=str,
)
@pytest.mark.parametrize("lazy_labels", [False, True])
def test_chunks_do_not_matter(method, chunks, lazy_labels):
    X, y = data()
    labels = da.from_array(y, chunks=50) if lazy_labels else y
    found = new(method).fit(lazy(X, *chunks), labels)
    assert_equal(found, new(method).fit(X, y), X)


@methods
def test_sizes_of_chunks_may_be_unknown(method):
    X, y = data()
    views = Views({name: unknown(rows, 70) for name, rows in X.items()})
    assert np.isnan(views["audio"].shape[0])
    for labels in (y, unknown(y, 70)):
        found = new(method).fit(views, labels)
        assert_equal(found, new(method).fit(X, y), X)
    embedded = found.transform(views)["audio"]
    np.testing.assert_allclose(embedded.compute(), found.transform(X)["audio"])


def test_frames_and_labels_of_any_type():
    dd = pytest.importorskip("dask.dataframe")
    X, y = data()
    names = np.array(["rain", "wind", "sea", "fire"])[y]
    views = {
        name: dd.from_pandas(pd.DataFrame(rows), npartitions=3, sort=False)
        for name, rows in X.items()
    }
    labels = dd.from_pandas(pd.Series(names, dtype=object), npartitions=3, sort=False)
    expected = CCCA().fit(X, names)
    for given in (labels, names, list(names)):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Dask currently has limited support")
            found = CCCA().fit(views, given)
        assert_equal(found, expected, X)
        assert found.classes_.tolist() == expected.classes_.tolist()
    assert isinstance(found.transform(views)["visual"], da.Array)


def several_labels(y):
    """Return an indicator of five labels, of which none has the fourth."""
    members = np.insert(np.eye(4, dtype=int)[y], 3, 0, axis=1)
    members[::3, 0] = 1
    return members


@pytest.mark.parametrize("method", METHODS[1:], ids=str)
def test_rows_may_have_several_labels(method):
    X, y = data()
    members = several_labels(y)
    expected = new(method).fit(X, members)
    in_chunks = da.from_array(members, chunks=(50, 2))
    views = lazy(X, (70, 4), (70, 11))
    for labels in (members, csr_array(members), pd.DataFrame(members), in_chunks):
        found = new(method).fit(views, labels)
        assert_equal(found, expected, X)
        assert found.classes_.tolist() == [0, 1, 2, 4]
    sizes_not_known = Views({name: unknown(rows, 70) for name, rows in X.items()})
    assert_equal(new(method).fit(sizes_not_known, unknown(members, 70)), expected, X)


def test_a_row_without_a_label_and_what_is_no_indicator_are_refused():
    X, y = data()
    views, members = lazy(X, (70, 9), (70, 11)), several_labels(y)
    with pytest.raises(ValueError, match=r"y has shape \(\d+, 5\), that is several labels"):
        CCCA().fit(views, da.from_array(2 * members, chunks=50))
    members[80] = 0
    for labels in (members, da.from_array(members, chunks=50)):
        with pytest.raises(ValueError, match="1 rows without a label, the first of them its row"):
            CCCA().fit(views, labels)


def test_some_chunks_may_be_empty_and_lack_classes():
    X, y = data()
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    kept = da.from_array(y >= 1, chunks=20)
    views = {name: rows[kept] for name, rows in lazy(X, (20, 9), (20, 11)).items()}
    found = CCCA(3, pair_weight=0.2).fit(views, da.from_array(y, chunks=20)[kept])
    assert_equal(found, CCCA(3, pair_weight=0.2).fit(X[y >= 1], y[y >= 1]), X)


def test_float32_and_integers():
    X, y = data(np.float32)
    found, expected = CCCA().fit(lazy(X, (64, 9), (64, 11)), y), CCCA().fit(X, y)
    assert_equal(found, expected, X, 1e-4)
    assert found.transform(lazy(X, (64, 9), (64, 11)))["audio"].dtype == np.float32
    X = Views({name: (10 * rows).astype(np.int16) for name, rows in X.items()})
    assert_equal(CCCA().fit(lazy(X, (64, 9), (64, 11)), y), CCCA().fit(X, y), X)


def test_transform_is_lazy_and_takes_sequences():
    X, y = data()
    steps = Views(audio=X["audio"].reshape(300, 3, 3), visual=X["visual"])
    views = lazy(steps, (64, 2, 2), (64, 11))
    found = CCCA().fit(views, y)
    assert_equal(found, CCCA().fit(steps, y), steps)
    computed = []
    slow = views["audio"].map_blocks(lambda block: computed.append(1) or block, dtype=float)
    computed.clear()
    embedded = found.transform({"audio": slow})
    assert list(embedded) == ["audio"]
    assert (embedded["audio"].shape, embedded["audio"].chunks[0][0]) == ((300, 3), 64)
    assert not computed
    np.testing.assert_allclose(embedded["audio"].compute(), found.transform(steps)["audio"])


def error_of(X, y=None, estimator=None, kind=ValueError):
    estimator = estimator or CCCA()
    before = vars(estimator).copy()
    with pytest.raises(kind) as caught:
        estimator.fit(X, y)
    assert vars(estimator) == before
    return str(caught.value)


def test_what_is_wrong_is_named():
    X, y = data()
    views = lazy(X, (100, 9), (100, 11))
    broken = X["visual"].copy()
    broken[250, 3] = np.nan
    broken = Views(views, visual=da.from_array(broken, chunks=(100, 11)))
    assert "In chunk 2 of the rows: View 'visual' contains NaN" in error_of(broken, y)
    assert "row 50, feature 3" in error_of(broken, y)
    shorter = unknown(X["visual"][:290], 100)
    message = error_of({"audio": views["audio"], "visual": shorter}, y)
    assert "In chunk 2 of the rows: The views do not align" in message
    message = error_of({"audio": views["audio"], "visual": unknown(X["visual"], 60)}, y)
    assert "'visual' has 5 chunks, 'audio' has 3, and sizes that are not known" in message
    assert "The views do not align" in error_of(
        {"audio": views["audio"], "visual": views["visual"][:200]}, y
    )
    assert "X has 300 rows, and y 299 labels" in error_of(views, y[:-1])
    assert "'y' has 200 rows, 'X' has 300" in error_of(views, da.from_array(y[:200]))
    assert "requires y to be passed" in error_of(views)
    assert "one class only" in error_of(views, np.zeros(300, int))
    assert "Unknown label type" in error_of(views, da.from_array(y + 0.5))
    assert "1 row(s)" in error_of(lazy(X[:1], (1, 9), (1, 11)), None, CCA(2))
    few = {name: unknown(rows[:1], 1) for name, rows in X.items()}
    assert "X has 1 row(s)" in error_of(few, None, CCA(2))
    text = da.from_array(np.full((300, 2), "a"))
    assert "pass real numbers" in error_of({"audio": text, "visual": views["visual"]}, y)
    message = error_of({"audio": X["audio"], "visual": views["visual"]}, y, kind=TypeError)
    assert "View 'audio' is no Dask collection" in message


def test_what_does_not_read_dask_says_so():
    X, y = data()
    views = lazy(X, (100, 9), (100, 11))
    for estimator in (KCCA(2), CKCCA(), PerView(StandardScaler())):
        assert "is a Dask collection, which" in error_of(views, y, estimator, TypeError)
    stacked = da.from_array(np.hstack(list(X.values())))
    assert "X is one Dask collection" in error_of(stacked, y, CCA(2), TypeError)
    with pytest.raises(TypeError, match="partial_fit does not read"):
        CCA(2).partial_fit(views)


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
        )
        with cluster, distributed.Client(cluster) as client:
            yield client


pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::ResourceWarning")


def test_a_cluster_gives_the_fit_of_one_process(client):
    X, y = data()
    views = lazy(X, (40, 9), (40, 11))
    for method in METHODS:
        assert_equal(new(method).fit(views, y), new(method).fit(X, y), X)
    with pytest.raises(ValueError, match=r"In chunk \d of the rows: View 'audio' contains NaN"):
        CCA(2).fit(Views(views, audio=views["audio"] * np.nan))


def test_no_chunk_travels_to_the_client(client, monkeypatch):
    received, gather = [], client.gather

    def recorded(*args, **options):
        found = gather(*args, **options)
        received.append(len(pickle.dumps(found)))
        return found

    monkeypatch.setattr(client, "gather", recorded)
    views = {
        name: da.random.default_rng(seed).normal(size=(20_000, width), chunks=(5_000, width))
        for seed, (name, width) in enumerate({"audio": 9, "visual": 11}.items())
    }
    labels = (views["audio"][:, 0] > 0).astype(int)
    CCCA().fit(views, labels)
    moments = (9 * 9 + 9 * 11 + 11 * 11) * 8
    assert moments < sum(received) < views["audio"].nbytes / 4 / 10  # of a chunk


def _slow(block, folder):
    """Take a while, and leave the process id, so that a test can kill who computes."""
    (folder / f"{os.getpid()}").touch()
    time.sleep(0.3)
    return block


def test_a_killed_worker_loses_nothing(client, tmp_path):
    X, y = data()
    views = lazy(X, (20, 9), (20, 11))
    slow = views["audio"].map_blocks(_slow, tmp_path, dtype=float, meta=np.empty((0, 9)))
    killed = []
    killer = threading.Thread(target=_kill_who_computes, args=(tmp_path, killed))
    killer.start()
    found = CCCA().fit({"audio": slow, "visual": views["visual"]}, y)
    killer.join()
    assert len(killed) == 1
    assert_equal(found, CCCA().fit(X, y), X)


def _kill_who_computes(folder, killed):
    while not (seen := list(folder.iterdir())):
        time.sleep(0.01)
    killed.append(int(seen[0].name))
    os.kill(killed[0], signal.SIGKILL)


def test_the_example_runs():
    example = Path(__file__).parents[1] / "examples" / "distributed" / "dask_cluster.py"
    pytest.importorskip("distributed")
    command = [sys.executable, str(example), "--rows", "2000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "Best ridge:" in done.stdout


def test_a_search_on_the_cluster_gives_identical_scores(client):
    X, y = data()
    pipeline = Pipeline([("scale", PerView(StandardScaler())), ("method", CCCA())])
    deep = CDCCA(hidden_layer_sizes=(8,), max_epochs=1, random_state=0, device="cpu")
    search = GridSearchCV(pipeline, {"method": [CCCA(), CKCCA(), deep]}, cv=StratifiedKFold(2))
    expected = search.fit(X, y).cv_results_["mean_test_score"]
    with parallel_config(backend="dask", scatter=[X]):
        found = search.fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, expected)
