"""Each estimator does what its tags say, and refuses what they deny."""

from dataclasses import fields

import numpy as np
import pytest
from registry import embeddings
from sklearn.base import BaseEstimator, clone
from sklearn.utils import Tags, get_tags

from cca_estimators import CCCA, LSTMCCCA, Contrastive, SemanticMatching, Views
from cca_estimators._base.tags import with_views
from cca_estimators.datasets import make_views


def short(estimator):
    """Return an estimator that trains for one epoch."""
    return estimator.set_params(max_epochs=1) if hasattr(estimator, "max_epochs") else estimator


each = pytest.mark.parametrize(
    "estimator", [short(one) for one in embeddings()], ids=lambda one: type(one).__name__
)


@pytest.fixture(scope="module")
def data():
    return make_views(60, 3, (8, 12), shared_rank=3, random_state=0)


@each
def test_sequences(estimator, data):
    """Padding is what only those that read steps can take."""
    _, y = data
    rng = np.random.default_rng(0)
    X = {name: rng.standard_normal((60, 5, size)) for name, size in (("audio", 3), ("visual", 4))}
    X["audio"][::2, 3:] = np.nan
    estimator = clone(estimator)
    if get_tags(estimator).sequences:
        assert np.isfinite(estimator.fit(X, y).transform(X)["audio"]).all()
    else:
        with pytest.raises(ValueError, match="audio"):
            estimator.fit(X, y)


def test_sequences_are_for_posteriors_what_they_are_for_their_estimator():
    assert get_tags(SemanticMatching(LSTMCCCA())).sequences
    assert not get_tags(SemanticMatching(CCCA())).sequences
    assert not get_tags(Contrastive(tower="perceptron")).sequences


@each
def test_several_labels(estimator, data):
    X, y = data
    labels = np.eye(4, dtype=int)[y]
    labels[::3, 3] = 1
    estimator = clone(estimator)
    if get_tags(estimator).several_labels:
        assert estimator.fit(X, labels).classes_.tolist() == [0, 1, 2, 3]
    elif get_tags(estimator).target_tags.required:
        with pytest.raises(ValueError, match="label"):
            estimator.fit(X, labels)


@each
def test_missing_partners(estimator, data):
    X, y = data
    X = Views({name: rows.copy() for name, rows in X.items()})
    X["audio"][:4] = np.nan
    said = {
        "own rows": "on all rows that there are",
        "stand-ins": "one of the same labels in place",
        "whole pairs": "rows that both views have",
    }
    with pytest.warns(UserWarning, match=said[get_tags(estimator).missing_partners]):
        clone(estimator).fit(X, y)


@each
def test_partial_fit(estimator, data):
    X, y = data
    estimator = clone(estimator)
    if get_tags(estimator).partial_fit:
        assert estimator.partial_fit(X, y).partial_fit(X, y).transform(X).shape == (60,)
    else:
        assert not hasattr(estimator, "partial_fit")


@each
def test_device(estimator, data):
    estimator = clone(estimator)
    if get_tags(estimator).device:
        with pytest.raises(ValueError, match="device='cuda:99'"):
            estimator.set_params(device="cuda:99").fit(*data)
    else:
        assert "device" not in estimator.get_params(deep=False)


@each
def test_dask(estimator, data):
    array = pytest.importorskip("dask.array")
    X, y = data
    lazy = {name: array.from_array(rows, chunks=(20, -1)) for name, rows in X.items()}
    estimator = clone(estimator)
    if get_tags(estimator).dask:
        assert hasattr(estimator.fit(lazy, y).transform(lazy)["audio"], "compute")
    else:
        with pytest.raises(TypeError, match="Dask"):
            estimator.fit(lazy, y)


@each
def test_sharded(estimator, data):
    """One that takes part asks for the process group that is not there."""
    estimator = clone(estimator)
    if get_tags(estimator).sharded:
        with pytest.raises(RuntimeError, match=r"torch\.distributed"):
            estimator.set_params(sharded=True).fit(*data)
    else:
        assert "sharded" not in estimator.get_params(deep=False)


def test_an_estimator_promises_nothing_unless_it_says_so():
    tags = with_views(get_tags(BaseEstimator()))
    promised = {one.name for one in fields(tags)} - {one.name for one in fields(Tags)}
    assert {name: getattr(tags, name) for name in promised} == {
        **dict.fromkeys(promised, False),
        "missing_partners": "whole pairs",
    }
