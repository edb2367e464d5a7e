"""Every warning of the library points at the line of the user's code that it is about."""

import ast
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import cca_estimators
from cca_estimators import (
    CCA,
    CCCA,
    CDCCA,
    CrossModalIndex,
    PerView,
    SemanticMatching,
    Views,
    cross_modal_map,
    cross_modal_scores,
)
from cca_estimators.datasets import make_views
from cca_estimators.metrics import mean_average_precision, recall_at_k

X, Y = make_views(60, 3, (8, 9), shared_rank=3, random_state=0)
FRAMES = Views({name: pd.DataFrame(rows).add_prefix("f") for name, rows in X.items()})
LACKING = Views(
    {name: np.where(np.arange(60)[:, None] < 2, np.nan, rows) for name, rows in X.items()}
)
WIDE = Views({name: np.random.default_rng(0).normal(size=(6, 9)) for name in X})


def interrupted():
    from skorch.callbacks import Callback

    class Stop(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) > 1:
                raise KeyboardInterrupt

    options = {"hidden_layer_sizes": (4,), "max_epochs": 3, "callbacks": [Stop()]}
    with suppress(KeyboardInterrupt):
        CDCCA(**options).fit(X, Y)


CALLS = {
    "missing partners": lambda: CCA(2).fit(LACKING),
    "missing partners of a pipeline": lambda: make_pipeline(PerView(), CCA(2)).fit(LACKING),
    "missing partners in fit_transform": lambda: CCA(2).fit_transform(LACKING),
    "components": lambda: CCA(50).fit(X),
    "components of a search": lambda: GridSearchCV(CCA(), {"n_components": [50]}, cv=2).fit(X),
    "components in partial_fit": lambda: CCA(50).partial_fit(X),
    "perfect correlations": lambda: CCA(reg=0).fit(WIDE),
    "moments forgotten": lambda: CCA(2).fit(X).partial_fit(X),
    "names only now": lambda: CCA(2).fit(X).transform(FRAMES),
    "names no longer": lambda: CCA(2).fit(FRAMES).transform(X),
    "names no longer, in score": lambda: CCCA().fit(FRAMES, Y).score(X, Y),
    "score of pairs": lambda: CCCA().fit(X, Y).score(X),
    "score of pairs by posteriors": lambda: SemanticMatching(CCCA()).fit(X, Y).score(X),
    "score of one class": lambda: CCA(2).fit(X).score(X, np.zeros(60)),
    "scorer of one class": lambda: cross_modal_map(CCA(2).fit(X), X, np.zeros(60)),
    "figures of missing rows": lambda: cross_modal_scores(CCA(2).fit(X), LACKING, Y),
    "score of missing rows": lambda: CCA(2).fit(X).score(LACKING, Y),
    "queries without an item": lambda: mean_average_precision(
        X["audio"], X["audio"], Y, np.minimum(Y, 1)
    ),
    "recall without an item": lambda: recall_at_k(X["audio"], X["audio"], Y, np.minimum(Y, 1), k=3),
    "column of labels": lambda: CCCA().fit(X, Y[:, None]),
    "missing rows of an index": lambda: CrossModalIndex(CCA(2).fit(X)).fit(LACKING),
    "an interrupt": interrupted,
}


@pytest.mark.parametrize("name", CALLS)
def test_warnings_point_at_the_line_of_the_user(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CALLS[name]()
    assert caught
    for warning in caught:
        assert Path(warning.filename) == Path(__file__), warning.message


def test_the_library_warns_in_one_way():
    for path in Path(cca_estimators.__file__).parent.rglob("*.py"):
        calls = [
            ast.unparse(node.func)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
        ]
        assert ("warnings.warn" in calls) == (path.name == "_compat.py"), path
