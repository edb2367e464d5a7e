"""Missing rows in deep methods with labels: rows of the same labels stand in, within a part."""

import numpy as np
import pytest
import torch
from registry import DEEP
from sklearn.base import clone
from sklearn.utils import get_tags

from cca_estimators import (
    ACMR,
    AGAH,
    CCCA,
    CDCCA,
    DCCA,
    LSTMCCCA,
    TNNCCCA,
    Contrastive,
    SemanticMatching,
    Views,
)
from cca_estimators.datasets import make_views
from cca_estimators.deep.training import stand_ins
from cca_estimators.deep.training.batches import RowDataset, RowSubset
from cca_estimators.deep.training.stand_ins import completed

SHORT = {**DEEP, "max_epochs": 8, "batch_size": 64, "learning_rate": 1e-2}
METHODS = [
    CDCCA(**SHORT),
    TNNCCCA(n_components=8, **SHORT),
    TNNCCCA(n_components=8, order="tnn_first", **SHORT),
    Contrastive(**SHORT),
    ACMR(**SHORT),
    AGAH(8, feature_size=8, **SHORT),
    LSTMCCCA(lstm_size=8, **SHORT),
]
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda one: type(one).__name__)


@pytest.fixture(scope="module")
def data():
    return make_views(160, 4, (8, 12), shared_rank=3, random_state=0)


def apart(X, n_sounds=100):
    """Return sounds and other images in one mapping, without a whole pair."""
    views = {name: rows.copy() for name, rows in X.items()}
    views["audio"][n_sounds:] = np.nan
    views["visual"][:n_sounds] = np.nan
    return Views(views)


@pytest.mark.parametrize("several", [False, True])
def test_stand_ins_have_the_same_labels_and_part(several):
    rng = np.random.default_rng(0)
    labels = rng.random((200, 3)) < 0.5 if several else rng.integers(-1, 4, 200)
    present = {"a": rng.random(200) < 0.6, "b": rng.random(200) < 0.9}
    rows = np.arange(200.0)[:, None]
    dataset = RowDataset({"a": rows, "b": rows}, labels, "cpu")
    parts = [RowSubset(dataset, np.arange(150)), RowSubset(dataset, np.arange(150, 200)), None]
    train, valid, nothing = completed(dataset, parts, present, np.random.RandomState(0))
    assert nothing is None
    for part, bounds in ((train, (0, 150)), (valid, (150, 200))):
        views, codes = part[np.arange(len(part))]
        assert torch.equal(codes, dataset.codes[part.rows])
        for name, there in present.items():
            taken = views[name][:, 0].numpy().astype(int)
            assert there[taken].all()
            assert bounds[0] <= taken.min() <= taken.max() < bounds[1]
            np.testing.assert_array_equal(labels[taken], labels[part.rows])
            np.testing.assert_array_equal(taken[there[part.rows]], part.rows[there[part.rows]])
    whole = present["a"] & present["b"]
    known = labels.any(axis=1) if several else labels >= 0
    assert set(np.flatnonzero(whole)) <= {*train.rows, *valid.rows}
    left_out = np.setdiff1d(np.arange(150), train.rows)
    assert np.isin(np.flatnonzero(~known & ~whole)[:5], [*left_out, *range(150, 200)]).all()


def test_every_row_stands_in_alike():
    dataset = RowDataset({"a": np.arange(12.0)[:, None]}, np.zeros(12, int), "cpu")
    present = {"a": np.arange(12) < 4}
    completed(dataset, [RowSubset(dataset, np.arange(12))], present, np.random.RandomState(0))
    np.testing.assert_array_equal(np.bincount(dataset.sources["a"]), [3, 3, 3, 3])


@each_method
def test_two_labelled_sets_without_a_pair_are_learnt_from(method, data):
    X, y = data
    with pytest.warns(UserWarning, match=r"'audio': 60, 'visual': 100.*in place of") as record:
        fitted = clone(method).fit(apart(X), y)
    assert len(record) == 1
    assert record[0].filename == __file__
    assert get_tags(method).missing_partners in ("stand-ins", "whole pairs")
    assert fitted.score(X, y) > 0.45  # chance is .25, and no row of `apart` is a pair
    assert np.isfinite(fitted.history_[:, "train_loss"]).all()


