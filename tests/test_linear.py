"""CCA and CCCA against scikit-learn, closed forms and invariances; what they refuse."""

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.cross_decomposition import CCA as ReferenceCCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCA, CCCA, PerView, Views, _reading
from cca_estimators.datasets import make_views

both = pytest.mark.parametrize("method", [CCA, CCCA], ids=["CCA", "CCCA"])


@pytest.fixture
def data():
    return make_views(300, 4, (9, 11), shared_rank=3, imbalance=3.0, random_state=0)


def flat(X):
    return np.hstack(list(X.values()))


def test_cca_agrees_with_scikit_learn(data):
    X, _ = data
    ours = CCA(4, reg=0.0, weighted=False).fit(X)
    theirs = ReferenceCCA(4, tol=1e-12, max_iter=10_000).fit(X["audio"], X["visual"])
    embedded = ours.transform(X)
    scores = theirs.transform(X["audio"], X["visual"])
    for name, variates in zip(X, scores, strict=True):
        for i in range(4):
            assert abs(np.corrcoef(embedded[name][:, i], variates[:, i])[0, 1]) > 1 - 1e-8
    expected = [np.corrcoef(scores[0][:, i], scores[1][:, i])[0, 1] for i in range(4)]
    np.testing.assert_allclose(ours.correlations_, expected, atol=1e-8)


def test_cca_variates_have_unit_variance_and_the_correlations(data):
    X, _ = data
    cca = CCA(5, reg=0.0, weighted=False).fit(X)
    variates = np.hstack(list(cca.transform(X).values()))
    expected = np.eye(10)
    expected[range(5), range(5, 10)] = expected[range(5, 10), range(5)] = cca.correlations_
    np.testing.assert_allclose(np.cov(variates.T), expected, atol=1e-10)


@both
def test_weighted_variates_are_scaled_by_the_correlations(data, method):
    X, y = data
    plain, weighted = (method(3, weighted=w).fit(X, y) for w in (False, True))
    for name in X:
        np.testing.assert_allclose(
            weighted.transform(X)[name],
            plain.transform(X)[name] * plain.correlations_,
            atol=1e-12,
        )


@both
def test_invertible_maps_change_nothing_without_a_ridge(data, method):
    X, y = data
    rng = np.random.default_rng(1)
    moved = Views(
        {
            name: rows @ rng.standard_normal((rows.shape[1],) * 2) + rng.standard_normal()
            for name, rows in X.items()
        }
    )
    left, right = (method(3, reg=0.0).fit(views, y) for views in (X, moved))
    np.testing.assert_allclose(left.correlations_, right.correlations_, atol=1e-9)
    for name in X:
        embedded = [left.transform(X)[name], right.transform(moved)[name]]
        np.testing.assert_allclose(*(np.abs(rows) for rows in embedded), atol=1e-7)


def test_reg_means_the_same_at_any_scale(data):
    X, _ = data
    scaled = Views(audio=1e3 * X["audio"], visual=1e-4 * X["visual"])
    left, right = (CCA(3, reg=0.2).fit(views) for views in (X, scaled))
    np.testing.assert_allclose(left.correlations_, right.correlations_, atol=1e-12)


def test_ccca_is_cca_of_all_pairs(data):
    X, y = data
    j, k = np.nonzero(y[:, None] == y)
    pairs = Views(audio=X["audio"][j], visual=X["visual"][k])
    ours, explicit = CCCA(3, reg=0.1).fit(X, y), CCA(3, reg=0.1).fit(pairs)
    np.testing.assert_allclose(ours.correlations_, explicit.correlations_, atol=1e-10)
    for name in X:
        norm = np.sqrt(1 - 1 / len(j))  # all pairs are the population, not a sample
        np.testing.assert_allclose(
            ours.weights_[name], explicit.weights_[name] / norm, rtol=1e-7, atol=1e-9
        )
        np.testing.assert_allclose(ours.means_[name], explicit.means_[name], atol=1e-12)


def test_ccca_determines_one_component_less_than_classes(data):
    X, y = data
    assert CCCA().fit(X, y).n_components_ == 3
    with pytest.warns(UserWarning, match="n_components=5 is above the 3 pairs"):
        assert CCCA(5).fit(X, y).n_components_ == 3
    assert CCCA(5, pair_weight=0.2).fit(X, y).n_components_ == 5


