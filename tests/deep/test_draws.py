"""Same seed, same bits: in threads, in processes, alone; and whatever modes the caller is in."""

import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from registry import embeddings
from sklearn import config_context
from sklearn.base import clone
from torch import nn

from cca_estimators import CDCCA, DCCA, LSTMCCCA, TNNCCCA, _ranks
from cca_estimators.datasets import make_views
from cca_estimators.deep import DeepEstimator
from cca_estimators.deep.towers import Dropout
from cca_estimators.deep.training.draws import Draws, draws_by_itself

SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 2, "random_state": 0, "device": "cpu"}
DEEP = [
    clone(one).set_params(max_epochs=2, dropout=0.3)
    for one in embeddings()
    if isinstance(one, DeepEstimator)
]
each_deep = pytest.mark.parametrize("method", DEEP, ids=lambda method: type(method).__name__)


@pytest.fixture(scope="module")
def data():
    return make_views(90, 3, (6, 8), shared_rank=3, n_steps=3, random_state=0)


def embedded(method, X, y):
    rows = clone(method).fit(X, y).transform(X)
    return np.hstack([np.asarray(view) for view in rows.values()])


@each_deep
def test_threads_give_the_bits_of_a_fit_alone(data, method):
    X, y = data
    alone = embedded(method, X, y)
    torch.manual_seed(5)
    state, stop = torch.get_rng_state(), threading.Event()

    def disturb():
        while not stop.is_set():
            torch.empty(3).bernoulli_(generator=torch.Generator())

    with ThreadPoolExecutor(3) as pool:
        other = pool.submit(disturb)
        fits = [pool.submit(embedded, method, X, y) for _ in range(2)]
        found = [fit.result() for fit in fits]
        stop.set()
        other.result()
    for rows in found:
        np.testing.assert_array_equal(rows, alone)
    assert torch.equal(torch.get_rng_state(), state)


def test_layers_that_draw_by_themselves_take_turns(data):
    X, y = data
    towers = {
        name: nn.Sequential(nn.Flatten(), nn.Linear(rows[0].size, 8), nn.Dropout(0.4))
        for name, rows in X.items()
    }
    for method in (
        CDCCA(4, towers=towers, **SMALL),
        LSTMCCCA(lstm_size=8, n_layers=2, dropout=0.4, **SMALL),
    ):
        alone = embedded(method, X, y)
        state = torch.get_rng_state()
        found = Parallel(n_jobs=3, backend="threading")(
            delayed(embedded)(method, X, y) for _ in range(3)
        )
        for rows in found:
            np.testing.assert_array_equal(rows, alone)
        assert torch.equal(torch.get_rng_state(), state)


def test_processes_give_the_bits_of_a_fit_alone(data):
    X, y = data
    method = TNNCCCA(dropout=0.3, mining="random", **SMALL)
    found = Parallel(n_jobs=2)(delayed(embedded)(method, X, y) for _ in range(2))
    for rows in found:
        np.testing.assert_array_equal(rows, embedded(method, X, y))


@each_deep
def test_draws_of_other_code_do_not_reach_a_fit(data, method):
    """Another thread may draw from PyTorch's generator at any time, here in every batch."""
    X, y = data
    alone = embedded(method, X, y)

    def draw(*_):
        torch.rand(1)

    handle = nn.modules.module.register_module_forward_hook(draw)
    try:
        np.testing.assert_array_equal(embedded(method, X, y), alone)
    finally:
        handle.remove()


def test_which_layers_draw_by_themselves():
    class Own(nn.Linear):
        pass

    for module, expected in (
        (nn.Dropout(0.1), True),
        (nn.Dropout2d(0.1), True),
        (Dropout(0.1), False),
        (nn.Linear(2, 2), False),
        (Own(2, 2), True),
        (nn.LSTM(2, 2, 2, dropout=0.1), True),
        (nn.LSTM(2, 2), False),
        (nn.TransformerEncoderLayer(4, 2).self_attn, True),
    ):
        assert draws_by_itself(module) is expected


def test_dropout_is_that_of_pytorch():
    rows = torch.randn(50, 7)
    torch.manual_seed(3)
    expected = nn.functional.dropout(rows, 0.3)
    ours = Dropout(0.3)
    ours.generator = torch.Generator().manual_seed(3)
    torch.testing.assert_close(ours(rows), expected)
    assert ours.eval()(rows) is rows


def test_epochs_differ_in_their_draws(data):
    X, _ = data
    seen = []

    class Watched(nn.Linear):
        def forward(self, rows):
            if self.training:
                seen.append(rows.detach().flatten(1)[:, 0].clone())
            return super().forward(rows.flatten(1))

    towers = {name: Watched(rows[0].size, 3) for name, rows in X.items()}
    DCCA(3, towers=towers, **SMALL, batch_size=45).fit({n: rows for n, rows in X.items()})
    first, second = seen[0], seen[4]
    assert not torch.equal(first, second)
    seen.clear()
    DCCA(3, towers=towers, **SMALL, batch_size=45).fit({n: rows for n, rows in X.items()})
    assert torch.equal(seen[0], first)


@contextmanager
def default_dtype():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default_device": default_device,
    "default_dtype": default_dtype,
    "pandas": lambda: config_context(transform_output="pandas"),
}


@each_deep
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_caller_change_nothing(data, method, mode):
    X, y = data
    expected = embedded(method, X, y)
    with MODES[mode]():
        found = embedded(method, X, y)
        enabled = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
        assert enabled == (mode not in ("no_grad", "inference_mode"), mode == "autocast")
    np.testing.assert_array_equal(found, expected)


def test_polars_output(data):
    pytest.importorskip("polars")
    X, y = data
    with config_context(transform_output="polars"):
        rows = CDCCA(**SMALL).fit(X, y).transform(X)["audio"]
    assert type(rows).__module__.startswith("polars")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_child_does_not_hang(data):
    X, y = data
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fitted = CDCCA(**{**SMALL, "hidden_layer_sizes": (600,)}).fit(X, y)
        many = {name: np.tile(rows, (60, 1, 1)) for name, rows in X.items()}
        expected = fitted.transform(many)["audio"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
            child = os.fork()
        if not child:
            same = np.allclose(fitted.transform(many)["audio"], expected, atol=1e-4)
            os._exit(0 if same and torch.get_num_threads() == 1 else 1)
        ended = threading.Event()
        status = []

        def wait():
            status.append(os.waitpid(child, 0)[1])
            ended.set()

        threading.Thread(target=wait, daemon=True).start()
        if not ended.wait(60):
            os.kill(child, 9)
            pytest.fail("the child hangs")
        assert status == [0]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_ranks_have_streams_of_their_own_beside_the_common_one():
    seeds = []
    for rank in range(3):
        with _ranks.among(SimpleNamespace(size=3, rank=rank)):
            generators = Draws("cpu")
        generators.seed(5)
        assert generators.on_device.initial_seed() == generators.on_host.initial_seed() == 5
        seeds.append(generators.of_rank.initial_seed())
    assert len({5, *seeds}) == 4
