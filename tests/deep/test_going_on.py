"""Going on with training: what stays, what may change, and what an interrupt leaves."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, Checkpoint, LRScheduler
from torch.optim.lr_scheduler import LambdaLR

from cca_estimators import ACMR, AGAH, CDCCA, DCCA, TNNCCCA, Contrastive, Views
from cca_estimators.datasets import make_views
from cca_estimators.deep.training import callbacks
from cca_estimators.display import LossCurveDisplay

SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 4, "random_state": 0, "device": "cpu"}
supervised = pytest.mark.parametrize("method", [CDCCA, TNNCCCA, ACMR, AGAH, Contrastive])


@pytest.fixture(scope="module")
def data():
    X, y = make_views(150, 3, (8, 9), shared_rank=3, random_state=0)
    return X, np.array(["ant", "bee", "cat"])[y]


def weights_of(estimator):
    return {key: value.clone() for key, value in estimator.net_.module_.state_dict().items()}


def assert_unchanged(estimator, before):
    assert vars(estimator) == before


@supervised
def test_blocks_map_labels_by_name(data, method):
    X, y = data
    some = y != "bee"
    fitted = method(**SMALL).partial_fit(X[some], y[some], classes=["cat", "ant", "bee"])
    assert fitted.classes_.tolist() == ["ant", "bee", "cat"]
    fitted.partial_fit(X, y)
    score = fitted.score(X, y)
    for _ in range(3):
        fitted.partial_fit(X[some], y[some])
    assert fitted.score(X, y) > score - 0.1
    before = vars(fitted).copy()
    with pytest.raises(ValueError, match=r"'dog'.*training began with \['ant', 'bee', 'cat'\]"):
        fitted.partial_fit(X[:3], ["dog", "ant", "bee"])
    with pytest.raises(ValueError, match="training began with"):
        fitted.partial_fit(X, y, classes=["ant", "bee"])
    with pytest.raises(ValueError, match=r"labels \['cat'\], which are not among"):
        method(**SMALL).partial_fit(X, y, classes=["ant", "bee"])
    assert_unchanged(fitted, before)


def test_codes_of_a_block_are_those_of_the_classes(data):
    X, y = data
    seen = []

    class Codes(Callback):
        def on_batch_begin(self, net, batch=None, training=False, **kwargs):
            if training:
                seen.append(batch[1].numpy())

    fitted = CDCCA(**SMALL, callbacks=[Codes()]).partial_fit(X, y)
    seen.clear()
    some = y != "ant"
    fitted.partial_fit(X[some], y[some])
    assert set(np.concatenate(seen)) == {1, 2}
    assert len(fitted.head_.classes_) == 3
    assert fitted.transform(X)["audio"].shape == (150, 2)


def test_the_head_waits_for_all_classes(data):
    X, y = data
    fitted = CDCCA(**SMALL).partial_fit(X, y)
    head = fitted.head_
    assert fitted.partial_fit(X[y != "ant"], y[y != "ant"]).head_ is head
    assert fitted.partial_fit(X, y).head_ is not head


@supervised
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hidden_layer_sizes": (32,)}, r"hidden_layer_sizes was \(16,\) .* and is \(32,\)"),
        ({"dropout": 0.45}, "dropout was .* and is 0.45"),
        ({"activation": "logistic"}, "activation was .* and is 'logistic'"),
    ],
)
def test_what_training_cannot_go_on_with_is_refused(data, method, change, told):
    X, y = data
    fitted = method(**SMALL, warm_start=True).fit(X, y).set_params(**change)
    before = vars(fitted).copy()
    for go_on in (fitted.fit, fitted.partial_fit):
        with pytest.raises(ValueError, match=told):
            go_on(X, y)
    assert_unchanged(fitted, before)
    fitted.set_params(**{name: method(**SMALL).get_params()[name] for name in change})
    equal = (*SMALL["hidden_layer_sizes"],)  # a tuple of its own
    assert len(fitted.set_params(hidden_layer_sizes=equal).fit(X, y).history_) == 8
    fitted.set_params(warm_start=False, **change).fit(X, y)
    assert len(fitted.history_) == 4


@supervised
def test_a_refit_forgets_what_blocks_and_fits_have_left(data, method):
    X, y = data
    two = y != "cat"
    expected = method(**SMALL).fit(X[two], y[two])
    again = method(**SMALL).partial_fit(X, y).fit(X, y).fit(X[two], y[two])
    assert again.classes_.tolist() == ["ant", "bee"]
    for name, rows in expected.transform(X).items():
        np.testing.assert_array_equal(again.transform(X)[name], rows)


@supervised
def test_a_warm_start_refuses_other_views_and_classes(data, method):
    X, y = data
    fitted = method(**SMALL, warm_start=True).fit(X, y)
    before = vars(fitted).copy()
    wider = Views(audio=np.hstack([X["audio"], X["audio"]]), visual=X["visual"])
    with pytest.raises(ValueError, match="'audio' has 16 features"):
        fitted.fit(wider, y)
    with pytest.raises(ValueError, match=r"\['audio', 'image'\]; those known from fit"):
        fitted.fit({"audio": X["audio"], "image": X["visual"]}, y)
    with pytest.raises(ValueError, match="holds the view 'audio' alone"):
        fitted.fit({"audio": X["audio"]}, y)
    with pytest.raises(ValueError, match=r"classes \['ant', 'bee'\]; training began with"):
        fitted.fit(X[y != "cat"], y[y != "cat"])
    assert_unchanged(fitted, before)
    swapped = {"visual": X["visual"], "audio": X["audio"]}
    assert len(fitted.fit(swapped, y).history_) == 8
    assert fitted.view_names_in_ == ["audio", "visual"]


@pytest.mark.parametrize("method", [CDCCA, ACMR, AGAH])
def test_step_size_decay_and_batch_size_take_effect(data, method):
    X, y = data
    fitted = method(**SMALL, warm_start=True).fit(X, y)
    before = weights_of(fitted)
    opponent = getattr(fitted.net_, "opponent_optimizer_", None)
    rate = opponent.param_groups[0]["lr"] if opponent else 0.0
    fitted.set_params(learning_rate=1e-9, weight_decay=0.25, batch_size=30).fit(X, y)
    group = fitted.net_.optimizer_.param_groups[0]
    assert group["lr"] == pytest.approx(1e-9)
    assert group["weight_decay"] == 0.25
    assert fitted.history_[-1]["train_batch_count"] == 5
    if opponent:
        found = fitted.net_.opponent_optimizer_.param_groups[0]["lr"]
        assert found == pytest.approx(rate * 1e-9 / 1e-3)
    for key, value in weights_of(fitted).items():
        if key.endswith("weight") and value.ndim == 2:
            torch.testing.assert_close(value, before[key], atol=1e-6, rtol=0)


def test_a_schedule_may_begin_with_a_warm_start(data):
    X, y = data
    fitted = CDCCA(**SMALL, warm_start=True).fit(X, y)
    schedule = LRScheduler(LambdaLR, lr_lambda=lambda epoch: 0.5**epoch)
    fitted.set_params(callbacks=[schedule], learning_rate=0.01).fit(X, y)
    assert fitted.history_[4:, "event_lr"] == pytest.approx([0.01 * 0.5**n for n in range(4, 8)])


def test_reg_of_a_head_takes_effect_and_that_of_a_first_stage_does_not(data):
    X, y = data
    fitted = CDCCA(**SMALL).partial_fit(X, y).set_params(reg=0.5, weighted=False).partial_fit(X, y)
    assert fitted.head_.reg == 0.5
    assert fitted.head_.weighted is False


class Interrupt(Callback):
    """Press Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, net, training=False, **kwargs):
        if training and len(net.history) == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", [CDCCA, DCCA, TNNCCCA, ACMR, AGAH, Contrastive])
