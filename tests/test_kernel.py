"""KCCA and CKCCA against the linear methods, explicit problems and each other."""

import numpy as np
import pytest
from scipy import linalg
from scipy.spatial.distance import pdist
from sklearn import config_context
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCA, CCCA, CKCCA, KCCA, PerView, Views
from cca_estimators._algebra import kernel_solver
from cca_estimators._algebra.kernels import resolved_gamma
from cca_estimators.datasets import make_views

both = pytest.mark.parametrize("method", [KCCA, CKCCA], ids=["KCCA", "CKCCA"])


@pytest.fixture(scope="module")
def data():
    X, y = make_views(150, 4, (8, 12), shared_rank=3, imbalance=3.0, random_state=0)
    return Views(audio=X["audio"] + 5, visual=X["visual"]), y


def assert_same(left, right, tolerance=1e-8):
    for name in left:
        np.testing.assert_allclose(np.abs(left[name]), np.abs(right[name]), atol=tolerance)


@pytest.mark.parametrize(("method", "linear"), [(KCCA, CCA), (CKCCA, CCCA)])
@pytest.mark.parametrize("approx", ["exact", "nystroem"])
def test_a_linear_kernel_gives_the_linear_method(data, method, linear, approx):
    X, y = data
    kernel = method(3, kernel="linear", reg=0.02, approx=approx).fit(X, y)
    ridges = {name: 0.02 * rows.shape[1] for name, rows in X.items()}  # of the mean variance
    expected = linear(3, reg=ridges).fit(X, y)
    np.testing.assert_allclose(kernel.correlations_, expected.correlations_, atol=1e-9)
    assert_same(kernel.transform(X[::2]), expected.transform(X[::2]))


def centred(kernel, weights):
    centring = np.eye(len(kernel)) - weights
    return centring @ kernel @ centring.T


def test_kcca_solves_the_generalised_eigenproblem(data):
    X, _ = data
    n = 150
    kernels = [centred(rbf_kernel(rows, gamma=0.05), np.full(n, 1 / n)) for rows in X.values()]
    left, right = np.zeros((2 * n, 2 * n)), np.zeros((2 * n, 2 * n))
    left[:n, n:] = kernels[0] @ kernels[1] / (n - 1)
    left[n:, :n] = left[:n, n:].T
    for i, kernel in enumerate(kernels):
        ridge = 0.1 * np.trace(kernel) / (n - 1)
        block = slice(i * n, (i + 1) * n)
        right[block, block] = kernel @ kernel / (n - 1) + ridge * kernel + 1e-10 * np.eye(n)
    expected = linalg.eigh(left, right, eigvals_only=True)[::-1][:4]
    kcca = KCCA(4, gamma=0.05, reg=0.1).fit(X)
    np.testing.assert_allclose(kcca.correlations_, expected, atol=1e-6)


def test_kcca_variates_fulfil_the_constraint(data):
    X, _ = data
    kcca = KCCA(4, gamma=0.05, reg=0.1, weighted=False).fit(X)
    u, v = (rows for rows in kcca.transform(X).values())
    kernel = centred(rbf_kernel(X["audio"], gamma=0.05), np.full(150, 1 / 150))
    ridge = 0.1 * np.trace(kernel) / 149
    dual = kcca.dual_coef_["audio"]
    gram = u.T @ u / 149 + ridge * dual.T @ kernel @ dual
    np.testing.assert_allclose(gram, np.eye(4), atol=1e-8)
    np.testing.assert_allclose(u.T @ v / 149, np.diag(kcca.correlations_), atol=1e-8)