@pytest.mark.parametrize("pair_weight", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_correlations_never_exceed_one(pair_weight, class_weight):
    X, y = make_views(400, 5, (12, 12), noise=0.05, imbalance=30.0, random_state=0)
    ccca = CCCA(reg=0.0, pair_weight=pair_weight, class_weight=class_weight).fit(X, y)
    assert ccca.correlations_[0] <= 1 + 1e-12


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
@both
def test_blocks_do_not_matter(data, method, dtype, monkeypatch):
    X, y = data
    X = Views({name: (20 * rows + 120).clip(0, 255).astype(dtype) for name, rows in X.items()})
    whole = method(3).fit(X, y)
    monkeypatch.setattr(_reading, "_BLOCK_BYTES", 2000)
    blocks = method(3).fit(X, y)
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    np.testing.assert_allclose(whole.correlations_, blocks.correlations_, atol=tolerance)
    for name in X:
        np.testing.assert_allclose(
            whole.transform(X)[name], blocks.transform(X)[name], atol=10 * tolerance
        )


@pytest.mark.parametrize(
    "method",
    [CCA(3), CCCA(), CCCA(4, pair_weight=0.3), CCCA(class_weight="balanced")],
    ids=["CCA", "CCCA", "pair_weight", "balanced"],
)
@pytest.mark.parametrize("sizes", [[300], [1, 1, 298], [50, 200, 50], [10] * 30])
@pytest.mark.filterwarnings("ignore:n_components=3 is above the 1 pairs")
def test_partial_fit_equals_fit(data, method, sizes):
    X, y = data
    X = Views({name: rows + 1e3 for name, rows in X.items()})
    expected = type(method)(**method.get_params()).fit(X, y)
    order = np.argsort(y, kind="stable")  # whole classes turn up late
    gradual, start = type(method)(**method.get_params()), 0
    for size in sizes:
        rows = order[start : start + size]
        gradual.partial_fit(X[rows], y[rows])
        start += size
    np.testing.assert_allclose(gradual.correlations_, expected.correlations_, atol=1e-8)
    for name in X:
        np.testing.assert_allclose(gradual.weights_[name], expected.weights_[name], atol=1e-8)
        np.testing.assert_allclose(gradual.means_[name], expected.means_[name], atol=1e-8)


@both
def test_partial_fit_on_float32_equals_fit_to_its_digits(data, method):
    X, y = data
    X = Views({name: rows.astype(np.float32) for name, rows in X.items()})
    expected, gradual = method(3).fit(X, y), method(3)
    for rows in np.split(np.arange(300), [40, 100, 220]):
        gradual.partial_fit(X[rows], y[rows])
    np.testing.assert_allclose(gradual.correlations_, expected.correlations_, atol=1e-6)
    assert gradual.transform(X)["audio"].dtype == np.float32


@both
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 5e-4)])
def test_means_of_ten_thousand_deviations_change_nothing(data, method, dtype, tolerance):
    X, y = data
    far = Views({name: (rows + 1e4 * rows.std(axis=0)).astype(dtype) for name, rows in X.items()})
    near, far = method(3).fit(X, y), method(3).fit(far, y)
    np.testing.assert_allclose(far.correlations_, near.correlations_, atol=tolerance)


def test_labels_of_another_type_are_refused_by_partial_fit(data):
    X, y = data
    gradual = CCCA().partial_fit(X[:100], y[:100])
    before = gradual.correlations_
    with pytest.raises(ValueError, match="labels of other types than before: int and str"):
        gradual.partial_fit(X[100:], np.array(["a", "b", "c", "d"])[y[100:]])
    assert gradual.correlations_ is before


def test_partial_fit_on_one_row_is_not_yet_fitted(data):
    X, y = data
    for method in (CCA(2), CCCA(2)):
        method.partial_fit(X[:1], y[:1])
        with pytest.raises(NotFittedError):
            method.transform(X)
    labels = np.array(["a", "b", "c", "d"])[y]
    assert CCCA(2).partial_fit(X, labels).classes_.tolist() == ["a", "b", "c", "d"]


@both
def test_failed_partial_fit_loses_nothing(data, method):
    X, y = data
    gradual = method(3).partial_fit(X[:150], y[:150])
    huge = Views({name: 1e200 * rows for name, rows in X.items()})
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="squares overflow"):
        gradual.partial_fit(huge, y)
    broken = Views({name: rows.copy() for name, rows in X[150:].items()})
    broken["visual"][-1, -1] = np.nan
    with pytest.raises(ValueError, match="View 'visual' contains NaN .* in row 149, feature 10"):
        gradual.partial_fit(broken, y[150:])
    gradual.partial_fit(X[150:], y[150:])
    np.testing.assert_allclose(gradual.correlations_, method(3).fit(X, y).correlations_, atol=1e-10)


