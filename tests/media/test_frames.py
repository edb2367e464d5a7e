"""FrameFeatures: colour, gradients and motion of cells, against figures by hand."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from cca_estimators.media import FrameFeatures, FrozenEncoder, LogMel


def features(frames, grid, **options):
    """Return the features of one clip, shape (steps, grid, grid, features)."""
    (row,) = FrameFeatures(grid, **options).fit_transform([frames])
    return row.reshape(len(frames), grid, grid, -1)


def test_colours_are_means_and_deviations_of_cells():
    frames = np.random.default_rng(0).integers(0, 256, (3, 11, 14, 3), dtype=np.uint8)
    cells = features(frames, 2)
    upper_left, lower_right = frames[:, :6, :7] / 255, frames[:, 6:, 7:] / 255
    for cell, expected in ((cells[:, 0, 0], upper_left), (cells[:, 1, 1], lower_right)):
        np.testing.assert_allclose(cell[:, :3], expected.mean(axis=(1, 2)), rtol=1e-4)
        np.testing.assert_allclose(cell[:, 3:6], expected.std(axis=(1, 2)), rtol=1e-3)


@pytest.mark.parametrize(("turn", "bin"), [(0, 0), (1 / 4, 2), (1 / 2, 4), (1, 0), (0.9, 7)])
def test_a_ramp_has_its_slope_in_the_bin_of_its_orientation(turn, bin):
    y, x = np.mgrid[:12, :12]
    ramp = 0.5 + 0.02 * (np.cos(np.pi * turn) * (x - 6) + np.sin(np.pi * turn) * (y - 6))
    frames = np.repeat(ramp[None, :, :, None], 3, axis=3)
    gradients = features(frames, 3)[..., 6:14]
    expected = np.zeros(8)
    expected[bin] = 0.02
    np.testing.assert_allclose(gradients, np.broadcast_to(expected, gradients.shape), atol=1e-6)


def test_motion_is_the_change_of_brightness_of_a_cell():
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    frames[1, :4, :4] = 51
    frames[2] = frames[1]
    motion = features(frames, 2)[..., -1]
    assert motion[0].max() == motion[2].max() == 0
    np.testing.assert_allclose(motion[1], [[0.2, 0], [0, 0]], atol=1e-7)


def test_sizes_lengths_and_scales_may_differ():
    rng = np.random.default_rng(0)
    clips = [
        rng.integers(0, 256, (n, *size, 3), np.uint8) for n, size in ((2, (9, 16)), (4, (8, 8)))
    ]
    rows = FrameFeatures(n_orientations=4).fit_transform(clips)
    assert rows.shape == (2, 4, 16 * 11)
    assert np.isnan(rows[0, 2:]).all()
    assert not np.isnan(rows[0, :2]).any()
    fractions = FrameFeatures(n_orientations=4).transform([clips[1] / 255])
    np.testing.assert_allclose(fractions[0], rows[1], atol=1e-5)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((8, 8, 3), np.uint8), r"shape \(8, 8, 3\).* a step by frames\[None\]"),
        (np.zeros((2, 8, 8, 1), np.uint8), "grey frames three equal channels"),
        (np.zeros((2, 8, 3, 3), np.uint8), "at least grid=4"),
        (np.full((2, 8, 8, 3), 255.0), r"neither uint8 nor floats in \[0, 1\]"),
        (np.full((2, 8, 8, 3), np.nan), r"neither uint8 nor floats in \[0, 1\]"),
        (np.zeros((2, 8, 8, 3), int), "dtype int64"),
    ],
)
def test_rows_that_are_no_clip(frames, message):
    with pytest.raises(ValueError, match=f"Row 1 has .*{message}"):
        FrameFeatures().transform([np.zeros((1, 8, 8, 3), np.uint8), frames])


def test_parameters_are_checked_in_fit():
    with pytest.raises(ValueError, match="'grid' parameter of FrameFeatures must be an int"):
        clone(FrameFeatures(grid=0)).fit([])


@pytest.mark.parametrize("method", [FrameFeatures(), FrozenEncoder(len), LogMel()])
def test_what_learns_nothing_needs_no_fit(method):
    check_is_fitted(method)


@pytest.mark.parametrize("value", [1.5, -0.5])
def test_one_value_that_is_no_fraction_is_refused(value):
    frames = np.full((2, 3, 16, 16, 3), 0.5)
    frames[1, 2, 3, 4, 0] = value
    with pytest.raises(ValueError, match="neither uint8 nor floats"):
        FrameFeatures().fit_transform(frames)
