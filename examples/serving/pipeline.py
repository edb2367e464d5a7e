"""What is between a clip and its place in the index."""

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from cca_estimators import CCCA, PerView
from cca_estimators.media import FrameFeatures, LogMel

RATE = 16000
TRUSTED = ["pipeline.summary"]  # a function of ours that the file names, so loading must allow it


def summary(rows):
    """Return means and deviations over the steps that are no padding."""
    return np.hstack([np.nanmean(rows, axis=1), np.nanstd(rows, axis=1)])


def embedding():
    """Return a pipeline from waveforms and frames to one space."""
    extract = PerView(
        audio=make_pipeline(LogMel(n_bands=40, hop=0.05), FunctionTransformer(summary)),
        visual=make_pipeline(FrameFeatures(grid=3), FunctionTransformer(summary)),
    )
    return make_pipeline(extract, PerView(StandardScaler()), CCCA())