def test_partial_fit_after_fit_begins_anew_and_says_so(data):
    X, y = data
    with pytest.warns(UserWarning, match="fitted by fit, which keeps no moments"):
        again = CCA(2).fit(X[:50]).partial_fit(X)
    np.testing.assert_allclose(again.correlations_, CCA(2).fit(X).correlations_)


@both
def test_files_are_read_in_blocks(data, method, monkeypatch):
    X, y = data
    monkeypatch.setattr(_reading, "_BLOCK_BYTES", 3000)
    with tempfile.TemporaryDirectory() as folder, h5py.File(Path(folder) / "X.h5", "w") as file:
        for name, rows in X.items():
            file.create_dataset(name, data=rows, chunks=True)
        fitted = method(3).fit(dict(file), y)
        embedded = fitted.transform(Views(dict(file)))
    np.testing.assert_allclose(embedded["visual"], method(3).fit(X, y).transform(X)["visual"])


def test_reg_by_view_and_auto(data):
    X, _ = data
    assert CCA(reg={"audio": 0.5, "visual": "auto"}).fit(X).reg_["audio"] == 0.5
    auto = CCA().fit(X).reg_
    assert CCA(reg={"audio": "auto", "visual": 0}).fit(X).reg_ == {**auto, "visual": 0}
    assert all(isinstance(value, float) for value in auto.values())


def test_default_components(data):
    X, y = data
    assert CCA().fit(X).n_components_ == 9
    X, y = make_views(200, 3, (30, 40), random_state=0)
    assert CCA().fit(X).n_components_ == 10
    assert CCCA().fit(X, y).n_components_ == 2


def test_many_features_and_few_rows():
    X, y = make_views(60, 3, (400, 300), noise=0.3, random_state=0)
    train, test = np.arange(40), np.arange(40, 60)
    for method in (CCA(2), CCCA()):
        assert method.fit(X[train], y[train]).score(X[test], y[test]) > 0.8


@pytest.mark.filterwarnings("ignore:View 'audio' has 30 features", "ignore:View 'visual' has 20")
@pytest.mark.parametrize("reg", [0.0, 0.5, "auto"])
def test_rows_bound_the_components(reg):
    rng = np.random.default_rng(0)
    X = Views(audio=rng.standard_normal((8, 30)), visual=rng.standard_normal((8, 20)))
    assert CCA(reg=reg).fit(X).n_components_ == 7
    with pytest.warns(UserWarning, match="n_components=8 is above the 7 pairs"):
        assert CCA(8, reg=reg).fit(X).n_components_ == 7


@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_ccca_with_one_row_per_class_is_cca(data):
    X, _ = data
    rows = np.arange(300)
    ours, paired = CCCA(5, reg=0.1).fit(X, rows), CCA(5, reg=0.1).fit(X)
    np.testing.assert_allclose(ours.correlations_, paired.correlations_, atol=1e-12)


@both
@pytest.mark.parametrize("constant", [0.0, 0.1, 3.3, -1e6 / 3])
def test_constant_features_get_no_weight(data, method, constant, monkeypatch):
    X, y = data
    monkeypatch.setattr(_reading, "_BLOCK_BYTES", 5000)
    column = np.full((300, 1), constant)
    wider = Views({name: np.hstack([column, rows]) for name, rows in X.items()})
    plain, fitted = (method(3, reg=0.0).fit(views, y) for views in (X, wider))
    np.testing.assert_allclose(fitted.correlations_, plain.correlations_, atol=1e-10)
    for weights in fitted.weights_.values():
        np.testing.assert_array_equal(weights[0], 0)


def test_fit_forgets_what_partial_fit_gathered(data):
    X, y = data
    again = CCA(2).partial_fit(X[:200]).fit(X[200:])
    with pytest.warns(UserWarning, match="fitted by fit"):
        again.partial_fit(X[:50])
    np.testing.assert_allclose(again.correlations_, CCA(2).fit(X[:50]).correlations_)
    frame = pd.DataFrame(flat(X), columns=[f"f{i}" for i in range(20)])
    assert not hasattr(CCA(2).fit(frame).fit(X), "feature_names_in_")