@pytest.mark.parametrize("reg", [0.1, 1e-3, 1e-5, 1e-7])
def test_kcca_finds_correlations_however_close_to_one(data, reg):
    """Roots of the smoothers, from eigenvalues, give all correlations as singular values."""
    X, _ = data
    roots = []
    for rows in X.values():
        kernel = centred(rbf_kernel(rows, gamma=0.05), np.full(150, 1 / 150))
        values, vectors = np.linalg.eigh(kernel)
        shares = np.maximum(values, 0) / (np.maximum(values, 0) + reg * np.trace(kernel))
        roots.append(vectors * np.sqrt(shares))
    expected = np.linalg.svd(roots[0].T @ roots[1], compute_uv=False)[:6]
    kcca = KCCA(6, gamma=0.05, reg=reg, weighted=False).fit(X)
    np.testing.assert_allclose(1 - kcca.correlations_, 1 - expected, rtol=1e-5, atol=1e-12)
    u, v = (rows for rows in kcca.transform(X).values())
    np.testing.assert_allclose(u.T @ v / 149, np.diag(expected), atol=1e-6)


def test_fewer_components_than_asked_for_warn(data):
    X, _ = data
    with pytest.warns(UserWarning, match="n_components=20 is above the 8 pairs"):
        assert KCCA(20, kernel="linear").fit(X).n_components_ == 8
    small = X[:12]
    with pytest.warns(UserWarning, match="n_components=12 is above the 11 pairs"):
        assert KCCA(12, gamma=0.05).fit(small).n_components_ == 11


def test_ckcca_is_kcca_of_all_pairs():
    X, y = make_views(24, 3, (5, 6), shared_rank=2, imbalance=2.0, random_state=0)
    j, k = np.nonzero(y[:, None] == y)
    pairs = {"audio": X["audio"][j], "visual": X["visual"][k]}
    gammas = {"gamma": 0.1, "reg": 0.2}
    ours, explicit = CKCCA(2, **gammas).fit(X, y), KCCA(2, **gammas).fit(pairs)
    np.testing.assert_allclose(ours.correlations_, explicit.correlations_, atol=1e-9)
    assert_same(
        {name: rows * np.sqrt(1 - 1 / len(j)) for name, rows in ours.transform(X).items()},
        explicit.transform(X),
    )


@both
def test_all_landmarks_give_the_exact_result(data, method):
    X, y = data
    exact = method(3, reg=0.05, approx="exact").fit(X, y)
    landmarks = method(3, reg=0.05, approx="nystroem", n_landmarks=150).fit(X, y)
    np.testing.assert_allclose(landmarks.correlations_, exact.correlations_, atol=1e-7)
    assert_same(landmarks.transform(X), exact.transform(X), 1e-5)


@both
def test_landmarks_come_close_and_are_seeded(data, method):
    X, y = data
    options = {"reg": 0.05, "approx": "nystroem", "n_landmarks": 100}
    first, again = (method(3, random_state=1, **options).fit(X, y) for _ in range(2))
    assert_same(first.transform(X), again.transform(X), 0)
    exact = method(3, reg=0.05).fit(X, y)
    assert first.correlations_[0] == pytest.approx(exact.correlations_[0], abs=0.05)


def test_landmarks_of_ckcca_are_stratified():
    y = np.repeat([0, 1, 2], [60, 30, 10])
    method = CKCCA(n_landmarks=20)
    method.classes_ = np.arange(3)
    chosen, _ = method._landmark_rows(None, [y, y], np.random.RandomState(0))
    np.testing.assert_allclose(np.bincount(y[chosen]), [12, 6, 2], atol=1)


def test_auto_takes_landmarks_above_the_threshold(data, monkeypatch):
    X, y = data
    assert hasattr(CKCCA().fit(X, y), "dual_coef_")
    monkeypatch.setattr("cca_estimators.kernel._EXACT_ROWS", 100)
    assert hasattr(CKCCA().fit(X, y), "maps_")
    assert hasattr(CKCCA(approx="exact").fit(X, y), "dual_coef_")


def test_auto_takes_landmarks_where_the_kernels_do_not_fit_into_working_memory(data):
    X, y = data
    two_kernels = 2 * 150**2 * 8 / 2**20
    with config_context(working_memory=two_kernels):
        assert hasattr(KCCA().fit(X), "dual_coef_")
    with config_context(working_memory=0.99 * two_kernels):
        assert hasattr(KCCA().fit(X), "maps_")


