"""Linear methods, PerView and searches compute where the arrays lie."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCA, CCCA, PerView, Views, load, save
from cca_estimators._algebra import namespace

# scikit-learn's own, of what it masks afterwards
pytestmark = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning:array_api_strict")
LINEAR = [
    CCA(3),
    CCA(3, reg=0.0),
    CCA(3, weighted=False, reg={"audio": 0.1, "visual": "auto"}),
    CCCA(),
    CCCA(pair_weight=0.2, class_weight="balanced"),
]
each_linear = pytest.mark.parametrize("estimator", LINEAR, ids=str)


def on_numpy(estimator, X, y):
    with sklearn.config_context(array_api_dispatch=False):
        fitted = clone(estimator).fit(X, y)
        return fitted, fitted.transform(X)


def assert_near(library, given, expected, atol=1e-10):
    for name, rows in expected.items():
        back = library.back(given[name])
        assert back.dtype == rows.dtype
        np.testing.assert_allclose(back, rows, atol=atol)


@each_linear
def test_results_are_those_of_numpy(estimator, library, there, data):
    X, y = data
    _, expected = on_numpy(estimator, X, y)
    given = there(X)
    fitted = clone(estimator).fit(given, library(y))
    assert_near(library, fitted.transform(given), expected)
    assert library.back(fitted.correlations_).dtype == np.float64
    part = {"audio": given["audio"][:5, ...]}
    assert_near(library, fitted.transform(part), {"audio": expected["audio"][:5]})


def closed_form(x, y, ridges):
    """Return the canonical correlations by QR and SVD of the centred rows, extended by a ridge."""
    bases, n = [], len(x)
    for rows, ridge in zip((x, y), ridges, strict=True):
        rows = rows - rows.mean(axis=0)
        width = rows.shape[1]
        ridge = ridge * rows.var(axis=0, ddof=1).mean()
        q, _ = np.linalg.qr(np.vstack([rows, np.sqrt(ridge * (n - 1)) * np.eye(width)]))
        bases.append(q[:n])
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)


@pytest.mark.parametrize("reg", [0.0, 0.1])
def test_correlations_are_those_of_qr_and_svd(reg, library, there, data):
    X, _ = data
    cca = CCA(3, reg=reg).fit(there(X))
    expected = closed_form(*X.values(), (reg, reg))[:3]
    np.testing.assert_allclose(library.back(cca.correlations_), expected, atol=1e-10)


CASES = {
    "duplicated": lambda x: np.hstack([x, x[:, :1]]),
    "constant": lambda x: np.hstack([x, np.full((len(x), 1), 3.0)]),
    "units": lambda x: x * np.logspace(-6, 6, x.shape[1]),
    "far": lambda x: x + 1e6,
    "deficient": lambda x: (
        x @ np.vstack([np.eye(5), np.zeros((3, 5))]) @ np.ones((5, 9)) + x[:, :1]
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_awkward_views_too(case, library, there, data):
    X, y = data
    X = {"audio": CASES[case](X["audio"]), "visual": X["visual"]}
    for estimator in (CCA(1, reg=0.0), CCCA(1, reg=0.0)):
        fitted, _ = on_numpy(estimator, X, y)
        correlations = clone(estimator).fit(there(X), y).correlations_
        # moments of rows a million off have lost six digits by their coming in float64
        atol = 1e-9 if case == "far" else 1e-10
        np.testing.assert_allclose(library.back(correlations), fitted.correlations_, atol=atol)


@pytest.mark.parametrize("host_side", [1, 512])
def test_decompositions_of_either_place(host_side, library, monkeypatch):
    monkeypatch.setattr(namespace, "_HOST_SIDE", host_side)  # small ones are left to the host
    rows = np.random.default_rng(0).standard_normal((9, 5))
    symmetric = rows.T @ rows
    for n_last in (None, 2):
        values, vectors = map(library.back, namespace.eigh(library(symmetric), n_last))
        np.testing.assert_allclose(values, np.linalg.eigvalsh(symmetric)[-(n_last or 5) :])
        np.testing.assert_allclose(symmetric @ vectors, vectors * values, atol=1e-12)
    left, values, right = map(library.back, namespace.svd(library(rows)))
    np.testing.assert_allclose(values, np.linalg.svd(rows, compute_uv=False))
    np.testing.assert_allclose((left * values) @ right, rows, atol=1e-12)


@pytest.mark.parametrize("estimator", [CCA(2), CCCA()], ids=str)
def test_views_of_more_features_than_rows(estimator, library, there):
    rng = np.random.default_rng(0)
    X = {"audio": rng.standard_normal((30, 80)), "visual": rng.standard_normal((30, 40))}
    X["visual"][:, :4] += X["audio"][:, :4]
    y = np.arange(30) % 3
    _, expected = on_numpy(estimator, X, y)
    given = there(X)
    assert_near(library, clone(estimator).fit(given, y).transform(given), expected)


@pytest.mark.parametrize("estimator", [CCA(3), CCCA(pair_weight=0.2)], ids=str)
@pytest.mark.parametrize("size", [7, 40])
def test_parts_and_merges(estimator, size, library, there, data):
    X, y = data
    _, expected = on_numpy(estimator, X, y)
    given = there(X)
    whole, other = clone(estimator), clone(estimator)
    for start in range(0, 90, size):
        part = given[start : start + size]
        (whole if start < 40 else other).partial_fit(part, y[start : start + size])
    merged = clone(estimator).merge(whole).merge(other)
    assert_near(library, merged.transform(given), expected)


def test_labels_may_be_several(library, there, data):
    X, y = data
    labels = np.stack([y == 0, y == 1, y >= 1], axis=1).astype(int)
    _, expected = on_numpy(CCCA(2), X, labels)
    given = there(X)
    assert_near(library, CCCA(2).fit(given, library(labels)).transform(given), expected)


@pytest.mark.parametrize("estimator", [CCA(3), CCCA()], ids=str)
def test_float32_stays_float32(estimator, library, there, data):
    X = {name: rows.astype(np.float32) for name, rows in data[0].items()}
    _, expected = on_numpy(estimator, X, data[1])
    given = there(X)
    fitted = clone(estimator).fit(given, data[1])
    assert_near(library, fitted.transform(given), expected, 1e-5)


def test_one_array(library, data):
    X, y = data
    both = np.hstack(list(X.values()))
    fitted, expected = on_numpy(CCCA(view_split=8), both, y)
    there = CCCA(view_split=8).fit(library(both), library(y))
    np.testing.assert_allclose(library.back(there.transform(library(both))), expected, atol=1e-10)
    assert there.n_features_in_ == fitted.n_features_in_ == 20


def test_rows_that_miss_a_partner(library, there, data):
    X, y = data
    X = {name: rows.copy() for name, rows in X.items()}
    X["audio"][3] = X["visual"][50:52] = np.nan
    given = there(X)
    with pytest.warns(UserWarning, match="taken for missing"):
        _, expected = on_numpy(CCCA(), X, y)
    with pytest.warns(UserWarning, match="taken for missing"):
        fitted = CCCA().fit(given, y)
    assert_near(library, fitted.transform(given), expected)
    with pytest.warns(UserWarning, match="Rows of NaN"):
        assert 0 < fitted.score(given, library(y)) < 1


@pytest.mark.parametrize(
    ("bad", "told"), [(np.inf, "in row 3, feature 1"), (1j, "complex"), (1e200, "overflow")]
)
def test_errors_are_those_of_numpy(bad, told, library, there, data):
    X = {"audio": data[0]["audio"] + (0 * bad if bad == 1j else 0), "visual": data[0]["visual"]}
    X["audio"][3, 1] = bad
    with pytest.raises(ValueError, match=told):
        CCA(3).fit(there(X))


def test_what_is_stored_is_of_numpy_and_works_everywhere(library, there, data, tmp_path):
    X, y = data
    pipe = make_pipeline(PerView(StandardScaler()), CCCA())
    _, expected = on_numpy(pipe, X, y)
    given = there(X)
    fitted = clone(pipe).fit(given, library(y))
    save(fitted, tmp_path / "model.cca")
    for loaded in (pickle.loads(pickle.dumps(fitted)), load(tmp_path / "model.cca")):
        assert type(loaded[-1].correlations_) is np.ndarray
        assert type(loaded[0].transformers_["audio"].mean_) is np.ndarray
        assert_near(library, loaded.transform(given), expected)
        np.testing.assert_allclose(loaded.transform(X)["audio"], expected["audio"], atol=1e-10)


def test_a_fitted_one_wants_rows_that_lie_where_it_does(library, there, data):
    X, _ = data
    fitted = CCA(3).fit(there(X))
    with pytest.raises(ValueError, match="must use the same namespace"):
        fitted.transform(X)
    with pytest.raises(ValueError, match="several places"):
        CCA(3).fit({"audio": library(X["audio"]), "visual": X["visual"]})


def test_without_dispatch_tensors_are_read_as_numpy(data):
    torch = pytest.importorskip("torch")
    X, _ = data
    fitted, expected = on_numpy(CCA(3), X, None)
    with sklearn.config_context(array_api_dispatch=False):
        given = {name: torch.from_numpy(rows) for name, rows in X.items()}
        there = CCA(3).fit(given)
        assert type(there.transform(given)["audio"]) is np.ndarray
        np.testing.assert_array_equal(there.correlations_, fitted.correlations_)


def test_tensors_of_the_cpu_give_the_bits_of_numpy(data):
    torch = pytest.importorskip("torch")
    X, _ = data
    fitted, expected = on_numpy(CCA(3), X, None)
    given = {name: torch.from_numpy(rows) for name, rows in X.items()}
    there = CCA(3).fit(given)
    np.testing.assert_array_equal(there.correlations_.numpy(), fitted.correlations_)
    np.testing.assert_array_equal(there.transform(given)["audio"].numpy(), expected["audio"])


def test_searches_split_views(library, there, data):
    X, y = data
    with sklearn.config_context(array_api_dispatch=False):
        expected = cross_val_score(CCA(3), X, y)
    np.testing.assert_array_equal(cross_val_score(CCA(3), X, y), expected)
    np.testing.assert_allclose(cross_val_score(CCA(3), there(X), library(y)), expected, atol=1e-12)


def test_a_whole_search_over_a_pipeline(library, there, data):
    X, y = data
    grid = {"ccca__reg": [0.01, 1.0]}
    search = GridSearchCV(make_pipeline(PerView(StandardScaler()), CCCA()), grid, cv=3)
    with sklearn.config_context(array_api_dispatch=False):
        expected = clone(search).fit(X, y).cv_results_["mean_test_score"]
    found = clone(search).set_params(error_score="raise").fit(there(X), library(y))
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], expected, atol=1e-12)
    assert found.score(there(X), library(y)) > 0.5


def test_sequences_and_what_passes_through(library):
    rng = np.random.default_rng(0)
    X = Views(audio=rng.standard_normal((20, 3, 4)), visual=rng.standard_normal((20, 5)))
    X["audio"][4, 1:] = np.nan
    per_view = PerView(audio=StandardScaler())
    _, expected = on_numpy(per_view, X, None)
    given = {name: library(rows) for name, rows in X.items()}
    assert_near(library, clone(per_view).fit(given).transform(given), expected, 1e-12)
