"""Displays: what they store against independent figures, what they draw, and where."""

import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from cca_estimators import (
    AGAH,
    CCA,
    CCCA,
    DCCA,
    EmbeddingDisplay,
    LossCurveDisplay,
    PerView,
    RetrievalCurveDisplay,
    RetrievalDisplay,
    Views,
)
from cca_estimators.datasets import make_views
from cca_estimators.metrics import (
    mean_average_precision,
    precision_at_k,
    precision_recall_curve,
)

DEEP = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0, "device": "cpu"}
HISTORY = [
    {"train_loss": 0.9, "valid_loss": 1.0, "valid_map": 0.5},
    {"train_loss": 0.5, "valid_loss": 0.7, "valid_map": 0.8},
    {"train_loss": 0.2, "valid_loss": 0.6, "valid_map": 0.7},
]


@pytest.fixture(autouse=True)
def figures():
    """Draw on no screen, and close what was drawn."""
    with mpl.rc_context({"backend": "Agg"}):
        yield
        plt.close("all")


@pytest.fixture(scope="module")
def data():
    X, y = make_views(60, 3, (8, 12), shared_rank=2, random_state=0)
    return X, np.array(["cat", "dog", "owl"])[y]


def fitted(form, X, y):
    """Return a fitted method in some form, and X as it takes it."""
    if form == "array":
        X = np.hstack(list(X.values()))
    method = {
        "estimator": CCCA(),
        "pipeline": make_pipeline(PerView(StandardScaler()), CCCA()),
        "search": GridSearchCV(CCCA(), {"reg": [0.1, 1.0]}, cv=2),
        "array": CCCA(view_split=8),
        "bits": AGAH(8, feature_size=8, **DEEP),
    }[form]
    return method.fit(X, y), X


FORMS = ["estimator", "pipeline", "search", "array", "bits"]


