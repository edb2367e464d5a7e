"""From clips to features: read files of sound and picture, and turn them into numbers."""

from cca_estimators.media._audio import LogMel
from cca_estimators.media._clips import read_clips
from cca_estimators.media._encoder import FrozenEncoder
from cca_estimators.media._frames import FrameFeatures
from cca_estimators.media._made import make_clips

__all__ = ["FrameFeatures", "FrozenEncoder", "LogMel", "make_clips", "read_clips"]
