"""The parameter `tower` of every deep estimator: order is learnt, padding never counts."""

import numpy as np
import pytest
import torch
from registry import embeddings
from sklearn.base import clone
from torch import nn

from cca_estimators import CCCA, CDCCA, DCCA, LSTMCCCA, SDCCA, Contrastive, Views
from cca_estimators.datasets import make_views
from cca_estimators.deep import METHODS
from cca_estimators.deep.correlation import PairObjective
from cca_estimators.deep.losses import correlation_loss
from cca_estimators.deep.towers import ConvolutionTower, MLPTower, RecurrentTower, SequenceTower
from cca_estimators.deep.training.batches import as_tensor

SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 4, "random_state": 0, "device": "cpu"}
DEEP = [one for one in embeddings() if type(one).__name__ in METHODS]
each = pytest.mark.parametrize("estimator", DEEP, ids=lambda one: type(one).__name__)
STEP_TOWERS = ["convolution", "gru", "lstm"]


@pytest.fixture(scope="module")
def ragged():
    """Return views of which the first has steps and padding."""
    X, y = make_views(60, 3, (6, 7), n_steps=5, shared_rank=2, random_state=0)
    X["audio"][::3, 3:] = np.nan
    return Views(audio=X["audio"], visual=X["visual"][:, 0]), y


@each
@pytest.mark.parametrize("tower", STEP_TOWERS)
def test_every_deep_estimator_reads_padded_sequences(estimator, tower, ragged):
    X, y = ragged
    estimator = clone(estimator).set_params(tower=tower, max_epochs=1)
    if hasattr(estimator, "order"):
        estimator.set_params(order="tnn_first")
    fitted = estimator.fit(X, y)
    cut = {"audio": X["audio"][::3, :3]}
    whole = fitted.transform(X)["audio"][::3]
    np.testing.assert_allclose(fitted.transform(cut)["audio"], whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("tower", "kind"),
    [
        ("perceptron", MLPTower),
        ("convolution", ConvolutionTower),
        ("gru", RecurrentTower),
        ("lstm", RecurrentTower),
    ],
)
@pytest.mark.parametrize("method", [DCCA, CDCCA, LSTMCCCA, SDCCA])
def test_towers_are_those_asked_for(method, tower, kind):
    X, y = make_views(60, 3, (6, 7), n_steps=5, shared_rank=2, random_state=0)
    mixed = Views(audio=X["audio"], visual=X["visual"][:, 0])
    fitted = method(tower=tower, **{**SMALL, "max_epochs": 1}).fit(mixed, y)
    assert isinstance(fitted.net_.module_.tower("audio"), kind)
    assert isinstance(fitted.net_.module_.tower("visual"), MLPTower)


def test_auto_keeps_the_towers_of_each_method():
    X, y = make_views(60, 3, (6, 7), n_steps=5, shared_rank=2, random_state=0)
    kinds = {CDCCA: MLPTower, LSTMCCCA: SequenceTower, SDCCA: SequenceTower}
    for method, kind in kinds.items():
        fitted = method(**{**SMALL, "max_epochs": 1}).fit(X, y)
        assert isinstance(fitted.net_.module_.tower("audio"), kind)


@pytest.mark.parametrize("where", [(1,), (1, 2, 0), (1, 0)])
def test_what_is_no_padding_is_refused(where):
    rows = np.zeros((3, 3, 2) if len(where) > 1 else (3, 4))
    rows[where] = np.nan  # a row of no steps, a feature of a step, a step before others
    with pytest.raises(ValueError, match="View 'audio'"):
        as_tensor(rows, "audio", "cpu", padded=True)


def test_perceptrons_have_no_padding(ragged):
    X, y = ragged
    with pytest.raises(ValueError, match="View 'audio' contains NaN"):
        CDCCA(tower="perceptron", **SMALL).fit(X, y)


def test_the_autoencoder_leaves_padding_out(ragged):
    X, _ = ragged
    options = {**SMALL, "tower": "convolution", "autoencoder_weight": 1.0}
    fitted = DCCA(3, **options).fit(X)
    assert np.isfinite([epoch["train_loss"] for epoch in fitted.history_]).all()