def both(method, X):
    """Return the embeddings of both views, and how they are compared."""
    output = method.transform(X)
    output = output.values() if isinstance(output, Views) else np.hsplit(output, 2)
    return *output, "hamming" if isinstance(method, AGAH) else "cosine"


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def test_importing_the_displays_imports_no_matplotlib():
    code = (
        "import sys, cca_estimators.display; from cca_estimators import RetrievalCurveDisplay;"
        "print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def draw_embedding(ax=None):
    X = Views(audio=np.eye(6, 4), visual=np.eye(6, 4)[::-1])
    return EmbeddingDisplay.from_predictions(X, [0, 0, 0, 1, 1, 1], projection="pca", ax=ax)


def draw_curve(ax=None):
    rows = np.eye(4)[[0, 0, 1, 2]]
    return RetrievalCurveDisplay.from_predictions(rows, rows, [0, 0, 1, 1], [0, 0, 1, 1], ax=ax)


def draw_retrieved(ax=None):
    return RetrievalDisplay.from_predictions([[0, 1], [2, 0]], [5, 7], [5, 7, 7], ax=ax)


def draw_loss(ax=None):
    return LossCurveDisplay.from_history(HISTORY, ax=ax)


DRAW = [draw_embedding, draw_curve, draw_retrieved, draw_loss]


@pytest.mark.parametrize("draw", DRAW)
def test_a_missing_matplotlib_is_named_before_anything_is_computed(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"Display\.from_\w+ requires matplotlib"):
        draw()


@pytest.mark.parametrize("draw", DRAW)
def test_plot_returns_the_display_and_draws_again_elsewhere(draw):
    display = draw()
    stored = {name: value for name, value in vars(display).items() if not name.endswith("_")}
    figure = display.figure_
    assert display.plot() is display
    assert display.figure_ is not figure
    for name, value in stored.items():
        assert getattr(display, name) is value
    assert len(display.figure_.axes) == len(figure.axes)


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("layout", [None, "constrained"])
def test_axes_given_are_drawn_on_or_divided(draw, layout):
    figure, (left, right) = plt.subplots(1, 2, layout=layout)
    display = draw(ax=right)
    figure.canvas.draw()
    assert display.figure_ is figure
    assert not left.has_data()
    assert not figure.legends
    drawn = display.axes_.flat if hasattr(display, "axes_") else [display.ax_]
    for axes in drawn:
        assert axes.get_position().x0 >= right.get_position().x0 - 1e-6
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("draw", [draw_embedding, draw_curve])
@pytest.mark.parametrize("layout", [None, "constrained"])
def test_the_legend_is_beside_the_axes_where_the_figure_makes_room(draw, layout):
    figure, ax = plt.subplots(layout=layout)
    display = draw(ax=ax)
    figure.canvas.draw()
    axes = display.axes_[0, -1] if hasattr(display, "axes_") else ax
    legend = axes.get_legend().get_window_extent()
    assert (legend.x0 > axes.bbox.x1) == (layout == "constrained")
    assert legend.x1 <= figure.bbox.x1


@pytest.mark.parametrize(("draw", "shape"), [(draw_embedding, (1, 3)), (draw_retrieved, (2, 3))])
def test_panels_given_are_drawn_on(draw, shape):
    figure, panels = plt.subplots(*shape)
    assert draw(ax=panels).axes_.ravel().tolist() == np.ravel(panels).tolist()
    assert draw(ax=list(np.ravel(panels))).axes_.shape == shape
    with pytest.raises(ValueError, match=f"ax holds 2 Axes; {shape[0]} rows of 3 panels need"):
        draw(ax=np.ravel(panels)[:2])


@pytest.mark.parametrize("form", FORMS)
def test_an_embedding_is_mapped_with_both_views_together(form, data):
    method, X = fitted(form, *data)
    display = EmbeddingDisplay.from_estimator(method, X, data[1], projection="pca")
    first, second, metric = both(method, X)
    rows = np.vstack([first, second]).astype(float)
    rows = normalize(rows) if metric == "cosine" else (2 * rows - 1) / 2 ** np.ceil(1.5)
    centred = rows - rows.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    (maps,) = display.points.values()
    audio, visual, together = maps.values()
    np.testing.assert_allclose(np.abs(together), np.abs((u * s)[:, :2]), atol=1e-5)
    np.testing.assert_array_equal(np.vstack([audio, visual]), together)
    views = ("first", "second") if form == "array" else ("audio", "visual")
    assert list(maps) == [*views, " and ".join(views)]
    given = EmbeddingDisplay.from_predictions(
        dict(zip(views, (first, second), strict=True)), data[1], metric=metric, projection="pca"
    )
    for title, points in given.points["embedding"].items():
        np.testing.assert_allclose(points, maps[title], atol=1e-6)


class Recorder(TransformerMixin, BaseEstimator):
    """Transformer that keeps the rows it is given and returns their first two columns."""

    seen = []

    def fit(self, X, y=None):
        self.seen.append(X)
        return self

    def transform(self, X):
        return X[:, :2]


def test_features_of_different_widths_share_no_axis(data, monkeypatch):
    monkeypatch.setattr(Recorder, "seen", [])
    X, y = data
    for name, method in (("features", "passthrough"), ("scaled", PerView(StandardScaler()).fit(X))):
        Recorder.seen.clear()
        EmbeddingDisplay.from_estimator({name: method}, X, y, projection=Recorder())
        rows = X if name == "features" else method.transform(X)
        together, audio, visual = Recorder.seen
        np.testing.assert_allclose(audio, normalize(rows["audio"]), rtol=1e-6)
        np.testing.assert_allclose(visual, normalize(rows["visual"]), rtol=1e-6)
        np.testing.assert_array_equal(together[:60], np.hstack([audio, np.zeros((60, 12))]))
        np.testing.assert_array_equal(together[60:], np.hstack([np.zeros((60, 8)), visual]))


def test_sequences_are_drawn_as_long_rows(data):
    X, y = data
    steps = Views({name: rows.reshape(60, 2, -1) for name, rows in X.items()})
    flat, long = (
        EmbeddingDisplay.from_estimator({"x": "passthrough"}, given, y, projection="pca").points
        for given in (X, steps)
    )
    for title, points in flat["x"].items():
        np.testing.assert_array_equal(points, long["x"][title])


def test_tsne_repeats_by_its_seed_and_takes_few_rows(data):
    X, y = data
    rows = np.r_[:4, 20:24]
    method = CCCA().fit(X, y)
    drawn = [
        EmbeddingDisplay.from_estimator(method, X[rows], y[rows], random_state=0) for _ in range(2)
    ]
    first, second = (display.points["CCCA"]["audio and visual"] for display in drawn)
    np.testing.assert_array_equal(first, second)
    own = TSNE(perplexity=5, random_state=0)
    display = EmbeddingDisplay.from_estimator(method, X[rows], y[rows], projection=own)
    assert not hasattr(own, "embedding_")
    expected = own.fit_transform(normalize(np.vstack(list(method.transform(X[rows]).values()))))
    np.testing.assert_allclose(display.points["CCCA"]["audio and visual"], expected, rtol=1e-5)


def test_an_embedding_of_one_component_lies_on_a_line(data):
    X, y = data
    rows = y != "owl"
    display = EmbeddingDisplay.from_estimator(
        CCCA().fit(X[rows], y[rows]), X[rows], y[rows], projection="pca"
    )
    assert np.abs(display.points["CCCA"]["audio"][:, 1]).max() < 1e-12


def test_colours_are_classes_markers_views_rows_methods(data):
    X, y = data
    methods = {"raw": "passthrough", "CCA": CCA().fit(X)}
    display = EmbeddingDisplay.from_estimator(methods, X, y, projection="pca", s=31, alpha=0.25)
    assert display.axes_.shape == (2, 3)
    assert [axes.get_ylabel() for axes in display.axes_[:, 0]] == ["raw", "CCA"]
    titles = [axes.get_title() for axes in display.axes_[0]]
    assert titles == ["audio", "visual", "audio and visual"]
    (legend,) = display.figure_.legends
    assert texts(legend) == ["cat", "dog", "owl", "audio", "visual"]
    for row, maps in zip(display.axes_, display.points.values(), strict=True):
        for axes, points in zip(row, maps.values(), strict=True):
            drawn = np.vstack([cloud.get_offsets() for cloud in axes.collections])
            np.testing.assert_array_equal(drawn, points)
            assert [len(axes.get_xticks()), len(axes.get_yticks())] == [0, 0]
    audio, visual = display.axes_[0, 2].collections
    assert audio.get_paths()[0].vertices.shape != visual.get_paths()[0].vertices.shape
    assert audio.get_sizes().tolist() == [31]
    assert audio.get_alpha() == 0.25
    colors = {label: {tuple(c[:3]) for c in audio.get_facecolors()[y == label]} for label in y}
    assert all(len(found) == 1 for found in colors.values())
    assert len(set.union(*colors.values())) == 3


def test_many_classes_have_a_colour_each():
    rows = np.random.default_rng(0).standard_normal((25, 3))
    display = EmbeddingDisplay.from_predictions(
        {"audio": rows, "visual": rows}, np.arange(25), projection="pca"
    )
    assert len(np.unique(display.axes_[0, 0].collections[0].get_facecolors(), axis=0)) == 25


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("direction", ["mean", "there", "back"])
def test_curves_are_those_of_the_metrics(form, direction, data):
    method, X = fitted(form, *data)
    y = data[1]
    first, second, metric = both(method, X)
    names = ("first", "second") if form == "array" else ("audio", "visual")
    pairs = {"there": [(first, second)], "back": [(second, first)]}
    pairs["mean"] = pairs["there"] + pairs["back"]
    given = {"mean": "mean", "there": names, "back": names[::-1]}[direction]
    curve, at_k = (
        RetrievalCurveDisplay.from_estimator(
            method, X, y, kind=kind, direction=given, name="method"
        )
        for kind in ("precision_recall", "precision_at_k")
    )
    lists = [(*pair, y, y) for pair in pairs[direction]]
    curves = [precision_recall_curve(*pair, metric=metric) for pair in lists]
    np.testing.assert_allclose(curve.precision["method"], np.mean([c[0] for c in curves], axis=0))
    np.testing.assert_array_equal(curve.levels, curves[0][1])
    assert [curve.ax_.get_xscale(), at_k.ax_.get_xscale()] == ["linear", "log"]
    assert at_k.levels[0] == 1
    assert at_k.levels[-1] == 60
    expected = [
        np.mean([precision_at_k(*pair, k=int(k), metric=metric) for pair in lists])
        for k in at_k.levels
    ]
    np.testing.assert_allclose(at_k.precision["method"], expected)
    score = np.mean([mean_average_precision(*pair, metric=metric) for pair in lists])
    for display in (curve, at_k):
        assert display.mean_average_precision["method"] == pytest.approx(score)
        assert display.chance_level == pytest.approx(1 / 3)
        assert texts(display.ax_.get_legend()) == [f"method (MAP = {score:.2f})", "chance (0.33)"]
        np.testing.assert_array_equal(display.lines_["method"].get_xdata(), display.levels)
        np.testing.assert_array_equal(
            display.lines_["method"].get_ydata(), display.precision["method"]
        )
    if direction != "mean":
        again = RetrievalCurveDisplay.from_predictions(*lists[0], metric=metric, name="method")
        np.testing.assert_allclose(again.precision["method"], curve.precision["method"])


def test_chance_is_the_last_precision_at_k(data):
    X, y = data
    few = y[:40]
    method = CCCA().fit(X, y)
    audio, visual = method.transform(X).values()
    display = RetrievalCurveDisplay.from_predictions(
        audio, visual[:40], y, few, kind="precision_at_k"
    )
    assert display.precision["retrieval"][-1] == pytest.approx(display.chance_level)
    expected = np.mean([np.mean(few == label) for label in y if label in few])
    assert display.chance_level == pytest.approx(expected)


def test_without_labels_a_row_is_relevant_to_its_partner(data):
    X, _ = data
    display = RetrievalCurveDisplay.from_estimator(CCA().fit(X), X)
    assert display.chance_level == pytest.approx(1 / 60)


@pytest.mark.parametrize("together", [True, False])
def test_several_methods_share_axes_and_one_chance_level(together, data):
    X, y = data
    methods = {"first": CCA().fit(X), "second": CCCA().fit(X, y)}
    if together:
        display = RetrievalCurveDisplay.from_estimator(methods, X, y, linewidth=3)
    else:
        ax = None
        for name, method in methods.items():
            display = RetrievalCurveDisplay.from_estimator(method, X, y, name=name, ax=ax, lw=3)
            ax = display.ax_
    names = [label.split(" (")[0] for label in texts(display.ax_.get_legend())]
    assert names == ["first", "second", "chance"]
    curves = [line for line in display.ax_.lines if line.get_linewidth() == 3]
    assert len(curves) == 2
    assert len({line.get_color() for line in curves}) == 2


def test_the_chance_level_has_its_own_style_or_is_left_out(data):
    X, y = data
    method = CCCA().fit(X, y)
    style = {"ls": "-.", "label": "by luck"}
    display = RetrievalCurveDisplay.from_estimator(method, X, y, chance_level_kw=style)
    assert display.chance_level_.get_linestyle() == "-."
    assert texts(display.ax_.get_legend())[-1] == "by luck"
    display.plot(plot_chance_level=False)
    assert display.chance_level_ is None
    assert len(display.ax_.lines) == 1


@pytest.mark.parametrize("form", FORMS)
def test_the_best_of_the_other_view_are_beside_their_query(form, data):
    method, X = fitted(form, *data)
    y = data[1]
    names = ("first", "second") if form == "array" else ("audio", "visual")
    views = dict(zip(names, data[0].values(), strict=True))
    queries, gallery = {names[0]: views[names[0]][:5]}, {names[1]: views[names[1]]}
    display = RetrievalDisplay.from_estimator(method, queries, gallery, y[:5], y, n_neighbors=4)
    first, second, metric = both(method, X)
    if metric == "hamming":
        distances = (first[:5, None] != second).sum(axis=2)
    else:
        distances = -normalize(first[:5]) @ normalize(second).T
    expected = np.argsort(distances, axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(display.result_labels, y[expected])
    np.testing.assert_array_equal(display.hits, y[expected] == y[:5, None])
    given = RetrievalDisplay.from_predictions(expected, y[:5], y)
    np.testing.assert_array_equal(given.result_labels, display.result_labels)
    assert given.result_items == display.result_items


def test_hits_and_misses_differ_in_mark_colour_and_frame():
    display = RetrievalDisplay.from_predictions([[0, 1, 2]], ["cat"], ["cat", "dog", "cat"])
    query, *results = display.axes_[0]
    assert query.get_xlabel() == "cat"
    assert [axes.get_xlabel() for axes in results] == ["✓ cat", "✗ dog", "✓ cat"]
    assert [axes.get_title() for axes in display.axes_[0]] == ["query", "1", "2", "3"]
    frames = [axes.spines["left"] for axes in results]
    assert frames[0].get_edgecolor() == frames[2].get_edgecolor() != frames[1].get_edgecolor()
    assert [frame.get_linestyle() for frame in frames] == ["-", "--", "-"]


def test_items_are_pictures_or_captions():
    rng = np.random.default_rng(0)
    spectrograms, photographs = rng.random((2, 9, 4)), rng.random((3, 5, 6, 3))
    display = RetrievalDisplay.from_predictions(
        [[2, 0], [1, 2]],
        [0, 1],
        [0, 1, 1],
        query_items=spectrograms,
        gallery_items=photographs,
        query_kw={"origin": "lower", "cmap": "magma"},
        gallery_kw={"interpolation": "nearest"},
    )
    for i, row in enumerate(display.axes_):
        (query,), *results = (axes.images for axes in row)
        np.testing.assert_array_equal(query.get_array(), spectrograms[i])
        assert [query.origin, query.get_cmap().name] == ["lower", "magma"]
        for (image,), neighbor in zip(results, [[2, 0], [1, 2]][i], strict=True):
            np.testing.assert_array_equal(image.get_array(), photographs[neighbor])
            assert image.get_interpolation() == "nearest"
    captions = ["a dog that barks at night", "a cat", "a long-eared-owl"]
    display = RetrievalDisplay.from_predictions(
        [[2, 0]], [0], [0, 1, 1], gallery_items=captions, gallery_kw={"color": "navy"}
    )
    shown = [axes.texts[0] for axes in display.axes_[0]]
    assert [text.get_text() for text in shown] == [
        "0",
        "a\nlong-eared-owl",
        "a dog that\nbarks at night",
    ]
    assert [text.get_color() for text in shown[1:]] == ["navy", "navy"]


def test_rows_that_are_pictures_are_drawn_as_they_are(data):
    X, y = data
    pictures = Views(audio=X["audio"], visual=X["visual"].reshape(60, 3, 4))
    method = CCCA().fit(pictures, y)
    display = RetrievalDisplay.from_estimator(
        method, {"visual": pictures["visual"][:2]}, {"audio": X["audio"]}, y[:2], y, n_neighbors=2
    )
    for i, row in enumerate(display.axes_):
        np.testing.assert_array_equal(row[0].images[0].get_array(), pictures["visual"][i])
        assert [axes.texts[0].get_text() for axes in row[1:]] == list(display.result_labels[i])


@pytest.mark.parametrize("form", ["estimator", "pipeline", "search"])
def test_loss_curves_are_the_history(form, data):
    X, _ = data
    dcca = DCCA(2, early_stopping=True, **DEEP)
    pipe = make_pipeline(PerView(StandardScaler()), dcca)
    method = {
        "estimator": dcca,
        "pipeline": pipe,
        "search": GridSearchCV(pipe, {"dcca__dropout": [0.0]}, cv=2),
    }[form].fit(X)
    last = getattr(method, "best_estimator_", method)
    history = (last[-1] if form != "estimator" else last).history_
    display = LossCurveDisplay.from_estimator(method, alpha=0.5)
    assert len(history) == 3
    for figure in ("train_loss", "valid_loss", "valid_map"):
        values = [epoch[figure] for epoch in history]
        np.testing.assert_array_equal(getattr(display, figure), values)
        line = display.lines_[figure]
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(line.get_ydata(), values)
        assert line.get_alpha() == 0.5
        assert line.axes is (display.map_ax_ if figure == "valid_map" else display.ax_)


def test_the_legend_of_the_training_holds_what_there_is():
    display = LossCurveDisplay.from_history(HISTORY)
    names = ["training loss", "validation loss", "validation MAP"]
    assert texts(display.ax_.get_legend()) == names
    assert len({line.get_linestyle() for line in display.lines_.values()}) == 3
    np.testing.assert_array_equal(display.ax_.get_xticks() % 1, 0)
    short = [{"train_loss": epoch["train_loss"]} for epoch in HISTORY]
    display = LossCurveDisplay.from_history(short, name="DCCA", ls="-.")
    assert texts(display.ax_.get_legend()) == ["DCCA, training loss"]
    assert display.lines_["train_loss"].get_linestyle() == "-."
    assert display.map_ax_ is None


def test_two_trainings_share_both_axes():
    first = LossCurveDisplay.from_history(HISTORY, name="a")
    second = LossCurveDisplay.from_history(HISTORY[:2], name="b", ax=first.ax_)
    assert second.map_ax_ is first.map_ax_
    assert first.figure_.axes == [first.ax_, first.map_ax_]
    names = [label.split(",")[0] for label in texts(second.ax_.get_legend())]
    assert names == ["a", "b"] * 3
    colors = [{line.get_color() for line in display.lines_.values()} for display in (first, second)]
    assert [len(found) for found in colors] == [1, 1]
    assert colors[0] != colors[1]


def embed(X, y, **options):
    return EmbeddingDisplay.from_estimator(CCCA().fit(X, y), X, y, **options)


def curve(X, y, **options):
    return RetrievalCurveDisplay.from_estimator(CCCA().fit(X, y), X, y, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X, y: embed(X, y, projection="umap"), "projection='umap' is not known; use 'tsne'"),
        (
            lambda X, y: embed(X, y, projection=PCA(1)),
            r"PCA\(n_components=1\) gave .* \(120, 1\); the picture needs \(120, 2\)",
        ),
        (
            lambda X, y: EmbeddingDisplay.from_estimator({"raw": "features"}, X, y),
            "'features' is no estimator; use a fitted one, or 'passthrough'",
        ),
        (
            lambda X, y: EmbeddingDisplay.from_estimator(
                {"raw": "passthrough"}, np.hstack(list(X.values())), y
            ),
            "'passthrough' needs X as a mapping",
        ),
        (
            lambda X, y: EmbeddingDisplay.from_estimator(
                {"raw": "passthrough"}, {"audio": X["audio"][:5], "visual": X["visual"]}, y
            ),
            "The views do not align",
        ),
        (
            lambda X, y: EmbeddingDisplay.from_estimator({"a": CCA().fit(X)}, X, y, name="b"),
            r"name='b' is for a single estimator; a dict names its own: \['a'\]",
        ),
        (
            lambda X, y: EmbeddingDisplay.from_predictions({"audio": X["audio"]}, y),
            r"There must be two views to draw; there are \['audio'\]",
        ),
        (
            lambda X, y: EmbeddingDisplay.from_predictions(
                {"a": X, "b": {"sound": X["audio"], "visual": X["visual"]}}, y, projection="pca"
            ),
            "The methods must have the same views",
        ),
        (lambda X, y: EmbeddingDisplay.from_predictions(X, y[:5]), "audio has 60 rows"),
        (
            lambda X, y: EmbeddingDisplay.from_predictions(X, y, metric="hamming"),
            "values other than 0 and 1",
        ),
        (lambda X, y: curve(X, y, kind="roc"), "kind='roc' is not known; use 'precision_recall'"),
        (
            lambda X, y: curve(X, y, direction=("audio", "text")),
            r"direction=\('audio', 'text'\) is not known; use 'mean' or one of \[\('audio', 'visu",
        ),
        (lambda X, y: curve(X, y, direction="audio"), "direction='audio' is not known"),
        (
            lambda X, y: RetrievalDisplay.from_predictions([[0, 60]], y[:1], y),
            "neighbors name row 60 of the gallery, but gallery_labels has 60 entries",
        ),
        (
            lambda X, y: RetrievalDisplay.from_predictions([[0, 1]], y[:2], y),
            r"neighbors have shape \(1, 2\); with 2 query_labels it must be \(2, n_neighbors\)",
        ),
        (
            lambda X, y: RetrievalDisplay.from_predictions(
                [[0, 1]], y[:1], y, gallery_items=["a", "b"]
            ),
            "There are 2 gallery_items and 60 gallery_labels",
        ),
        (
            lambda X, y: LossCurveDisplay.from_estimator(CCA().fit(X)),
            "CCA has no history_ of epochs to draw: only deep estimators",
        ),
    ],
)
def test_bad_input_is_named_with_its_remedy(call, message, data):
    with pytest.raises(ValueError, match=message):
        call(*data)


