"""Training that is killed goes on from its file, and gives what it would have given."""

import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch.optim import lr_scheduler

from cca_estimators import ACMR, AGAH, CDCCA, DCCA, TNNCCCA, UCAL, UGACH, Contrastive
from cca_estimators.datasets import make_views
from cca_estimators.deep.training.checkpoints import sum_of_rows

SMALL = {"hidden_layer_sizes": (16,), "dropout": 0.2, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def data():
    return make_views(120, 3, (6, 8), shared_rank=3, random_state=0)


class InterruptOnce(Callback):
    """Press Ctrl-C in the middle of an epoch, once."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, net, training=False, **kwargs):
        if training and len(net.history) == self.epoch:
            self.epoch = 0
            raise KeyboardInterrupt


def interrupted(method, X, y, folder, epoch=4):
    """Interrupt a fit, throw it away, and return one that went on from its file."""
    options = {"checkpoint": folder, "callbacks": [InterruptOnce(epoch)]}
    with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        clone(method).set_params(**options).fit(X, y)
    assert len(list(folder.iterdir())) == 1
    return clone(method).set_params(checkpoint=folder)


METHODS = [
    CDCCA(max_epochs=6, **SMALL),
    DCCA(max_epochs=6, early_stopping=True, n_iter_no_change=3, **SMALL),
    TNNCCCA(max_epochs=6, mining="random", **SMALL),
    ACMR(max_epochs=6, **SMALL),
    UCAL(max_epochs=6, early_stopping="loss", **SMALL),
    UGACH(16, max_epochs=6, n_pretrain=2, **SMALL),
    AGAH(16, feature_size=16, max_epochs=6, **SMALL),
    Contrastive(max_epochs=6, **SMALL),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_a_fit_goes_on_to_the_bit(data, method, tmp_path):
    X, y = data
    whole = clone(method).fit(X, y)
    seen = []

    class Watch(Callback):
        def on_epoch_begin(self, net, **kwargs):
            seen.append(len(net.history))

    resumed = interrupted(method, X, y, tmp_path).set_params(callbacks=[Watch()]).fit(X, y)
    assert seen[0] == 4
    for name in X:
        np.testing.assert_array_equal(resumed.transform(X)[name], whole.transform(X)[name])
    figures = [[epoch["train_loss"] for epoch in one.history_] for one in (resumed, whole)]
    assert figures[0] == figures[1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", METHODS[:2], ids=lambda method: type(method).__name__)
def test_a_fit_killed_after_its_last_epoch_loses_nothing(data, method, tmp_path, monkeypatch):
    X, y = data
    whole = clone(method).fit(X, y)
    late = clone(method).set_params(checkpoint=tmp_path)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(late), "_finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            late.fit(X, y)
    assert len(list(tmp_path.iterdir())) == 1
    assert not hasattr(late, "net_")
    late.fit(X, y)
    for name in X:
        np.testing.assert_array_equal(late.transform(X)[name], whole.transform(X)[name])
    assert not list(tmp_path.iterdir())


def test_fits_that_differ_never_share_a_file(data, tmp_path):
    X, y = data
    base = CDCCA(max_epochs=6, **SMALL)
    shuffled = np.random.default_rng(0).permutation(len(y))
    fits = [
        (base, X, y),
        (clone(base).set_params(dropout=0.3), X, y),
        (clone(base).set_params(random_state=1), X, y),
        (base, X[:100], y[:100]),
        (base, X, np.roll(y, 1)),
        (DCCA(max_epochs=6, **SMALL), X, y),
    ]
    for method, rows, labels in fits:
        options = {"checkpoint": tmp_path, "callbacks": [InterruptOnce(3)]}
        with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
            clone(method).set_params(**options).fit(rows, labels)
    assert len(list(tmp_path.iterdir())) == len(fits)
    once = clone(base).set_params(checkpoint=tmp_path, verbose=0, callbacks=[InterruptOnce(5)])
    with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        once.fit(X[shuffled], y[shuffled])  # the same rows
    assert len(list(tmp_path.iterdir())) == len(fits)


def test_the_order_of_numbers_in_memory_makes_no_other_file():
    rows = np.random.default_rng(0).normal(size=(5, 3))
    for same in (np.asfortranarray(rows), np.repeat(rows, 2, axis=1)[:, ::2]):
        assert sum_of_rows({"x": same}) == sum_of_rows({"x": rows})


def test_a_search_leaves_no_file(data, tmp_path):
    X, y = data
    method = CDCCA(max_epochs=2, checkpoint=str(tmp_path), **SMALL)
    search = GridSearchCV(method, {"dropout": [0.0, 0.2]}, cv=2, error_score="raise").fit(X, y)
    assert search.best_score_ > 1 / 3
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_resumed_is_refused(data, tmp_path):
    X, y = data
    with pytest.raises(ValueError, match="needs an integer as random_state, and it is None"):
        CDCCA(checkpoint=tmp_path).fit(X, y)


def halved(epoch):
    return 0.5**epoch


CALLBACKS = {
    "epochs": [LRScheduler(lr_scheduler.StepLR, step_size=2, gamma=0.1)],
    "function": [LRScheduler(lr_scheduler.LambdaLR, lr_lambda=halved)],
    "milestones": [LRScheduler(lr_scheduler.MultiStepLR, milestones=[1, 4])],
    "batches": [
        LRScheduler(lr_scheduler.OneCycleLR, step_every="batch", max_lr=0.01, total_steps=20)
    ],
    "plateau": [
        LRScheduler(lr_scheduler.ReduceLROnPlateau, monitor="train_loss", patience=0, threshold=0.9)
    ],
    "two": [
        LRScheduler(lr_scheduler.ExponentialLR, gamma=0.5),
        EarlyStopping("train_loss", patience=4, threshold=10, threshold_mode="abs"),
    ],
}


@pytest.mark.parametrize("case", list(CALLBACKS))
def test_schedules_and_stopping_go_on_to_the_bit(data, case, tmp_path):
    X, y = data
    method = CDCCA(max_epochs=7, batch_size=60, **SMALL)
    whole = clone(method).set_params(callbacks=CALLBACKS[case]).fit(X, y)
    once = clone(method).set_params(checkpoint=tmp_path)
    with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        clone(once).set_params(callbacks=[*CALLBACKS[case], InterruptOnce(4)]).fit(X, y)
    resumed = clone(once).set_params(callbacks=CALLBACKS[case]).fit(X, y)
    names = [name for name in whole.history_[0] if name in ("event_lr", "train_loss")]
    assert resumed.history_[:, names] == whole.history_[:, names]
    assert len(whole.history_) == (5 if case == "two" else 7)
    for name in X:
        np.testing.assert_array_equal(resumed.transform(X)[name], whole.transform(X)[name])
    assert not list(tmp_path.iterdir())


def test_fits_with_other_schedules_never_share_a_file(data, tmp_path):
    X, y = data
    once = CDCCA(max_epochs=6, checkpoint=tmp_path, **SMALL)
    for schedules in ([], CALLBACKS["epochs"], CALLBACKS["function"], CALLBACKS["two"]):
        with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
            clone(once).set_params(callbacks=[*schedules, InterruptOnce(3)]).fit(X, y)
    assert len(list(tmp_path.iterdir())) == 4


class Explode:
    """What a hostile file would do."""

    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize("damage", ["torn", "pickle", "bytes"])
def test_damaged_and_hostile_files_are_named_and_run_nothing(data, tmp_path, damage, monkeypatch):
    X, y = data
    folder = tmp_path / "checkpoints"
    again = interrupted(CDCCA(max_epochs=6, **SMALL), X, y, folder)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    if damage == "torn":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "pickle":
        torch.save({"training": Explode()}, file)
    else:
        file.write_bytes(pickle.dumps(Explode()))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is damaged or no checkpoint .* Delete it"):
        again.fit(X, y)
    assert not (tmp_path / "exploded").exists()
    assert not hasattr(again, "net_")
    file.unlink()
    assert len(again.fit(X, y).history_) == 6


PROGRAM = """
import os
import sys
import numpy as np
from cca_estimators import CDCCA
from cca_estimators.datasets import make_views
X, y = make_views(2000, 3, (20, 30), shared_rank=3, random_state=0)
method = CDCCA(hidden_layer_sizes=(64,), dropout=0.2, max_epochs=40, random_state=0,
               device="cpu", checkpoint=sys.argv[1])
print("ready", flush=True)
fitted = method.fit(X, y)
print("fitted", flush=True)
np.save(sys.argv[2] + ".npy", fitted.transform(X)["audio"])
os.replace(sys.argv[2] + ".npy", sys.argv[2])
"""


def run_until_killed(folder, result, seconds):
    """Run the program and kill it; return the epochs that its file holds, None if it was fitted."""
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", PROGRAM, str(folder), str(result)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE)
    process.stdout.readline()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with process.stdout as told:
        fitted = b"fitted" in told.read()
    assert process.returncode in (0, -signal.SIGKILL)
    files = list(folder.glob("*.pt"))
    if fitted:
        assert not files
        return None
    return len(torch.load(files[0], weights_only=True)["history"]) if files else 0


@pytest.mark.slow
def test_kills_at_random_times_lose_an_epoch_at_most(tmp_path, request):
    n_kills = 20 if request.config.getoption("--long", default=False) else 4
    rng = np.random.default_rng(int(time.time()))
    whole, result = tmp_path / "whole.npy", tmp_path / "result.npy"
    begun = time.monotonic()
    assert run_until_killed(tmp_path / "first", whole, 600) is None
    length = time.monotonic() - begun
    folder, epochs = tmp_path / "second", 0
    for _ in range(n_kills):
        held = run_until_killed(folder, result, rng.uniform(0, length / n_kills))
        if held is None:
            break
        assert held >= epochs
        epochs = held
    if not result.exists():  # no kill came so late, or one between the fit and its result
        assert run_until_killed(folder, result, 600) is None
    np.testing.assert_array_equal(np.load(result), np.load(whole))
    assert not list(folder.glob("*.pt"))
