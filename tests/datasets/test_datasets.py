"""The embedded set as documented, and the generator's known correlations."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCA, CCCA, PerView
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
    np.testing.assert_allclose(np.bincount(y), [400, 200, 100], atol=1)


def test_make_views_needs_room_for_its_latent_dimensions():
    with pytest.raises(ValueError, match=r"n_features=\(8, 20\) must be .* at least 14"):
        make_views(n_features=(8, 20))
