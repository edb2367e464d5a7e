"""Galleries on disk and in parts: equal to one in memory, atomic, bounded in memory and safe."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise

import h5py
import numpy as np
import pytest
from given import Given

from cca_estimators import CCCA, CrossModalIndex, Views
from cca_estimators.datasets import make_views
from cca_estimators.retrieval import _shards, _stream
from cca_estimators.retrieval._shards import Shards

TRUST = [f"{Given.__module__}.Given"]


@pytest.fixture
def fitted():
    X, y = make_views(300, 4, (8, 12), random_state=0)
    X = Views({name: rows.astype(np.float32) for name, rows in X.items()})
    return CCCA().fit(X, y), X


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(_stream, "_PART_BYTES", 8 * 12 * 37)
    monkeypatch.setattr(_shards, "_SHARD_BYTES", 1000)


def assert_same(found, expected, X, n_neighbors=7):
    for name in X:
        queries = {name: X[name][:40]}
        distances, rows = found.kneighbors(queries, n_neighbors)
        known, neighbors = expected.kneighbors(queries, n_neighbors)
        np.testing.assert_allclose(distances, known, atol=1e-6)  # blocks may be rounded otherwise
        assert (rows == neighbors).mean() > 0.97


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def names_of(index):
    """Return the names of the files that the gallery of an index consists of."""
    named = {shard[kind] for shard in index._folder.shards for kind in ("rows", "ids")}
    return (named - {None}) | {"manifest.json", index._folder._estimator}


def test_shards_are_indexed_as_one_array():
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((n, 3)) for n in (4, 1, 7, 2)]
    whole, shards = np.concatenate(parts), Shards(parts)
    assert (len(shards), shards.shape, shards.dtype) == (14, (14, 3), whole.dtype)
    for start in range(15):
        for stop in range(start, 16):
            np.testing.assert_array_equal(shards[start:stop], whole[start:stop])
    for numbers in ([], [3, 0, 13, 4, 5, 4], [[1, 12], [4, 5]]):
        numbers = np.array(numbers, int)
        np.testing.assert_array_equal(shards[numbers], whole[numbers])
    texts = Shards([np.array(["a", "b"]), np.array(["long"])])
    assert texts[np.array([2, 0])].tolist() == ["long", "a"]


@pytest.mark.parametrize("ids", [None, np.arange(300) + 1000, [f"clip{i}" for i in range(300)]])
def test_a_gallery_on_disk_answers_as_one_in_memory(fitted, tmp_path, ids):
    estimator, X = fitted
    expected = CrossModalIndex(estimator).fit({"visual": X["visual"]}, ids=ids)
    folder = tmp_path / "gallery"
    index = CrossModalIndex(estimator).fit({"visual": X["visual"]}, ids=ids, folder=folder)
    assert len(index._folder.shards) == 3
    for found in (index, CrossModalIndex.load(folder)):
        assert_same(found, expected, X)
        assert found.folder_ == folder
        assert found.n_samples_fit_ == 300


def test_files_and_blocks_stream_in(fitted, tmp_path):
    estimator, X = fitted
    ids = np.arange(300)
    expected = CrossModalIndex(estimator).fit({"visual": X["visual"]}, ids=ids)
    np.save(tmp_path / "visual.npy", X["visual"])
    with h5py.File(tmp_path / "X.h5", "w") as file:
        file["visual"] = X["visual"]
        sources = [
            {"visual": file["visual"]},
            {"visual": np.load(tmp_path / "visual.npy", mmap_mode="r")},
        ]
        for number, source in enumerate(sources):
            folder = tmp_path / str(number)
            assert_same(CrossModalIndex(estimator).fit(source, ids=ids, folder=folder), expected, X)
    edges = [0, 1, 120, 300]
    for folder in (None, tmp_path / "blocks"):
        blocks = ({"visual": X["visual"][a:b]} for a, b in pairwise(edges))
        own = (ids[a:b] for a, b in pairwise(edges))
        assert_same(CrossModalIndex(estimator).fit(blocks, ids=own, folder=folder), expected, X)


def test_dask_chunks_stream_in(fitted, tmp_path):
    da = pytest.importorskip("dask.array")
    estimator, X = fitted
    expected = CrossModalIndex(estimator).fit({"visual": X["visual"]})
    lazy = {"visual": da.from_array(X["visual"], chunks=(70, 5))}
    for folder in (None, tmp_path / "gallery"):
        assert_same(CrossModalIndex(estimator).fit(lazy, folder=folder), expected, X)


def test_add_writes_shards_and_rewrites_none(fitted, tmp_path):
    estimator, X = fitted
    ids = [f"clip{i}" for i in range(300)]
    expected = CrossModalIndex(estimator).fit({"visual": X["visual"]}, ids=ids)
    folder = tmp_path / "gallery"
    index = CrossModalIndex(estimator)
    index.fit({"visual": X["visual"][:100]}, ids=ids[:100], folder=folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / f"rows-{'0' * 16}.npy").touch()
    (folder / f".cca_estimators-{'0' * 16}.part").touch()
    (folder / "notes.txt").touch()
    index.add({"visual": X["visual"][100:]}, ids=ids[100:])
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    del before["manifest.json"]
    assert before.items() <= after.items()
    assert "notes.txt" in after
    assert not any("0" * 16 in name for name in after)
    assert_same(index, expected, X)
    assert_same(CrossModalIndex.load(folder), expected, X)
    index.save(tmp_path / "copy")
    shutil.rmtree(folder)
    assert_same(CrossModalIndex.load(tmp_path / "copy"), expected, X)


def test_a_new_fit_replaces_the_gallery(fitted, tmp_path):
    estimator, X = fitted
    CrossModalIndex(estimator).fit({"visual": X["visual"]}, folder=tmp_path)
    index = CrossModalIndex(estimator, n_neighbors=3).fit(
        {"visual": X["visual"][:50]}, folder=tmp_path
    )
    index.add({"visual": X["visual"][50:60]})  # sweeps
    assert CrossModalIndex.load(tmp_path).n_samples_fit_ == 60
    assert set(names_in(tmp_path)) == names_of(index)
    index.n_neighbors = 4
    index.save(tmp_path)
    assert CrossModalIndex.load(tmp_path).n_neighbors == 4


def codes(n, seed=0):
    return np.random.default_rng(seed).integers(2, size=(n, 70), dtype=np.uint8)


@pytest.mark.parametrize("metric", ["cosine", "hamming"])
@pytest.mark.parametrize("backend", ["exact", "faiss"])
def test_exhaustive_backends_agree(tmp_path, metric, backend):
    rows, queries = (codes(n, n) for n in (400, 30))
    if metric == "cosine":
        rows, queries = rows - 0.5 + np.linspace(0, 1, 70), queries - 0.4
    expected = CrossModalIndex(Given(metric)).fit({"visual": rows}).kneighbors({"a": queries}, 9)
    index = CrossModalIndex(Given(metric), backend=backend)
    with pytest.warns(UserWarning, match="not trusted when it is loaded"):
        index.fit({"visual": rows}, folder=tmp_path)
    for found in (index, CrossModalIndex.load(tmp_path, trusted=TRUST)):
        distances, neighbors = found.kneighbors({"a": queries}, 9)
        np.testing.assert_allclose(distances, expected[0], atol=1e-6)
        assert (neighbors == expected[1]).mean() > (0.99 if backend == "exact" else 0.9)


APPROXIMATE = [
    ("cosine", "faiss", "IVF32,Flat", {"nprobe": 12}),
    ("cosine", "faiss", "IVF32,SQ8", {"nprobe": 16, "shortlist": 60}),
    ("hamming", "faiss", "BIVF8", {"nprobe": 6}),
    ("cosine", "usearch", None, {"connectivity": 16, "expansion_search": 128}),
    ("hamming", "usearch", None, {"shortlist": 80}),
]


@pytest.mark.parametrize(("metric", "backend", "factory", "options"), APPROXIMATE)
@pytest.mark.filterwarnings("ignore:The estimator holds types")
def test_approximate_search_ranks_its_candidates_exactly(
    tmp_path, metric, backend, factory, options
):
    pytest.importorskip(backend)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((3000, 10)).astype(np.float32)
    if metric == "hamming":
        rows = (rows @ rng.standard_normal((10, 64)) > 0).astype(np.uint8)
    rows, queries = rows[:2900], rows[2900:]
    exact = CrossModalIndex(Given(metric)).fit({"visual": rows})
    known, neighbors = exact.kneighbors({"a": queries}, 10)
    chosen = {"backend": backend, "factory": factory, "backend_options": options}
    for folder in (None, tmp_path):
        index = CrossModalIndex(Given(metric), **chosen).fit({"visual": rows}, folder=folder)
        distances, found = index.kneighbors({"a": queries}, 10)
        assert (distances <= np.maximum(known[:, -1:], distances)).all()
        recall = np.mean([np.isin(a, b).mean() for a, b in zip(found, neighbors, strict=True)])
        tied = (distances == known).mean()  # ties in bits: any of them will do
        assert max(recall, tied) > 0.9
        assert (np.diff(distances, axis=1) >= 0).all()
    loaded = CrossModalIndex.load(tmp_path, trusted=TRUST)
    assert loaded.get_params()["backend_options"] == options
    assert loaded.kneighbors({"a": queries}, 10)[1].shape == (100, 10)


def test_too_few_candidates_are_made_up_for_by_an_exact_search():
    pytest.importorskip("faiss")
    rows = np.random.default_rng(0).standard_normal((2000, 4)).astype(np.float32)
    index = CrossModalIndex(
        Given(), backend="faiss", factory="IVF50,Flat", backend_options={"nprobe": 1}
    ).fit({"visual": rows})
    found = index.kneighbors({"a": rows[:5]}, 1500)[1]
    expected = CrossModalIndex(Given()).fit({"visual": rows}).kneighbors({"a": rows[:5]}, 1500)[1]
    np.testing.assert_array_equal(np.sort(found), np.sort(expected))


def test_what_is_wrong_is_named_and_leaves_the_gallery(fitted, tmp_path):
    estimator, X = fitted
    views, ids = {"visual": X["visual"]}, np.arange(300)
    index = CrossModalIndex(estimator).fit(views, ids=ids, folder=tmp_path)

    def refused(message, call, *arguments, kind=ValueError, **options):
        with pytest.raises(kind, match=message):
            call(*arguments, **options)
        assert_same(CrossModalIndex.load(tmp_path), index, X)

    refused("distinct, but 7 occurs", index.add, {"visual": X["visual"][:1]}, ids=[7])
    refused("There are 2 ids for 1 rows", index.add, {"visual": X["visual"][:1]}, ids=[500, 501])
    refused("use one type", index.add, {"visual": X["visual"][:1]}, ids=["a"])
    refused("pass ids for those", index.add, views)
    new = CrossModalIndex(estimator)
    refused("distinct", new.fit, views, ids=np.zeros(300, int), folder=tmp_path)
    refused("There are 3 ids for 300", new.fit, views, ids=[1, 2, 3], folder=tmp_path)
    refused("X holds no rows", new.fit, iter([]), folder=tmp_path)
    refused(
        "not as many blocks of rows as of ids", new.fit, [views, views], ids=[ids], folder=tmp_path
    )
    broken = [views, {"visual": X["visual"][:, :5]}]
    refused("has 5 features", new.fit, iter(broken), folder=tmp_path)
    assert not hasattr(new, "estimator_")
    refused("is for backend='faiss'", CrossModalIndex(estimator, factory="Flat").fit, views)
    options = {"backend_options": {"nprobe": 3}}
    refused("not backend='exact'", CrossModalIndex(estimator, **options).fit, views)
    refused(r"ends in '.csv'; known are", index.export, tmp_path / "x.csv")


def test_a_manifest_leads_nowhere_else(fitted, tmp_path):
    estimator, X = fitted
    folder = tmp_path / "gallery"
    CrossModalIndex(estimator).fit({"visual": X["visual"]}, folder=folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    np.save(tmp_path / "outside.npy", np.ones((3, 3), np.float32))
    objects = folder / f"rows-{'a' * 16}.npy"
    np.save(objects, np.array([[{}]]), allow_pickle=True)
    link = folder / f"rows-{'b' * 16}.npy"
    link.symlink_to(tmp_path / "outside.npy")
    shard = manifest["shards"][0]
    changes = [
        {"format": "another"},
        {"version": 2},
        {"version": True},
        {"shards": []},
        {"shards": None},
        {"shards": [shard | {"rows": "../outside.npy"}]},
        {"shards": [shard | {"rows": objects.name}]},
        {"shards": [shard | {"rows": link.name, "n": 3}]},
        {"shards": [shard | {"n": 10**30}]},
        {"shards": [shard | {"n": shard["n"] - 1}]},
        {"shards": [shard | {"ids": shard["rows"]}, manifest["shards"][1]]},
        {"estimator": "../../x.zip"},
        {"n_components": 10**400},
        {"n_components": 2},
        {"gallery": "smell"},
        {"backend": "cloud"},
        {"factory": 3},
    ]
    for change in changes:
        (folder / "manifest.json").write_text(json.dumps(manifest | change))
        with pytest.raises(ValueError):
            CrossModalIndex.load(folder)
    for text in ("", "{", "[]", "null"):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(ValueError, match="holds no index"):
            CrossModalIndex.load(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert CrossModalIndex.load(folder).n_samples_fit_ == 300


@pytest.mark.parametrize("ids", [None, [f"clip{i}" for i in range(300)]])
@pytest.mark.parametrize("on_disk", [False, True])
def test_export(fitted, tmp_path, ids, on_disk):
    estimator, X = fitted
    folder = tmp_path / "gallery" if on_disk else None
    index = CrossModalIndex(estimator).fit({"visual": X["visual"]}, ids=ids, folder=folder)
    rows = index._backend.gallery[0:300]
    index.export(tmp_path / "vectors.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "vectors.npy"), rows)
    assert (tmp_path / "vectors.ids.npy").exists() == (ids is not None)
    parquet = pytest.importorskip("pyarrow.parquet")
    index.export(tmp_path / "vectors.parquet")
    table = parquet.read_table(tmp_path / "vectors.parquet")
    assert table["id"].to_pylist() == (list(range(300)) if ids is None else ids)
    np.testing.assert_array_equal(np.array(table["vector"].to_pylist(), rows.dtype), rows)


WRITER = """
import sys, numpy as np
from cca_estimators import CrossModalIndex
index = CrossModalIndex.load(sys.argv[1])
rows = np.random.default_rng(0).standard_normal((500, 12))
print("ready", flush=True)
while True:
    first = index.n_samples_fit_
    index.add({"visual": rows}, ids=np.arange(first, first + 500))