@both
def test_precomputed_kernels_give_what_named_ones_give(data, method):
    X, y = data
    train, test = np.arange(120), np.arange(120, 150)
    named = method(3, gamma=0.05).fit(X[train], y[train])
    kernels = {name: rbf_kernel(rows[train], gamma=0.05) for name, rows in X.items()}
    against = {name: rbf_kernel(rows[test], rows[train], gamma=0.05) for name, rows in X.items()}
    precomputed = method(3, kernel="precomputed").fit(kernels, y[train])
    assert_same(precomputed.transform(against), named.transform(X[test]))
    with pytest.raises(ValueError, match=r"'audio' has shape \(120, 8\); kernel='precomputed'"):
        method(kernel="precomputed").fit(X[train], y[train])
    with pytest.raises(ValueError, match="View 'audio' has 8 features.*fitted with 120"):
        precomputed.transform(X[test])


def last_step(x, y):
    """Compare the last steps of sequences."""
    assert x.ndim == y.ndim == 3
    return rbf_kernel(x[:, -1], y[:, -1], gamma=0.1)


@both
@pytest.mark.parametrize("approx", ["exact", "nystroem"])
def test_callables_receive_sequences_and_names_see_them_flat(data, method, approx):
    X, y = data
    sequences = {name: rows.reshape(150, 2, -1) for name, rows in X.items()}
    halves = {name: rows[:, 1] for name, rows in sequences.items()}
    options = {"reg": 0.1, "approx": approx, "random_state": 0}
    by_function = method(3, kernel=last_step, **options).fit(sequences, y)
    by_name = method(3, gamma=0.1, **options).fit(halves, y)
    assert_same(by_function.transform(sequences), by_name.transform(halves), 1e-6)
    flat = method(3, **options).fit(X, y)
    assert_same(method(3, **options).fit(sequences, y).transform(sequences), flat.transform(X))


def test_parameters_by_view_and_by_name(data):
    X, y = data
    gammas = {"audio": 0.1, "visual": "median"}
    fitted = KCCA(2, gamma=gammas, reg={"audio": 0.1, "visual": 0.2}).fit(X)
    assert fitted.gamma_["audio"] == 0.1
    squares = ((X["visual"][:, None] - X["visual"]) ** 2).sum(axis=2)[np.triu_indices(150, 1)]
    assert fitted.gamma_["visual"] == pytest.approx(1 / np.median(squares))
    scale = KCCA(2).fit(X).gamma_["audio"]
    assert scale == pytest.approx(1 / (8 * X["audio"].var()))
    poly = KCCA(2, kernel="poly", degree=2, coef0=3, gamma=0.1).fit(X)
    kernels = {n: polynomial_kernel(rows, degree=2, coef0=3, gamma=0.1) for n, rows in X.items()}
    expected = KCCA(2, kernel="precomputed").fit(kernels).correlations_
    np.testing.assert_allclose(poly.correlations_, expected)


def test_kernels_by_view(data):
    X, y = data
    explicit = {
        "audio": polynomial_kernel(X["audio"], degree=2, coef0=3, gamma=0.1),
        "visual": rbf_kernel(X["visual"], gamma=0.05),
    }
    expected = CKCCA(2, kernel="precomputed").fit(explicit, y).transform(explicit)
    parameters = {
        "gamma": {"audio": 0.1, "visual": 0.05},
        "degree": {"audio": 2, "visual": 3},
        "coef0": {"audio": 3, "visual": 1},
    }
    by_name = CKCCA(2, kernel={"audio": "poly", "visual": "rbf"}, **parameters).fit(X, y)
    assert_same(by_name.transform(X), expected)
    own = CKCCA(
        2,
        kernel={"audio": polynomial_kernel, "visual": "precomputed"},
        kernel_params={"audio": {"degree": 2, "coef0": 3, "gamma": 0.1}, "visual": {}},
    )
    mixed = {"audio": X["audio"], "visual": explicit["visual"]}
    assert_same(own.fit(mixed, y).transform(mixed), expected)


