"""Fits of two processes, each with some of the rows, against fits of one with all of them."""

import copy
import shutil

import numpy as np
import pytest
import torch
from sharded_cases import (
    ADDED_UP,
    JOINED,
    fitted,
    fitted_beside,
    gradients,
    interrupted,
    joined_batches,
    killed,
    normalised,
    outputs_in_float64,
    weight_gradients,
)
from sklearn.base import clone
from torch import nn
from two_ranks import TwoRanks, needs_ranks, shards

import cca_estimators
from cca_estimators import (
    ACMR,
    AGAH,
    CDCCA,
    CKCCA,
    DCCA,
    LSTMCCCA,
    SDCCA,
    TNNCCCA,
    UCAL,
    UGACH,
    Contrastive,
    _ranks,
)
from cca_estimators.datasets import load_spoken_digits, make_views
from cca_estimators.deep.towers import MLPTower
from cca_estimators.deep.training.norms import in_step, over_ranks
from cca_estimators.deep.training.sharded import check_version

pytestmark = needs_ranks
HALVES = slice(20), slice(20, None)
CUT = 70  # of 120 rows: the two have parts of different size


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    ranks = TwoRanks(tmp_path_factory.mktemp("ranks"))
    yield ranks
    ranks.close()


@pytest.fixture(scope="module")
def data():
    return make_views(120, 3, (6, 8), shared_rank=3, random_state=0)


@pytest.fixture(scope="module")
def steps():
    return make_views(120, 3, (6, 8), n_steps=4, shared_rank=3, random_state=0)


@pytest.mark.parametrize("name", [*ADDED_UP, *JOINED])
def test_gradients_are_those_of_one_process(ranks, name):
    rng = np.random.default_rng(0)
    x, y, codes = rng.normal(size=(50, 4)) + 3, rng.normal(size=(50, 4)), rng.integers(3, size=50)
    y[:, :2] += x[:, :2]
    parts = [[rows[:20], rows[20:]] for rows in (x, y, codes)]
    whole_loss, *whole = gradients(None, name, x, y, codes)
    for own, (loss, *grads) in zip(HALVES, ranks(gradients, name, *parts), strict=True):
        assert loss == pytest.approx(whole_loss, abs=1e-12)
        for gradient, expected in zip(grads, whole, strict=True):
            np.testing.assert_allclose(gradient, expected[own], atol=1e-12)


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (nn.BatchNorm1d(3), (50, 3)),
        (nn.BatchNorm1d(3, track_running_stats=False), (50, 3)),
        (nn.BatchNorm1d(3, momentum=None, affine=False), (50, 3, 5)),
        (nn.BatchNorm2d(3, affine=True), (50, 3, 2, 4)),
    ],
)
def test_batches_are_normalised_by_the_rows_of_all(ranks, norm, shape):
    rows = np.random.default_rng(0).normal(size=shape) * 3 + 7
    expected, *whole = normalised(None, copy.deepcopy(norm), rows)
    both = ranks(normalised, norm, [rows[:20], rows[20:]])
    for own, (gradient, *figures) in zip(HALVES, both, strict=True):
        np.testing.assert_allclose(gradient, expected[own], atol=1e-12)
        for figure, expected_figure in zip(figures, whole, strict=True):
            np.testing.assert_allclose(figure, expected_figure, atol=1e-12)


class Twins(_ranks.Alone):
    """Two ranks of the same rows, and how often they exchange something."""

    size, n_exchanges = 2, 0

    def stacked(self, tensor):
        self.n_exchanges += 1
        return torch.stack([tensor, tensor])

    def reduced(self, tensor):
        self.n_exchanges += 1
        return 2 * tensor


