"""Saved estimators come back with equal results, and nothing else does."""

import copy

import numpy as np
import pytest
import skops.io
from registry import embeddings, estimators
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from cca_estimators import (
    ACMR,
    CCA,
    CCCA,
    CDCCA,
    CKCCA,
    DCCA,
    KCCA,
    TNNCCCA,
    CrossModalIndex,
    PerView,
    cross_modal_map,
    cross_modal_scores,
    load,
    make_cross_modal_scorer,
    save,
)
from cca_estimators.datasets import make_views

SMALL = {"hidden_layer_sizes": (4,), "max_epochs": 2, "random_state": 0, "device": "cpu"}


def name_of(value):
    return type(value).__name__


@pytest.fixture(scope="module")
def data():
    """Return two views of 60 rows in 3 classes, and labels."""
    return make_views(60, 3, (8, 12), shared_rank=3, random_state=0)


@pytest.mark.parametrize("estimator", estimators(), ids=name_of)
def test_an_estimator_comes_back(estimator, data, tmp_path):
    X, y = data
    fitted = clone(estimator).fit(X, y)
    save(fitted, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.get_params().keys() == fitted.get_params().keys()
    for name, rows in fitted.transform(X).items():
        np.testing.assert_array_equal(loaded.transform(X)[name], rows)


def test_a_first_stage_of_its_own_comes_back(data, tmp_path):
    X, y = data
    fitted = TNNCCCA(first=CKCCA(2, reg=0.2), **SMALL).fit(X, y)
    save(fitted, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.first.get_params() == fitted.first.get_params()
    for name, rows in fitted.transform(X).items():
        np.testing.assert_array_equal(loaded.transform(X)[name], rows)


def test_parameters_out_of_bounds_are_refused_at_loading(data, tmp_path):
    fitted = DCCA(1, **SMALL).fit(data[0])
    save(fitted.set_params(batch_size=-1), tmp_path / "model")
    with pytest.raises(ValueError, match="The 'batch_size' parameter of DCCA must be"):
        load(tmp_path / "model")


@pytest.mark.parametrize("estimator", embeddings()[::4], ids=name_of)
def test_a_pipeline_comes_back(estimator, data, tmp_path):
    X, y = data
    pipe = make_pipeline(PerView(StandardScaler()), clone(estimator)).fit(X, y)
    save(pipe, tmp_path / "model")
    assert load(tmp_path / "model").score(X, y) == pipe.score(X, y)


@pytest.mark.parametrize(
    "scoring", [None, cross_modal_map, cross_modal_scores, make_cross_modal_scorer(k=5)]
)
def test_a_search_comes_back_with_its_results(data, tmp_path, scoring):
    X, y = data
    refit = "map" if scoring is cross_modal_scores else True
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    pipe = make_pipeline(PerView(StandardScaler()), CDCCA(**SMALL))
    grid = {"cdcca__learning_rate": [1e-3, 1e-2]}
    search = GridSearchCV(pipe, grid, cv=folds, scoring=scoring, refit=refit).fit(X, y)
    save(search, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.best_params_ == search.best_params_
    assert loaded.best_score_ == search.best_score_
    assert loaded.score(X, y) == search.score(X, y)
    assert set(loaded.cv_results_) == set(search.cv_results_)
    assert loaded.fit(X, y).best_params_ == search.best_params_


def test_a_deep_estimator_inside_another_comes_back(data, tmp_path):
    X, _ = data
    columns = np.hstack(list(X.values()))
    deep = CDCCA(view_split=8, **SMALL)
    union = FeatureUnion([("linear", CCA(2, view_split=8)), ("deep", deep)])
    union.fit(columns, data[1])
    save(union, tmp_path / "model")
    expected = union.transform(columns)
    np.testing.assert_array_equal(load(tmp_path / "model").transform(columns), expected)
    assert isinstance(union.transformer_list[1][1], CDCCA)  # what was saved is as it was


def test_a_view_may_have_any_name(tmp_path):
    X, _ = make_views(60, 3, (8, 12), shared_rank=3, random_state=0)
    X = {"deep": X["audio"], "params": X["visual"]}
    save(CCA(2).fit(X), tmp_path / "model")
    assert list(load(tmp_path / "model").weights_) == ["deep", "params"]


def test_the_card_tells_what_the_model_is(data, tmp_path):
    X, y = data
    pipe = make_pipeline(PerView(StandardScaler()), CCCA(reg=0.25)).fit(X, y)
    save(pipe, tmp_path / "model", card=True, figures=cross_modal_scores(pipe, X, y))
    card = (tmp_path / "model.md").read_text()
    for told in (
        "reg=0.25",
        "'audio': 8",
        "3 classes: 0, 1, 2",
        "## Figures",
        "map_audio_to_visual",
    ):
        assert told in card
    assert "__" not in card
    assert "None features" not in card
    assert f"scikit-learn {__import__('sklearn').__version__}" in card


def test_refusals(data, tmp_path):
    X, y = data
    with pytest.raises(NotFittedError):
        save(CCA(), tmp_path / "model")
    with pytest.raises(ValueError, match="is a function, which is no data"):
        save(KCCA(2, kernel=lambda x, y: x @ y.T).fit(X), tmp_path / "model")
    CrossModalIndex(CCCA().fit(X, y)).fit(X).save(tmp_path / "index")
    with pytest.raises(ValueError, match=r"CrossModalIndex\.load"):
        load(tmp_path / "index")
    assert not (tmp_path / "model").exists()


HUGE = {
    "hidden_layer_sizes": (4, 10**5, 10**5),
    "n_components": 10**9,
    "n_bits": 10**9,
    "feature_size": 10**9,
    "lstm_size": 10**6,
    "n_layers": 10**9,
}


@pytest.mark.parametrize("estimator", embeddings(), ids=name_of)
def test_a_file_cannot_ask_for_more_memory_than_it_holds(estimator, tmp_path):
    if not hasattr(estimator, "max_epochs"):
        return
    X, y = make_views(60, 3, (6, 8), shared_rank=3, n_steps=3, random_state=0)
    fitted = clone(estimator).fit(X, y)
    for name in HUGE.keys() & fitted.get_params():
        forged = copy.copy(fitted).set_params(**{name: HUGE[name]})
        save(forged, tmp_path / "model")
        with pytest.raises(ValueError, match=r"model is damaged .* it holds"):
            load(tmp_path / "model")


def test_what_plays_against_the_networks_is_bounded_too(tmp_path):
    X, y = make_views(60, 3, (6, 8), shared_rank=3, random_state=0)
    forged = ACMR(4, **SMALL).fit(X, y)
    forged.classes_ = np.arange(10**6)
    save(forged, tmp_path / "model")
    with pytest.raises(ValueError, match=r"its parameters ask for \d{7} numbers beside the"):
        load(tmp_path / "model")


def test_a_type_that_is_not_trusted_is_named(data, tmp_path):
    X, _ = data
    pipe = make_pipeline(PerView(FunctionTransformer(np.sinh)), CCA(2)).fit(X)
    untrusted = skops.io.get_untrusted_types(data=skops.io.dumps(FunctionTransformer(np.sinh)))
    if not untrusted:
        pytest.skip("this version of skops trusts functions of NumPy")
    with pytest.warns(UserWarning, match="not trusted when it is loaded"):
        save(pipe, tmp_path / "model")
    with pytest.raises(ValueError, match=untrusted[0]):
        load(tmp_path / "model")
    assert load(tmp_path / "model", trusted=untrusted)[-1].n_components_ == 2


@pytest.mark.parametrize("estimator", [CCCA(), KCCA(3), CKCCA()], ids=lambda e: type(e).__name__)
def test_skops_alone_keeps_linear_and_kernel_methods_to_the_bit(estimator, data):
    X, y = data
    stored = skops.io.dumps(estimator.fit(X, y))
    loaded = skops.io.loads(stored, trusted=skops.io.get_untrusted_types(data=stored))
    for name, rows in estimator.transform(X).items():
        np.testing.assert_array_equal(loaded.transform(X)[name], rows)


def test_skops_alone_refuses_deep_methods_when_it_dumps(data):
    pipe = make_pipeline(PerView(StandardScaler()), DCCA(2, **SMALL)).fit(data[0])
    of_old_skops = "keys must be str"  # 0.11 asks the estimator for nothing but its attributes
    told = r"DCCA holds networks.* cca_estimators\.save.* joblib"
    with pytest.raises(TypeError, match=f"{told}|{of_old_skops}"):
        skops.io.dumps(pipe)


def test_skops_alone_keeps_what_an_unfitted_deep_method_is():
    stored = skops.io.dumps(DCCA(3, **SMALL))
    loaded = skops.io.loads(stored, trusted=skops.io.get_untrusted_types(data=stored))
    assert loaded.get_params() == DCCA(3, **SMALL).get_params()