"""


def test_a_killed_writer_leaves_the_old_gallery_or_the_new_one(fitted, tmp_path):
    estimator, X = fitted
    folder, delays = tmp_path / "gallery", np.random.default_rng(0).uniform(0, 0.15, 3)
    index = CrossModalIndex(estimator)
    index.fit({"visual": X["visual"]}, ids=np.arange(300), folder=folder)
    expected = index.kneighbors({"audio": X["audio"][:5]})
    for delay in delays:
        command = [sys.executable, "-c", WRITER, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(delay)
            os.kill(writer.pid, signal.SIGKILL)
        loaded = CrossModalIndex.load(folder)
        assert (loaded.n_samples_fit_ - 300) % 500 == 0
        known = np.arange(loaded.n_samples_fit_)
        np.testing.assert_array_equal(loaded.ids_[0 : len(known)], known)
        loaded.kneighbors({"audio": X["audio"][:5]})
    loaded.add({"visual": X["visual"][:1]}, ids=[10**6])
    assert set(names_in(folder)) == names_of(loaded)
    assert expected[0].shape == (5, 5)


LIMITED = """
import resource, sys, numpy as np
from cca_estimators import CrossModalIndex
index = CrossModalIndex.load(sys.argv[1])
used = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")]
limit = used[0] * 1024 + 100 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    np.ones(160 * 2**20, np.uint8)
except MemoryError:
    print("limited")
queries = np.random.default_rng(1).standard_normal((50, 15))
distances, ids = index.kneighbors({"visual": queries}, 10)
print(index.n_samples_fit_, len(set(ids.ravel())) > 100)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_a_gallery_larger_than_the_memory_allowed_is_served(fitted, tmp_path, monkeypatch):
    monkeypatch.undo()
    X, y = make_views(400, 11, (15, 15), random_state=0)
    estimator = CCCA().fit(X, y)  # of 10 components
    rng = np.random.default_rng(0)
    blocks = ({"visual": rng.standard_normal((250_000, 15), np.float32)} for _ in range(17))
    CrossModalIndex(estimator).fit(blocks, folder=tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.glob("rows-*.npy"))
    assert size > 160 * 2**20
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout == f"limited\n{17 * 250_000} True\n", done.stderr
