"""Frames into colour, gradients and motion."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from cca_estimators._compat import Interval, fit_context
from cca_estimators._reading import pad_steps


class FrameFeatures(TransformerMixin, BaseEstimator):
    """Statistics of frames that need no network: colour, gradients and motion of each cell.

    A frame is divided into ``grid x grid`` cells. Each cell has the means and the standard
    deviations of its three channels; the gradients of its brightness by orientation, weighted by
    their magnitudes; and the mean change of its brightness since the frame before, zero in the
    first one. All for channels in [0, 1], so that frames of any size have the same features.

    Read more in the :ref:`User Guide <media>`.

    Parameters
    ----------
    grid : int, default=4
        Number of cells in height and in width.
    n_orientations : int, default=8
        Number of orientations, in half a turn: an edge and its inverse are alike.

    See Also
    --------
    FrozenEncoder : Features of a network.

    Examples
    --------
    >>> import numpy as np
    >>> from cca_estimators.media import FrameFeatures
    >>> rng = np.random.default_rng(0)
    >>> clips = [rng.integers(0, 256, (steps, 48, 64, 3), dtype=np.uint8) for steps in (5, 8)]
    >>> FrameFeatures(grid=2).fit_transform(clips).shape
    (2, 8, 60)
    """

    _parameter_constraints = {
        "grid": [Interval(Integral, 1, None, closed="left")],
        "n_orientations": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, grid=4, *, n_orientations=8):
        self.grid = grid
        self.n_orientations = n_orientations

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the parameters; nothing is learnt.

        Parameters
        ----------
        X : sequence of clips
            Ignored.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The transformer.
        """
        return self

    def transform(self, X):
        """Return the statistics of each frame.

        Parameters
        ----------
        X : sequence of n arrays of shape (n_steps, height, width, 3)
            Frames: uint8, or floats in [0, 1]. Clips may differ in all but the channels.

        Returns
        -------
        ndarray of shape (n, n_steps, grid**2 * (7 + n_orientations)), float32
            Steps after the end of a clip are NaN.

        Raises
        ------
        ValueError
            If a row is not as described, or smaller than the grid.
        """
        n_features = self.grid**2 * (7 + self.n_orientations)
        rows = [self._of_clip(row, number) for number, row in enumerate(X)]
        return pad_steps(rows, n_features)

    def _of_clip(self, frames, number):
        frames = self._checked(np.asarray(frames), number)
        scale = np.float32(255 if frames.dtype == np.uint8 else 1)
        features, before = [], None
        for frame in frames:
            colour = frame / scale
            grey = colour.mean(axis=2)
            features.append(self._of_frame(colour, grey, grey if before is None else before))
            before = grey
        return np.reshape(features, (len(frames), -1)).astype(np.float32, copy=False)

    def _of_frame(self, colour, grey, before):
        """Return the statistics of all cells, shape (grid, grid, 7 + n_orientations)."""
        maps = np.dstack([colour, colour**2, self._gradients(grey), abs(grey - before)])
        cells = _cell_means(_cell_means(maps, self.grid, axis=0), self.grid, axis=1)
        mean, square = cells[..., :3], cells[..., 3:6]
        cells[..., 3:6] = np.sqrt(np.maximum(square - mean**2, 0))
        return cells

    def _gradients(self, grey):
        """Return the magnitudes of the gradients, each in the channel of its orientation."""
        down, right = np.gradient(grey)
        turn = np.arctan2(down, right) / np.pi % 1
        nearest = np.round(turn * self.n_orientations) % self.n_orientations
        return np.hypot(down, right)[..., None] * (nearest[..., None] == range(self.n_orientations))

    def _checked(self, frames, number):
        if frames.ndim != 4 or frames.shape[3] != 3 or min(frames.shape[1:3]) < max(self.grid, 2):
            raise ValueError(
                f"Row {number} has shape {frames.shape}; a clip is (n_steps, height, width, 3), "
                f"with height and width of at least grid={self.grid} and 2. Give a picture a step "
                "by frames[None], and grey frames three equal channels."
            )
        fractions = frames.dtype.kind == "f" and ((frames >= 0) & (frames <= 1)).all()
        if not (fractions or frames.dtype == np.uint8):
            raise ValueError(
                f"Row {number} has dtype {frames.dtype} and holds values that are neither uint8 "
                "nor floats in [0, 1]. Scale the frames, or cast them to uint8."
            )
        return frames

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def _cell_means(values, n_cells, axis):
    """Return the means of cells that divide an axis evenly."""
    bounds = np.linspace(0, values.shape[axis], n_cells + 1).round().astype(int)
    sums = np.add.reduceat(values, bounds[:-1], axis=axis)
    sizes = np.diff(bounds).reshape(-1, *[1] * (values.ndim - 1 - axis))
    return sums / sizes.astype(np.float32)
