"""Every option arrives where it matters: in the net, its optimiser, its objective, its head."""

import numpy as np
import pytest
import torch
from registry import embeddings
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.metrics import average_precision_score
from skorch.callbacks import Callback
from torch import nn

from cca_estimators import (
    ACMR,
    AGAH,
    CCCA,
    CDCCA,
    DCCA,
    LSTMCCCA,
    SDCCA,
    TNNCCCA,
    UCAL,
    UGACH,
    Contrastive,
    Views,
)
from cca_estimators.datasets import make_views
from cca_estimators.deep import DeepEstimator
from cca_estimators.deep.towers import Dropout, MLPTower

TINY = {"hidden_layer_sizes": (12,), "max_epochs": 1, "random_state": 0, "device": "cpu"}
DEEP = [
    clone(one).set_params(max_epochs=1) for one in embeddings() if isinstance(one, DeepEstimator)
]
each_deep = pytest.mark.parametrize("method", DEEP, ids=lambda method: type(method).__name__)
LINEAR_FIRST = {"first": "ccca", "n_folds": 1}


@pytest.fixture(scope="module")
def data():
    return make_views(60, 3, (6, 8), shared_rank=3, n_steps=2, random_state=0)


@pytest.fixture(scope="module")
def flat():
    return make_views(60, 3, (6, 8), shared_rank=3, random_state=0)


