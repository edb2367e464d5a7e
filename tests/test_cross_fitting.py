"""Cross-fitted variates: folds, rotations, and what they are for."""

import h5py
import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group
from sklearn.metrics.pairwise import rbf_kernel

from cca_estimators import CCCA, CKCCA, Views, mean_average_precision
from cca_estimators._algebra.cross_fitting import (
    cross_fitted,
    folds_for,
    group_folds,
    rotation,
    stratified_folds,
)
from cca_estimators._algebra.moments import class_members
from cca_estimators.datasets import make_views


@pytest.fixture(scope="module")
def data():
    return make_views(240, 4, (10, 14), shared_rank=3, imbalance=2.0, random_state=0)


def rng():
    return np.random.RandomState(0)


def test_a_rotation_is_found_again():
    source = np.random.default_rng(0).standard_normal((20, 4))
    turn = ortho_group.rvs(4, random_state=0)
    np.testing.assert_allclose(rotation(source, source @ turn), turn, atol=1e-12)


def test_folds_hold_each_class_alike_and_leave_single_rows_in_all_of_them():
    codes = np.repeat([0, 1, 2, 3], [50, 23, 3, 1])
    codes = rng().permutation(codes)
    folds = stratified_folds(codes, 5, rng())
    for code in (0, 1, 2):
        counts = np.bincount(folds[codes == code], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert folds[codes == 3] == [-1]
    np.testing.assert_array_equal(folds, stratified_folds(codes, 5, rng()))
    assert (folds != stratified_folds(codes, 5, np.random.RandomState(1))).any()


def rows_of(*groups):
    """Return the classes and the groups of rows: of each group, how many rows each class has."""
    classes = [np.repeat(np.arange(len(counts)), counts) for counts in groups]
    return np.concatenate(classes), np.repeat(np.arange(len(groups)), [sum(g) for g in groups])


def test_groups_go_where_their_classes_are_rarest():
    y, groups = rows_of((6, 2), (7, 0), (3, 1))
    folds = group_folds(class_members(y), groups, 2, rng())
    np.testing.assert_array_equal(folds[[0, 8, 15]], [0, 1, 1])
    y, groups = rows_of((5, 0, 0, 0), (0, 4, 0, 0), (0, 0, 3, 0), (0, 0, 0, 2))
    rows = np.bincount(group_folds(class_members(y), groups, 2, rng()))
    np.testing.assert_array_equal(rows, [7, 7])
    y, groups = rows_of(*[(4, 0, 0), (0, 4, 0), (0, 0, 4)] * 3)
    folds = group_folds(class_members(y), groups, 3, rng())
    np.testing.assert_array_equal(np.bincount(3 * folds + y), [4] * 9)


def test_a_class_of_one_group_stays_in_all_folds():
    y, groups = rows_of((3, 2), (3, 0), (3, 0))
    folds = stratified_folds(y, 5, rng(), groups)
    np.testing.assert_array_equal(folds[y == 1], [-1, -1])
    assert sorted(folds[y == 0]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_classes_of_few_rows_have_no_folds():
    for size, n_folds in {4: 1, 11: 1, 12: 5, 200: 5}.items():
        assert folds_for(np.repeat(np.arange(7), size), 5) == n_folds
    assert folds_for(np.repeat([0, 1, 2], [1, 100, 100]), 5) == 5
    assert folds_for(np.repeat([0, 1], 15), 100) == 15
    assert folds_for(np.repeat([0, 1], 100), 1) == 1


@pytest.mark.parametrize("estimator", [CCCA(), CKCCA(gamma=0.02)], ids=["CCCA", "CKCCA"])
def test_each_fold_is_embedded_by_the_others_and_turned(data, estimator):
    X, y = data
    full, variates = cross_fitted(estimator, X, y, y, 3, rng())
    whole, folds = full.transform(X), stratified_folds(y, 3, rng())
    for fold in range(3):
        kept = folds != fold
        part = type(estimator)(**estimator.get_params()).fit(X[kept], y[kept]).transform(X)
        means = [
            [view[kept & (y == c)].mean(axis=0) for view in each.values() for c in range(4)]
            for each in (part, whole)
        ]
        turn, _ = orthogonal_procrustes(*map(np.array, means))
        for name, rows in variates.items():
            np.testing.assert_allclose(rows[~kept], part[name][~kept] @ turn, atol=1e-8)


def test_without_folds_the_variates_are_the_estimators_own(data):
    X, y = data
    full, variates = cross_fitted(CKCCA(gamma=0.02), X, y, y, 1, rng())
    for name, rows in full.transform(X).items():
        np.testing.assert_array_equal(variates[name], rows)


def test_cross_fitted_variates_retrieve_as_new_rows_do():
    X, y = make_views(480, 4, (10, 14), shared_rank=3, noise=2.0, random_state=0)
    train = X[:240]
    full, variates = cross_fitted(CKCCA(), train, y[:240], y[:240], 5, rng())

    def retrieved(embedding, codes):
        return mean_average_precision(*embedding.values(), codes, codes)

    of_new = retrieved(full.transform(X[240:]), y[240:])
    assert retrieved(full.transform(train), y[:240]) > of_new + 0.3
    assert retrieved(variates, y[:240]) == pytest.approx(of_new, abs=0.05)


def test_rows_in_files_give_what_rows_in_memory_give(data, tmp_path):
    X, y = data
    _, expected = cross_fitted(CCCA(), X, y, y, 3, rng())
    with h5py.File(tmp_path / "views.h5", "w") as file:
        for name, rows in X.items():
            file[name] = rows
            np.save(tmp_path / f"{name}.npy", rows)
        in_files = Views({name: file[name] for name in X})
        mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in X}
        for views in (in_files, mapped):
            for name, rows in cross_fitted(CCCA(), views, y, y, 3, rng())[1].items():
                np.testing.assert_allclose(rows, expected[name], atol=1e-10)


@pytest.mark.parametrize("kernel", ["precomputed", {"audio": "precomputed", "visual": "rbf"}])
def test_precomputed_kernels_are_refused(data, kernel):
    X, y = data
    views = {"audio": rbf_kernel(X["audio"]), "visual": X["visual"]}
    if kernel == "precomputed":
        views["visual"] = rbf_kernel(X["visual"])
    with pytest.raises(ValueError, match="CKCCA has kernel='precomputed'.*or set n_folds=1"):
        cross_fitted(CKCCA(kernel=kernel), views, y, y, 3, rng())
