"""Units and origin of features never matter to a deep method: it standardises at its door."""

import numpy as np
import pytest
import torch
from registry import embeddings
from sklearn.base import clone
from sklearn.neighbors import NearestNeighbors
from torch import nn

from cca_estimators import CDCCA, DCCA, LSTMCCCA, SDCCA, TNNCCCA, Views
from cca_estimators.datasets import make_views
from cca_estimators.deep import DeepEstimator
from cca_estimators.deep.training import standard
from cca_estimators.deep.training.batches import RowDataset
from cca_estimators.deep.training.standard import Spread, StandardRows, spread_of
from cca_estimators.deep.ugach import neighbours

SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 3, "random_state": 0, "device": "cpu"}
DEEP = [one for one in embeddings() if isinstance(one, DeepEstimator)]
each_deep = pytest.mark.parametrize("method", DEEP, ids=lambda method: type(method).__name__)


@pytest.fixture(scope="module")
def data():
    X, y = make_views(120, 3, (6, 8), shared_rank=3, random_state=0)
    return Views({name: np.round(rows * 64) / 64 for name, rows in X.items()}), y


@pytest.mark.parametrize("origin", [0.0, 1.7e9, -1e15])
@pytest.mark.parametrize("unit", [1.0, 1e-300, 1e-30, 1e30, 1e290])
@pytest.mark.parametrize("block_bytes", [1, 300, 2**25])
def test_means_and_scales_are_those_of_extended_precision(origin, unit, block_bytes, monkeypatch):
    monkeypatch.setattr(standard, "_BLOCK_BYTES", block_bytes)
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((50, 4)) * [1, 100, 1e-3, 1] + origin) * unit
    near = (rows.astype(np.longdouble) - rows[0]) / unit
    means, scales = spread_of(rows, "audio", over_steps=False)
    expected = (near.mean(axis=0) + rows[0].astype(np.longdouble) / unit).astype(float)
    np.testing.assert_allclose(means / unit, expected, rtol=1e-14, atol=1e-14)
    expected = near.std(axis=0).astype(float)
    varies = expected > np.finfo(float).eps * abs(origin)
    np.testing.assert_allclose(scales, np.where(varies, expected * unit, 1.0), rtol=1e-9)


def test_features_that_vary_by_rounding_at_most_keep_their_scale():
    rng = np.random.default_rng(0)
    rows = np.column_stack(
        [np.full(40, 0.1), 1e6 + 1e-10 * rng.standard_normal(40), rng.standard_normal(40)]
    )
    means, scales = spread_of(rows, "audio", over_steps=False)
    assert scales[:2].tolist() == [1.0, 1.0]
    assert scales[2] == pytest.approx(rows[:, 2].std())
    assert means[0] == 0.1
    assert not StandardRows(rows, "audio", means, scales)[:][:, 0].any()
    single = np.full((40, 1), 1e7, np.float32) + np.arange(40)[:, None].astype(np.float32) % 2
    assert spread_of(single, "audio", over_steps=False)[1] == 1.0


