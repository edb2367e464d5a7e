"""Adversarial and hashing methods: each learns by its own mechanism."""

import copy
import pickle
from contextlib import nullcontext, suppress

import numpy as np
import pytest
import torch
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import normalize
from sklearn.svm import SVC
from skorch.callbacks import Callback, Checkpoint, LoadInitState

from cca_estimators import ACMR, AGAH, UCAL, UGACH, Views, cross_modal_map, mean_average_precision
from cca_estimators.datasets import make_views

SMALL = {"hidden_layer_sizes": (32,), "max_epochs": 30, "random_state": 0, "device": "cpu"}
HASHING = [UGACH(16, **SMALL), AGAH(16, feature_size=32, **SMALL)]
hashing = pytest.mark.parametrize("method", HASHING, ids=["UGACH", "AGAH"])
players = pytest.mark.parametrize(
    "method", [*HASHING, ACMR(**SMALL), UCAL(**SMALL)], ids=lambda method: type(method).__name__
)


@pytest.fixture(scope="module")
def data():
    X, y = make_views(300, 4, (12, 16), shared_rank=3, random_state=0)
    return Views(audio=np.exp(X["audio"]), visual=X["visual"]), y  # views of different shapes


def figures(estimator, name):
    return np.array([epoch[name] for epoch in estimator.history_])