@pytest.mark.parametrize("frozen", [False, True])
def test_perceptrons_in_step_are_each_by_itself(frozen):
    towers = [MLPTower(n_features, (7, 5), 2).double() for n_features in (4, 6)]
    for weight in towers[0].parameters():
        weight.requires_grad_(not frozen)
    twins = over_ranks(nn.ModuleList(copy.deepcopy(towers)))
    rows = [torch.randn(20, n_features, dtype=torch.float64) for n_features in (4, 6)]
    ranks = Twins()
    with _ranks.among(ranks):
        outputs = in_step(twins, rows)
        sum(each.pow(3).sum() for each in outputs).backward()
    expected = [tower(each) for tower, each in zip(towers, rows, strict=True)]
    sum(each.pow(3).sum() for each in expected).backward()
    assert ranks.n_exchanges == 5  # of three layers, and of two on the way back
    for each, alone in zip(outputs, expected, strict=True):
        torch.testing.assert_close(each, alone)
    for tower, twin in zip(towers, twins, strict=True):
        for weight, its_twin in zip(tower.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(its_twin.grad, weight.grad)


@pytest.mark.parametrize("large", [1, 10, 10**7])
def test_gradients_of_weights_are_added_up_once(ranks, large):
    rows = np.random.default_rng(0).normal(size=(50, 4))
    whole, _, _ = weight_gradients(None, rows, large)
    for own, told in zip(
        HALVES, ranks(weight_gradients, [rows[:20], rows[20:]], large), strict=True
    ):
        of_all, later, unused = told
        alone, _, _ = weight_gradients(None, rows[own], large)
        for gradient, expected in zip([*of_all, *later], [*whole, *alone], strict=True):
            np.testing.assert_allclose(gradient, expected, atol=1e-12)
        assert unused is None


ONE = {"hidden_layer_sizes": (8,), "dropout": 0.0, "max_epochs": 1, "batch_size": 40}
ONE |= {"random_state": 0, "device": "cpu"}
METHODS = [
    DCCA(3, **ONE),
    DCCA(3, autoencoder_weight=0.5, **ONE),
    CDCCA(3, **ONE),
    CDCCA(3, towers={"audio": MLPTower(6, (8,), 2), "visual": MLPTower(8, (8, 5), 2)}, **ONE),
    CDCCA(3, towers={"audio": MLPTower(6, (8,), 2), "visual": nn.Linear(8, 2)}, **ONE),
    TNNCCCA(4, **ONE),
    TNNCCCA(4, mining="random", first="ccca", n_folds=3, **ONE),
    TNNCCCA(4, first=CKCCA(approx="nystroem", n_landmarks=40, random_state=0), **ONE),
    TNNCCCA(4, order="tnn_first", first="ccca", pair_weight=0.2, **ONE),
    Contrastive(4, loss="supervised", tower="perceptron", **ONE),
    Contrastive(4, loss="robust", tower="perceptron", **ONE),
    Contrastive(4, loss="infonce", tower="perceptron", **ONE),
    Contrastive(4, loss="sigmoid", **ONE),
    ACMR(4, **ONE),
    UCAL(4, **ONE),
    UGACH(16, n_pretrain=0, **ONE),
    AGAH(16, feature_size=8, **ONE),
]
SEVERAL = [
    CDCCA(3, **ONE),
    TNNCCCA(4, **ONE),
    ACMR(4, **ONE),
    AGAH(16, feature_size=8, **ONE),
]
OF_STEPS = [
    SDCCA(3, lstm_size=4, n_selected=2, **ONE),
    LSTMCCCA(3, lstm_size=4, step_size=3, **ONE),
    Contrastive(4, loss="supervised", **ONE),
    CDCCA(3, tower="gru", **ONE),
]


def check_equal_fits(ranks, method, X, y):
    new = {name: rows[::5] for name, rows in X.items()}
    with joined_batches((CUT, len(y) - CUT)):
        one = outputs_in_float64(None, clone(method), X, y, new)
    sharded = clone(method).set_params(sharded=True)
    both = ranks(outputs_in_float64, sharded, *shards(X, y, CUT), new)
    for outputs in both:
        assert isinstance(outputs, dict), outputs.__notes__
        for name, rows in one.items():
            np.testing.assert_allclose(outputs[name], rows, atol=1e-8)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_an_epoch_is_that_of_one_process(ranks, method, data):
    check_equal_fits(ranks, method, *data)


@pytest.mark.parametrize("method", OF_STEPS, ids=repr)
def test_an_epoch_of_sequences_is_that_of_one_process(ranks, method, steps):
    check_equal_fits(ranks, method, *steps)


@pytest.mark.parametrize("method", SEVERAL, ids=repr)
def test_an_epoch_of_several_labels_a_row_is_that_of_one_process(ranks, method, data):
    X, y = data
    members = np.eye(3, dtype=int)[y]
    members[::7, 1] = 1
    check_equal_fits(ranks, method, X, members)


@pytest.mark.parametrize("by", ["groups", "X_val"])
def test_what_is_held_out_is_that_of_all(ranks, data, by):
    X, y = data
    method = CDCCA(early_stopping="map", max_epochs=3, random_state=0, sharded=True)
    parts = shards(X, y, 60)
    if by == "groups":
        numbers = np.arange(120) // 4
        beside = {"groups": [numbers[:60], numbers[60:]]}
    else:
        views, labels = shards(X[::3], y[::3], 15)
        beside = {"X_val": views, "y_val": labels}
    both = ranks(fitted_beside, method, *parts, tuple(beside), *beside.values())
    same_on_both(*both, X=X)
    assert both[0].history_[:, "valid_map"] == both[1].history_[:, "valid_map"]


def same_on_both(first, *others, X):
    for other in others:
        for name, rows in first.transform(X).items():
            np.testing.assert_array_equal(rows, other.transform(X)[name])


@pytest.mark.parametrize("early_stopping", ["loss", "map"])
def test_all_ranks_hold_the_same_estimator_which_is_as_good(ranks, data, early_stopping):
    X, y = data
    method = CDCCA(early_stopping=early_stopping, max_epochs=10, n_iter_no_change=3, random_state=0)
    both = ranks(fitted, clone(method).set_params(sharded=True), *shards(X, y, 60))
    same_on_both(*both, X=X)
    for figure in ("train_loss", "valid_loss", "valid_map"):
        assert both[0].history_[:, figure] == both[1].history_[:, figure]
    assert both[0].score(X, y) == pytest.approx(method.fit(X, y).score(X, y), abs=0.01)


def test_classes_and_seeds_are_those_of_all(ranks, data):
    X, y = data
    order = np.argsort(y, kind="stable")  # rank 0 has no row of the last class
    X, y = X[order], np.array(["a", "b", "c"])[y[order]]
    method = TNNCCCA(4, max_epochs=2, hidden_layer_sizes=8, random_state=None, sharded=True)
    both = ranks(fitted, method, *shards(X, y, 60))
    assert both[0].classes_.tolist() == ["a", "b", "c"]
    same_on_both(*both, X=X)


def test_a_rank_that_fails_fails_all_with_its_error(ranks, data):
    X, y = data
    views, labels = shards(X, y, 60)
    views[1] = {name: rows.copy() for name, rows in views[1].items()}
    views[1]["audio"][7, 2] = np.inf
    method = CDCCA(2, sharded=True, max_epochs=3, random_state=0)
    for rank, error in enumerate(ranks(fitted, method, views, labels)):
        assert isinstance(error, ValueError)
        assert "View 'audio' contains NaN or infinity" in str(error)
        assert "inf in row 7, feature 2" in str(error)
        assert ("raised on rank 1; this is rank 0" in "".join(error.__notes__)) == (rank == 0)
    same_on_both(*ranks(fitted, method, *shards(X, y, 60)), X=X)  # who can go on


def test_ranks_that_differ_are_told(ranks, data):
    X, y = data
    methods = [CDCCA(2, sharded=True, max_epochs=epochs) for epochs in (1, 2)]
    for error in ranks(fitted, methods, *shards(X, y, 60)):
        assert isinstance(error, ValueError)
        assert "max_epochs is 1 on rank 0 and 2 on rank 1" in str(error)
    for error in ranks(fitted, [DCCA(sharded=True), CDCCA(sharded=True)], *shards(X, y, 60)):
        assert "the class is DCCA on rank 0 and CDCCA on rank 1" in str(error)
    views, labels = shards(X, y, 60)
    views[1] = {name: rows[:, 1:] for name, rows in views[1].items()}
    for error in ranks(fitted, CDCCA(sharded=True), views, labels):
        assert "the shape of view 'audio' is (6,) on rank 0 and (5,) on rank 1" in str(error)


def test_an_interrupt_of_one_ends_all_after_the_same_epoch(ranks, data):
    X, y = data
    method = CDCCA(2, sharded=True, max_epochs=5, batch_size=40, random_state=0)
    both = ranks(interrupted, method, *shards(X, y, 60))
    for fit, told in both:
        assert "holds the weights of epoch 2" in told[0]
        assert len(fit.history_) == 2
        assert fit.history_[:, "train_loss"] == both[0][0].history_[:, "train_loss"]
    same_on_both(both[0][0], both[1][0], X=X)


def test_a_fit_goes_on_from_the_file_of_the_first_rank(ranks, data, tmp_path):
    X, y = data
    method = CDCCA(2, sharded=True, max_epochs=5, batch_size=40, random_state=0)
    parts = shards(X, y, 60)
    whole, _ = ranks(fitted, method, *parts)
    kept, other = tmp_path / "kept", tmp_path / "other"
    ranks(interrupted, clone(method).set_params(checkpoint=str(kept)), *parts)
    assert len(list(kept.iterdir())) == 1
    shutil.copytree(kept, other)
    same_on_both(whole, *ranks(fitted, clone(method).set_params(checkpoint=str(kept)), *parts), X=X)
    one = clone(method).set_params(sharded=False, checkpoint=str(other)).fit(X[::-1], y[::-1])
    assert one.history_[:2, "train_loss"] == whole.history_[:2, "train_loss"]
    assert one.history_[2:, "train_loss"] != whole.history_[2:, "train_loss"]
    assert len(one.history_) == 5
    assert not [*kept.iterdir(), *other.iterdir()]


def spoken_digits():
    """Return rows to train on in random order, their labels, and what to test on."""
    X, y = load_spoken_digits(subset="train", return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(y))
    return X[rows], y[rows], load_spoken_digits(subset="test", return_X_y=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["CDCCA", "DCCA", "TNNCCCA", "Contrastive", "ACMR", "UCAL", "AGAH"]
)
def test_fits_by_default_are_as_good(request, ranks, name):
    """Within .01, or three standard errors: by the draw of batches alone DCCA differs by .02."""
    if not request.config.getoption("--long"):
        pytest.skip("a small one is above")
    X, y, test = spoken_digits()
    parts, gains = shards(X, y, len(y) // 2), []
    for seed in range(10):
        method = getattr(cca_estimators, name)(random_state=seed, device="cpu")
        first, second = ranks(fitted, clone(method).set_params(sharded=True), *parts)
        same_on_both(first, second, X=test[0])
        gains.append(first.score(*test) - method.fit(X, y).score(*test))
    assert abs(np.mean(gains)) < max(0.01, 3 * np.std(gains, ddof=1) / len(gains) ** 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CDCCA", "TNNCCCA"])
def test_a_fit_that_one_process_goes_on_with_is_as_good(request, ranks, name, tmp_path):
    if not request.config.getoption("--long"):
        pytest.skip("a small one is above")
    X, y, test = spoken_digits()
    method = getattr(cca_estimators, name)(random_state=0, device="cpu")
    stopped = clone(method).set_params(sharded=True, checkpoint=str(tmp_path))
    (left, _), _ = ranks(interrupted, stopped, *shards(X, y, len(y) // 2), method.max_epochs // 2)
    assert len(left.history_) == method.max_epochs // 2 - 1
    resumed = clone(method).set_params(checkpoint=str(tmp_path)).fit(X, y)
    assert resumed.score(*test) == pytest.approx(method.fit(X, y).score(*test), abs=0.01)


def test_without_a_group_it_is_refused(data):
    with pytest.raises(RuntimeError, match="torchrun"):
        CDCCA(sharded=True).fit(*data)


def test_a_rank_that_is_killed_ends_the_other_with_an_error(data, tmp_path):
    ranks = TwoRanks(tmp_path)
    method = CDCCA(2, sharded=True, max_epochs=3, random_state=0)
    error, _ = ranks(killed, method, *shards(*data, 60))
    ranks.close()
    assert isinstance(error, RuntimeError)
    assert "Another process of this sharded fit has ended" in str(error)


def test_groups_that_may_never_close_are_refused(monkeypatch):
    monkeypatch.setattr("torch.__version__", "2.5.0+cpu")
    with pytest.raises(RuntimeError, match=r"needs PyTorch 2\.13, and this is 2\.5\.0"):
        check_version()