@pytest.mark.parametrize("power", [0.6, -0.6])
def test_squares_that_float64_cannot_hold_are_named(data, power):
    X, _ = data
    huge = Views(X, visual=X["visual"].copy())
    huge["visual"][:, 4] *= np.finfo(float).max ** power
    message = "View 'visual' has values so large or so small .* of feature 4. Scale"
    for fit in (CCA(2).fit, CCA(2).partial_fit):
        with pytest.raises(ValueError, match=message):
            fit(huge)


@both
@pytest.mark.parametrize("scale", [1e-23, 1e-30, 1e30])
def test_squares_that_float32_cannot_hold_are_taken_in_float64(data, method, scale):
    X, y = data
    plain = Views({name: rows.astype(np.float32) for name, rows in X.items()})
    scaled = Views({name: rows.copy() for name, rows in plain.items()})
    for rows in scaled.values():
        rows[:, 2] *= np.float32(scale)
    expected = method(3, reg=0.0).fit(plain, y)
    fitted = method(3, reg=0.0).fit(scaled, y)
    np.testing.assert_allclose(fitted.correlations_, expected.correlations_, rtol=1e-5)
    embedded, again = expected.transform(plain), fitted.transform(scaled)
    for name in X:  # the sign is that of the largest weight, which depends on the units
        np.testing.assert_allclose(np.abs(again[name]), np.abs(embedded[name]), atol=1e-3)


@both
@pytest.mark.parametrize("scale", [1e-100, 1e120])
def test_the_scale_of_a_view_does_not_matter(data, method, scale):
    X, y = data
    fitted = method(3).fit({name: scale * rows for name, rows in X.items()}, y)
    np.testing.assert_allclose(fitted.correlations_, method(3).fit(X, y).correlations_)


@both
@pytest.mark.parametrize("reg", ["auto", 0.0])
@pytest.mark.parametrize(
    ("offset", "scale", "dtype"), [(1e15, 1.0, np.float64), (1e7, 1.4, np.float32)]
)
def test_views_far_from_0_are_centred_before_they_are_squared(
    data, method, reg, offset, scale, dtype
):
    X, y = data
    far = Views(
        {name: (np.round(8 * scale * rows) / 8 + offset).astype(dtype) for name, rows in X.items()}
    )
    near = Views({name: rows.astype(float) - offset for name, rows in far.items()})
    fitted, expected = method(3, reg=reg).fit(far, y), method(3, reg=reg).fit(near, y)
    np.testing.assert_allclose(fitted.correlations_, expected.correlations_, atol=1e-5)
    assert fitted.score(far, y) == pytest.approx(expected.score(near, y), abs=0.01)
    parts, half = method(3, reg=reg), np.arange(len(y)) % 2 == 0
    for start in range(0, len(y), 70):
        rows = slice(start, start + 70)
        parts.partial_fit(far[rows], y[rows])
    halves = [method(3, reg=reg).partial_fit(far[rows], y[rows]) for rows in (half, ~half)]
    with config_context(working_memory=0.005):  # in blocks of some dozen rows
        blocks = method(3, reg=reg).fit(far, y)
    digits = 1e-12 if dtype == np.float64 else 1e-6
    for one in (parts, halves[0].merge(halves[1]), blocks):
        np.testing.assert_allclose(one.correlations_, expected.correlations_, atol=digits)


@both
def test_a_view_that_varies_by_rounding_only_is_refused(data, method):
    X, y = data
    noise = 1e6 + 1e-10 * np.random.default_rng(0).standard_normal((300, 5))
    with pytest.raises(ValueError, match="View 'audio' does not vary, or by rounding only"):
        method().fit(Views(X, audio=noise), y)


def test_views_without_correlation_give_no_model():
    x, y = np.array([[1.0], [-1.0], [1.0], [-1.0]]), np.array([[1.0], [1.0], [-1.0], [-1.0]])
    fitted = CCA(1).fit({"audio": x, "visual": y})
    assert fitted.n_components_ == 1  # the one direction there is, of correlation 0
    np.testing.assert_allclose(fitted.correlations_, 0, atol=1e-12)


