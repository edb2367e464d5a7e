"""Contrastive training: what it learns from, rows without a label, wrong labels, mixed rows."""

import numpy as np
import pytest
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from torch import nn

from cca_estimators import Contrastive, PerView, Views, cross_modal_map, cross_modal_scores
from cca_estimators.datasets import make_views
from cca_estimators.deep.towers import ConvolutionTower, MLPTower

SMALL = {"hidden_layer_sizes": (32,), "max_epochs": 15, "random_state": 0, "device": "cpu"}


class Codes(Callback):
    """Keep the classes that the last fit learns from."""

    seen = None

    def on_train_begin(self, net, X=None, **kwargs):
        Codes.seen = X.train.codes


@pytest.fixture(scope="module")
def data():
    return make_views(240, 4, (10, 14), shared_rank=3, random_state=0)


def assert_same(left, right, **options):
    for name in left:
        np.testing.assert_allclose(left[name], right[name], **options)


def test_auto_learns_by_labels_where_they_are_given(data):
    X, y = data
    by_labels, by_pairs = Contrastive(**SMALL).fit(X, y), Contrastive(**SMALL).fit(X)
    assert_same(by_labels.transform(X), Contrastive(loss="supervised", **SMALL).fit_transform(X, y))
    assert_same(by_pairs.transform(X), Contrastive(loss="infonce", **SMALL).fit_transform(X, y))
    assert by_labels.classes_.tolist() == [0, 1, 2, 3]
    assert not hasattr(by_pairs, "classes_")
    assert not hasattr(by_labels.fit(X), "classes_")


def test_training_goes_on_as_it_began(data):
    X, y = data
    begun = {"with": (y, None), "without": (None, y)}
    for name, (first, second) in begun.items():
        fitted = Contrastive(**{**SMALL, "max_epochs": 1}).fit(X, first)
        with pytest.raises(ValueError, match=f"Training began {name} labels: go on {name} labels"):
            fitted.partial_fit(X, second)
        assert len(fitted.partial_fit(X, first).history_) == 2


@pytest.mark.parametrize("loss", ["supervised", "robust"])
def test_labels_are_required_where_they_are_learnt_from(data, loss):
    X, y = data
    with pytest.raises(ValueError, match="requires y to be passed"):
        Contrastive(loss=loss, **SMALL).fit(X)
    assert Contrastive(loss=loss).__sklearn_tags__().target_tags.required
    assert not Contrastive().__sklearn_tags__().target_tags.required


def test_the_robust_loss_learns_from_the_labels_that_neighbours_vote_for():
    X, y = make_views(240, 4, (10, 14), shared_rank=3, noise=0.3, random_state=0)
    told = y.copy()
    told[::10] = (y[::10] + 1) % 4
    for loss, learnt in {"robust": y, "supervised": told}.items():
        method = Contrastive(loss=loss, **{**SMALL, "max_epochs": 1}, callbacks=[Codes()])
        method.fit(X, told)
        np.testing.assert_array_equal(Codes.seen, learnt)


@pytest.mark.parametrize("loss", ["supervised", "robust", "infonce", "sigmoid"])
def test_the_loss_falls_and_new_rows_are_found(data, loss):
    X, y = data
    options = {**SMALL, "max_epochs": 60 if loss == "sigmoid" else 15}
    fitted = Contrastive(loss=loss, **options).fit(X[:160], y[:160])
    losses = [epoch["train_loss"] for epoch in fitted.history_]
    assert losses[-1] < losses[0] - 0.05 * abs(losses[0])
    chance = Contrastive(loss=loss, **{**SMALL, "learning_rate": 1e-12}).fit(X[:160], y[:160])
    labels = y[160:] if loss in ("supervised", "robust") else None
    assert fitted.score(X[160:], labels) > chance.score(X[160:], labels) + 0.1


@pytest.mark.parametrize(
    ("unlabelled", "labels"),
    [(-1, [0, 1, 2, 3]), (np.nan, [0.0, 1.0, 2.0, 3.0]), ("", ["a", "b", "c", "d"])],
)
def test_the_mark_of_rows_without_a_label_is_no_class(data, unlabelled, labels):
    X, y = data
    expected = np.array(labels)[y]
    marked = expected.copy()
    marked[::3] = unlabelled
    fitted = Contrastive(unlabelled=unlabelled, **SMALL).fit(X, marked)
    assert fitted.classes_.tolist() == labels
    known = np.flatnonzero(np.arange(240) % 3)
    of_known = fitted.score(X[known], expected[known])
    assert fitted.score(X, marked) == pytest.approx(of_known)
    assert fitted.score(X, marked.tolist()) == fitted.score(X, marked)
    pipe = make_pipeline(PerView(), Contrastive(unlabelled=unlabelled, **SMALL)).fit(X, marked)
    assert cross_modal_map(pipe, X, marked) == pytest.approx(of_known)
    assert cross_modal_scores(pipe, X, marked)["map"] == pytest.approx(of_known)