def test_the_autoencoder_is_charged_the_mean_squared_error_of_what_is_real():
    torch.manual_seed(0)
    outputs, views = torch.randn(2, 12, 3), {"a": torch.randn(12, 2, 4), "b": torch.randn(12, 5)}
    views["a"][::3, 1] = torch.nan
    decoders = nn.Linear(3, 8), nn.Linear(3, 5)
    expected = correlation_loss(*outputs, 0.1)
    for decode, output, rows in zip(decoders, outputs, views.values(), strict=True):
        rows = rows.reshape(12, -1)
        expected = expected + 0.5 * ((decode(output) - rows)[~rows.isnan()] ** 2).mean()
    loss = PairObjective(0.1, decoders, 0.5)(outputs, None, views)
    torch.testing.assert_close(loss, expected)


def order_matters(n, rng):
    """Make sequences whose class is the order of two patterns: the mean over steps is the same."""
    y = rng.integers(2, size=n)
    X = {}
    for name, width in (("audio", 5), ("visual", 7)):
        patterns = rng.standard_normal((2, width))
        steps = np.where((y[:, None] == (np.arange(6) < 3))[:, :, None], patterns[0], patterns[1])
        X[name] = steps + 0.3 * rng.standard_normal(steps.shape)
    return Views(X), y


@pytest.mark.parametrize(
    ("method", "tower"),
    [(LSTMCCCA, "auto"), (SDCCA, "auto"), *((CDCCA, tower) for tower in STEP_TOWERS)],
)
def test_the_order_of_the_steps_is_learnt(method, tower):
    X, y = order_matters(300, np.random.default_rng(0))
    train, test = np.arange(200), np.arange(200, 300)
    deep = method(tower=tower, **{**SMALL, "max_epochs": 15}).fit(X[train], y[train])
    assert deep.score(X[test], y[test]) > 0.9
    means = Views({name: rows.mean(axis=1) for name, rows in X.items()})
    assert CCCA().fit(means[train], y[train]).score(means[test], y[test]) < 0.65


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (LSTMCCCA, {"lstm_size": 32, "learning_rate": 5e-3}),
        (SDCCA, {"lstm_size": 32, "learning_rate": 5e-3}),
        (CDCCA, {"tower": "convolution"}),
        (Contrastive, {}),
    ],
)
def test_cyclic_orders_that_begin_anywhere_are_learnt(method, options):
    views = {"n_steps": 5, "signal": "order", "class_sep": 3.0, "noise": 0.5, "random_state": 0}
    X, y = make_views(900, 4, (10, 12), shared_rank=2, **views)
    small = {**SMALL, "hidden_layer_sizes": (64,), "max_epochs": 15}
    fitted = method(**small, **options).fit(X[:600], y[:600])
    assert fitted.score(X[600:], y[600:]) > 0.8


@pytest.mark.parametrize("method", [LSTMCCCA(), SDCCA(), CDCCA(tower="gru")], ids=repr)
def test_a_view_of_four_dimensions_is_refused_by_name(method):
    X = {"audio": np.ones((12, 3, 4)), "visual": np.zeros((12, 3, 4, 2))}
    X["audio"] += np.arange(12)[:, None, None]
    X["visual"] += np.arange(12)[:, None, None, None]
    words = r"View 'visual' has shape \(12, 3, 4, 2\).*reads.*\(n, steps, features\).*Reshape it"
    with pytest.raises(ValueError, match=words):
        method.fit(X, np.arange(12) % 2)


def test_a_flat_view_is_a_sequence_of_one_step():
    X, y = make_views(60, 3, (8, 9), random_state=0)
    options = {"step_size": 5, "max_epochs": 1, "random_state": 0, "device": "cpu"}
    flat = LSTMCCCA(2, **options).fit(X, y)
    steps = LSTMCCCA(2, **options).fit({name: rows[:, None] for name, rows in X.items()}, y)
    sizes = [
        [tuple(weights.shape) for weights in one.net_.module_.parameters()] for one in (flat, steps)
    ]
    assert sizes[0] == sizes[1]
