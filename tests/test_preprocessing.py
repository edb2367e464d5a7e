"""PerView: one transformer for all views or one each, on flat views and on sequences."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import issparse
from scipy.sparse import random as sparse_random
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.utils import estimator_html_repr

from cca_estimators import CCA, CCCA, PerView, Views, pad_sequences
from cca_estimators.datasets import make_views
from cca_estimators.media import FrameFeatures, LogMel


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
    expected = ["first__pca0", "first__pca1", "second__x0"]
    assert reduced.get_feature_names_out().tolist()[:3] == expected


def test_transformers_for_unknown_views_are_refused(data):
    X, _ = data
    with pytest.raises(ValueError, match=r"transformers for \['text'\], but the views of X are"):
        PerView(text=PCA(2)).fit(X)


TEXTS = ["a dog barks", "two dogs bark", "a cat", "cats and a cat", "a bird", "birds sing"] * 5


def frame(n_rows):
    """Return a table of strings and numbers, some missing."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "species": rng.choice(["dog", "cat", "bird"], n_rows),
            "weight": pd.array(np.where(np.arange(n_rows) % 7, 1.5, np.nan), dtype="Float64"),
            "legs": rng.integers(2, 5, n_rows),
        }
    )


def columns():
    """Return a transformer by the names of columns."""
    return ColumnTransformer(
        [("one", OneHotEncoder(), ["species"]), ("fill", SimpleImputer(), ["weight", "legs"])]
    )


def waveforms(n_rows):
    rng = np.random.default_rng(0)
    return [rng.normal(size=1000 + 40 * i) for i in range(n_rows)]


AS_GIVEN = {  # a view, its transformer, what it gives alone
    "texts": (TEXTS, TfidfVectorizer()),
    "array of texts": (
        np.array(TEXTS),
        make_pipeline(TfidfVectorizer(), TruncatedSVD(3, random_state=0)),
    ),
    "series of texts": (pd.Series(TEXTS), CountVectorizer()),
    "sparse": (TfidfVectorizer().fit_transform(TEXTS), TruncatedSVD(3, random_state=0)),
    "coordinates": (TfidfVectorizer().fit_transform(TEXTS).tocoo(), MaxAbsScaler()),
    "strings": (np.array([["a", "x"], ["b", "y"], ["a", "y"]] * 10), OneHotEncoder()),
    "objects": (np.array([["a", 1], ["b", None]] * 15, dtype=object), OrdinalEncoder()),
    "frame": (frame(30), columns()),
    "dicts": ([{"a": i, "b": i % 3} for i in range(30)], DictVectorizer()),
    "waveforms": (waveforms(30), LogMel(8)),
    "equal waveforms": (np.array([row[:900] for row in waveforms(30)]), LogMel(8)),
    "pictures": (
        np.random.default_rng(0).integers(0, 256, (30, 2, 8, 8, 3), dtype=np.uint8),
        FrameFeatures(grid=2),
    ),
}