def parts(fitted, kind):
    return [module for module in fitted.net_.module_.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("method", [CDCCA, LSTMCCCA, SDCCA])
@pytest.mark.parametrize(
    ("n_classes", "options", "expected"),
    [
        (3, {}, 10),
        (20, {}, 19),
        (20, {"batch_size": 48}, 12),
        (20, {"batch_size": 20}, 10),
        (20, {"n_components": 4}, 4),
    ],
)
def test_outputs_suffice_for_the_classes(method, n_classes, options, expected):
    X, y = make_views(120, n_classes, (24, 25), random_state=0)
    fitted = method(**TINY, **options).fit(X, y)
    assert [len(view) for view in fitted.head_.weights_.values()] == [expected, expected]


@each_deep
def test_training_options_arrive(data, method):
    X, y = data
    options = {"weight_decay": 0.3, "learning_rate": 2e-4, "batch_size": 20, "dropout": 0.37}
    fitted = clone(method).set_params(**options, activation="logistic").fit(X, y)
    group = fitted.net_.optimizer_.param_groups[0]
    assert isinstance(fitted.net_.optimizer_, torch.optim.AdamW)
    assert (group["weight_decay"], group["lr"]) == (0.3, 2e-4)
    assert fitted.history_[-1]["train_batch_count"] == 3
    assert [batch["train_batch_size"] for batch in fitted.history_[-1]["batches"]] == [20] * 3
    assert {module.p for module in parts(fitted, Dropout)} == {0.37}
    assert len(parts(fitted, nn.Sigmoid)) > len(parts(clone(method).fit(X, y), nn.Sigmoid))
    assert not parts(fitted, nn.ReLU)
    assert fitted.net_.stratified == fitted._supervised


@each_deep
def test_batch_normalisation_and_sizes_arrive(flat, method):
    X, y = flat
    without = clone(method).set_params(batch_norm=False, hidden_layer_sizes=(7, 5)).fit(X, y)
    widths = [layer.out_features for layer in parts(without, nn.Linear)]
    for width in (7, 5):
        assert widths.count(width) == 2
    assert len(parts(without, nn.BatchNorm1d)) < len(
        parts(clone(method).set_params(hidden_layer_sizes=(7, 5)).fit(X, y), nn.BatchNorm1d)
    )


def kinds(tower):
    return [type(layer).__name__ for layer in tower]


def test_layers_of_a_perceptron():
    normed = MLPTower(4, (3,), 2, activation="logistic")
    assert kinds(normed) == [
        "Flatten",
        "BatchNorm1d",
        "Linear",
        "BatchNorm1d",
        "Sigmoid",
        "Dropout",
        "Linear",
    ]
    assert [normed[1].num_features, normed[3].num_features] == [4, 3]
    plain = MLPTower(4, (), 2, batch_norm=False)
    assert kinds(plain) == ["Flatten", "Linear"]


def test_flat_views_have_a_perceptron_where_sequences_have_more(flat, data):
    X, y = flat
    fitted = SDCCA(lstm_size=5, **TINY).fit(X, y)
    assert type(fitted.net_.module_.tower("audio")) is MLPTower
    X, y = data
    for method in (SDCCA, LSTMCCCA):
        deep = method(lstm_size=5, n_layers=2, dropout=0.2, **TINY).fit(X, y)
        for lstm in parts(deep, nn.LSTM):
            assert (lstm.hidden_size, lstm.num_layers, lstm.dropout) == (5, 2, 0.2)
        assert isinstance(deep.net_.module_.tower("audio").norm, nn.BatchNorm1d)


OF_THE_OBJECTIVE = [
    (DCCA(autoencoder_weight=0.7, batch_reg=0.02, **TINY), {"weight": 0.7, "ridge": 0.02}),
    (CDCCA(pair_weight=0.3, batch_reg=0.02, **TINY), {"options": (0.3, 0.02)}),
    (SDCCA(pair_weight=0.3, batch_reg=0.02, **TINY), {"options": (0.3, 0.02)}),
    (LSTMCCCA(pair_weight=0.3, batch_reg=0.02, **TINY), {"options": (0.3, 0.02)}),
    (ACMR(margin=0.4, adversary_weight=0.6, **TINY), {"margin": 0.4, "weight": 0.6}),
    (
        UCAL(variance_weight=0.4, covariance_weight=0.2, adversary_weight=0.6, **TINY),
        {"variance_weight": 0.4, "covariance_weight": 0.2, "weight": 0.6},
    ),
    (UGACH(24, temperature=3.0, **TINY), {"margin": 3.0, "temperature": 3.0}),
    (
        AGAH(8, feature_size=9, margin=0.4, code_weight=0.2, map_weight=0.64, **TINY),
        {"margin": 0.4, "code_weight": 0.2, "map_weight": 0.01},
    ),
    (Contrastive(loss="infonce", temperature=0.3, **TINY), {"temperature": 0.3}),
]


@pytest.mark.parametrize(
    ("method", "expected"), OF_THE_OBJECTIVE, ids=lambda value: type(value).__name__
)
def test_options_of_the_objective_arrive(flat, method, expected):
    objective = method.fit(*flat).net_.criterion_
    for name, value in expected.items():
        found = getattr(objective, name)
        assert (found[:2] if name == "options" else found) == pytest.approx(value)


def test_options_of_the_training_step_arrive(flat):
    X, y = flat
    seen = []

    class Neighbours(Callback):
        def on_epoch_begin(self, net, **kwargs):
            seen.append(net.neighbours.shape)

    ugach = UGACH(8, n_pretrain=3, n_draws=4, n_neighbors=2, callbacks=[Neighbours()], **TINY)
    ugach.fit(X)
    assert (ugach.net_.n_pretrain, ugach.net_.n_draws) == (3, 4)
    assert seen == [(60, 4)]
    agah = AGAH(8, feature_size=9, adversary_weight=0.7, **TINY).fit(X, y)
    assert agah.net_.adversary_weight == 0.7
    assert agah.net_.module_.tower("audio").class_features.shape == (3, 9)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("margin", 0.7),
        ("mining", "random"),
        ("mining", "batch_hard"),
        ("distance", "sqeuclidean"),
        ("symmetric", False),
        ("include_pair", False),
    ],
)
def test_options_of_triplets_arrive(flat, option, value):
    fitted = TNNCCCA(**{option: value}, **TINY).fit(*flat)
    assert fitted.net_.criterion_.options[option] == value
    assert value != TNNCCCA().get_params()[option]


@pytest.mark.parametrize("method", [DCCA, CDCCA, SDCCA, LSTMCCCA])
def test_options_of_the_head_arrive(flat, method):
    X, y = flat
    fitted = method(reg=0.3, weighted=False, **TINY).fit(X, y)
    outputs = {name: fitted.net_.module_.tower(name).eval() for name in X}
    rows = {name: (view - view.mean(axis=0)) / view.std(axis=0) for name, view in X.items()}
    with torch.inference_mode():
        outputs = {
            name: outputs[name](torch.from_numpy(rows[name].astype(np.float32))).numpy()
            for name in X
        }
    head = type(fitted.head_)(**fitted.head_.get_params()).set_params(reg=0.3, weighted=False)
    expected = head.fit(outputs, y).transform(outputs)
    for name, view in fitted.transform(X).items():
        np.testing.assert_allclose(view, expected[name], rtol=1e-3, atol=1e-4)
    assert fitted.head_.reg == 0.3
    assert fitted.head_.weighted is False


def test_options_of_the_cluster_cca_arrive(flat):
    options = {"reg": 0.3, "weighted": False, "pair_weight": 0.4, **LINEAR_FIRST}
    first = TNNCCCA(**options, **TINY).fit(*flat).first_
    head = TNNCCCA(**options, order="tnn_first", **TINY).fit(*flat).head_
    for stage in (first, head):
        assert isinstance(stage, CCCA)
        assert (stage.reg, stage.weighted, stage.pair_weight) == (0.3, False, 0.4)