@both
def test_partial_fit_waits_for_views_to_vary(data, method):
    X, y = data
    still = Views(X[:20], visual=np.ones_like(X["visual"][:20]))
    gradual = method(3).partial_fit(still, y[:20])
    with pytest.raises(NotFittedError):
        gradual.transform(X)
    gradual.partial_fit(X[20:], y[20:])
    joined = {name: np.concatenate([still[name], X[20:][name]]) for name in X}
    expected = method(3).fit(joined, y)
    np.testing.assert_allclose(gradual.correlations_, expected.correlations_, rtol=1e-8)


def refused(change, **options):
    """Return what is raised by fit on good input with one change."""
    X, y = make_views(40, 3, (8, 9), shared_rank=2, random_state=0)
    X, y = change(dict(X), y)
    with pytest.raises((ValueError, TypeError)) as caught:
        CCCA(**options).fit(X, y)
    return str(caught.value)


def with_view(name, rows):
    return lambda X, y: ({**X, name: rows}, y)


def with_one_nan():
    rows = np.ones((40, 2))
    rows[0, 0] = np.nan
    return rows


def with_labels(make):
    return lambda X, y: (X, make(y))


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (with_view("text", np.ones((40, 2))), ["3 views", "'text'", "exactly two"]),
        (lambda X, y: (dict(enumerate(X.values())), y), ["named 0", "of type int", "strings"]),
        (
            with_view("audio", [[1, 2]] * 39 + [[3]]),
            ["'audio'", "differ in their number of features"],
        ),
        (with_view("audio", np.full((40, 2), 0.1)), ["'audio'", "does not vary"]),
        (lambda X, y: ({"audio": X["audio"]}, y), ["1 views", "exactly two"]),
        (lambda X, y: (list(X.values()), y), ["list of two arrays", "Views(audio=X[0]"]),
        (lambda X, y: (tuple(X.values()), y), ["tuple of two arrays"]),
        (with_view("audio", np.ones((39, 8))), ["do not align", "'audio': 39", "'visual': 40"]),
        (with_view("audio", np.ones(40)), ["'audio'", "(40,)", "reshape(-1, 1)"]),
        (with_view("audio", np.ones((40, 0))), ["'audio'", "no feature"]),
        (with_view("audio", np.ones((40, 2)) * 1j), ["'audio'", "complex"]),
        (with_view("audio", np.full((40, 2), "loud")), ["'audio'", "not all numbers"]),
        (with_view("audio", with_one_nan()), ["'audio'", "NaN", "row 0, feature 0"]),
        (with_view("visual", np.full((40, 2), np.inf)), ["'visual'", "infinity"]),
        (with_view("audio", np.ones((40, 2))), ["'audio'", "does not vary"]),
        (lambda X, y: ({k: v[:1] for k, v in X.items()}, y[:1]), ["1 row(s)", "minimum of 2"]),
        (with_labels(lambda y: None), ["requires y to be passed"]),
        (with_labels(lambda y: y[:-1]), ["inconsistent numbers of samples"]),
        (with_labels(lambda y: np.c_[y, y]), ["several labels for a row"]),
        (with_labels(lambda y: y + 0.5), ["Unknown label type: continuous"]),
        (with_labels(lambda y: 0 * y), ["one class only", "two or more"]),
        (with_labels(lambda y: np.where(y, np.nan, 1.0)), ["NaN"]),
    ],
)
def test_bad_input_is_named(change, parts):
    message = refused(change)
    assert all(part in message for part in parts), message


def test_sparse_views_are_refused():
    sparse = pytest.importorskip("scipy.sparse").csr_array(np.eye(40))
    assert "View 'audio' is sparse" in refused(with_view("audio", sparse))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reg": -0.1}, "The 'reg' parameter of CCCA must be"),
        ({"reg": "ridge"}, "The 'reg' parameter of CCCA must be"),
        ({"reg": {"audio": 0.1}}, "reg names the views ['audio']; the views of X are"),
        (
            {"reg": {"audio": -1, "visual": 0}},
            "The 'reg' parameter of CCCA for view 'audio' must be a float in the range [0.0, inf)",
        ),
        ({"reg": {"audio": 0, "visual": np.inf}}, "CCCA for view 'visual' must be"),
        ({"reg": {"audio": np.nan, "visual": 0}}, "Got nan instead"),
        ({"n_components": 0}, "The 'n_components' parameter of CCCA must be"),
        ({"pair_weight": 1.5}, "The 'pair_weight' parameter of CCCA must be"),
        ({"class_weight": "uniform"}, "The 'class_weight' parameter of CCCA must be"),
    ],
)
def test_bad_parameters_are_named(options, message):
    assert message in refused(lambda X, y: (X, y), **options)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda X: {"text": X["audio"]}, ["['text']", "['audio', 'visual']"]),
        (lambda X: {}, ["[]", "known from fit"]),
        (lambda X: {**X, "text": X["audio"]}, ["'text'", "['audio', 'visual']"]),
        (lambda X: {"audio": X["audio"][:, :5]}, ["'audio' has 5 features", "fitted with 9"]),
        (lambda X: {**X, "audio": X["audio"][:7]}, ["do not align"]),
        (lambda X: {"audio": X["audio"][:0]}, ["0 row(s)"]),
        (flat, ["ndarray", "by name", "{'audio': rows}"]),
    ],
)
def test_bad_input_of_transform_is_named(data, change, parts):
    X, _ = data
    with pytest.raises(ValueError) as caught:
        CCA(2).fit(X).transform(change(dict(X)))
    assert all(part in str(caught.value) for part in parts), caught.value


