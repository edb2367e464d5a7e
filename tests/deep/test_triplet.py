"""TNN-C-CCA: its two stages, and what each is refused."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils import get_tags
from torch import nn

from cca_estimators import AGAH, CCA, CCCA, CKCCA, TNNCCCA
from cca_estimators._algebra.cross_fitting import cross_fitted
from cca_estimators.datasets import make_views

SMALL = {
    "hidden_layer_sizes": (16,),
    "max_epochs": 4,
    "random_state": 0,
    "device": "cpu",
    "standardize": False,
}


@pytest.fixture(scope="module")
def data():
    return make_views(240, 4, (10, 14), shared_rank=3, random_state=0)


def assert_same(left, right):
    for name in left:
        np.testing.assert_array_equal(left[name], right[name])


@pytest.mark.parametrize(
    ("first", "cluster"),
    [("ckcca", CKCCA), ("ccca", CCCA), (CKCCA(2, gamma=0.02), CKCCA), (CCCA(2), CCCA)],
    ids=repr,
)
def test_either_order_takes_any_cluster_cca(data, first, cluster):
    X, y = data
    before = TNNCCCA(**SMALL, first=first).fit(X, y)
    assert isinstance(before.first_, cluster)
    assert before.head_ is None
    assert before.transform(X)["audio"].shape == (240, 64)
    after = TNNCCCA(8, **SMALL, first=first, order="tnn_first").fit(X, y)
    assert isinstance(after.head_, cluster)
    assert not hasattr(after, "first_")
    n_components = 3 if isinstance(first, str) else 2
    assert after.transform(X)["audio"].shape == (240, n_components)


def test_new_rows_go_through_the_first_stage_of_all_rows(data):
    X, y = data
    fitted = TNNCCCA(**SMALL).fit(X, y)
    assert_same(fitted.first_.transform(X), CKCCA().fit(X, y).transform(X))
    variates = fitted.first_.transform(X)["audio"].astype(np.float32)
    tower = fitted.net_.module_.tower("audio").eval()
    with torch.inference_mode():
        expected = tower(torch.from_numpy(variates)).numpy()
    np.testing.assert_allclose(fitted.transform(X)["audio"], expected, rtol=1e-5, atol=1e-6)


def test_the_towers_learn_from_cross_fitted_variates(data, monkeypatch):
    X, y = data
    seen = {}

    def inputs(self, name, rows):
        raise AssertionError("training rows take the cross-fitted variates")

    fitted = TNNCCCA(**SMALL, n_folds=3)
    monkeypatch.setattr(TNNCCCA, "_input", inputs)
    monkeypatch.setattr(
        TNNCCCA, "_before_training", lambda self, net, dataset: seen.update(dataset.views)
    )
    fitted.fit(X, y)
    _, expected = cross_fitted(CKCCA(), X, y, y, 3, np.random.RandomState(0))
    for name, rows in expected.items():
        np.testing.assert_allclose(seen[name], rows, rtol=1e-5, atol=1e-6)


def test_variates_keep_their_weights(data):
    X, y = data
    kinds = {
        order: [
            type(layer)
            for layer in TNNCCCA(**SMALL, order=order).fit(X, y).net_.module_.tower("audio")
        ]
        for order in ("ccca_first", "tnn_first")
    }
    assert kinds["ccca_first"][:3] == [nn.Flatten, nn.Linear, nn.BatchNorm1d]
    assert kinds["tnn_first"][:3] == [nn.Flatten, nn.BatchNorm1d, nn.Linear]


@pytest.mark.parametrize(
    ("parameters", "cluster"),
    [
        ({}, CKCCA(random_state=0)),
        ({"reg": 0.01, "weighted": False}, CKCCA(reg=0.01, weighted=False, random_state=0)),
        (
            {"reg": {"audio": "auto", "visual": 0.1}},
            CKCCA(reg={"audio": 1e-4, "visual": 0.1}, random_state=0),
        ),
        ({"first": "ccca"}, CCCA()),
        (
            {"first": "ccca", "reg": 0.1, "pair_weight": 0.2, "weighted": False},
            CCCA(reg=0.1, pair_weight=0.2, weighted=False),
        ),
        ({"first": CKCCA(gamma="median")}, CKCCA(gamma="median")),
    ],
    ids=repr,
)
def test_parameters_reach_the_cluster_cca(data, parameters, cluster):
    X, y = data
    fitted = TNNCCCA(**SMALL, **parameters).fit(X, y)
    assert repr(fitted.first_) == repr(cluster)


@pytest.mark.parametrize("order", ["ccca_first", "tnn_first"])
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pair_weight": 0.2}, 'pair_weight=0.2 needs the linear cluster CCA.*set first="ccca"'),
        ({"first": CCCA(), "reg": 0.1}, r"reg set beside first=CCCA\(...\), which brings its own"),
        (
            {"first": CCCA(), "weighted": False, "pair_weight": 0.2},
            r"weighted, pair_weight set beside first=CCCA\(...\)",
        ),
        ({"first": CCA()}, r"first=CCA\(...\) is no cluster estimator.*take \"ckcca\""),
        ({"first": AGAH()}, r"first=AGAH\(...\) is no cluster estimator, an embedding of real"),
        ({"reg": 0.0}, "The 'reg' parameter of CKCCA for view 'audio' must be"),
        ({"first": CKCCA(n_landmarks=0)}, "The 'n_landmarks' parameter of CKCCA must be"),
        ({"first": "kcca"}, "The 'first' parameter of TNNCCCA must be"),
        ({"n_folds": 0}, "The 'n_folds' parameter of TNNCCCA must be"),
    ],
)
def test_what_does_not_fit_together_is_refused(data, order, parameters, message):
    X, y = data
    fresh = TNNCCCA(**SMALL, order=order, **parameters)
    before = vars(fresh).copy()
    with pytest.raises(ValueError, match=message):
        fresh.fit(X, y)
    assert vars(fresh) == before


def test_an_instance_stays_as_it_was_and_is_searched(data):
    X, y = data
    first = CKCCA(gamma=0.02)
    fitted = TNNCCCA(**SMALL, first=first).fit(X, y)
    assert not hasattr(first, "classes_")
    assert clone(fitted).set_params(first__gamma=0.5).first.gamma == 0.5


def test_the_authors_setting_fits(data):
    X, y = data
    authors = TNNCCCA(
        first="ccca",
        n_folds=1,
        pair_weight=0.2,
        n_components=10,
        hidden_layer_sizes=(100, 100, 100),
        activation="tanh",
        dropout=0.1,
        batch_norm=False,
        max_epochs=10,
        batch_size=45,
        margin=0.5,
        mining="batch_all",
        distance="sqeuclidean",
        symmetric=False,
        include_pair=False,
        random_state=0,
        device="cpu",
    )
    assert authors.fit(X, y).score(X, y) > 0.9


def test_kernel_matrices_are_taken_as_they_are_or_refused(data):
    X, y = data
    train, test = np.arange(60), np.arange(60, 80)
    kernels = {name: rbf_kernel(rows[train], gamma=0.05) for name, rows in X.items()}
    against = {name: rbf_kernel(rows[test], rows[train], gamma=0.05) for name, rows in X.items()}
    alone = {**SMALL, "n_folds": 1}
    given = TNNCCCA(**alone, first=CKCCA(kernel="precomputed")).fit(kernels, y[train])
    named = TNNCCCA(**alone, first=CKCCA(gamma=0.05)).fit(X[train], y[train])
    for name, embedded in given.transform(against).items():
        np.testing.assert_allclose(embedded, named.transform(X[test])[name], atol=1e-5)
    for options in ({"standardize": "auto"}, {"order": "tnn_first"}):
        method = clone(given).set_params(**options)
        with pytest.raises(ValueError, match=r"kernel='precomputed'.*standardize=False and n_fol"):
            method.fit(kernels, y[train])


@pytest.mark.parametrize(
    ("order", "tower", "reads_steps"),
    [
        ("ccca_first", "convolution", False),
        ("tnn_first", "convolution", True),
        ("tnn_first", "auto", False),
    ],
)
def test_steps_are_read_by_towers_that_meet_the_views(order, tower, reads_steps):
    assert get_tags(TNNCCCA(order=order, tower=tower)).sequences == reads_steps