def test_parameters_set_after_fit_do_not_change_the_transform(data):
    X, _ = data
    fitted = KCCA(2, gamma=0.1).fit(X)
    before = fitted.transform(X)
    assert_same(fitted.set_params(kernel="linear", degree=7).transform(X), before, 0)


def test_the_ridge_keeps_independent_views_apart():
    rng = np.random.default_rng(0)
    X = {"audio": rng.standard_normal((300, 5)), "visual": rng.standard_normal((300, 5))}
    assert KCCA(1, reg=1e-3).fit(X).correlations_[0] < 0.8
    assert KCCA(1, reg=1e-9).fit(X).correlations_[0] > 0.99


@both
def test_reg_means_the_same_at_any_scale(data, method):
    X, y = data
    small, large = (
        method(2, kernel="linear", reg=0.1).fit({n: s * r for n, r in X.items()}, y)
        for s in (1, 1000)
    )
    np.testing.assert_allclose(small.correlations_, large.correlations_, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reg": 0.0}, "The 'reg' parameter of KCCA must be"),
        (
            {"reg": {"audio": 0.0, "visual": 1.0}},
            r"'reg' parameter of KCCA for view 'audio' must be a float in the range \(0.0, inf\)",
        ),
        (
            {"kernel": {"audio": "rbf", "visual": "euclid"}},
            "The 'kernel' parameter of KCCA for view 'visual' must be",
        ),
        ({"gamma": {"sound": 1.0}}, r"gamma names the views \['sound'\]; the views of X are"),
        ({"kernel": "euclid"}, "The 'kernel' parameter of KCCA must be"),
    ],
)
def test_bad_parameters_are_named(data, options, message):
    with pytest.raises(ValueError, match=message):
        KCCA(**options).fit(data[0])


@both
def test_bad_views_are_named(data, method):
    X, y = data
    with pytest.raises(ValueError, match="View 'visual' does not vary"):
        method().fit({"audio": X["audio"], "visual": np.ones((150, 2))}, y)
    broken = X["visual"].copy()
    broken[7, 3] = np.nan
    with pytest.raises(ValueError, match="View 'visual' contains NaN .* row 7, feature 3"):
        method().fit({"audio": X["audio"], "visual": broken}, y)


@both
def test_an_origin_far_away_loses_nothing(data, method):
    X, y = data
    far = {name: rows + 1e9 for name, rows in X.items()}
    near = {name: rows - 1e9 for name, rows in far.items()}
    for gamma in ("scale", "median", 0.05):
        fitted, expected = method(3, gamma=gamma).fit(far, y), method(3, gamma=gamma).fit(near, y)
        np.testing.assert_allclose(fitted.correlations_, expected.correlations_, atol=1e-7)
        for name in X:
            np.testing.assert_allclose(
                fitted.transform(far)[name], expected.transform(near)[name], atol=1e-4
            )


@both
@pytest.mark.parametrize("scale", [1e-100, 1e-20, 1e100])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_the_scale_of_a_view_does_not_matter(data, method, scale, kernel):
    X, y = data
    expected = method(3, kernel=kernel).fit(X, y).correlations_
    scaled = {name: scale * rows for name, rows in X.items()}
    np.testing.assert_allclose(method(3, kernel=kernel).fit(scaled, y).correlations_, expected)
    if scale == 1e-20:
        single = {name: rows.astype(np.float32) for name, rows in scaled.items()}
        fitted = method(3, kernel=kernel).fit(single, y)
        np.testing.assert_allclose(fitted.correlations_, expected, rtol=1e-5)