def test_an_interrupt_leaves_the_last_whole_epoch_and_is_raised(data, method):
    X, y = data
    interrupt = Interrupt(3)
    stopped = method(**SMALL, batch_size=50, warm_start=True, callbacks=[interrupt])
    with pytest.warns(UserWarning, match="epoch 2, the last"), pytest.raises(KeyboardInterrupt):
        stopped.fit(X, y)
    two = method(**{**SMALL, "max_epochs": 2}, batch_size=50)
    if method is not ACMR:  # whose schedule knows the number of epochs
        two.fit(X, y)
        for name in X:
            np.testing.assert_array_equal(stopped.transform(X)[name], two.transform(X)[name])
    assert len(stopped.history_) == 2
    assert all("train_loss" in epoch for epoch in stopped.history_)
    assert LossCurveDisplay.from_estimator(stopped).plot().figure_ is not None
    interrupt.epoch = 0
    stopped.set_params(max_epochs=2).fit(X, y)
    whole = method(**SMALL, batch_size=50).fit(X, y)
    assert len(stopped.history_) == 4
    if method not in (ACMR, TNNCCCA):  # whose variates of rows once seen are not cross-fitted again
        for name in X:
            np.testing.assert_array_equal(stopped.transform(X)[name], whole.transform(X)[name])