def test_several_trainings_have_a_colour_each_and_their_best_epoch(data):
    X, _ = data
    options = {**DEEP, "early_stopping": True}
    methods = {name: DCCA(2, **options).set_params(random_state=name).fit(X) for name in (0, 1)}
    displays = LossCurveDisplay.from_estimator(
        {f"seed {seed}": one for seed, one in methods.items()}
    )
    assert list(displays) == ["seed 0", "seed 1"]
    axes = {display.ax_ for display in displays.values()}
    assert len(axes) == 1
    colors = {display.lines_["train_loss"].get_color() for display in displays.values()}
    assert len(colors) == 2
    marks = [line for line in axes.pop().lines if line.get_gid() == "best epoch"]
    for mark, method in zip(marks, methods.values(), strict=True):
        maps = [epoch["valid_map"] for epoch in method.history_]
        assert mark.get_xdata()[0] == method.best_epoch_ == 1 + int(np.argmax(maps))


def test_the_epoch_that_the_weights_are_of():
    X, _ = make_views(60, 3, (8, 12), shared_rank=2, random_state=0)
    last = DCCA(2, **DEEP).fit(X)
    assert last.best_epoch_ == 3
    by_loss = DCCA(2, **DEEP).set_params(early_stopping="loss", learning_rate=0.3).fit(X)
    losses = [epoch["valid_loss"] for epoch in by_loss.history_]
    assert by_loss.best_epoch_ == 1 + int(np.argmin(losses))


