"""Kills, signals, damage and threads: nothing is lost, and nothing hangs or is wrong in silence.

In its short form a few of each; ``--long`` many.
"""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cca_estimators import CCA, CCCA, KCCA, CrossModalIndex, Views, cross_modal_map, load, save
from cca_estimators.datasets import make_views

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.slow
SAVING = """
import sys
import numpy as np
from cca_estimators import CCA, CrossModalIndex
rng = np.random.default_rng(0)
X = {"audio": rng.standard_normal((200_000, 4)), "visual": rng.standard_normal((200_000, 5))}
index = CrossModalIndex(CCA(2)).fit(X)
index.save(sys.argv[1])
print("saved", flush=True)
while True:
    index.save(sys.argv[1])
"""


@pytest.fixture
def n_times(request):
    """Return how often to try."""
    return 20 if request.config.getoption("--long") else 3


def started(command, **options):
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which a shell may have ignored
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=heed, **options
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_save_that_is_ended_leaves_a_whole_file(how, n_times, tmp_path):
    path, rng = tmp_path / "index", np.random.default_rng(int(how))
    for _ in range(n_times if how == signal.SIGKILL else 1):
        with started([sys.executable, "-c", SAVING, str(path)]) as process:
            assert process.stdout.readline() == b"saved\n"
            time.sleep(rng.uniform(0, 0.1))
            process.send_signal(how)
            process.communicate(timeout=60)
        assert CrossModalIndex.load(path).n_samples_fit_ == 200_000
    beside = {file.name[:16] for file in tmp_path.iterdir()} - {"index"}
    assert beside <= ({".cca_estimators-"} if how != signal.SIGINT else set())


@pytest.mark.parametrize("method", [CCCA(), KCCA(2)], ids=["CCCA", "KCCA"])
def test_a_file_damaged_anywhere_is_refused_or_as_good(method, n_times, tmp_path):
    X, y = make_views(60, 3, (4, 5), shared_rank=1, random_state=0)
    path = tmp_path / "model"
    save(method.fit(X, y), path)
    content, expected = path.read_bytes(), method.transform(X)["audio"]
    rng = np.random.default_rng(0)
    for place in rng.integers(len(content), size=20 * n_times):
        flipped = bytes([content[place] ^ (1 << int(rng.integers(8)))])
        zeros = bytes(min(64, len(content) - place))
        for damaged in (
            content[:place],
            content[:place] + flipped + content[place + 1 :],
            content[:place] + zeros + content[place + len(zeros) :],
            content[place:],
        ):
            path.write_bytes(damaged)
            try:
                again = load(path).transform(X)["audio"]
            except ValueError as error:
                assert str(path) in str(error)  # noqa: PT017
            else:
                np.testing.assert_array_equal(again, expected)


def test_threads_give_the_same_bits_as_one(n_times):
    X, y = make_views(200, 3, (6, 7), shared_rank=2, random_state=0)

    def work(seed):
        model = (CCA(2), CCCA(), KCCA(2))[seed % 3].fit(X, y)
        index = CrossModalIndex(model, n_neighbors=4).fit(X)
        return (
            *index.kneighbors({"audio": X["audio"]}),
            cross_modal_map(model, X, y),
            model.transform(X)["visual"],
        )

    alone = [work(seed) for seed in range(3)]
    with ThreadPoolExecutor(6) as pool:
        for seed, parts in enumerate(pool.map(work, range(10 * n_times))):
            for part, expected in zip(parts, alone[seed % 3], strict=True):
                np.testing.assert_array_equal(part, expected)


def test_one_fitted_estimator_serves_several_threads(n_times):
    X, y = make_views(300, 3, (6, 7), shared_rank=2, random_state=0)
    model = CCCA().fit(X, y)
    expected = model.transform(X)["audio"]
    with ThreadPoolExecutor(6) as pool:
        for got in pool.map(lambda _: model.transform(Views(X))["audio"], range(20 * n_times)):
            np.testing.assert_array_equal(got, expected)


def test_a_killed_run_of_the_table_leaves_no_worker_and_its_results(tmp_path):
    out, views = tmp_path / "table.csv", tmp_path / "views"
    views.mkdir()
    command = [sys.executable, BENCHMARKS / "poster_table.py", "--data", "generated:300"]
    command += ["--methods", "C-CCA", "CCA", "--folds", "2", "--out", out]
    environment = {**os.environ, "TMPDIR": str(views)}
    store = out.with_suffix(".jsonl")
    with started(command, env=environment, start_new_session=True) as run:
        deadline = time.monotonic() + 240
        while not (store.exists() and store.read_bytes().endswith(b"\n")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(run.pid, signal.SIGKILL)
    kept = store.read_bytes().splitlines()
    deadline = time.monotonic() + 60
    while _group_is_there(run.pid):
        assert time.monotonic() < deadline, "a worker is still there"
        time.sleep(0.2)
    store.write_bytes(b'[1]\n{"key": 3}\n\xff\xfe\n"word"\n' + store.read_bytes() + b'{"torn')
    again = subprocess.run(command, env=environment, capture_output=True, timeout=240, check=True)
    assert f"{len(kept)} of 4 results are in" in again.stdout.decode()
    assert not list(views.iterdir())


def _group_is_there(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