def test_an_interrupt_in_the_first_epoch_leaves_nothing(data):
    X, y = data
    fresh = CDCCA(**SMALL, callbacks=[Interrupt(1)])
    with pytest.raises(KeyboardInterrupt):
        fresh.fit(X, y)
    assert not hasattr(fresh, "net_")
    fitted = CDCCA(**SMALL).fit(X, y).set_params(callbacks=[Interrupt(1)])
    before = vars(fitted).copy()
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(X, y)
    assert_unchanged(fitted, before)


def test_an_interrupt_of_partial_fit_leaves_what_was_there(data):
    X, y = data
    interrupt = Interrupt(0)
    begun = CDCCA(**SMALL, batch_size=50, callbacks=[interrupt]).partial_fit(X, y)
    before = begun.transform(X)
    interrupt.epoch = 2
    with pytest.raises(KeyboardInterrupt):
        begun.partial_fit(X, y)
    assert len(begun.history_) == 1
    for name, rows in begun.transform(X).items():
        np.testing.assert_array_equal(rows, before[name])


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_an_interrupt_after_the_last_epoch_is_raised(data, fit, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    X, y = data
    monkeypatch.setattr(callbacks.FigureLines, "on_epoch_end", interrupt)
    trained = CDCCA(**{**SMALL, "max_epochs": 1}, verbose=2)
    with pytest.warns(UserWarning, match="epoch 1, the last"), pytest.raises(KeyboardInterrupt):
        getattr(trained, fit)(X, y)
    assert len(trained.history_) == 1
    assert len(trained.transform(X)["audio"]) == len(y)


def test_an_interrupt_ends_a_search(data):
    X, y = data
    search = GridSearchCV(CDCCA(**SMALL, callbacks=[Interrupt(3)]), {"dropout": [0.0, 0.1]}, cv=2)
    with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        search.fit(X, y)
    assert not hasattr(search, "cv_results_")


def test_an_interrupt_is_raised_where_warnings_are_errors(data):
    X, y = data
    with pytest.raises(KeyboardInterrupt):
        CDCCA(**SMALL, callbacks=[Interrupt(2)]).fit(X, y)


def test_early_stopping_is_no_interrupt(data):
    X, y = data
    options = {**SMALL, "max_epochs": 60, "learning_rate": 0.05, "n_iter_no_change": 2}
    assert len(CDCCA(**options, early_stopping=True).fit(X, y).history_) < 60


def test_the_best_map_so_far_is_recorded_for_checkpoints(data, tmp_path):
    X, y = data
    saved = Checkpoint(monitor="valid_map_best", dirname=tmp_path, f_history=None)
    fitted = CDCCA(**SMALL, early_stopping=True, callbacks=[saved]).fit(X, y)
    figures = [epoch["valid_map"] for epoch in fitted.history_]
    best = [epoch["valid_map_best"] for epoch in fitted.history_]
    assert best == [f > max(figures[:i], default=-1) for i, f in enumerate(figures)]
    kept = torch.load(tmp_path / "params.pt", weights_only=True)
    for key, value in fitted.net_.module_.state_dict().items():
        torch.testing.assert_close(kept[key], value)


def test_a_class_of_one_row_is_named_by_its_label(data):
    X, y = data
    rare = np.where(np.arange(150) == 7, "dodo", y)
    with pytest.raises(ValueError, match="early_stopping .* class 'dodo' has one row only"):
        CDCCA(**SMALL, early_stopping=True).fit(X, rare)


@pytest.mark.parametrize("sizes", [(3.5,), (0,), (-4,), (8, "9"), ["a"]])
def test_sizes_of_layers_are_checked(data, sizes):
    X, y = data
    with pytest.raises(ValueError, match="hidden_layer_sizes=.* holds .*integer of 1 or more"):
        CDCCA(**{**SMALL, "hidden_layer_sizes": sizes}).fit(X, y)


def test_a_block_of_one_row_is_refused(data):
    X, y = data
    fitted = CDCCA(**SMALL).partial_fit(X, y)
    before = vars(fitted).copy()
    with pytest.raises(ValueError, match=r"'audio' has 1 row\(s\); a minimum of 2"):
        fitted.partial_fit(X[:1], y[:1])
    assert_unchanged(fitted, before)
