"""Second moments against NumPy's covariance and the explicit expansion into all pairs."""

import numpy as np
import pytest

from cca_estimators._algebra.moments import (
    ClassScatter,
    Cross,
    MergedClasses,
    PairedScatter,
    Scatter,
    class_pair_weights,
    cluster_moments,
    paired_moments,
)

SPLITS = [[60], [1, 59], [7, 20, 33], [1] * 60]


def blocks(sizes):
    ends = np.cumsum(sizes)
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def all_pairs(x, x_codes, y, y_codes):
    """List every pair of rows of the same class."""
    pairs = [(j, k) for j in range(len(x)) for k in range(len(y)) if x_codes[j] == y_codes[k]]
    j, k = np.array(pairs).T
    return x[j], y[k]


def gathered(rows, codes, row_weights, sizes=None):
    side = ClassScatter(row_weights)
    for block in blocks(sizes or [len(rows)]):
        side.update(rows[block], codes[block])
    return side


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    codes = np.r_[np.zeros(30, int), np.ones(18, int), np.full(11, 2), 3]
    rng.shuffle(codes)
    x = rng.standard_normal((60, 5)) + codes[:, None]
    y = rng.standard_normal((60, 3)) - 2 * codes[:, None] + 0.5 * x[:, :3]
    return x, y, codes