def test_embeddings_without_labels_are_coloured_by_view(data):
    X, _ = data
    display = EmbeddingDisplay.from_predictions(
        {"audio": X["audio"][:, :3], "visual": X["visual"][:, :3]}, projection="pca"
    )
    first, second = display.axes_[0, 2].collections
    assert len(first.get_facecolors()) == len(second.get_facecolors()) == 1
    assert (first.get_facecolors() != second.get_facecolors()).any()
    assert texts(display.figure_.legends[0]) == ["audio", "visual"]


def test_classes_are_in_natural_order_and_all_in_the_legend(data):
    X, _ = data
    labels = np.array([f"word {i % 12}" for i in range(60)])
    display = EmbeddingDisplay.from_estimator(CCA(2).fit(X), X, labels, projection="pca")
    names = [f"word {i}" for i in range(12)]
    (legend,) = display.figure_.legends
    assert texts(legend) == [*names, "audio", "visual"]
    colors = {
        text.get_text(): handle
        for text, handle in zip(legend.texts, legend.legend_handles, strict=True)
    }
    drawn = display.axes_[0, 0].collections[0].get_facecolors()
    for name in names:
        of_class = drawn[labels == name][:, :3]
        np.testing.assert_allclose(
            of_class, np.tile(mpl.colors.to_rgb(colors[name].get_color()), (5, 1))
        )
    display.figure_.canvas.draw()
    box = legend.get_window_extent()
    width, height = display.figure_.canvas.get_width_height()
    assert box.x0 >= 0 <= box.y0
    assert box.x1 <= width
    assert box.y1 <= height


def test_pairs_are_linked_in_the_panel_of_both(data):
    X, y = data
    display = EmbeddingDisplay.from_estimator(CCA(2).fit(X), X, y, projection="pca", n_links=4)
    points = list(next(iter(display.points.values())).values())[2]
    lines = display.axes_[0, 2].lines
    rows = [0, 19, 39, 59]
    assert len(lines) == 4
    for line, row in zip(lines, rows, strict=True):
        np.testing.assert_allclose(line.get_xydata(), points[[row, row + 60]])
    assert not display.axes_[0, 0].lines
