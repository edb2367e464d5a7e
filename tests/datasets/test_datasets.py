"""The embedded set as documented, and the generator's known correlations."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCA, CCCA, CKCCA, PerView, Views, mean_average_precision
from cca_estimators.datasets import load_spoken_digits, make_views


def test_spoken_digits_are_as_documented():
    data = load_spoken_digits()
    assert data.X["audio"].shape == (1797, 24, 32)
    assert data.X["visual"].shape == (1797, 8, 8)
    assert -50 <= data.X["audio"].min() < -30
    assert data.X["audio"].max() == 0
    np.testing.assert_array_equal(data.X["visual"], load_digits().images)
    np.testing.assert_array_equal(data.y, load_digits().target)
    assert len(data.voices) == 30
    assert "Synthesised speech" in data.DESCR
    data.target_names[0] = "changed"
    assert load_spoken_digits().target_names[0] != "changed"


def test_spoken_digits_share_no_voice_and_no_row_between_train_and_test():
    data = load_spoken_digits()
    assert (len(data.train), len(data.test)) == (1347, 450)
    assert set(data.groups[data.train]).isdisjoint(data.groups[data.test])
    assert sorted([*data.train, *data.test]) == list(range(1797))
    assert len(np.unique(data.y[data.test])) == 10


@pytest.mark.parametrize("subset", ["train", "test"])
def test_subset_of_spoken_digits(subset):
    whole, part = load_spoken_digits(), load_spoken_digits(subset=subset)
    X, y = load_spoken_digits(subset=subset, return_X_y=True)
    np.testing.assert_array_equal(X["audio"], whole.X["audio"][whole[subset]])
    np.testing.assert_array_equal(y, whole.y[whole[subset]])
    np.testing.assert_array_equal(part[subset], np.arange(len(y)))


def test_spoken_digits_are_neither_trivial_nor_hopeless():
    train, test = (load_spoken_digits(subset=s, return_X_y=True) for s in ("train", "test"))
    scores = [
        make_pipeline(PerView(StandardScaler()), method).fit(*train).score(*test)
        for method in (CCA(), CCCA())
    ]
    assert 0.4 < scores[0] < 0.8
    assert scores[0] + 0.1 < scores[1] < 0.9


@pytest.mark.parametrize("n_steps", [None, 4])
def test_make_views_has_the_documented_correlations(n_steps):
    X, y = make_views(
        60_000, 4, (8, 9), n_steps=n_steps, class_sep=2.0, shared_rank=2, noise=0.7, random_state=0
    )
    if n_steps:
        X = {name: rows.mean(axis=1) for name, rows in X.items()}
    cca, ccca = CCA(6, reg=0.0).fit(X), CCCA(reg=0.0).fit(X, y)
    by_class, shared = 4 / (4 + 0.49), 1 / 1.49
    np.testing.assert_allclose(cca.correlations_[:5], [by_class] * 3 + [shared] * 2, atol=0.01)
    assert cca.correlations_[5] < 0.03
    np.testing.assert_allclose(ccca.correlations_, by_class, atol=0.01)


def test_make_views_is_seeded_and_imbalanced_on_demand():
    X, y = make_views(700, 3, (8, 9), imbalance=4.0, random_state=3)
    again, _ = make_views(700, 3, (8, 9), imbalance=4.0, random_state=3)
    np.testing.assert_array_equal(X["visual"], again["visual"])
    np.testing.assert_array_equal(np.bincount(y), [400, 200, 100])
    for n_classes in (3, 4):
        balanced = make_views(2 * n_classes, n_classes, (8, 9), random_state=0)[1]
        np.testing.assert_array_equal(np.bincount(balanced), [2] * n_classes)


def test_make_views_needs_room_for_its_latent_dimensions():
    with pytest.raises(ValueError, match=r"n_features=\(8, 20\) must be .* at least 14"):
        make_views(n_features=(8, 20))


def test_the_class_is_a_cyclic_order_of_the_same_patterns():
    options = {"n_steps": 5, "signal": "order", "shared_rank": 0, "noise": 0.0, "random_state": 0}
    X, y = make_views(300, 4, (10, 12), **options)
    for rows in X.values():
        patterns, numbers = np.unique(
            rows.round(9).reshape(-1, rows.shape[2]), axis=0, return_inverse=True
        )
        assert len(patterns) == 5
        shown = numbers.reshape(300, 5)
        assert (np.sort(shown, axis=1) == np.arange(5)).all()
        starts = shown.argmin(axis=1)
        orders = [np.roll(row, -start) for row, start in zip(shown, starts, strict=True)]
        by_class = [
            {tuple(order) for order, label in zip(orders, y, strict=True) if label == c}
            for c in range(4)
        ]
        assert [len(each) for each in by_class] == [1] * 4
        assert len(set.union(*by_class)) == 4
        assert np.bincount(starts).min() > 30


def test_the_order_of_the_steps_leaves_no_trace_in_the_means():
    X, y = make_views(900, 4, (10, 12), n_steps=5, signal="order", noise=0.5, random_state=0)
    rng = np.random.default_rng(0)
    means = Views({name: rows.mean(axis=1) for name, rows in X.items()})
    train, test = np.arange(600), np.arange(600, 900)
    by_lot = (rng.standard_normal((300, 3)) for _ in range(2))
    chance = mean_average_precision(*by_lot, y[test], y[test])
    for method, views in ((CCCA(), X), (CCCA(), means), (CCA(3), means), (CKCCA(), means)):
        score = method.fit(views[train], y[train]).score(views[test], y[test])
        assert score == pytest.approx(chance, abs=0.03)


def test_there_must_be_an_order_for_each_class():
    for n_steps in (None, 3):
        with pytest.raises(ValueError, match=f"n_steps={n_steps} .* n_classes=4 classes .* Raise"):
            make_views(20, 4, (10, 12), n_steps=n_steps, signal="order")
