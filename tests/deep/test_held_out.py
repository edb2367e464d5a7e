"""What early stopping goes by: whole groups of rows, or rows given for it, through routing too."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

from cca_estimators import (
    ACMR,
    AGAH,
    CCCA,
    CDCCA,
    DCCA,
    TNNCCCA,
    UCAL,
    UGACH,
    Contrastive,
    PerView,
    SemanticMatching,
    Views,
)
from cca_estimators._algebra.cross_fitting import group_folds, stratified_folds
from cca_estimators._algebra.moments import class_members
from cca_estimators.datasets import make_views
from cca_estimators.deep.training.held_out import split
from cca_estimators.metrics import mean_average_precision

SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0, "device": "cpu"}
STOP = {**SMALL, "early_stopping": "map"}
METHODS = [CDCCA, DCCA, TNNCCCA, ACMR, UCAL, UGACH, AGAH, Contrastive]


class Rows(Callback):
    """Keep the numbers of the rows of the last fit."""

    seen = None

    def on_train_begin(self, net, X=None, **kwargs):
        Rows.seen = X.train.rows, None if X.valid is None else X.valid.rows


class Seen(CCCA):
    """Keep the rows of each fit."""

    rows = ()

    def fit(self, X, y=None):
        Seen.rows = [*Seen.rows, X["audio"][:]]
        return super().fit(X, y)


@pytest.fixture(scope="module")
def data():
    X, y = make_views(160, 4, (8, 9), shared_rank=3, random_state=0)
    return X, np.array(["ant", "bee", "cat", "dog"])[y], np.repeat(np.arange(40), 4)


@pytest.fixture
def routed():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def planted(n_groups, seed):
    """Return rows whose group, shared by both views, says more than their class."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), 5)
    y = groups % 4
    shared = rng.normal(size=(4, 20))[y] + 2 * rng.normal(size=(n_groups, 20))[groups]
    noise = 0.5 * rng.normal(size=(2, len(y), 30))
    return (
        Views(
            audio=shared @ rng.normal(size=(20, 30)) + noise[0],
            visual=shared @ rng.normal(size=(20, 30)) + noise[1],
        ),
        y,
        groups,
    )


def test_folds_of_groups_hold_classes_alike():
    rng = np.random.RandomState(0)
    groups = rng.randint(60, size=900)
    groups = np.unique(groups, return_inverse=True)[1]
    codes = (groups % 3 + (rng.rand(900) < 0.1)) % 3
    folds = group_folds(class_members(codes), groups, 5, rng)
    for group in range(groups.max() + 1):
        assert len(np.unique(folds[groups == group])) == 1
    counts = np.array([np.bincount(codes[folds == fold], minlength=3) for fold in range(5)])
    assert np.abs(counts / counts.sum(axis=0) - 0.2).max() < 0.04


def test_cross_fitting_keeps_groups_whole_and_a_class_of_one_group_with_all():
    codes, groups = np.repeat([0, 0, 1, 1, 2], 4), np.repeat(np.arange(5), 4)
    folds = stratified_folds(codes, 5, np.random.RandomState(0), groups)
    assert (folds[codes == 2] == -1).all()
    for code in (0, 1):
        assert len(np.unique(folds[codes == code])) == 2


def check_folds(groups):
    """Check that the fits after the first, which saw all rows, left out whole groups."""
    whole, *parts = Seen.rows
    assert len(parts) == 5
    for part in parts:
        kept = np.isin(whole[:, 0], part[:, 0])
        assert 0 < kept.sum() < len(whole)
        assert not np.isin(groups[kept], groups[~kept]).any()


@pytest.mark.usefixtures("routed")
@pytest.mark.parametrize(
    "method", [TNNCCCA(first=Seen(), **SMALL), SemanticMatching(Seen(), random_state=0)]
)
def test_folds_of_cross_fitted_variates_keep_groups_whole(data, method):
    X, y, groups = data
    Seen.rows = []
    pipe = Pipeline([("scale", PerView(PCA(5))), ("embed", method.set_fit_request(groups=True))])
    pipe.fit(X, y, groups=groups)
    check_folds(groups)