@both
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_rows_too_small_or_large_or_still_are_refused(data, method, kernel):
    X, y = data
    for scale in (1e-154, 1e-170, 1e160):
        with pytest.raises(ValueError, match="View 'audio' has values so large or so small"):
            method(kernel=kernel).fit({name: scale * rows for name, rows in X.items()}, y)
    noise = 1e6 + 1e-10 * np.random.default_rng(0).standard_normal((150, 3))
    with pytest.raises(ValueError, match="View 'visual' does not vary, or by rounding only"):
        method(kernel=kernel).fit({"audio": X["audio"], "visual": noise}, y)


@both
def test_what_is_no_kernel_is_refused_in_words_of_kernels(data, method):
    X, y = data
    with pytest.raises(ValueError, match="'sigmoid'.* not positive semi-definite"):
        method(kernel="sigmoid").fit(X, y)
    with pytest.raises(ValueError, match="View 'visual': X contains negative values"):
        method(kernel="chi2").fit(X, y)


def test_a_ridge_of_rounding_is_refused(data):
    with pytest.raises(ValueError, match="no pair of directions.*larger reg"):
        KCCA(reg=1e-16).fit(data[0])


def test_the_median_is_that_of_rows_of_all_classes():
    """Beyond 1,000 rows a part is taken, which must not be the first classes alone."""
    X, y = make_views(3000, 3, (4, 5), shared_rank=1, class_sep=20.0, random_state=0)
    order = np.argsort(y)
    rows = X["audio"][order]
    squares = pdist(rows, "sqeuclidean")
    assert resolved_gamma("median", rows) == pytest.approx(1 / np.median(squares), rel=0.02)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly"])
def test_kernels_of_other_types_are_those_of_float64(data, dtype, kernel):
    X, _ = data
    rows = {name: np.clip(20 * view + 100, 0, 255).astype(dtype) for name, view in X.items()}
    wide = {name: view.astype(float) for name, view in rows.items()}
    single, double = KCCA(2, kernel=kernel).fit(rows), KCCA(2, kernel=kernel).fit(wide)
    rtol = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(single.correlations_, double.correlations_, rtol=rtol)
    for name in X:
        np.testing.assert_allclose(
            single.transform(rows)[name],
            double.transform(wide)[name],
            atol=0.05 if dtype == np.float32 else 1e-9,
        )


def test_too_many_components_warn(data):
    X, y = data
    with pytest.warns(UserWarning, match="n_components=5 is above the 3 pairs"):
        assert CKCCA(5).fit(X, y).n_components_ == 3
    assert KCCA().fit(X).n_components_ == 10
    assert CKCCA().fit(X, y).n_components_ == 3


@pytest.mark.parametrize(
    ("name", "options", "bar"),
    [
        ("grid_digits", {"reg": 1e-4, "gamma": {"audio": 0.0015625, "visual": 0.00058594}}, 0.80),
        (
            "spoken_written_digits",
            {"reg": 1e-4, "gamma": {"audio": 0.00078125, "visual": 0.046875}},
            0.84,
        ),
    ],
)
def test_ckcca_on_real_data(request, name, options, bar):
    data = request.getfixturevalue(name)
    X, y = Views(audio=data["audio"], visual=data["visual"]), data["labels"]
    pipe = make_pipeline(PerView(StandardScaler()), CKCCA(**options))
    pipe.fit(X[data["train"]], y[data["train"]])
    assert pipe.score(X[data["test"]], y[data["test"]]) >= bar


