"""The steps that matter are those that were planted, and the gradient is that of differences."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import (
    CCCA,
    CDCCA,
    LSTMCCCA,
    SDCCA,
    TNNCCCA,
    Contrastive,
    PerView,
    StepsDisplay,
    Views,
)

SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 12, "batch_size": 40, "learning_rate": 5e-3}
SMALL |= {"device": "cpu", "random_state": 0}
BRIEF = {**SMALL, "max_epochs": 1}
N_STEPS = {"audio": 8, "visual": 5}
PLANTED = {"audio": 5, "visual": 1}
METHODS = [
    SDCCA(3, lstm_size=16, **SMALL),
    LSTMCCCA(3, lstm_size=16, **SMALL),
    Contrastive(4, **SMALL),
    CDCCA(3, tower="gru", **SMALL),
    CDCCA(3, **SMALL),
]


@pytest.fixture(scope="module")
def data():
    """Return views whose class is in one step of each, all others noise."""
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=240)
    X = {}
    for name, n_steps in N_STEPS.items():
        X[name] = rng.standard_normal((240, n_steps, 6))
        X[name][:, PLANTED[name]] += 3 * rng.standard_normal((4, 6))[y]
    return Views(X), y


@pytest.fixture(autouse=True)
def closed():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def asked(X, y, n=6):
    return {"audio": X["audio"][:n]}, {"visual": X["visual"]}, y[:n], y


@pytest.fixture(scope="module", params=METHODS, ids=lambda method: type(method).__name__)
def method(request, data):
    return request.param.fit(*data)


def test_the_planted_step_stands_out(method, data):
    X, y = data
    display = StepsDisplay.from_estimator(method, *asked(X, y, 20))
    np.testing.assert_allclose(np.abs(display.query_weights).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.abs(display.result_weights).sum(axis=2), 1, rtol=1e-5)
    for weights, view in ((display.query_weights, "audio"), (display.result_weights, "visual")):
        means = weights.reshape(-1, N_STEPS[view]).mean(axis=0)
        assert means.argmax() == PLANTED[view]
        assert means[PLANTED[view]] > 2 * np.sort(means)[-2]


def test_the_gradient_is_that_of_finite_differences(method, data):
    X, y = data
    queries, gallery = X["audio"][:3], X["visual"]
    display = StepsDisplay.from_estimator(method, *asked(X, y, 3), n_neighbors=1)
    partners = method.transform({"visual": gallery})["visual"]
    own = method.transform({"audio": queries})["audio"]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (own, partners)]
    best = unit[1][(unit[0] @ unit[1].T).argmax(axis=1)]

    def similarity(rows):
        return np.sum(method.transform({"audio": rows})["audio"] * best, axis=1)

    average = X["audio"].mean(axis=(0, 1) if method._sequential else 0)
    effects = np.empty((3, 8))
    for step in range(8):
        away = np.zeros(queries.shape)
        away[:, step] = 2e-3 * (queries - average)[:, step]
        effects[:, step] = similarity(queries + away) - similarity(queries - away)
    expected = effects / np.abs(effects).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(display.query_weights, expected, atol=0.02)


def test_weights_are_found_for_some_rows_after_others(method, data, monkeypatch):
    X, y = data
    at_once = StepsDisplay.from_estimator(method, *asked(X, y, 20))
    monkeypatch.setattr("cca_estimators.deep.training.net.EMBEDDED_ROWS", 7)
    in_batches = StepsDisplay.from_estimator(method, *asked(X, y, 20))
    np.testing.assert_allclose(in_batches.query_weights, at_once.query_weights, atol=1e-5)


def test_attention_is_that_of_the_tower(data):
    X, y = data
    method = SDCCA(3, lstm_size=16, n_selected=2, **SMALL).fit(X, y)
    display = StepsDisplay.from_estimator(method, *asked(X, y), kind="attention")
    tower = method.net_.module_.tower("audio").eval()
    standard = (X["audio"][:6] - method.means_["audio"]) / method.scales_["audio"]
    real = torch.ones(6, N_STEPS["audio"], dtype=bool)
    with torch.no_grad():
        states, _ = tower.lstm(tower.norm(torch.from_numpy(standard).float(), real))
        soft = tower.summary.score(states).squeeze(2).softmax(dim=1).numpy()
    kept = np.where(soft >= np.sort(soft)[:, [-2]], soft, 0)
    expected = kept / kept.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(display.query_weights, expected, atol=1e-6)
    assert (np.count_nonzero(display.result_weights, axis=2) == 2).all()


def test_padding_has_no_weight(data):
    X, y = data
    X = Views({name: rows.copy() for name, rows in X.items()})
    X["audio"][:, 6:] = np.nan
    method = SDCCA(3, lstm_size=16, **SMALL).fit(X, y)
    for kind in ("gradient", "attention"):
        display = StepsDisplay.from_estimator(method, *asked(X, y), kind=kind)
        assert (display.query_weights[:, 6:] == 0).all()
        assert (display.query_weights[:, :6] != 0).all()


def test_a_pipeline_and_a_search_give_what_the_method_gives(data):
    X, y = data
    pipe = make_pipeline(PerView(StandardScaler()), SDCCA(3, lstm_size=8, **BRIEF)).fit(X, y)
    scaled = {name: pipe[:1].transform(X)[name] for name in X}
    alone = StepsDisplay.from_estimator(pipe[-1], *asked(scaled, y))
    whole = StepsDisplay.from_estimator(pipe, *asked(X, y))
    np.testing.assert_array_equal(whole.query_weights, alone.query_weights)
    np.testing.assert_array_equal(whole.result_weights, alone.result_weights)
    search = GridSearchCV(pipe, {"sdcca__max_epochs": [1]}, cv=2).fit(X, y)
    searched = StepsDisplay.from_estimator(search, *asked(X, y))
    best = StepsDisplay.from_estimator(search.best_estimator_, *asked(X, y))
    np.testing.assert_array_equal(searched.query_weights, best.query_weights)


def test_what_is_drawn():
    rng = np.random.default_rng(0)
    weights, results = rng.random((2, 4)), rng.random((2, 3, 5))
    display = StepsDisplay.from_predictions(
        weights,
        results,
        [[0, 1, 2], [2, 1, 0]],
        ["a", "b"],
        ["a", "b", "b"],
        query_items=rng.random((2, 4, 7)),
        gallery_items=rng.random((3, 5, 6, 8)),
    )
    assert display.axes_.shape == display.bars_.shape == (2, 4)
    assert display.axes_[0, 0].images[0].get_array().shape == (7, 4)
    assert display.axes_[1, 3].images[0].get_array().shape == (6, 5 * 8)
    for row, query, found in zip(display.bars_, weights, results, strict=True):
        for bars, expected in zip(row, [query, *found], strict=True):
            np.testing.assert_allclose([bar.get_height() for bar in bars], expected)
    labels = [[axes.get_xlabel() for axes in row] for row in display.axes_]
    assert labels == [["a", "✓ a", "✗ b", "✗ b"], ["b", "✓ b", "✓ b", "✗ a"]]
    assert display.plot() is display


def test_what_cannot_be_weighed_is_refused(data):
    X, y = (part[:40] for part in data)
    flat = Views({name: rows.reshape(len(y), -1) for name, rows in X.items()})
    deep = CDCCA(3, **BRIEF)
    for method, views, kind, message in [
        (CCCA(), X, "gradient", "CCCA knows no gradient of its steps"),
        (deep, X, "attention", "CDCCA knows no attention of its steps"),
        (deep, X, "both", r"kind='both' is not known; use one of \['gradient', 'attention'\]"),
        (deep, flat, "gradient", r"View 'audio' has shape \(6, 48\) where it enters the method"),
        (TNNCCCA(**BRIEF), X, "gradient", "towers of TNNCCCA .* know no steps. Take Contrastive"),
        (SDCCA(3, tower="gru", **BRIEF), X, "attention", "'audio' is no LSTM with attention"),
    ]:
        fitted = method.fit(views, y)
        with pytest.raises(ValueError, match=message):
            StepsDisplay.from_estimator(fitted, *asked(views, y), kind=kind)
    with pytest.raises(ValueError, match=r"weights have shapes \(2, 4\) and \(1, 2, 4\)"):
        StepsDisplay.from_predictions(
            np.ones((2, 4)), np.ones((1, 2, 4)), [[0, 1], [1, 0]], [0, 1], [0, 1]
        )