def test_merged_spreads_are_those_of_all_rows():
    rows = np.random.default_rng(0).standard_normal((30, 3)) + 5
    whole, merged, other = Spread(), Spread(), Spread()
    whole.update(rows)
    merged.update(rows[:7])
    other.update(rows[7:])
    merged.merge(other)
    np.testing.assert_allclose(merged.origin + merged.shifts, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(merged.deviations, whole.deviations, rtol=1e-14)
    np.testing.assert_allclose(merged.deviations, rows.std(axis=0), rtol=1e-14)


def test_padding_is_left_out_of_the_spread():
    steps = np.random.default_rng(0).standard_normal((20, 5, 3)) * [1, 10, 100] + 7
    steps[::2, 3:] = np.nan
    means, scales = spread_of(steps, "audio", over_steps=True)
    real = steps[~np.isnan(steps).all(axis=2)]
    np.testing.assert_allclose(means, real.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(scales, real.std(axis=0), rtol=1e-13)
    standardised = StandardRows(steps, "audio", means, scales)[:]
    np.testing.assert_allclose(standardised, (steps - means) / scales, rtol=1e-13)
    with pytest.raises(ValueError, match="'audio' contains NaN .* row 1, feature 4"):
        spread_of(np.where(np.arange(60).reshape(4, 5, 3) == 19, np.nan, 1.0), "audio", True)


def test_rows_that_are_nan_throughout_are_padding_in_sequences_alone():
    flat = np.ones((4, 3))
    flat[2] = np.nan
    for over_steps in (True, False):
        with pytest.raises(ValueError, match="'audio' contains NaN .* row 2, feature 0"):
            spread_of(flat, "audio", over_steps)
    steps = np.arange(24.0).reshape(4, 2, 3)
    steps[2, 1] = np.nan
    with pytest.raises(ValueError, match="'audio' contains NaN .* row 2, feature 3"):
        spread_of(steps, "audio", over_steps=False)


@each_deep
@pytest.mark.parametrize("unit", [2.0**-100, 2.0**100])
def test_units_do_not_matter(data, method, unit):
    X, y = data
    scaled = Views({name: rows * unit for name, rows in X.items()})
    expected = clone(method).set_params(max_epochs=3).fit(X, y).transform(X)
    embedded = clone(method).set_params(max_epochs=3).fit(scaled, y).transform(scaled)
    for name in X:
        np.testing.assert_array_equal(embedded[name], expected[name])


@each_deep
def test_the_origin_does_not_matter(data, method):
    X, y = data
    times = Views({n: (rows * 64).astype(np.int64) + 1_700_000_000 for n, rows in X.items()})
    score = clone(method).fit(X, y).score(X, y)
    assert clone(method).fit(times, y).score(times, y) == pytest.approx(score, abs=0.02)


def test_what_float64_cannot_average_is_refused(data):
    X, y = data
    far = Views({name: rows.copy() for name, rows in X.items()})
    far["audio"][:2, 2] = 1.7e308, -1.7e308
    with pytest.raises(ValueError, match="'audio': the values of feature 2 lie so far apart"):
        CDCCA(**SMALL).fit(far, y)


def test_a_new_row_too_far_away_is_refused_by_view_and_feature(data):
    X, y = data
    fitted = CDCCA(**SMALL).fit(X, y)
    far = X["visual"][:5].copy()
    far[2, 3] = 1e40
    with pytest.raises(ValueError, match=r"'visual': feature 3 has the value 1e\+40"):
        fitted.transform({"visual": far})
    far[2, 3] = np.inf
    with pytest.raises(ValueError, match="'visual' contains NaN or infinity .* row 2, feature 3"):
        fitted.transform({"visual": far})


@pytest.mark.parametrize("method", [CDCCA, TNNCCCA, LSTMCCCA])
def test_partial_fit_and_warm_start_keep_the_first_units(data, method):
    X, y = data
    fitted = method(**SMALL).partial_fit(X[:60], y[:60])
    np.testing.assert_allclose(fitted.means_["audio"], X["audio"][:60].mean(axis=0))
    np.testing.assert_allclose(fitted.scales_["visual"], X["visual"][:60].std(axis=0))
    before, embedded = vars(fitted).copy(), fitted.transform(X)
    later = Views({name: rows[60:] + 0.5 for name, rows in X.items()})
    means = fitted.means_
    fitted.partial_fit(later, y[60:])
    assert fitted.means_ is means
    fitted = method(**SMALL, warm_start=True).fit(X, y)
    means, embedded, before = fitted.means_, fitted.transform(X), vars(fitted).copy()
    fitted.fit(later, y[60:])
    assert fitted.means_ is means
    fitted = method(**SMALL).fit(X, y)
    embedded, before = fitted.transform(X), vars(fitted).copy()
    later["visual"][7, 4] = 2e5
    with pytest.raises(ValueError, match="'visual': feature 4 .* at most 1e\\+04"):
        fitted.partial_fit(later, y[60:])
    assert vars(fitted) == before
    for name in X:
        np.testing.assert_array_equal(fitted.transform(X)[name], embedded[name])
    fitted.fit(later, y[60:])
    np.testing.assert_allclose(fitted.means_["visual"], later["visual"].mean(axis=0))


class Recorded(nn.Linear):
    """A linear tower which keeps what entered it in training."""

    seen = ()

    def forward(self, rows):
        if self.training:
            Recorded.seen = (*Recorded.seen, rows.detach().clone())
        return super().forward(rows)


@pytest.mark.parametrize(("asked", "standardised"), [("auto", False), (True, True), (False, False)])
def test_own_towers_get_the_rows_as_they_are_unless_asked(data, asked, standardised):
    X, _ = data
    Recorded.seen = ()
    towers = {"audio": Recorded(6, 3), "visual": nn.Linear(8, 3)}
    options = {**SMALL, "max_epochs": 1}
    fitted = DCCA(3, towers=towers, standardize=asked, **options).fit(X)
    rows = X["audio"]
    expected = (rows - rows.mean(axis=0)) / rows.std(axis=0) if standardised else rows
    seen = torch.cat(Recorded.seen).numpy()
    np.testing.assert_allclose(
        np.sort(seen, axis=0), np.sort(expected, axis=0).astype(np.float32), rtol=1e-6, atol=1e-7
    )
    assert bool(fitted.means_) is standardised


def test_default_towers_get_raw_rows_if_asked(data):
    X, y = data
    assert CDCCA(**SMALL, standardize=False).fit(X, y).means_ == {}


def test_variates_of_a_first_stage_are_not_standardised(data):
    X, y = data
    fitted = TNNCCCA(order="ccca_first", **SMALL).fit(X, y)
    assert set(fitted.means_) == set(X)
    standardised = {name: (rows - rows.mean(axis=0)) / rows.std(axis=0) for name, rows in X.items()}
    variates = fitted.first_.transform(standardised)["audio"].astype(np.float32)
    with torch.inference_mode():
        expected = fitted.net_.module_.tower("audio").eval()(torch.from_numpy(variates))
    np.testing.assert_allclose(fitted.transform(X)["audio"], expected, rtol=1e-4, atol=1e-5)


class Watched(np.ndarray):
    """Rows that count how many are taken at once."""

    most = 0

    def __getitem__(self, key):
        taken = np.asarray(super().__getitem__(key))
        Watched.most = max(Watched.most, len(taken) if taken.ndim > 1 else 0)
        return taken


def test_large_views_are_standardised_batch_by_batch(data, monkeypatch):
    X, y = data
    whole = CDCCA(**SMALL, batch_size=40).fit(X, y).transform(X)
    monkeypatch.setattr("cca_estimators.deep.training.batches._HELD_BYTES", 1000)
    rows = {n: StandardRows(r, n, *spread_of(r, n, False)) for n, r in X.items()}
    assert not RowDataset(rows, y, "cpu").in_memory
    watched = {name: rows.view(Watched) for name, rows in X.items()}
    monkeypatch.setattr(standard, "_BLOCK_BYTES", 8 * 8 * 30)
    monkeypatch.setattr(standard, "_BLOCKS_READ", 1)
    monkeypatch.setattr("cca_estimators.deep.training.net.EMBEDDED_ROWS", 50)
    batchwise = CDCCA(**SMALL, batch_size=40).fit(watched, y).transform(X)
    assert Watched.most == 40
    for name in X:
        np.testing.assert_allclose(batchwise[name], whole[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("block_rows", [4096, 17])
def test_neighbours_are_those_of_scikit_learn(data, block_rows, monkeypatch):
    X, y = data
    monkeypatch.setattr("cca_estimators.deep.ugach.EMBEDDED_ROWS", block_rows)
    expected = [
        NearestNeighbors(n_neighbors=4).fit(rows).kneighbors(return_distance=False)
        for rows in X.values()
    ]
    found = neighbours(RowDataset(dict(X), y, "cpu"), 4)
    distances = [
        np.linalg.norm(rows[:, None] - rows[numbers], axis=2)
        for rows, numbers in zip(X.values(), np.hsplit(found, 2), strict=True)
    ]
    for rows, numbers, got in zip(X.values(), expected, distances, strict=True):
        np.testing.assert_allclose(
            got, np.linalg.norm(rows[:, None] - rows[numbers], axis=2), rtol=1e-5
        )
    assert (found != np.arange(len(y))[:, None]).all()


def test_large_rows_are_embedded_fewer_at_once(monkeypatch):
    X = {name: np.random.default_rng(0).standard_normal((300, 10, 8)) for name in "ab"}
    y = np.arange(300) % 3
    fitted = SDCCA(3, hidden_layer_sizes=(8,), lstm_size=8, max_epochs=1, random_state=0).fit(X, y)
    whole = fitted.transform(X)
    monkeypatch.setattr("cca_estimators.deep.training.net._EMBEDDED_BYTES", 4 * 80 * 100)
    watched = {name: rows.view(Watched) for name, rows in X.items()}
    Watched.most = 0
    by_hundreds = fitted.transform(watched)
    assert Watched.most == 100
    for name in X:
        np.testing.assert_array_equal(by_hundreds[name], whole[name])
