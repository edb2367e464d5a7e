"""What a user writes, for mypy and pyright: `assert_type` is what an editor shows."""

from typing import assert_type

import numpy as np

import cca_estimators
from cca_estimators import (
    ACMR,
    AGAH,
    CCA,
    CCCA,
    CDCCA,
    CKCCA,
    DCCA,
    KCCA,
    LSTMCCCA,
    SDCCA,
    TNNCCCA,
    UCAL,
    UGACH,
    Contrastive,
    CrossModalIndex,
    EmbeddingDisplay,
    LossCurveDisplay,
    PerView,
    RetrievalCurveDisplay,
    RetrievalDisplay,
    SemanticMatching,
    StepsDisplay,
    Views,
    cross_modal_map,
    cross_modal_scores,
    load,
    make_cross_modal_scorer,
    mean_average_precision,
    pad_sequences,
    save,
)
from cca_estimators.datasets import load_spoken_digits, make_views


def what_a_user_writes() -> None:
    """Be read by the type checkers, and never run."""
    X, y = make_views(200, n_classes=4, n_features=(8, 12), random_state=0)
    assert_type(X, Views)
    assert_type(X["audio"], np.ndarray)
    assert_type(X[:10], Views)
    assert_type(X.shape, tuple[int])

    linear = CCCA(3, reg={"audio": "auto", "visual": 0.1}, class_weight="balanced").fit(X, y)
    assert_type(linear, CCCA)
    assert_type(linear.transform(X), Views)
    assert_type(linear.transform({"audio": X["audio"]})["audio"], np.ndarray)
    assert_type(linear.transform(np.zeros((5, 20))), np.ndarray)
    assert_type(linear.score(X, y), float)
    assert_type(CCA(reg=0.1).fit(X).partial_fit(X), CCA)
    assert_type(KCCA(kernel={"audio": "rbf", "visual": "linear"}, gamma=None).fit(X), KCCA)

    assert_type(SemanticMatching(linear).fit(X, y).transform(X), Views)

    deep = TNNCCCA(3, hidden_layer_sizes=[16], margin=0.5, early_stopping="map", random_state=0)
    assert_type(deep, TNNCCCA)
    assert_type(deep.fit(X, y), TNNCCCA)
    assert_type(deep.fit(X[:90], y[:90], X_val=X[90:], y_val=y[90:]), TNNCCCA)
    assert_type(deep.best_epoch_, int)
    assert_type(pad_sequences([np.zeros((3, 2)), np.zeros((4, 2))]), np.ndarray)
    assert_type(deep.transform(X)["audio"], np.ndarray)
    assert_type(DCCA(n_components=3, hidden_layer_sizes=16).fit(X), DCCA)
    assert_type(cca_estimators.DCCA(3), DCCA)
    assert_type(cca_estimators.deep.UGACH(16).fit(X).pack(X), Views)
    assert_type(CKCCA(n_landmarks=100, reg="auto").fit(X, y).score(X, y), float)
    for method in (ACMR, AGAH, CDCCA, LSTMCCCA, SDCCA, UCAL, UGACH, Contrastive):
        assert_type(method(device="cpu").score(X, y), float)

    assert_type(cross_modal_map(linear, X, y), float)
    assert_type(cross_modal_scores(linear, X, y), dict[str, float])
    assert_type(mean_average_precision(X["audio"], X["audio"], y, y), float)
    assert_type(cca_estimators.metrics.recall_at_k(X["audio"], X["audio"], y, y, k=5), float)

    index = CrossModalIndex(linear, gallery="visual").fit(X)
    assert_type(index, CrossModalIndex)
    assert_type(index.kneighbors({"audio": X["audio"]}), tuple[np.ndarray, np.ndarray])
    assert_type(PerView().fit_transform(X), Views)
    load_spoken_digits()
    assert_type(load_spoken_digits(return_X_y=True), tuple[Views, np.ndarray])

    assert_type(EmbeddingDisplay.from_estimator(linear, X, y).plot(), EmbeddingDisplay)
    assert_type(LossCurveDisplay.from_estimator(deep), LossCurveDisplay)
    assert_type(RetrievalCurveDisplay.from_estimator(linear, X, y), RetrievalCurveDisplay)
    asked = {"audio": X["audio"][:3]}, {"visual": X["visual"]}, y[:3], y
    assert_type(RetrievalDisplay.from_estimator(linear, *asked), RetrievalDisplay)
    assert_type(StepsDisplay.from_estimator(deep, *asked), StepsDisplay)
    make_cross_modal_scorer(direction=("audio", "visual"), k=5)
    save(linear, "model")
    load("model")
