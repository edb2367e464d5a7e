"""The benchmark of all methods on all sets: what it runs, keeps and tells, and its references."""

import importlib
import json
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ortho_group
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCA, PerView, Views, cross_modal_map
from cca_estimators.datasets import make_views

FOLDER = Path(__file__).parents[1] / "benchmarks"
FAST = ["CCA", "C-CCA", "logistic regression"]


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def quality(tmp_path, monkeypatch):
    """Return the script, which writes to a folder of its own and finds one small file there."""
    script = importlib.import_module("bench_quality")
    monkeypatch.setattr(script._common, "RESULTS", tmp_path)
    X, y = make_views(90, 3, (8, 12), shared_rank=2, random_state=0)
    parts = {"train": np.arange(60), "test": np.arange(60, 90)}
    np.savez(tmp_path / "uci_mfeat.npz", first=X["audio"], second=X["visual"], labels=y, **parts)
    return script


@pytest.fixture
def outside():
    return importlib.import_module("_references")


def arguments(tmp_path, *others):
    sets = ["uci_mfeat", "grid_words"]
    return ["--data", str(tmp_path), "--sets", *sets, "--methods", *FAST, *others]


def stored(tmp_path):
    return [json.loads(line) for line in (tmp_path / "quality.jsonl").read_text().splitlines()]


def test_a_figure_is_that_of_the_method_on_the_test_part(quality, tmp_path):
    quality.main(arguments(tmp_path))
    results = {(each["way"], each["method"]): each for each in stored(tmp_path)}
    with np.load(tmp_path / "uci_mfeat.npz") as file:
        X = Views({name: file[name].astype(np.float32) for name in ("first", "second")})
        y, train, test = (file[name] for name in ("labels", "train", "test"))
    X = PerView(StandardScaler()).fit(X[train]).transform(X)
    expected = cross_modal_map(CCA().fit(X[train]), X[test], y[test])
    assert results["defaults", "CCA"]["map"] == pytest.approx(expected, abs=1e-6)
    tuned = results["tuned", "C-CCA"]
    assert list(tuned["chosen"]) == ["reg"]
    assert f"| {tuned['map']:.3f} |" in (tmp_path / "quality.md").read_text()


def test_a_second_run_goes_on_and_names_what_is_missing(quality, tmp_path, capsys):
    quality.main(arguments(tmp_path, "--minutes", "0"))
    assert not (tmp_path / "quality.jsonl").exists()
    quality.main(arguments(tmp_path))
    lines = (tmp_path / "quality.jsonl").read_text().splitlines()
    assert len(lines) == 2 * len(FAST)
    (tmp_path / "quality.jsonl").write_text("\n".join([*lines[:-1], lines[-1][:30]]))
    capsys.readouterr()
    quality.main(arguments(tmp_path))
    assert f"{len(lines) - 1} of {len(lines)} results" in capsys.readouterr().out
    assert (
        json.loads(lines[-1])["map"]
        == quality.read_results(tmp_path / "quality.jsonl")[json.loads(lines[-1])["key"]]["map"]
    )
    assert "grid_words, grid_words.npz is not in --data" in (tmp_path / "quality.md").read_text()


def test_defaults_of_one_seed_come_first_and_large_sets_last(quality):
    rows = {"embedded": 100, "spoken_written_digits": 2000, "grid_words": 4800}
    data = {name: quality.Data((None, np.zeros(n)), None, name) for name, n in rows.items()}
    jobs = quality.jobs_of(data, ["CCA", "AGAH, 64 bits"])
    told = [(job.way, job.data, job.seed) for job in jobs if job.name.startswith("AGAH")]
    small, large = list(rows)[:2], "grid_words"
    assert told[:3] == [("defaults", name, 0) for name in rows]
    assert told[3:8] == [("tuned", "embedded", 0)] + [
        ("bits", name, 0) for _ in (16, 32) for name in small
    ]
    assert told[8:12] == [("defaults", name, seed) for seed in (1, 2) for name in small]
    assert told[12:] == [("defaults", large, seed) for seed in (1, 2)]
    assert sum(job.name == "CCA" for job in jobs) == 4  # it has no seed


def test_a_fit_that_takes_too_long_is_told(quality, tmp_path, monkeypatch):
    class Endless(LogisticRegression):
        def fit(self, X, y=None):
            while True:
                time.process_time()

    method = quality.Method(Endless(), {})
    data = quality.read_set(tmp_path / "uci_mfeat.npz")
    monkeypatch.setattr(quality, "PATIENCE", 0.05)
    job = quality.Job("defaults", "endless", method, "uci_mfeat", 0)
    assert quality.result_of(job, data)["note"] == "given up after 0.05 s"


def test_ranks_are_means_over_the_sets_that_all_methods_have(quality):
    tables = importlib.import_module("_quality_tables")
    maps = {"CCA": (0.5, 0.9, 0.1), "C-CCA": (0.7, 0.8, 0.2), "SVM": (0.5, 0.7)}
    cells = {
        (name, each): [{"map": value, "note": ""}]
        for name, values in maps.items()
        for each, value in zip("abc", values, strict=False)
    }
    assert tables.shared_sets(cells, ["a", "b", "c"]) == ["a", "b"]
    assert tables.mean_ranks(cells, ["a", "b"]) == {"CCA": 1.75, "C-CCA": 1.5, "SVM": 2.75}


