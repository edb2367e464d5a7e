"""A recorded step, with a stand-in for the graph: a replay calls what was recorded."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, LRScheduler

from cca_estimators import ACMR, AGAH, CDCCA, DCCA, TNNCCCA, UCAL, UGACH
from cca_estimators.datasets import make_views
from cca_estimators.deep.training import captured
from cca_estimators.deep.training.captured import WARM_UP, CapturedStep
from cca_estimators.deep.training.net import Net

# Without batch normalisation: biases before it have no gradient but rounding, which Adam magnifies.
SMALL = {
    "hidden_layer_sizes": (8,),
    "batch_norm": False,
    "max_epochs": 4,
    "batch_size": 40,
    "random_state": 0,
}
METHODS = [DCCA, CDCCA, TNNCCCA, ACMR, UCAL, UGACH, AGAH]
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


class StandIn:
    """What a CUDA graph does, by calling: recording has no effect, and a replay has."""

    made = ()

    def __init__(self, device=None, generators=()):
        self.n_aside = self.n_recorded = self.n_replayed = 0
        StandIn.made = (*StandIn.made, self)

    def aside(self, function):
        self.n_aside += 1
        return function()

    def record(self, function):
        self.n_recorded += 1
        self.function = function

    def replay(self):
        self.n_replayed += 1
        self.function()


class Refusing(StandIn):
    """Stand-in for a graph that cannot record."""

    def record(self, function):
        super().record(function)
        raise RuntimeError("operation not permitted when stream is capturing")


@pytest.fixture
def graphs(request, monkeypatch):
    """Let the CPU have graphs; return a call that gives those made since."""
    kind = getattr(request, "param", StandIn)
    StandIn.made = ()
    monkeypatch.setattr(Net, "_graph", kind)
    return lambda: StandIn.made


@pytest.fixture(scope="module")
def data():
    return make_views(240, 4, (8, 9), random_state=0)


def fitted(method, data, **options):
    return method(**{**SMALL, "device": "cpu", **options}).fit(*data)


def losses(estimator):
    return np.array([epoch["train_loss"] for epoch in estimator.history_])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("graphs", [StandIn, Refusing], indirect=True)
def test_recorded_steps_are_the_ordinary_ones(method, data, graphs, monkeypatch):
    """Drawn rows and dropout included; rates are rounded to float32 where they are tensors."""
    options = {"n_pretrain": 2} if method is UGACH else {}
    recorded = fitted(method, data, dropout=0.2, **options)
    n_steps = 4 * 6
    for graph in graphs():
        assert graph.n_aside == WARM_UP
        assert graph.n_recorded == 1
    replayed = sum(graph.n_replayed for graph in graphs())
    ordinary_steps = WARM_UP * len(graphs())
    assert replayed == (0 if isinstance(graphs()[0], Refusing) else n_steps - ordinary_steps)
    monkeypatch.setattr(Net, "_graph", None)
    ordinary = fitted(method, data, dropout=0.2, **options)
    np.testing.assert_allclose(losses(recorded), losses(ordinary), rtol=3e-3)


@pytest.mark.parametrize(
    ("method", "options", "n_graphs"), [(CDCCA, {}, 1), (UGACH, {"n_pretrain": 2}, 2)]
)
def test_a_step_is_recorded_once_for_each_phase(method, options, n_graphs, data, graphs):
    fitted(method, data, **options)
    assert len(graphs()) == n_graphs


def test_schedules_of_the_learning_rate_reach_recorded_steps(data, graphs, monkeypatch):
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.3)
    recorded = fitted(CDCCA, data, callbacks=[schedule])
    assert graphs()[0].n_replayed > 0
    monkeypatch.setattr(Net, "_graph", None)
    scheduled, constant = (fitted(CDCCA, data, callbacks=c) for c in ([schedule], None))
    np.testing.assert_allclose(losses(recorded), losses(scheduled), rtol=1e-4)
    assert np.abs(losses(recorded) - losses(constant)).max() > 1e-2
    assert [type(epoch["event_lr"]) for epoch in recorded.history_] == [float] * 4
    assert all(isinstance(g["lr"], float) for g in recorded.net_.optimizer_.param_groups)


class BatchWatcher(Callback):
    """Keeps the loss of each batch as it comes."""

    def initialize(self):
        self.losses = []
        return self

    def on_batch_end(self, net, training=False, loss=None, **kwargs):
        self.losses.append(net.history[-1, "batches", -1, "train_loss"])


class GradientWatcher(Callback):
    """Counts gradients."""

    def initialize(self):
        self.n_seen = 0
        return self

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.n_seen += all(p.grad is not None for _, p in named_parameters)


def test_callbacks_that_see_batches_or_gradients_take_the_ordinary_path(data, graphs):
    expected = fitted(CDCCA, data)
    n_graphs = len(graphs())
    batches, gradients = BatchWatcher(), GradientWatcher()
    watched = fitted(CDCCA, data, callbacks=[batches, gradients])
    assert len(graphs()) == n_graphs
    assert gradients.n_seen == len(batches.losses) == 24
    np.testing.assert_allclose(losses(watched), losses(expected), rtol=1e-4)
    by_batch = LRScheduler("StepLR", step_size=1, step_every="batch")
    fitted(CDCCA, data, callbacks=[by_batch])
    assert len(graphs()) == n_graphs


def test_rows_in_files_take_the_ordinary_path(data, graphs, tmp_path):
    X, y = data
    mapped = {}
    for name, rows in X.items():
        np.save(tmp_path / f"{name}.npy", rows)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    fitted(CDCCA, (mapped, y))
    assert graphs() == ()


def test_a_step_takes_rates_as_tensors_only_while_it_is_recorded():
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    group = optimizer.param_groups[0]
    group["capturable"] = False
    seen = []

    def step(rows):
        seen.append((type(group["lr"]), group["capturable"]))
        return rows.sum()[None].float()

    captured_step = CapturedStep(step, [optimizer], StandIn())
    rows = torch.arange(4)
    told = [captured_step(rows + i) for i in range(6)]
    assert torch.cat(told).tolist() == [6, 10, 14, 18, 22, 26]
    assert seen == [(float, False)] * WARM_UP + [(torch.Tensor, True)] * 3
    group["lr"] = 0.5
    captured_step.begin_epoch()
    assert captured_step.rates[0].item() == 0.5


@pytest.mark.parametrize("graphs", [StandIn], indirect=True)
def test_a_net_that_is_pickled_in_training_leaves_its_recording_behind(data, graphs):
    kept = []

    class Pickled(Callback):
        def on_epoch_end(self, net, **kwargs):
            kept.append(net.__getstate__())

    fitted(CDCCA, data, callbacks=[Pickled()])
    assert [state["captured_"] for state in kept] == [None] * 4


@on_cuda
@pytest.mark.parametrize("method", METHODS)
def test_on_cuda_a_replay_gives_the_bits_of_the_ordinary_step(method, data, monkeypatch):
    options = {"device": "cuda", "dropout": 0.2}
    recorded = [fitted(method, data, **options) for _ in range(2)]
    np.testing.assert_array_equal(*(losses(each) for each in recorded))
    monkeypatch.setattr(Net, "_graph", None)
    ordinary = fitted(method, data, **options)
    np.testing.assert_allclose(losses(recorded[0]), losses(ordinary), rtol=1e-2)


@on_cuda
def test_on_cuda_a_step_that_asks_the_device_is_taken_operation_by_operation(data):
    class Asking(torch.nn.Linear):
        def forward(self, rows):
            return super().forward(rows) * (1 if rows.sum().item() else 2)

    towers = {name: Asking(rows.shape[1], 4) for name, rows in data[0].items()}
    assert np.isfinite(fitted(CDCCA, data, device="cuda", towers=towers).history_[-1]["train_loss"])


@on_cuda
def test_on_cuda_dropout_differs_from_step_to_step():
    rows = torch.zeros(8, dtype=torch.int64, device="cuda")
    step = CapturedStep(
        lambda rows: torch.nn.functional.dropout(torch.ones(64, device="cuda"), 0.5),
        [],
        captured.CudaGraph("cuda"),
    )
    told = [step(rows) for _ in range(WARM_UP + 3)]
    assert not torch.equal(told[-1], told[-2])