def test_early_stopping_and_several_labels(data):
    X, y = data
    labels = np.eye(5, dtype=int)[y]
    labels[::4, 4] = 1
    gaps = Views({name: rows.copy() for name, rows in X.items()})
    gaps["audio"][::7] = np.nan
    with pytest.warns(UserWarning, match="in place of"):
        fitted = CDCCA(early_stopping="map", **SHORT).fit(gaps, labels)
    assert fitted.history_[-1, "valid_map"] > 0.5


def test_standardised_by_the_rows_that_are_there(data):
    X, y = data
    gaps = apart(X)
    with pytest.warns(UserWarning, match="in place of"):
        fitted = ACMR(**SHORT).fit(gaps, y)
    np.testing.assert_allclose(fitted.means_["audio"], X["audio"][:100].mean(axis=0))


def test_sequences_without_a_real_step_are_missing():
    X, y = make_views(120, 3, (8, 9), n_steps=4, random_state=0)
    X["audio"][:30] = np.nan
    X["audio"][30:60, 3:] = np.nan  # shorter ones
    with pytest.warns(UserWarning, match="'audio': 30, 'visual': 0"):
        fitted = LSTMCCCA(lstm_size=8, **SHORT).fit(X, y)
    output = fitted.transform(X)["audio"]
    assert np.isnan(output[:30]).all()
    assert np.isfinite(output[30:]).all()


def test_methods_of_pairs_take_whole_pairs(data):
    X, y = data
    gaps = Views({name: rows.copy() for name, rows in X.items()})
    gaps["audio"][:5] = np.nan
    for method in (DCCA(3, **SHORT), Contrastive(loss="robust", **SHORT)):
        with pytest.warns(UserWarning, match="the rows that both views have"):
            fitted = clone(method).fit(gaps, y)
        expected = clone(method).fit(X[5:], y[5:]).transform(X)["visual"]
        np.testing.assert_array_equal(fitted.transform(X)["visual"], expected)
    with (
        pytest.warns(UserWarning, match="missing"),
        pytest.raises(ValueError, match=r"0: missing by view are \{'audio': 60, 'visual': 100\}"),
    ):
        DCCA(3, **SHORT).fit(apart(X))


def test_classes_without_stand_ins_are_too_few(data):
    X, y = data
    gaps = Views({name: rows.copy() for name, rows in X.items()})
    gaps["audio"][y > 0] = np.nan
    with (
        pytest.warns(UserWarning, match="missing"),
        pytest.raises(ValueError, match="1 class.* have rows in both views to train on"),
    ):
        ACMR(**SHORT).fit(gaps, y)


def test_semantic_matching_of_two_sets(data):
    X, y = data
    gaps = apart(X)
    with pytest.warns(UserWarning, match="all rows that there are") as record:
        fitted = SemanticMatching(CCCA(), random_state=0).fit(gaps, y)
    assert len(record) == 1
    assert fitted.score(X, y) > 0.8
    with pytest.warns(UserWarning, match="all rows that there are"):
        alone = SemanticMatching().fit(gaps, y)
    expected = SemanticMatching().fit(X[:100], y[:100]).classifiers_["audio"].coef_
    np.testing.assert_allclose(alone.classifiers_["audio"].coef_, expected)
    gaps["audio"][y == 1] = np.nan
    with (
        pytest.warns(UserWarning, match="all rows that there are"),
        pytest.raises(ValueError, match="'audio' has no row of class 1"),
    ):
        SemanticMatching().fit(gaps, y)


def test_rows_without_a_label_are_no_set_of_labels():
    members = np.array([[True, False], [False, False], [True, True], [True, False]])
    sets = stand_ins._label_sets(members)
    assert sets[1] == -1
    assert sets[0] == sets[3] >= 0
    assert sets[2] not in sets[[0, 1]]