def test_auto_is_for_the_views_and_parameters_that_ask(data):
    X, y = data
    scale = CKCCA().fit(X, y).gamma_
    both = CKCCA(gamma="auto", reg="auto").fit(X, y)
    factors = {name: both.gamma_[name] / scale[name] for name in X}
    assert factors["audio"] == pytest.approx(factors["visual"])
    assert round(1 / factors["audio"]) in (1, 2, 4, 8)
    assert set(both.reg_.values()) in ({1e-3}, {1e-4}, {1e-5})
    part = CKCCA(gamma={"audio": 0.1, "visual": "auto"}, reg={"audio": "auto", "visual": 0.5})
    part.fit(X, y)
    assert part.gamma_["audio"] == 0.1
    assert part.reg_["visual"] == 0.5
    explicit = CKCCA(gamma=part.gamma_, reg=part.reg_).fit(X, y)
    assert_same(part.transform(X), explicit.transform(X), 0)
    with pytest.raises(ValueError, match="The 'gamma' parameter of KCCA must be"):
        KCCA(gamma="auto").fit(X)
    with pytest.raises(ValueError, match="The 'reg' parameter of KCCA must be"):
        KCCA(reg="auto").fit(X)


def test_auto_ridge_of_precomputed_kernels_and_of_rows_by_lot(data, monkeypatch):
    X, y = data
    named = CKCCA(gamma=0.05, reg="auto", random_state=0).fit(X, y)
    kernels = {name: rbf_kernel(rows, gamma=0.05) for name, rows in X.items()}
    assert CKCCA(kernel="precomputed", reg="auto").fit(kernels, y).reg_ == named.reg_
    monkeypatch.setattr("cca_estimators.kernel._LEFT_OUT_ROWS", 60)
    first, again = (CKCCA(gamma="auto", reg="auto", random_state=3).fit(X, y) for _ in range(2))
    assert_same(first.transform(X), again.transform(X), 0)


def test_grid_search_over_kernels(data):
    X, y = data
    grid = {"kernel": ["rbf", "linear"], "reg": [0.01, 0.1]}
    search = GridSearchCV(CKCCA(), grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.5


def test_kcca_agrees_with_cca_zoo(data):
    peer = pytest.importorskip("cca_zoo.nonparametric", reason="cca-zoo is not installed")
    X, _ = data
    shrinkage = 0.1  # its constraint is (1 - s) K^2 / (n - 1) + s K
    theirs = peer.KCCA(3, kernel="rbf", gamma=0.05, shrinkage=shrinkage)
    variates = theirs.fit(list(X.values())).transform(list(X.values()))
    ridges = {}
    for name, rows in X.items():
        trace = np.trace(centred(rbf_kernel(rows, gamma=0.05), np.full(150, 1 / 150)))
        ridges[name] = shrinkage / (1 - shrinkage) * 149 / trace
    ours = KCCA(3, gamma=0.05, reg=ridges).fit(X).transform(X)
    for rows, peers in zip(ours.values(), variates, strict=True):
        for i in range(3):
            assert abs(np.corrcoef(rows[:, i], peers[:, i])[0, 1]) > 1 - 1e-6


def test_large_negative_values_are_refused():
    X = {name: -1e160 * np.random.default_rng(0).random((30, 3)) for name in ("audio", "visual")}
    with pytest.raises(ValueError, match="overflow"):
        KCCA(2, kernel="linear").fit(X)


def test_views_that_are_uncorrelated_to_the_bit_have_no_components():
    X = {"audio": [[1.0], [-1.0], [1.0], [-1.0]], "visual": [[1.0], [1.0], [-1.0], [-1.0]]}
    with pytest.raises(ValueError, match="determine no pair of directions"):
        KCCA(1, kernel="linear").fit(X)


def test_the_search_goes_on_until_all_correlations_are_settled():
    before, after = np.array([0.9, 0.4]), np.array([0.9, 0.5])
    assert not kernel_solver._is_settled(after, before)
    assert kernel_solver._is_settled(after, after)
    assert not kernel_solver._is_settled(after, after[:1])


def test_a_kernel_matrix_that_does_not_vary_is_named_with_candidates_too(data):
    X, y = data
    kernels = {"audio": np.ones((150, 150)), "visual": rbf_kernel(X["visual"])}
    with pytest.raises(ValueError, match="View 'audio' does not vary"):
        CKCCA(kernel="precomputed", reg="auto").fit(kernels, y)