class Last(Callback):
    """Keep what the last epoch is validated on, and the outputs of the towers then."""

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        self.codes = dataset_train.codes, dataset_valid.codes
        self.rows = dataset_train.rows, dataset_valid.rows
        self.outputs = net.outputs(dataset_train), net.outputs(dataset_valid)


def mean_ap(query, gallery, codes, distance):
    similarities = -cdist(query, gallery, distance)
    relevant = codes[:, None] == codes
    return np.mean(
        [average_precision_score(*row) for row in zip(relevant, similarities, strict=True)]
    )


@pytest.mark.parametrize(
    "method",
    [
        CDCCA(**TINY),
        DCCA(4, **TINY),
        TNNCCCA(**TINY),
        UGACH(8, **TINY),
        AGAH(8, feature_size=9, **TINY),
        ACMR(**TINY),
    ],
    ids=lambda method: type(method).__name__,
)
def test_validation_is_that_of_the_rows_left_out(flat, method):
    X, y = flat
    last = Last()
    options = {"early_stopping": True, "validation_fraction": 0.4, "callbacks": [last]}
    fitted = clone(method).set_params(**options, max_epochs=2).fit(X, y)
    labels = y if fitted._supervised else np.arange(60)
    assert sorted(np.concatenate(last.rows)) == list(range(60))
    assert len(last.rows[1]) == 24
    np.testing.assert_array_equal(labels[last.rows[1]], last.codes[1])
    if fitted._supervised:
        np.testing.assert_allclose(np.bincount(last.codes[1]), np.bincount(y) * 0.4, atol=1)
    train, valid = last.outputs
    distance = "cosine"
    if fitted.head_ is not None:
        valid = clone(fitted.head_).fit(train, last.codes[0]).transform(valid)
    elif fitted.metric == "hamming":
        valid, distance = {name: view > 0 for name, view in valid.items()}, "hamming"
    x, z = (np.asarray(view) for view in valid.values())
    codes = last.codes[1]
    expected = (mean_ap(x, z, codes, distance) + mean_ap(z, x, codes, distance)) / 2
    assert fitted.history_[-1]["valid_map"] == pytest.approx(expected, abs=1e-6)


def test_the_validation_loss_is_that_of_the_towers_at_rest(flat):
    X, y = flat
    last = Last()
    options = {"early_stopping": "loss", "validation_fraction": 0.4, "callbacks": [last]}
    fitted = TNNCCCA(dropout=0.5, **options, **TINY).fit(X, y)
    outputs = [torch.from_numpy(view) for view in last.outputs[1].values()]
    loss = fitted.net_.criterion_(outputs, torch.from_numpy(last.codes[1]), None)
    assert fitted.history_[-1]["valid_loss"] == pytest.approx(loss.item(), rel=1e-5)


class Embedded(nn.Module):
    """A tower of tokens."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(50, 4)

    def forward(self, rows):
        assert rows.dtype == torch.int64
        return self.tokens(rows).mean(dim=1)


def test_tokens_reach_an_embedding_as_integers(flat):
    X, _ = flat
    tokens = np.random.default_rng(0).integers(50, size=(60, 7)).astype(np.int32)
    views = Views(audio=X["audio"], text=tokens)
    towers = {"audio": nn.Linear(6, 4), "text": Embedded()}
    fitted = DCCA(4, towers=towers, **TINY).fit(views)
    expected = fitted.transform(views)["text"]
    np.testing.assert_allclose(
        fitted.transform({"text": tokens[:5]})["text"], expected[:5], rtol=1e-5
    )
    floats = {"audio": nn.Linear(6, 4), "text": nn.Linear(7, 4)}
    assert DCCA(4, towers=floats, **TINY).fit(views).transform(views)["text"].shape == (60, 4)


@pytest.mark.parametrize("method", [LSTMCCCA, SDCCA])
def test_views_of_four_dimensions_are_refused_where_steps_are_read(flat, method):
    X, y = flat
    pictures = Views(audio=X["audio"], visual=X["visual"].reshape(60, 2, 2, 2))
    with pytest.raises(ValueError, match=r"'visual' has shape \(60, 2, 2, 2\); .* own towers"):
        method(**TINY).fit(pictures, y)
    assert CDCCA(**TINY).fit(pictures, y).transform(pictures)["visual"].shape == (60, 2)
