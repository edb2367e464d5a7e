"""The script of the poster's protocol, and what the benchmarks share."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCCA, PerView, Views, cross_modal_scores
from cca_estimators.datasets import make_views

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def poster(monkeypatch):
    """Return the script, which runs its tasks in this process."""
    script = importlib.import_module("poster_table")
    monkeypatch.setattr(script, "in_fresh_process", lambda function, *rest: function(*rest))
    return script


@pytest.fixture
def common():
    return importlib.import_module("_common")


def tiny():
    X, y = make_views(90, 3, (8, 12), shared_rank=2, random_state=0)
    return Views({name: rows.astype(np.float32) for name, rows in X.items()}), y


@pytest.fixture
def npz(tmp_path):
    X, y = tiny()
    np.savez(tmp_path / "tiny.npz", labels=y, **X)
    return tmp_path / "tiny.npz"


def arguments(npz, *others):
    out = ["--out", str(npz.with_suffix(".csv"))]
    return ["--data", str(npz), "--methods", "C-CCA", "KCCA", *out, *others]


def lines(npz):
    return npz.with_suffix(".jsonl").read_text().splitlines()


def test_figures_are_those_of_cross_validate(poster, npz, capsys):
    assert poster.main(arguments(npz)) == 0
    X, y = tiny()
    scores = cross_validate(
        make_pipeline(PerView(StandardScaler()), CCCA()),
        X,
        y,
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
        scoring=cross_modal_scores,
    )
    folds = [result for result in map(json.loads, lines(npz)) if result["method"] == "C-CCA"]
    folds = sorted(folds, key=lambda result: result["fold"])
    for way in ("audio_to_visual", "visual_to_audio"):
        np.testing.assert_allclose([fold[way] for fold in folds], scores[f"test_map_{way}"])
    there = 100 * scores["test_map_audio_to_visual"]
    row = npz.with_suffix(".csv").read_text().splitlines()[1].split(",")
    assert row[:2] == ["C-CCA", "5"]
    np.testing.assert_allclose(np.array(row[2:4], float), [there.mean(), there.std()])
    assert row[-4:] == ["65.16", "64.35", "19.71", "19.62"]
    text = capsys.readouterr().out
    assert f"{there.mean():.2f} ± {there.std():.2f}" in text
    assert "of other data than these" in text


def test_a_second_run_runs_what_is_missing_and_nothing_else(poster, npz, monkeypatch):
    poster.main(arguments(npz, "--folds", "2"))
    first = lines(npz)
    store = npz.with_suffix(".jsonl")
    store.write_text("\n".join([first[0], first[2], first[3][:20]]))  # one lost, one torn
    ran = []

    def counted(function, task, n_threads):
        ran.append((task.method_name, task.fold))
        return function(task, n_threads)

    monkeypatch.setattr(poster, "in_fresh_process", counted)
    poster.main(arguments(npz, "--folds", "2"))
    lost = [json.loads(first[row]) for row in (1, 3)]
    assert sorted(ran) == sorted((result["method"], result["fold"]) for result in lost)
    assert set(poster.read_results(store)) == {json.loads(line)["key"] for line in first}
    ran.clear()
    poster.main(arguments(npz, "--folds", "2"))
    assert ran == []


def test_other_data_settings_or_folds_are_other_results(poster, npz, monkeypatch):
    def keys(n_folds=1):
        folder = npz.parent / "views"
        data = poster.read_data(str(npz), None, folder, sequences=False)
        return {task.key for task in poster.tasks_of(data, ["C-CCA"], n_folds)}

    first = keys()
    assert keys() == first
    assert len(keys(2) - first) == 1
    monkeypatch.setitem(poster.METHODS, "C-CCA", poster.Method("CCCA", {"reg": 0.5}))
    assert keys().isdisjoint(first)
    monkeypatch.undo()
    with np.load(npz) as stored:
        changed = {**stored, "audio": stored["audio"] + (np.arange(90) == 4)[:, None]}
    np.savez(npz, **changed)
    assert keys().isdisjoint(first)


def test_a_method_that_fails_leaves_the_others(poster, npz, monkeypatch, capsys):
    monkeypatch.setitem(poster.METHODS, "KCCA", poster.Method("KCCA", {"reg": -1.0}))
    assert poster.main(arguments(npz, "--folds", "1")) == 1
    assert [json.loads(line)["method"] for line in lines(npz)] == ["C-CCA"]
    assert "KCCA failed: InvalidParameterError: The 'reg'" in capsys.readouterr().err


def test_markdown_names_data_and_no_path(poster, npz, monkeypatch):
    given = arguments(npz, "--folds", "1", "--out", str(npz.with_suffix(".md")))
    monkeypatch.setattr(sys, "argv", [str(FOLDER / "poster_table.py"), *given])
    poster.main(given)
    text = npz.with_suffix(".md").read_text()
    assert "`python benchmarks/poster_table.py --data tiny.npz" in text
    assert "tiny.npz: 90 rows, 3 classes." in text
    assert str(npz.parent) not in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--data", "nowhere.h5"], "--data nowhere.h5 is not there. Give a file or folder"),
        (["--data", "{folder}"], "does not tell the set. Add --set with one of .*'ave'"),
        (["--data", "{folder}/lacks.npz"], "lacks .*'labels'.*; it has .*'audio', 'sound'"),
        (["--folds", "6"], "--folds 6, but digits has 5 folds"),
    ],
)
def test_bad_data_get_a_message(poster, tmp_path, capsys, given, message):
    np.savez(tmp_path / "lacks.npz", audio=np.ones((4, 2)), sound=np.ones((4, 2)))
    given = [each.format(folder=tmp_path) for each in given]
    with pytest.raises(SystemExit):
        poster.main([*given, "--methods", "C-CCA", "--out", str(tmp_path / "out.csv")])
    text = capsys.readouterr().err
    assert re.search(message, text), text


def test_features_are_read_as_means_and_sequences(poster, tmp_path, capsys):
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "vegas.h5", "w") as file:
        for part, n in {"train": 20, "test": 10}.items():
            file[f"audio_{part}"] = rng.integers(1, 256, (n, 12, 128), dtype=np.uint8)
            file[f"visual_{part}"] = rng.integers(1, 256, (n, 1024), dtype=np.uint8)
            file[f"lab_{part}"] = np.arange(n) % 2
    data = poster.read_data(str(tmp_path / "vegas.h5"), None, tmp_path / "views", sequences=True)
    assert "Sequential methods read the means" in capsys.readouterr().out
    assert data.folders[True] == data.folders[False]  # one view has no steps
    assert poster.shown_sets(data) == ["VEGAS"]
    with h5py.File(tmp_path / "vegas.h5", "a") as file:
        for part, n in {"train": 20, "test": 10}.items():
            del file[f"visual_{part}"]
            file[f"visual_{part}"] = rng.integers(1, 256, (n, 12, 1024), dtype=np.uint8)
    data = poster.read_data(str(tmp_path / "vegas.h5"), None, tmp_path / "views", sequences=True)
    shapes = {kind: np.load(data.folders[kind] / "visual.npy").shape for kind in (False, True)}
    assert shapes == {False: (30, 1024), True: (30, 10, 1024)}


def test_generated_data_have_the_shape_of_vegas(poster, tmp_path):
    data = poster.read_data("generated:150", None, tmp_path, sequences=True)
    steps, means = (np.load(data.folders[kind] / "audio.npy") for kind in (True, False))
    assert steps.shape == (150, 10, 128)
    assert steps.dtype == np.float32
    np.testing.assert_allclose(means, steps.mean(axis=1), rtol=1e-5, atol=1e-5)
    assert poster.GENERATED["n_samples"] == 28_103


def test_an_interruption_keeps_what_is_finished(npz):
    command = [sys.executable, str(FOLDER / "poster_table.py"), *arguments(npz)]
    store = npz.with_suffix(".jsonl")
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which a shell may have ignored
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=heed
    ) as run:
        deadline = time.monotonic() + 60
        while not (store.exists() and store.read_bytes().endswith(b"\n")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(run.pid, signal.SIGINT)
        text = run.communicate(timeout=20)[0].decode()
    assert run.returncode == 130
    assert "Interrupted." in text
    assert 1 <= len(lines(npz)) < 10
    assert all(json.loads(line)["key"] for line in lines(npz))


def test_methods_that_the_poster_has_no_figure_of_come_last_and_are_marked(poster, npz, capsys):
    added = ["S-DCCA", "C-CCA, posteriors", "C-KCCA, posteriors", "Contrastive"]
    assert list(poster.METHODS) == [*poster.POSTER, *added]
    given = ["--data", str(npz), "--out", str(npz.with_suffix(".csv")), "--folds", "1"]
    assert poster.main([*given, "--methods", "C-CCA", "C-CCA, posteriors"]) == 0
    told = [line.strip().split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert {"C-CCA", "C-CCA, posteriors (added)"} < set(told)


def test_every_method_trains_for_its_default_number_of_epochs(poster):
    assert not any("max_epochs" in method.options for method in poster.METHODS.values())


def test_compare_counts_runs_and_reports_what_is_missing(common):
    calls = {"limit": 0, "slow": 0}

    def counted(name):
        def call():
            calls[name] += 1
            return 1.5

        return call

    def missing():
        raise ImportError("no such package")

    candidates = {"limit": counted("limit"), "slow": counted("slow"), "absent": missing}
    table = common.compare("title", candidates, repeats=3, once=("slow",))
    limit, slow, absent = table.rows
    assert calls == {"limit": 4, "slow": 1}
    assert (limit.repeats, limit.ratio, limit.result) == (3, 1.0, 1.5)
    assert slow.repeats == 1
    assert (absent.seconds, absent.note) == (None, "missing: no such package")


def test_exponent_of_a_power(common):
    sizes = np.array([10, 20, 50])
    assert common.exponent(sizes, 3.0 * sizes**1.7) == pytest.approx(1.7)


def test_a_command_holds_no_path_of_the_machine(common):
    given = [str(FOLDER / "run.py"), "--data", "/home/me/x.npz", "--out=/home/me/y.csv", "map"]
    shown = "python benchmarks/run.py --data x.npz --out=y.csv map"
    assert common.command(given) == shown


@pytest.fixture
def gpu(monkeypatch):
    """Return the script, made small."""
    script = importlib.import_module("bench_gpu")
    names = ("DEVICE", "N_ROWS", "WIDTHS", "N_STEPS", "N_EPOCHS", "N_SEEDS", "SMALLER")
    names += ("N_EXACT", "N_RANKED", "N_GALLERY", "N_QUERIES")
    for name in names:  # which are put back
        monkeypatch.setattr(script, name, getattr(script, name))
    script.make_small()
    return script


def test_the_script_for_a_gpu_runs_on_the_cpu(gpu, npz):
    rng = np.random.default_rng(0)
    with np.load(npz) as file:
        content = dict(file)
    order = rng.permutation(90)
    np.savez(npz, **content, train=order[:60], test=order[60:])
    tables = gpu.tables(npz)
    measured = {row.name for table in tables for row in table.rows}
    assert {*gpu.METHODS, *gpu.SEQUENCES, *gpu.NEW_DEFAULTS, *gpu.NEW_SEQUENCES} <= measured
    for table in tables:
        for row in table.rows:
            told = row.seconds or row.result or row.note in ("needs CUDA", "yes")
            assert told, (table.title, row)
    fits = next(table for table in tables if table.title.startswith("A fit"))
    assert not any("left out" in row.note for row in fits.rows)


def test_the_methods_of_the_script_have_the_defaults_of_the_first_release(gpu):
    """Every parameter that has an effect on training is spelled out."""
    of_the_fit = {"device", "verbose", "warm_start", "view_split", "checkpoint", "sharded"}
    of_the_fit |= {"validation_fraction", "n_iter_no_change"}  # without early stopping
    for method, options in {**gpu.METHODS, **gpu.SEQUENCES}.values():
        assert set(method().get_params()) - set(options) == of_the_fit


def test_small_constants_are_there():
    run = importlib.import_module("run")
    assert set(run.QUICK) == set(run.benchmarks())
    for name, constants in run.QUICK.items():
        text = (FOLDER / f"bench_{name}.py").read_text()
        for constant in constants:
            assert constant in text, f"bench_{name} has no {constant}"


def test_a_benchmark_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    run = importlib.import_module("run")
    (tmp_path / "bench_bad.py").write_text("def tables():\n    raise ValueError('too bad')\n")
    (tmp_path / "bench_good.py").write_text(
        "from _common import Row, Table\n"
        "N = 5\n"
        "def tables():\n"
        "    return [Table('good', [Row(str(N), 1.0), Row('peer', note='missing: it')])]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    monkeypatch.setattr(run, "QUICK", {"bad": {}, "good": {"N": 3}})
    run_here = importlib.import_module("_common")
    monkeypatch.setattr(run_here, "in_fresh_process", lambda function, *rest: function(*rest))
    monkeypatch.setattr(run_here, "RESULTS", run_here.RESULTS)
    monkeypatch.setattr(run_here, "QUICK", False)
    monkeypatch.setattr(sys, "argv", sys.argv)
    assert run.main(["--quick"]) == 1
    assert run.main(["--quick", "good"]) == 0
    text = (tmp_path / "quick" / "summary.md").read_text()
    assert "| bad | failed: ValueError: too bad |" in text
    assert "| good | ok | 0 | peer |" in text
    assert text.count("| good |") == 1
    content = json.loads((tmp_path / "quick" / "good.json").read_text())
    assert content["tables"][0]["rows"][0]["name"] == "3"


def test_an_unknown_benchmark_is_named(capsys):
    run = importlib.import_module("run")
    with pytest.raises(SystemExit):
        run.main(["linaer"])
    assert "no benchmark is called ['linaer']; there are [" in capsys.readouterr().err