def accuracy_of_a_probe(estimator, X):
    """Return how often a classifier of another kind tells the views of left-out rows apart."""
    rows = np.vstack([normalize(view) for view in estimator.transform(X).values()])
    return cross_val_score(SVC(C=10), rows, np.repeat([0, 1], len(rows) // 2), cv=5).mean()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("method", [ACMR, UCAL])
def test_the_adversary_is_trained_and_loses(data, method, seed):
    X, y = data
    options = {**SMALL, "max_epochs": 120, "batch_size": 100, "random_state": seed}
    fooled = method(**options).fit(X, y)
    unopposed = method(**options, adversary_weight=0.0).fit(X, y)
    accuracy, accuracy_unopposed = (
        figures(one, "adversary_accuracy") for one in (fooled, unopposed)
    )
    assert accuracy[:15].max() > 0.9
    assert accuracy[-10:].mean() < accuracy[:15].max() - 0.15
    assert accuracy[-10:].mean() < accuracy_unopposed[-10:].mean() - 0.03
    assert accuracy_of_a_probe(fooled, X) < accuracy_of_a_probe(unopposed, X) - 0.03
    at_first = method(**{**options, "max_epochs": 1}).fit(X, y)
    assert fooled.score(X, y) > max(at_first.score(X, y) + 0.1, unopposed.score(X, y) - 0.02)


def test_the_reversed_gradient_reaches_the_towers(data):
    X, y = data
    options = {**SMALL, "max_epochs": 2}
    towers = [
        ACMR(**options, adversary_weight=weight).fit(X, y).net_.module_.state_dict()
        for weight in (0.0, 5.0)
    ]
    assert any(not torch.equal(towers[0][key], towers[1][key]) for key in towers[0])


@pytest.mark.parametrize("seed", range(5))
def test_ucal_does_not_collapse(data, seed):
    X, y = data
    ucal = UCAL(**{**SMALL, "random_state": seed}).fit(X)
    for rows in ucal.transform(X).values():
        assert rows.std(axis=0).min() > 0.3
    assert ucal.score(X, y) > 2 / 4


def test_ucal_collapses_without_its_term(data):
    X, _ = data
    options = {**SMALL, "max_epochs": 100, "learning_rate": 3e-3, "weight_decay": 0.0}
    options |= {"variance_weight": 1e-6, "covariance_weight": 0.0}
    collapsed = UCAL(**options).fit(X).transform(X)["audio"].std(axis=0).mean()
    kept = UCAL(**{**options, "variance_weight": 1.0}).fit(X).transform(X)["audio"].std(axis=0)
    assert collapsed < 0.5 * kept.mean()


def test_acmr_learns_its_classifier(data):
    X, y = data
    acmr = ACMR(**SMALL).fit(X, y)
    outputs = torch.from_numpy(acmr.transform(X)["visual"].astype(np.float32))
    with torch.inference_mode():
        predicted = acmr.net_.criterion_.classifier(outputs).argmax(dim=1).numpy()
    assert np.mean(predicted == y) > 0.9
    assert figures(acmr, "embedding_loss")[-1] < figures(acmr, "embedding_loss")[0]


@hashing
def test_hashing_gives_bits_that_are_all_used(data, method):
    X, y = data
    fitted = method.fit(X, y)
    bits = fitted.transform(X)
    for name, rows in bits.items():
        assert rows.dtype == np.uint8
        assert rows.shape == (300, 16)
        assert set(np.unique(rows)) == {0, 1}
        assert 0.1 < rows.mean(axis=0).min() <= rows.mean(axis=0).max() < 0.9
        np.testing.assert_array_equal(rows, fitted.decision_function(X)[name] > 0)
        np.testing.assert_array_equal(np.unpackbits(fitted.pack(X)[name], axis=1), rows)
    assert fitted.metric == "hamming"


@hashing
def test_scorers_take_the_hamming_distance(data, method):
    X, y = data
    fitted = method.fit(X, y)
    audio, visual = fitted.transform(X).values()
    expected = [
        mean_average_precision(*pair, y, y, metric="hamming")
        for pair in ((audio, visual), (visual, audio))
    ]
    assert cross_modal_map(fitted, X, y) == pytest.approx(np.mean(expected))
    assert fitted.score(X, y) == pytest.approx(np.mean(expected))


@hashing
def test_hashing_on_one_array_and_one_view(data, method):
    X, y = data
    stacked = np.hstack(list(X.values()))
    method = type(method)(**{**method.get_params(), "view_split": 12}).fit(stacked, y)
    assert method.decision_function(stacked).shape == (300, 32)
    assert method.pack(stacked).shape == (300, 4)
    alone = method.decision_function({"first": X["audio"]})
    np.testing.assert_allclose(alone["first"], method.decision_function(stacked)[:, :16], atol=1e-6)


@players
def test_training_beats_the_untrained_network(data, method):
    X, y = data
    train, test = np.arange(200), np.arange(200, 300)
    params = method.get_params()
    untrained = type(method)(**{**params, "max_epochs": 1, "learning_rate": 1e-12})
    trained = method.fit(X[train], y[train]).score(X[test], y[test])
    assert trained > untrained.fit(X[train], y[train]).score(X[test], y[test]) + 0.1


def test_agah_keeps_class_maps(data):
    X, y = data
    agah = AGAH(16, feature_size=32, **SMALL).fit(X, y)
    code_map = agah.net_.criterion_.code_map
    assert set(code_map.unique().tolist()) == {-1.0, 1.0}
    assert len(code_map.unique(dim=0)) == 4
    signs = torch.from_numpy(agah.decision_function(X)["audio"]).sign()
    nearest = (signs @ code_map.T).argmax(dim=1).numpy()
    assert np.mean(nearest == y) > 0.8
    tower = agah.net_.module_.tower("audio")
    assert tower.class_features.norm(dim=1).min() > 0.1
    assert figures(agah, "critic_loss")[-1] < figures(agah, "critic_loss")[0]


def test_ugach_trains_a_generator_after_pretraining(data):
    X, _ = data
    weights = []
    for n_pretrain in (30, 10):
        ugach = UGACH(16, n_pretrain=n_pretrain, **SMALL).fit(X)
        weights.append(ugach.net_.criterion_.generators[0][0][2].weight.detach())
    assert not torch.allclose(*weights, atol=1e-3)
    assert ugach.net_.neighbours is None
    assert len(pickle.dumps(ugach)) < 1_000_000
    assert np.isfinite(figures(ugach, "generator_loss")).all()


def test_ugach_goes_on_with_other_rows(data):
    X, _ = data
    ugach = UGACH(16, **{**SMALL, "max_epochs": 3}, n_pretrain=0).fit(X[:200])
    ugach.partial_fit(X[200:])
    assert len(ugach.history_) == 4


class Watch(Callback):
    """Keep the weights of the towers after each epoch, and count the gradients seen."""

    def on_train_begin(self, net, **kwargs):
        self.weights, self.n_gradients = [], 0

    def on_grad_computed(self, net, named_parameters, **kwargs):
        gradients = [parameter.grad for _, parameter in named_parameters]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
        self.n_gradients += len(gradients)

    def on_epoch_end(self, net, **kwargs):
        self.weights.append(copy.deepcopy(net.module_.state_dict()))


class InterruptAfterThree(Callback):
    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 4:
            raise KeyboardInterrupt


@players
def test_training_resumed_from_a_checkpoint_equals_training_in_one_go(data, method, tmp_path):
    X, y = data
    params = {**method.get_params(), "max_epochs": 6}
    checkpoint = Checkpoint(monitor=None, dirname=tmp_path, f_opponent_optimizer="opponent.pt")
    weights = []
    for callbacks in ([], [checkpoint, InterruptAfterThree()], [LoadInitState(checkpoint)]):
        fitted = type(method)(**{**params, "callbacks": callbacks})
        stopped = [c for c in callbacks if isinstance(c, InterruptAfterThree)]
        told = pytest.warns(UserWarning, match="interrupted") if stopped else nullcontext()
        with told, suppress(KeyboardInterrupt):
            fitted.fit(X, y)
        weights.append(fitted.net_.module_.state_dict())
    whole, interrupted, resumed = weights
    assert len(fitted.history_) == 6
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=1e-4, atol=1e-5)
    assert any(not torch.equal(value, interrupted[key]) for key, value in whole.items())


@players
def test_early_stopping_by_map_returns_to_the_best_epoch(data, method):
    X, y = data
    watch = Watch()
    stopped = {"early_stopping": "map", "callbacks": [watch], "n_iter_no_change": 3}
    fitted = type(method)(**{**method.get_params(), **stopped}).fit(X, y)
    best = watch.weights[figures(fitted, "valid_map").argmax()]
    for key, value in fitted.net_.module_.state_dict().items():
        torch.testing.assert_close(value, best[key])


@players
def test_callbacks_see_the_gradients_of_the_towers(data, method):
    X, y = data
    watch = Watch()
    params = {**method.get_params(), "max_epochs": 2, "batch_size": 100, "callbacks": [watch]}
    fitted = type(method)(**params).fit(X, y)
    learnt = {id(parameter) for _, parameter in fitted.net_.get_all_learnable_params()}
    assert {id(parameter) for parameter in fitted.net_.module_.parameters()} <= learnt
    opponent = getattr(fitted.net_.criterion_, fitted.net_.opponent)
    assert not {id(parameter) for parameter in opponent.parameters()} & learnt
    assert watch.n_gradients == len(learnt) * 2 * 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@players
def test_cuda_gives_what_the_cpu_gives(data, method):
    X, y = data
    on_cpu, on_cuda = (
        type(method)(**{**method.get_params(), "device": device}).fit(X, y)
        for device in ("cpu", "cuda")
    )
    assert on_cuda.score(X, y) == pytest.approx(on_cpu.score(X, y), abs=0.05)