def test_folds_keep_groups_whole_beside_rows_to_validate_on(data):
    X, y, groups = data
    given = {"X_val": X[120:], "y_val": y[120:]}
    method = TNNCCCA(first=Seen(), **STOP)
    Seen.rows = []
    method.fit(X[:120], y[:120], groups=groups[:120], **given)
    check_folds(groups[:120])


@pytest.mark.parametrize(
    "method",
    [
        TNNCCCA(n_folds=1, **SMALL),
        TNNCCCA(order="tnn_first", **SMALL),
        SemanticMatching(CCCA(), n_folds=1),
        SemanticMatching(),
    ],
)
def test_groups_that_nothing_goes_by_are_refused(data, method):
    X, y, groups = data
    with pytest.raises(ValueError, match="groups given to fit, and"):
        method.fit(X, y, groups=groups)
    assert set(vars(method)) == set(method.get_params(deep=False))
    method.fit(X, y)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.3, 0.8])
def test_whole_groups_are_held_out_in_their_share(data, fraction):
    X, y, groups = data
    y = np.repeat(y[::4], 4)  # one class a group
    options = {**STOP, "validation_fraction": fraction, "callbacks": [Rows()]}
    CDCCA(**options).fit(X, y, groups=[f"video {group}" for group in groups])
    train, valid = Rows.seen
    assert not np.isin(groups[valid], groups[train]).any()
    np.testing.assert_array_equal(np.sort([*train, *valid]), np.arange(160))
    assert abs(len(valid) / 160 - fraction) <= 0.05
    assert set(y[train]) == set(y)
    assert len(set(y[valid])) >= 2


def test_without_labels_groups_are_held_out_too(data):
    X, _, groups = data
    DCCA(2, **STOP, callbacks=[Rows()]).fit(X, groups=groups)
    train, valid = Rows.seen
    assert len(valid) == 16
    assert not np.isin(groups[valid], groups[train]).any()


def test_one_of_two_groups_is_held_out():
    train, valid = split(None, None, 9, 0.1, 0, np.repeat([0, 1], [4, 5]))
    assert {len(train), len(valid)} == {4, 5}


@pytest.mark.parametrize("seed", range(4))
def test_a_class_of_one_group_is_trained_on(seed):
    groups = np.repeat(np.arange(6), 4)
    y = np.where(groups == 2, 2, np.arange(24) % 2)
    train, valid = split(y, list("abc"), 24, 0.3, seed, groups)
    assert set(y[train]) == {0, 1, 2}
    assert set(y[valid]) == {0, 1}