@pytest.mark.parametrize("kind", AS_GIVEN)
@pytest.mark.parametrize("container", [dict, Views])
def test_a_view_goes_to_its_transformer_as_it_is(kind, container):
    given, transformer = AS_GIVEN[kind]
    numbers = np.random.default_rng(1).normal(size=(30, 4))
    X = container({"first": given, "second": numbers})
    fitted = PerView(first=transformer).fit(X)
    output = fitted.transform(X)
    expected = clone(transformer).fit_transform(given)
    expected = expected.toarray() if issparse(expected) else expected
    np.testing.assert_allclose(output["first"], expected.astype(float), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(output["second"], numbers)
    rows = Views(X)[np.array([7, 3, 3])]
    np.testing.assert_allclose(
        fitted.transform({"first": rows["first"]})["first"][:, :1],
        output["first"][[7, 3, 3]][:, :1],
        rtol=1e-6,
        atol=1e-9,
    )


@pytest.mark.parametrize("kind", ["texts", "sparse", "frame", "waveforms"])
def test_model_selection_slices_views_of_any_kind(kind):
    given, transformer = AS_GIVEN[kind]
    flat = FunctionTransformer(_mean_over_steps) if kind == "waveforms" else None
    first = make_pipeline(transformer, flat)
    X = Views(first=given, second=np.random.default_rng(1).normal(size=(30, 4)))
    pipe = make_pipeline(PerView(first=first), CCA(2, reg=0.1))
    search = GridSearchCV(pipe, {"cca__reg": [0.1, 1.0]}, cv=3, error_score="raise").fit(X)
    assert search.transform(X[:4])["first"].shape == (4, 2)


def _mean_over_steps(rows):
    return np.nanmean(rows, axis=1)


def test_file_names_and_labels_reach_a_transformer(tmp_path, data):
    names = [str(tmp_path / f"{i}.npy") for i in range(6)]
    for i, name in enumerate(names):
        np.save(name, np.arange(3.0) + i)
    X = {"file": names, "visual": np.ones((6, 2))}
    loaded = PerView(file=FunctionTransformer(_load_all)).fit_transform(X)["file"]
    np.testing.assert_array_equal(loaded, np.arange(3.0) + np.arange(6)[:, None])
    labels = [0, 0, 1, 1, 2, 2] * 5
    selected = make_pipeline(CountVectorizer(), SelectKBest(chi2, k=2))
    output = PerView(first=selected).fit({"first": TEXTS, "second": np.ones((30, 2))}, labels)
    alone = clone(selected).fit(TEXTS, labels)
    np.testing.assert_array_equal(
        output.transform({"first": TEXTS})["first"], alone.transform(TEXTS).toarray()
    )


def _load_all(names):
    return np.stack([np.load(name) for name in names])


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_tables_of_other_libraries(library):
    tables = pytest.importorskip(library)
    numbers = frame(30)[["legs"]].assign(weight=np.arange(30.0))
    table = tables.from_pandas(numbers) if library == "polars" else tables.table(dict(numbers))
    X = Views(first=table, second=np.ones((30, 2)))
    output = PerView(first=StandardScaler()).fit(X).transform(X[[4, 2]])["first"]
    np.testing.assert_allclose(output, StandardScaler().fit_transform(numbers)[[4, 2]])


@pytest.mark.parametrize("container", [dict, Views])
def test_sequences_of_unequal_length_are_padded_and_scaled_by_real_steps(container, data):
    X, y = data
    rows = [row[: 2 + i % 3] for i, row in enumerate(X["audio"])]
    ragged = container({"audio": rows, "visual": X["visual"]})
    scaled = PerView(StandardScaler()).fit(ragged)
    steps = np.concatenate(rows)
    for i, row in enumerate(scaled.transform(ragged)["audio"]):
        expected = (rows[i] - steps.mean(axis=0)) / steps.std(axis=0)
        np.testing.assert_allclose(row[: len(expected)], expected)
        assert np.isnan(row[len(expected) :]).all()
    with pytest.raises(ValueError, match=r"View 'audio' contains NaN.*LSTMCCCA, SDCCA"):
        CCA(2).fit(ragged)
    passed = PerView(visual=StandardScaler()).fit_transform(ragged)["audio"]
    assert passed.shape == (80, 4, 8)
    assert scaled.n_features_in_ == {"audio": 8, "visual": 12}


def test_what_a_transformer_returns_must_be_numbers():
    X = {"first": TEXTS, "second": np.ones((30, 2))}
    with pytest.raises(ValueError, match="View 'first' holds rows that are no numbers.* str"):
        PerView(StandardScaler(), first=FunctionTransformer()).fit(X)
    with pytest.raises(ValueError, match=r"View 'first' holds rows .* transformer in PerView"):
        PerView(second=StandardScaler()).fit(X)
    with pytest.raises(TypeError, match=r"'first' is sparse.*PerView\(TruncatedSVD"):
        PerView(second=StandardScaler()).fit({**X, "first": AS_GIVEN["sparse"][0]})
    with pytest.raises(AttributeError, match="View 'first': .*lower"):
        PerView(first=TfidfVectorizer()).fit(
            {"first": np.ones((30, 2)), "second": np.ones((30, 2))}
        )


def test_widths_are_for_the_transformer_to_check(data):
    X, _ = data
    fitted = PerView(StandardScaler()).fit(X)
    with pytest.raises(ValueError, match="View 'visual': X has 5 features, but StandardScaler"):
        fitted.transform({"visual": X["visual"][:, :5]})
    passing = PerView(audio=StandardScaler()).fit(X)
    with pytest.raises(ValueError, match="View 'visual' has 5 features .* fitted with 12"):
        passing.transform({"visual": X["visual"][:, :5]})
    varying = PerView(visual=LogMel(4)).fit({**X, "visual": np.ones((80, 700))})
    assert varying.transform({"visual": np.ones((2, 512))})["visual"].shape == (2, 3, 4)
    assert PerView(first=TfidfVectorizer()).fit(
        {"first": TEXTS, "second": np.ones((30, 2))}
    ).n_features_in_ == {"first": None, "second": 2}


@pytest.mark.parametrize("n_labels", [5, 33])
def test_labels_of_other_rows_are_refused_of_sequences_too(n_labels):
    rng = np.random.default_rng(0)
    X = {"audio": rng.standard_normal((20, 3, 4)), "visual": rng.standard_normal((20, 5))}
    with pytest.raises(ValueError, match=f"y has {n_labels} rows and X has 20"):
        PerView(StandardScaler()).fit(X, np.zeros(n_labels))


def test_padding_keeps_the_type_of_the_output():
    X = {"audio": np.ones((4, 3, 2), np.float32), "visual": np.ones((4, 2), np.float32)}
    X["audio"][1, 2] = np.nan
    X["audio"][:, 0] += np.arange(4, dtype=np.float32)[:, None]
    output = PerView(StandardScaler()).fit_transform(X)["audio"]
    assert output.dtype == np.float32
    assert np.isnan(output[1, 2]).all()
    assert np.isfinite(np.delete(output.reshape(-1, 2), 5, axis=0)).all()


def test_names_are_those_that_the_transformers_give(data):
    X, _ = data
    rows = X["visual"].reshape(80, -1)
    frame = pd.DataFrame(rows, columns=[f"v{i}" for i in range(rows.shape[1])])
    views = {"title": ["a dog barks", "two cats"] * 40, "visual": frame}
    fitted = PerView(StandardScaler(), title=TfidfVectorizer()).fit(views)
    words = ["barks", "cats", "dog", "two"]
    expected = [f"title__{word}" for word in words] + [f"visual__{name}" for name in frame]
    assert fitted.get_feature_names_out().tolist() == expected
    passed = PerView(title=TfidfVectorizer()).fit(views).set_output(transform="pandas")
    assert passed.transform(views)["visual"].columns.tolist() == expected[4:]
    nameless = PerView(FunctionTransformer(np.abs)).fit({"audio": rows, "visual": rows})
    assert nameless.get_feature_names_out()[0] == "audio_perview0"
    piped = PerView(make_pipeline(FunctionTransformer(np.abs), PCA(2)))
    assert piped.fit({"audio": rows, "visual": rows}).get_feature_names_out().shape == (4,)
    joined = pd.DataFrame(np.hstack([rows, rows])).add_prefix("f")
    halves = PerView(StandardScaler()).fit(joined)
    assert halves.get_feature_names_out().tolist() == [
        f"{view}__{name}"
        for view, name in zip(np.repeat(["first", "second"], rows.shape[1]), joined, strict=True)
    ]


def test_sequences_are_padded():
    rows = [np.ones((2, 3), np.float32), np.zeros((0, 3), np.float32), [[1, 2, 3]]]
    padded = pad_sequences(rows)
    assert padded.shape == (3, 2, 3)
    np.testing.assert_array_equal(np.isnan(padded).all(axis=2), [[0, 0], [1, 1], [0, 1]])
    assert pad_sequences(rows[:2]).dtype == np.float32
    assert pad_sequences([[1.0, 2.0], [3.0]]).shape == (2, 2, 1)
    with pytest.raises(ValueError, match=r"numbers of features, \[2, 3\]"):
        pad_sequences([np.ones((1, 3)), np.ones((1, 2))])
    with pytest.raises(ValueError, match="Sequence 1 has shape .* and dtype"):
        pad_sequences([[1.0], ["a"]])
    with pytest.raises(ValueError, match="no sequences to pad"):
        pad_sequences([])


def test_the_diagram_shows_the_views_and_their_widths(data):
    X, y = data
    pipe = make_pipeline(PerView(StandardScaler(), visual=PCA(2)), CCCA())
    assert "visual" in estimator_html_repr(pipe)
    assert "each view" in estimator_html_repr(PerView(StandardScaler()))
    n_features = X["visual"].shape[-1]
    shown = estimator_html_repr(pipe.fit(X, y))
    assert f"visual: {n_features} to 2 features" in shown
    assert f"audio: {X['audio'].shape[-1]} to {X['audio'].shape[-1]} features" in shown
    assert "StandardScaler" in shown
    assert "PCA" in shown
    texts = {"title": ["dog", "two dog"], "image": np.eye(2)}
    assert "title: to 2 features" in estimator_html_repr(
        PerView(title=TfidfVectorizer()).fit(texts)
    )


def test_a_sparse_view_is_reduced_without_being_made_dense():
    words = sparse_random(2_000, 50_000, density=1e-3, format="csr", random_state=0)
    image = np.random.default_rng(0).normal(size=(2_000, 8))
    X = Views(text=words, image=image)
    reducer = TruncatedSVD(5, n_iter=2, random_state=0)
    tracemalloc.start()
    try:
        pipe = make_pipeline(PerView(text=reducer), CCA(2)).fit(X)
        embedded = pipe.transform({"text": words})["text"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < words.shape[0] * words.shape[1] * 8 / 8  # an eighth of the dense view
    few = Views(text=words[:300, :400], image=image[:300])
    dense = Views(text=few["text"].toarray(), image=few["image"])
    by_sparse, by_dense = (clone(pipe).fit(rows).transform(rows) for rows in (few, dense))
    for name in few:
        np.testing.assert_allclose(by_sparse[name], by_dense[name], atol=1e-8)
    assert embedded.shape == (2_000, 2)


def test_a_sparse_view_without_a_transformer_is_told_of_its_reduction():
    X = Views(
        text=sparse_random(60, 30, density=0.1), image=np.random.default_rng(0).normal(size=(60, 4))
    )
    from cca_estimators import DCCA

    for method in (CCA(2), CCCA(), DCCA(2, max_epochs=1)):
        with pytest.raises(TypeError, match=r"View 'text' is sparse.*PerView\(TruncatedSVD"):
            method.fit(X, np.arange(60) % 3)
    reduced = make_pipeline(PerView(text=TruncatedSVD(4)), DCCA(2, max_epochs=1)).fit(X)
    assert reduced.transform(X)["text"].shape == (60, 2)
