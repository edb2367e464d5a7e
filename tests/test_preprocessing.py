"""PerView: one transformer for all views or one each, on flat views and on sequences."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

from cca_estimators import CCA, PerView, Views
from cca_estimators.datasets import make_views


@pytest.fixture
def data():
    X, y = make_views(80, 3, (8, 12), n_steps=4, shared_rank=2, random_state=0)
    return Views(audio=X["audio"] * 3 + 5, visual=X["visual"][:, 0]), y


def test_each_view_gets_a_clone(data):
    X, _ = data
    scaler = StandardScaler()
    fitted = PerView(scaler).fit(X)
    assert not hasattr(scaler, "mean_")
    assert fitted.transformers_["audio"] is not fitted.transformers_["visual"]
    expected = StandardScaler().fit_transform(X["visual"])
    np.testing.assert_allclose(fitted.transform(X)["visual"], expected)


def test_sequences_are_scaled_per_feature_over_rows_and_steps(data):
    X, _ = data
    scaled = PerView(StandardScaler()).fit_transform(X)["audio"]
    expected = (X["audio"] - X["audio"].mean(axis=(0, 1))) / X["audio"].std(axis=(0, 1))
    np.testing.assert_allclose(scaled, expected)


def test_any_transformer_acts_on_the_steps(data):
    X, _ = data
    reduced = PerView(PCA(3)).fit_transform(X)["audio"]
    expected = PCA(3).fit_transform(X["audio"].reshape(-1, 8))
    np.testing.assert_allclose(reduced, expected.reshape(80, 4, 3))


def test_padded_steps_are_left_out_and_stay(data):
    X, _ = data
    padded = Views(X, audio=X["audio"].copy())
    padded["audio"][::2, 3] = np.nan
    scaled = PerView(PCA(2)).fit_transform(padded)["audio"]
    real = ~np.isnan(padded["audio"]).all(axis=2)
    assert np.isnan(scaled[~real]).all()
    np.testing.assert_allclose(scaled[real], PCA(2).fit_transform(padded["audio"][real]))


@pytest.mark.parametrize("transformer", [StandardScaler(), PCA(2), None])
def test_a_row_of_padding_alone_stays_padding(data, transformer):
    X, _ = data
    padded = Views(X, audio=X["audio"].copy())
    padded["audio"][[0, 5]] = np.nan
    fitted = PerView(audio=transformer).fit(padded)
    whole = fitted.transform(padded)["audio"]
    for row in (0, 5, 6):
        alone = fitted.transform({"audio": padded["audio"][[row]]})["audio"]
        np.testing.assert_allclose(alone, whole[[row]])
    assert np.isnan(whole[[0, 5]]).all()


def test_sequences_of_integers(data):
    X, _ = data
    whole = Views(X, audio=(10 * X["audio"]).astype(np.int16))
    scaled = PerView(StandardScaler()).fit_transform(whole)["audio"]
    np.testing.assert_allclose(scaled.mean(axis=(0, 1)), 0, atol=1e-12)


def test_sparse_output_becomes_dense(data):
    X, _ = data
    levels = Views(X, visual=(X["visual"] > 0).astype(int))
    encoded = PerView(visual=OneHotEncoder()).fit(levels)
    expected = OneHotEncoder(sparse_output=False).fit_transform(levels["visual"])
    np.testing.assert_array_equal(encoded.transform(levels)["visual"], expected)


def test_errors_of_transformers_name_the_view(data):
    X, _ = data
    with pytest.raises(ValueError, match="View 'visual': n_components=50 must be between 0 and"):
        PerView(visual=PCA(50)).fit(X)
    broken = Views(X, audio=np.full((80, 4, 8), np.inf))
    fitted = PerView(StandardScaler()).fit(X)
    with pytest.raises(ValueError, match="View 'audio': Input X contains infinity"):
        fitted.transform(broken)


@pytest.mark.parametrize("name", ["audio_", "_audio", "au__dio", "fit", "transform", "set_params"])
def test_names_that_the_transformer_has_itself(data, name):
    X, _ = data
    views = {name: X["audio"], "visual": X["visual"]}
    assert PerView(StandardScaler()).fit_transform(views)[name].shape == (80, 4, 8)
    with pytest.raises(TypeError, match=f"a view of the name '{name}'.* Rename the view"):
        PerView(**{name: PCA(2)})


def test_one_transformer_per_view_others_pass_through(data):
    X, _ = data
    mixed = PerView(visual=MinMaxScaler()).fit(X)
    assert mixed.transformers_["audio"] is None
    np.testing.assert_array_equal(mixed.transform(X)["audio"], X["audio"])
    assert mixed.transform(X)["visual"].max() == pytest.approx(1)
    both = PerView(StandardScaler(), visual=PCA(5)).fit(X)
    assert type(both.transformers_["audio"]) is StandardScaler
    assert both.transform(X)["visual"].shape == (80, 5)


def test_supervised_transformers_see_the_label_of_each_step(data):
    X, y = data
    reduced = PerView(LinearDiscriminantAnalysis()).fit(X, y).transform(X)["audio"]
    per_step = LinearDiscriminantAnalysis().fit(X["audio"].reshape(-1, 8), np.repeat(y, 4))
    np.testing.assert_allclose(
        reduced, per_step.transform(X["audio"].reshape(-1, 8)).reshape(80, 4, 2)
    )


def test_nested_parameters_are_reached_and_cloned(data):
    X, y = data
    per_view = PerView(StandardScaler(), visual=PCA(5))
    per_view.set_params(visual__n_components=2, transformer__with_mean=False)
    copied = clone(per_view)
    assert copied.get_params()["visual__n_components"] == 2
    assert copied.get_params()["transformer__with_mean"] is False
    assert copied.set_params(visual=None).fit(X).transformers_["visual"] is None
    assert "visual=PCA(n_components=2)" in repr(per_view)
    pipe = make_pipeline(per_view, CCA(2))
    grid = {"perview__visual__n_components": [2, 6], "perview__visual": [PCA(4)]}
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["perview__visual__n_components"] in (2, 6)


def test_side_by_side_in_one_array(data):
    X, _ = data
    stacked = np.hstack([X["audio"][:, 0], X["visual"]])
    reduced = PerView(first=PCA(2), second=StandardScaler(), view_split=8).fit(stacked)
    assert reduced.transform(stacked).shape == (80, 14)
    expected = ["first_perview0", "first_perview1", "second_perview0"]
    assert reduced.get_feature_names_out().tolist()[:3] == expected


def test_transformers_for_unknown_views_are_refused(data):
    X, _ = data
    with pytest.raises(ValueError, match=r"transformers for \['text'\], but the views of X are"):
        PerView(text=PCA(2)).fit(X)
