"""The embedded data set and generators of views."""

from cca_estimators.datasets._digits import load_spoken_digits
from cca_estimators.datasets._synthetic import make_views

__all__ = ["load_spoken_digits", "make_views"]