@pytest.mark.parametrize("sizes", SPLITS)
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_paired_moments_are_the_covariances(data, sizes, shift):
    x, y, _ = data
    scatter = PairedScatter()
    for block in blocks(sizes):
        scatter.update(x[block] + shift, y[block] - shift)
    moments = paired_moments(scatter)
    expected = np.cov(x.T, y.T)
    np.testing.assert_allclose(moments.xx, expected[:5, :5], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(moments.yy, expected[5:, 5:], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(moments.xy, expected[:5, 5:], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(moments.means[0], x.mean(axis=0) + shift)
    assert moments.n_rows == (60, 60)


def test_merge_equals_one_pass_in_any_order(data):
    x, y, _ = data
    parts = []
    for block in blocks([13, 2, 45]):
        part = PairedScatter()
        part.update(x[block], y[block])
        parts.append(part)
    merged = PairedScatter()
    for part in parts[::-1]:
        merged.merge(part)
    whole = PairedScatter()
    whole.update(x, y)
    left, right = paired_moments(merged), paired_moments(whole)
    for field in ("xx", "yy", "xy"):
        expected = getattr(right, field)
        np.testing.assert_allclose(getattr(left, field), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(left.means[0], right.means[0], rtol=1e-12)


def test_weights_count_rows_several_times(data):
    x, _, codes = data
    weighted = Scatter()
    weighted.update(x, (codes + 1).astype(float))
    repeated = np.repeat(x, codes + 1, axis=0)
    expected = np.cov(repeated.T, ddof=0) * len(repeated)
    np.testing.assert_allclose(weighted.matrix, expected, rtol=1e-12)
    np.testing.assert_allclose(weighted.mean, repeated.mean(axis=0))
    weights = codes + 1
    assert weighted.n_rows == pytest.approx(weights.sum() ** 2 / np.sum(weights**2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mean_of_ten_thousand_deviations_costs_no_digits(dtype):
    x = np.random.default_rng(1).standard_normal((500, 4)).astype(dtype) + dtype(1e4)
    scatter = Scatter()
    for block in blocks([100, 400]):
        scatter.update(x[block])
    expected = np.cov(x.astype(np.float64).T) * 499
    np.testing.assert_allclose(
        scatter.matrix, expected, rtol=1e-5 if dtype == np.float32 else 1e-11
    )


def test_blocks_far_apart_cancel_nothing():
    x = np.sort(np.random.default_rng(2).standard_normal((90, 2)), axis=0) + 1e3
    x[45:] += 1e5
    scatter = Scatter()
    for block in blocks([45, 45]):
        scatter.update(x[block])
    np.testing.assert_allclose(scatter.matrix, np.cov(x.T) * 89, rtol=1e-12)


@pytest.mark.parametrize("sizes", SPLITS)
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_cluster_moments_are_those_of_all_pairs(data, sizes, shift):
    x, y, codes = data
    x, y = x + shift, y - shift
    counts = np.bincount(codes)
    shares = class_pair_weights(counts, counts)
    sides = [gathered(rows, codes, shares / counts, sizes) for rows in (x, y)]
    moments = cluster_moments(*sides, shares)
    expected = np.cov(*(rows.T for rows in all_pairs(x, codes, y, codes)), ddof=0)
    np.testing.assert_allclose(moments.xx, expected[:5, :5], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(moments.yy, expected[5:, 5:], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(moments.xy, expected[:5, 5:], rtol=1e-8, atol=1e-10)


def test_cluster_moments_of_views_of_different_length(data):
    x, y, codes = data
    y, y_codes = y[:41], codes[:41]
    counts = np.bincount(codes), np.bincount(y_codes, minlength=4)
    present = counts[1] > 0
    x, codes = x[present[codes]], codes[present[codes]]
    shares = class_pair_weights(counts[0][present], counts[1][present])
    relabel = np.cumsum(present) - 1
    sides = (
        gathered(x, relabel[codes], shares / counts[0][present]),
        gathered(y, relabel[y_codes], shares / counts[1][present]),
    )
    moments = cluster_moments(*sides, shares)
    expected = np.cov(*(rows.T for rows in all_pairs(x, codes, y, y_codes)), ddof=0)
    np.testing.assert_allclose(moments.xx, expected[:5, :5], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(moments.xy, expected[:5, 5:], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(moments.means[1], all_pairs(x, codes, y, y_codes)[1].mean(axis=0))


def test_cross_covariance_of_classes_has_their_rank(data):
    x, y, codes = data
    counts = np.bincount(codes)
    shares = class_pair_weights(counts, counts)
    wide = np.random.default_rng(3).standard_normal((60, 20))
    moments = cluster_moments(
        gathered(x, codes, shares / counts), gathered(wide, codes, shares / counts), shares
    )
    assert np.linalg.matrix_rank(moments.xy) == 3


def test_balanced_classes_weigh_the_same(data):
    x, y, codes = data
    counts = np.bincount(codes)
    shares = class_pair_weights(counts, counts, "balanced")
    np.testing.assert_allclose(shares, 0.25)
    moments = cluster_moments(*(gathered(rows, codes, shares / counts) for rows in (x, y)), shares)
    repeats = (np.prod(counts) // counts)[codes]  # every class is then equally large
    x, codes = (np.repeat(rows, repeats, axis=0) for rows in (x, codes))
    means = np.array([x[codes == c].mean(axis=0) for c in range(4)])
    np.testing.assert_allclose(moments.means[0], means.mean(axis=0))
    np.testing.assert_allclose(moments.xx, np.cov(x.T, ddof=0), rtol=1e-10)


@pytest.mark.parametrize("pair_weight", [0.2, 1.0])
def test_pair_weight_mixes_true_pairs_with_class_pairs(data, pair_weight):
    x, y, codes = data
    counts = np.bincount(codes)
    shares = class_pair_weights(counts, counts)
    sides, cross = [ClassScatter(shares / counts) for _ in range(2)], Cross()
    for block in blocks([25, 35]):
        parts = [
            side.update(rows[block], codes[block]) for side, rows in zip(sides, (x, y), strict=True)
        ]
        cross.update(*parts)
    moments = cluster_moments(*sides, shares, cross, pair_weight)
    of_classes = np.cov(*(rows.T for rows in all_pairs(x, codes, y, codes)), ddof=0)[:5, 5:]
    weights = (shares / counts)[codes]
    centred = [rows - weights @ rows for rows in (x, y)]
    of_pairs = (centred[0] * weights[:, None]).T @ centred[1]
    expected = pair_weight * of_pairs + (1 - pair_weight) * of_classes
    np.testing.assert_allclose(moments.xy, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 30, 2000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_class_means_are_exact_for_few_and_many_classes(n_classes, dtype):
    rng = np.random.default_rng(4)
    codes = rng.permutation(np.arange(6000) ** 2 % n_classes)
    _, codes = np.unique(codes, return_inverse=True)
    x = (rng.standard_normal((6000, 3)) + 0.6).astype(dtype)
    counts = np.bincount(codes)
    side = gathered(x, codes, counts / 6000, [2500, 3500])
    expected = [x[codes == c].mean(axis=0, dtype=np.float64) for c in range(len(counts))]
    tolerance = 2e-6 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(side.class_means, expected, rtol=0, atol=tolerance)


def test_scatters_of_single_classes_merge_to_the_same(data):
    x, _, codes = data
    counts = np.bincount(codes)
    shares = class_pair_weights(counts, counts)
    scatters = []
    for c in range(4):
        scatters.append(Scatter())
        scatters[-1].update(x[codes == c])
    merged = MergedClasses.merge(scatters, shares / counts)
    direct = gathered(x, codes, shares / counts)
    np.testing.assert_allclose(merged.scatter.matrix, direct.scatter.matrix, rtol=1e-12)
    np.testing.assert_allclose(merged.class_means, direct.class_means, rtol=1e-12)
    assert merged.scatter.n_rows == pytest.approx(direct.scatter.n_rows)


def test_merged_scatters_keep_the_coarser_precision(data):
    x, _, _ = data
    single, double = Scatter(), Scatter()
    single.update(x.astype(np.float32))
    double.update(x)
    double.merge(single)
    assert double.eps == np.finfo(np.float32).eps