def test_a_column_of_labels_may_mark_rows_without_one(data):
    X, y = data
    marked = np.where(np.arange(240) % 3, y, -1)
    with pytest.warns(DataConversionWarning, match="y.ravel"):
        found = Contrastive(unlabelled=-1, **SMALL).fit(X, marked[:, None])
    expected = Contrastive(unlabelled=-1, **SMALL).fit(X, marked)
    assert found.classes_.tolist() == [0, 1, 2, 3]
    for name in X:
        np.testing.assert_array_equal(found.transform(X)[name], expected.transform(X)[name])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_missing_rows_of_own_towers_stay_as_they_were(data, dtype):
    X, y = data
    X = Views({name: rows.astype(dtype) for name, rows in X.items()})
    X["audio"][[3, 8]] = np.nan
    before = {name: rows.copy() for name, rows in X.items()}
    towers = {name: nn.Linear(rows.shape[1], 6) for name, rows in X.items()}
    with pytest.warns(UserWarning, match="taken for missing"):
        Contrastive(6, towers=towers, max_epochs=1, random_state=0).fit(X, y).transform(X)
    for name in X:
        np.testing.assert_array_equal(X[name], before[name])


def test_rows_without_a_label_teach_as_pairs():
    X, y = make_views(600, 4, (20, 24), class_sep=1.5, noise=1.5, shared_rank=3, random_state=0)
    train, test = np.arange(400), np.arange(400, 600)
    marked = np.where(train < 20, y[train], -1)
    options = {**SMALL, "max_epochs": 30, "dropout": 0.0}
    some = Contrastive(unlabelled=-1, **options).fit(X[train], marked)
    few = Contrastive(**options).fit(X[:20], y[:20])
    assert some.score(X[test], y[test]) > few.score(X[test], y[test]) + 0.03


def test_y_without_any_label_is_refused(data):
    X, _ = data
    with pytest.raises(ValueError, match="y has no label: all of its rows are marked by -1"):
        Contrastive(unlabelled=-1, **SMALL).fit(X, np.full(240, -1))


def test_early_stopping_ranks_the_rows_that_have_a_label(data):
    X, y = data
    marked = np.where(np.arange(240) % 2, y, -1)
    options = {**SMALL, "early_stopping": True, "validation_fraction": 0.25}
    fitted = Contrastive(unlabelled=-1, **options).fit(X, marked)
    assert max(epoch["valid_map"] for epoch in fitted.history_) > 0.5


def test_wrong_labels_harm_the_robust_loss_less():
    X, y = make_views(900, 4, (20, 24), class_sep=2.0, shared_rank=3, random_state=0)
    rng = np.random.default_rng(0)
    wrong = np.where(rng.random(600) < 0.6, (y[:600] + rng.integers(1, 4, 600)) % 4, y[:600])
    options = {**SMALL, "max_epochs": 60, "dropout": 0.0}
    scores = {
        loss: Contrastive(loss=loss, **options).fit(X[:600], wrong).score(X[600:], y[600:])
        for loss in ("supervised", "robust")
    }
    assert scores["robust"] > scores["supervised"] + 0.05


def test_views_with_steps_have_convolutions(data):
    X, y = data
    steps = Views(audio=X["audio"].reshape(240, 5, 2), visual=X["visual"])
    net = Contrastive(**SMALL).fit(steps, y).net_.module_
    assert isinstance(net.tower("audio"), ConvolutionTower)
    assert isinstance(net.tower("visual"), MLPTower)


def test_only_pairs_are_mixed(data):
    X, y = data
    for loss in ("infonce", "sigmoid", "supervised"):
        mixed, plain = (
            Contrastive(loss=loss, mixup=mixup, **SMALL).fit(X, y).history_[0]["train_loss"]
            for mixup in (True, False)
        )
        assert (mixed == plain) == (loss == "supervised")


def test_scale_and_bias_of_the_sigmoid_loss_are_learnt(data):
    X, _ = data
    objective = Contrastive(loss="sigmoid", **SMALL).fit(X).net_.criterion_
    assert objective.log_scale.exp().item() != pytest.approx(10, abs=1e-3)
    assert objective.bias.item() != pytest.approx(-10, abs=1e-3)


def test_grid_search_over_losses(data):
    X, y = data
    pipe = make_pipeline(PerView(StandardScaler()), Contrastive(**SMALL, learning_rate=0.01))
    grid = {"contrastive__loss": ["supervised", "infonce"]}
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["contrastive__loss"] == "supervised"