@pytest.mark.parametrize("seed", range(4))
def test_rows_without_a_label_are_no_class_to_hold_out(seed):
    groups = np.repeat(np.arange(4), 6)
    y = np.where(np.arange(24) % 2, groups // 2, -1)
    with pytest.raises(ValueError, match=r"groups leave 1 class\(es\) to hold out"):
        split(y, ["a", "b"], 24, 0.25, seed, groups)


def test_groups_of_rows_that_lack_a_partner_are_whole_too(data):
    X, y, groups = data
    X = Views({name: rows.copy() for name, rows in X.items()})
    X["audio"][:6] = np.nan
    with pytest.warns(UserWarning, match="taken for missing"):
        DCCA(2, **STOP, callbacks=[Rows()]).fit(X, groups=groups)
    train, valid = Rows.seen
    kept = groups[6:]  # pairs are what it learns from
    assert len(train) + len(valid) == 154
    assert not np.isin(kept[valid], kept[train]).any()
    with pytest.warns(UserWarning, match="taken for missing"):
        CDCCA(**STOP, callbacks=[Rows()]).fit(X, y, groups=groups)
    train, valid = Rows.seen  # others stand in for what is missing
    assert not np.isin(groups[valid], groups[train]).any()
    with (
        pytest.warns(UserWarning, match="taken for missing"),
        pytest.raises(ValueError, match="both views have stem from one group only"),
    ):
        DCCA(2, **STOP).fit(X, groups=np.arange(160) >= 6)


def test_rows_of_known_groups_flatter_and_whole_groups_do_not():
    X, y, groups = planted(160, seed=0)
    known = groups < 120
    method = CDCCA(hidden_layer_sizes=(32,), max_epochs=20, random_state=0, early_stopping=True)
    method.set_params(validation_fraction=0.2)
    figures = {}
    for name, options in {"rows": {}, "groups": {"groups": groups[known]}}.items():
        fitted = clone(method).fit(X[known], y[known], **options)
        held_out = max(epoch["valid_map"] for epoch in fitted.history_)
        figures[name] = held_out, fitted.score(X[~known], y[~known])
    assert figures["rows"][0] - figures["rows"][1] > 0.25
    assert abs(figures["groups"][0] - figures["groups"][1]) < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_rows_to_validate_on(data, method):
    X, y, _ = data
    options = {**STOP, "callbacks": [Rows()]}
    fitted = method(**options).fit(X[:120], y[:120], X_val=X[120:], y_val=y[120:])
    train, valid = Rows.seen
    assert (len(train), len(valid)) == (120, 40)
    assert "_held_out" not in vars(fitted)
    again = method(**{**STOP, "max_epochs": fitted.best_epoch_})
    again.fit(X[:120], y[:120], X_val=X[120:], y_val=y[120:])
    for name, rows in fitted.transform(X).items():
        np.testing.assert_array_equal(rows, again.transform(X)[name])


def test_the_figure_is_that_of_the_rows_given(data):
    X, y, _ = data
    fitted = ACMR(**{**STOP, "max_epochs": 1}).fit(X[:120], y[:120], X_val=X[120:], y_val=y[120:])
    a, v = fitted.transform(X[120:]).values()
    labels = y[120:], y[120:]
    expected = (mean_average_precision(a, v, *labels) + mean_average_precision(v, a, *labels)) / 2
    assert fitted.history_[-1]["valid_map"] == pytest.approx(expected, abs=1e-12)


def test_rows_to_validate_on_change_no_weight(data):
    X, y, _ = data
    options = {**STOP, "early_stopping": "loss"}
    for method in (CDCCA(**options), TNNCCCA(**options)):
        fitted = clone(method).fit(X[:120], y[:120], X_val=X[120:], y_val=y[120:])
        plain = clone(method).set_params(early_stopping=False, max_epochs=fitted.best_epoch_)
        plain.fit(X[:120], y[:120])
        for name, rows in plain.transform(X).items():
            np.testing.assert_array_equal(rows, fitted.transform(X)[name])


def test_views_to_validate_on_are_known_by_name(data):
    X, _, _ = data
    given = {name: X[name][120:] for name in X}
    method = DCCA(2, autoencoder_weight=1.0, **{**STOP, "early_stopping": "loss"})
    losses = [
        clone(method).fit(X[:120], X_val={name: given[name] for name in names}).history_[-1]
        for names in (list(X), list(X)[::-1])
    ]
    assert losses[0]["valid_loss"] == losses[1]["valid_loss"]


def test_one_array_and_some_classes_and_unlabelled_rows(data):
    X, y, _ = data
    stacked = np.hstack(list(X.values()))
    few = y[120:] != "ant"
    CDCCA(**STOP, view_split=8).fit(
        stacked[:120], y[:120], X_val=stacked[120:][few], y_val=y[120:][few]
    )
    contrastive = Contrastive(unlabelled="?", **STOP)
    y_val = np.where(np.arange(40) % 2, y[120:], "?")
    fitted = contrastive.fit(X[:120], y[:120], X_val=X[120:], y_val=y_val)
    assert 0 < fitted.history_[-1]["valid_map"] <= 1


@pytest.mark.parametrize("method", [CDCCA, TNNCCCA, ACMR, AGAH, Contrastive])
def test_rows_with_several_labels_are_held_out_by_groups_and_given(data, method):
    X, y, groups = data
    labels = (y[:, None] == np.unique(y)) | (np.random.default_rng(0).random((160, 4)) < 0.2)
    labels = labels.astype(int)
    grouped = method(**STOP, callbacks=[Rows()]).fit(X, labels, groups=groups)
    train, valid = Rows.seen
    assert not np.isin(groups[valid], groups[train]).any()
    assert labels[train].any(axis=0).all()
    given = clone(grouped).fit(X[:120], labels[:120], X_val=X[120:], y_val=labels[120:])
    assert 0 < given.history_[-1]["valid_map"] <= 1
    assert given.best_epoch_ <= 2


def refusals():
    one = {"X_val": slice(120, 160), "y_val": slice(120, 160)}
    return [
        (
            {"early_stopping": False},
            {"groups": "groups"},
            "groups given to fit, and early_stopping",
        ),
        ({"early_stopping": False}, one, "X_val and y_val given to fit, and early_stopping is"),
        ({}, {**one, "groups": "groups"}, "groups and X_val are both given"),
        ({}, {"y_val": slice(120, 160)}, "y_val is given to fit without X_val"),
        ({}, {"X_val": slice(120, 160)}, "y_val: CDCCA requires y to be passed"),
        ({}, {**one, "y_val": slice(120, 159)}, "y_val: y has labels for 39 rows and X has 40"),
        ({}, {**one, "X_val": slice(120, 121)}, r"X_val: it has 1 row\(s\)"),
        ({}, {"groups": np.zeros(120)}, "groups holds one group only"),
        ({}, {"groups": np.arange(7)}, "groups has 7 rows and X has 120"),
        ({}, {"groups": "y"}, "rows of a class must stem from two groups or more"),
    ]


@pytest.mark.parametrize(("parameters", "given", "message"), refusals())
def test_what_cannot_be_meant_is_refused(data, parameters, given, message):
    X, y, groups = data
    sources = {"X_val": X, "y_val": y}
    named = {"groups": groups[:120], "y": y[:120]}
    options = {
        name: named[value]
        if isinstance(value, str)
        else sources[name][value]
        if isinstance(value, slice)
        else value
        for name, value in given.items()
    }
    method = CDCCA(**{**STOP, **parameters})
    with pytest.raises(ValueError, match=message):
        method.fit(X[:120], y[:120], **options)
    assert vars(method) == vars(clone(method))


def test_other_rows_to_validate_on_than_those_of_fit_are_refused(data):
    X, y, _ = data
    method = CDCCA(**STOP)
    y_val = np.where(y[120:] == "ant", "eel", y[120:])
    with pytest.raises(ValueError, match=r"y_val: y holds the labels \['eel'\], which are not"):
        method.fit(X[:120], y[:120], X_val=X[120:], y_val=y_val)
    with pytest.raises(ValueError, match="y_val: it holds one class only"):
        method.fit(X[:120], y[:120], X_val=X[120:122], y_val=["ant", "ant"])
    with pytest.raises(ValueError, match="y_val: it holds one class only"):
        Contrastive(unlabelled="?", **STOP).fit(X, y, X_val=X[:2], y_val=["ant", "?"])
    with pytest.raises(ValueError, match=r"X_val: it holds \['audio'\]; both views are needed"):
        method.fit(X[:120], y[:120], X_val={"audio": X["audio"][120:]}, y_val=y[120:])
    with pytest.raises(ValueError, match="X_val: View 'audio' has 9 features"):
        method.fit(X[:120], y[:120], X_val=Views(audio=X["visual"], visual=X["audio"]), y_val=y)
    lacking = Views({name: rows[120:].copy() for name, rows in X.items()})
    lacking["audio"][:3] = np.nan
    with pytest.raises(ValueError, match=r"X_val: it lacks {'audio': 3, 'visual': 0} rows by view"):
        method.fit(X[:120], y[:120], X_val=lacking, y_val=y[120:])
    with pytest.raises(ValueError, match="groups holds None in row 1"):
        method.fit(X[:9], y[:9], groups=[1, None, *range(7)])


def test_too_few_rows_say_what_is_needed(data):
    X, y, _ = data
    with pytest.raises(
        ValueError, match=r"holds out 2 of 16 rows, by validation_fraction=0.1, and 4"
    ):
        CDCCA(**STOP).fit(X[:16], np.tile(["a", "b", "c", "d"], 4))
    with pytest.raises(ValueError, match=r"and 2 are needed.*set validation_fraction=0.25"):
        DCCA(2, **STOP).fit(X[:8])
    CDCCA(**STOP, validation_fraction=0.25).fit(X[:16], np.tile(["a", "b", "c", "d"], 4))


def test_a_lone_row_without_a_label_is_drawn_with_others(data):
    X, y, _ = data
    y = np.where(np.arange(160) == 3, "?", y)
    assert len(Contrastive(unlabelled="?", **STOP).fit(X, y).history_) == 2


@pytest.mark.usefixtures("routed")
def test_groups_pass_through_pipelines_and_searches(data):
    X, y, groups = data
    method = CDCCA(**STOP, callbacks=[Rows()]).set_fit_request(groups=True)
    pipe = Pipeline([("scale", PerView(PCA(5))), ("embed", method)])
    pipe.fit(X, y, groups=groups)
    train, valid = Rows.seen
    assert not np.isin(groups[valid], groups[train]).any()
    search = GridSearchCV(pipe, {"embed__learning_rate": [1e-3, 1e-2]}, cv=GroupKFold(2))
    search.fit(X, y, groups=groups)
    train, valid = Rows.seen  # of the refit
    assert len(train) + len(valid) == 160
    assert not np.isin(groups[valid], groups[train]).any()
    folds = {len(t) + len(v) for t, v in _rows_of_folds(search.estimator, X, y, groups)}
    assert folds == {80}


def _rows_of_folds(pipe, X, y, groups):
    for train, _ in GroupKFold(2).split(X, y, groups):
        clone(pipe).fit(X[train], y[train], groups=groups[train])
        yield Rows.seen


@pytest.mark.usefixtures("routed")
def test_rows_to_validate_on_pass_through_pipelines_and_searches(data):
    X, y, _ = data
    method = CDCCA(**STOP, callbacks=[Rows()]).set_fit_request(X_val=True, y_val=True)
    pipe = Pipeline([("pca", PerView(PCA(5))), ("embed", method)], transform_input=["X_val"])
    pipe.fit(X[:120], y[:120], X_val=X[120:], y_val=y[120:])
    by_hand = PerView(PCA(5)).fit(X[:120])
    alone = clone(method).fit(
        by_hand.transform(X[:120]), y[:120], X_val=by_hand.transform(X[120:]), y_val=y[120:]
    )
    assert alone.history_[-1]["valid_map"] == pipe[-1].history_[-1]["valid_map"]
    search = GridSearchCV(pipe, {"embed__learning_rate": [1e-3, 1e-2]}, cv=2)
    search.fit(X[:120], y[:120], X_val=X[120:], y_val=y[120:])
    train, valid = Rows.seen
    assert (len(train), len(valid)) == (120, 40)


def test_a_checkpoint_is_of_one_choice_of_rows(data, tmp_path):
    X, y, groups = data

    class Names(Callback):
        def on_epoch_end(self, net, **kwargs):
            names.update(path.name for path in tmp_path.iterdir())

    names = set()
    method = CDCCA(**STOP, checkpoint=tmp_path)
    choices = [
        {},
        {"groups": groups},
        {"groups": groups[::-1]},
        {"X_val": X[100:], "y_val": y[100:]},
        {"X_val": X[100:], "y_val": np.roll(y[100:], 1)},
    ]
    for given in choices:
        clone(method).set_params(callbacks=[Names()]).fit(X, y, **given)
    assert len(names) >= len(choices) - 1