def test_view_split(data):
    X, y = data
    stacked = flat(X)
    assert CCA(2, view_split=9).fit(stacked).weights_["first"].shape == (9, 2)
    assert CCA(2).fit(stacked).weights_["first"].shape == (10, 2)
    with pytest.raises(ValueError, match="view_split=20 leaves no column .* between 1 and 19"):
        CCA(view_split=20).fit(stacked)


@pytest.mark.parametrize(
    "make",
    [
        list,
        lambda y: y.astype(np.float64),
        lambda y: y.astype(np.int8),
        lambda y: pd.Series(y, index=np.arange(300) + 7),
        lambda y: pd.Categorical.from_codes(y, ["a", "b", "c", "d"]),
        lambda y: np.array(["a", "b", "c", "d"], dtype=object)[y],
    ],
    ids=["list", "float", "int8", "Series", "Categorical", "object"],
)
def test_labels_in_any_container(data, make):
    X, y = data
    expected = CCCA().fit(X, y).correlations_
    np.testing.assert_allclose(CCCA().fit(X, make(y)).correlations_, expected)
    assert CCCA().fit(X, y > 1).classes_.tolist() == [False, True]


def test_cca_ignores_labels(data):
    X, _ = data
    for y in (np.full(300, np.nan), np.ones((7, 2)), "none"):
        np.testing.assert_array_equal(CCA().fit(X, y).correlations_, CCA().fit(X).correlations_)


def test_classes_with_one_member_are_allowed(data):
    X, y = data
    y = y.copy()
    y[0] = 9
    assert CCCA().fit(X, y).n_components_ == 4


def standardised(data):
    X = Views(audio=data["audio"], visual=data["visual"])
    scaler = PerView(StandardScaler()).fit(X[data["train"]])
    parts = [
        (scaler.transform(X[data[part]]), data["labels"][data[part]]) for part in ("train", "test")
    ]
    return parts


@pytest.mark.parametrize(("method", "bar"), [(CCA(), 0.52), (CCCA(), 0.86)], ids=["CCA", "CCCA"])
def test_defaults_on_real_pairs(grid_digits, method, bar):
    train, test = standardised(grid_digits)
    assert method.fit(*train).score(*test) >= bar


@pytest.mark.parametrize(("method", "bar"), [(CCA(), 0.48), (CCCA(), 0.84)], ids=["CCA", "CCCA"])
def test_tuned_ridge_on_real_pairs(grid_digits, method, bar):
    X = Views(audio=grid_digits["audio"], visual=grid_digits["visual"])
    y, train, test = (grid_digits[key] for key in ("labels", "train", "test"))
    pipe = make_pipeline(PerView(StandardScaler()), method)
    grid = {f"{type(method).__name__.lower()}__reg": [0.003, 0.01, 0.03, 0.1]}
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(pipe, grid, cv=folds).fit(X[train], y[train])
    assert search.score(X[test], y[test]) >= bar


@pytest.mark.parametrize("method", [CCA, CCCA])
def test_a_feature_whose_squares_underflow_beside_others_is_named(method):
    rng = np.random.default_rng(0)
    X = {name: rng.standard_normal((60, 4)) for name in ("audio", "visual")}
    X["audio"][:, 2] *= 1e-170
    with pytest.raises(ValueError, match="'audio' has values so large or so small.* feature 2"):
        method(2).fit(X, np.arange(60) % 3)
