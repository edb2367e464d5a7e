"""The embedded data set, loaders of published features, and generators of views."""

from cca_estimators.datasets._digits import load_spoken_digits
from cca_estimators.datasets._files import load_ave, load_mv10k, load_vegas
from cca_estimators.datasets._synthetic import make_views

__all__ = ["load_ave", "load_mv10k", "load_spoken_digits", "load_vegas", "make_views"]