def test_every_candidate_of_every_method_can_be_set():
    methods = importlib.import_module("_quality_methods")
    for name, method in methods.METHODS.items():
        sizes = [len(values) for values in method.grid.values()]
        assert np.prod(sizes) == 4, name
        method.estimator.set_params(**{key: values[0] for key, values in method.grid.items()})


@pytest.mark.parametrize("n_bits", [4, 12])
def test_itq_finds_the_rotation_that_makes_the_variates_bits(outside, n_bits):
    rng = np.random.default_rng(0)
    corners = rng.choice([-1.0, 1.0], (300, 6))
    turned = corners @ ortho_group.rvs(6, random_state=0)
    X = Views(audio=turned, visual=turned + 0.01 * rng.standard_normal(turned.shape))
    itq = outside.ITQ(CCA(weighted=False), n_bits=n_bits).fit(X)
    bits = itq.transform(X)
    assert bits["audio"].shape == (300, n_bits)
    assert (bits["audio"] == bits["visual"]).mean() > 0.99
    kept = min(n_bits, 6)
    np.testing.assert_allclose(itq.rotation_ @ itq.rotation_.T, np.eye(kept), atol=1e-10)


def test_nearest_rotation_undoes_a_rotation(outside):
    rotation = ortho_group.rvs(5, random_state=0)
    stretched = rotation @ np.diag([1.0, 2, 3, 4, 5])
    np.testing.assert_allclose(outside.nearest_rotation(stretched), rotation, atol=1e-12)


def test_losses_of_the_outside_towers(outside):
    import torch

    u = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    v = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    codes = torch.tensor([0, 1])
    dscmr = outside.DSCMR(n_outputs=2, pair_weight=2.0)
    dscmr.classifier_ = torch.nn.Linear(2, 2, bias=False)
    dscmr.classifier_.weight.data = torch.eye(2)
    of_labels = (0 + 1) / 2 + (0 + np.sqrt(5)) / 2
    low, high = np.log(2), np.log1p(np.exp(0.5))
    across = (high - 0.5 + high + low + low) / 4  # cosines 1, 1; 0, 0
    within_u, within_v = (2 * (high - 0.5) + 2 * low) / 4, (4 * high - 2 * 0.5) / 4
    partners = 0.1 * np.sqrt(8) / 2
    expected = of_labels + 2 * (across + within_u + within_v) + partners
    assert dscmr._loss(u, v, codes).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["SharedClassifier", "DSCMR"])
def test_outside_towers_learn_and_repeat_by_the_seed(outside, name):
    X, y = make_views(200, 3, (8, 12), class_sep=4.0, random_state=0)
    X = PerView(StandardScaler()).fit_transform(X)
    sizes = {"n_hidden": 16, "n_outputs": 8, "max_epochs": 20, "learning_rate": 0.01}
    first, second = (getattr(outside, name)(**sizes, random_state=1).fit(X, y) for _ in range(2))
    assert cross_modal_map(first, X, y) > 0.8
    np.testing.assert_array_equal(first.transform(X)["audio"], second.transform(X)["audio"])


def test_noise_flips_a_share_to_all_other_classes(quality):
    noise = importlib.import_module("bench_noise")
    y = np.repeat(["a", "b", "c", "d"], 2000)
    wrong = noise.flipped(y, 0.6, np.random.default_rng(0))
    counts = np.array([[np.mean(wrong[y == a] == b) for b in "abcd"] for a in "abcd"])
    np.testing.assert_allclose(counts, np.where(np.eye(4), 0.4, 0.2), atol=0.03)


def test_noise_trains_with_wrong_labels_and_goes_on(quality, tmp_path, monkeypatch):
    noise = importlib.import_module("bench_noise")
    given = ["", "--data", str(tmp_path / "uci_mfeat.npz"), "--methods", "C-CCA", "--seeds"]
    monkeypatch.setattr("sys.argv", [*given, "1"])
    noise.main()
    store = tmp_path / "noise_uci_mfeat.jsonl"
    first = [json.loads(line) for line in store.read_text().splitlines()]
    assert [each["data"] for each in first] == [[share, 0] for share in noise.SHARES]
    data = quality.read_set(tmp_path / "uci_mfeat.npz")
    wrong = noise.noisy(data, 1)[0.8, 0].train[1]
    assert 0.6 < np.mean(wrong != data.train[1]) < 0.95
    monkeypatch.setattr("sys.argv", [*given, "2"])
    noise.main()
    assert len(store.read_text().splitlines()) == 8
    means = [
        np.mean(
            [
                each["map"]
                for each in map(json.loads, store.read_text().splitlines())
                if each["data"][0] == share
            ]
        )
        for share in noise.SHARES
    ]
    row = store.with_suffix(".md").read_text().splitlines()[-1].split(" | ")
    assert row[1] == f"{means[0]:.3f}"
    assert row[-2:] == [f"{means[-1] / means[0]:.2f}", "2 |"]
