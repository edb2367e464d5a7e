"""Joint embeddings for cross-modal retrieval, as scikit-learn estimators."""

from cca_estimators._version import __version__
from cca_estimators.linear import CCA, CCCA
from cca_estimators.metrics import (
    cross_modal_map,
    cross_modal_scores,
    make_cross_modal_scorer,
    mean_average_precision,
)
from cca_estimators.preprocessing import PerView
from cca_estimators.views import Views

__all__ = [
    "CCA",
    "CCCA",
    "PerView",
    "Views",
    "__version__",
    "cross_modal_map",
    "cross_modal_scores",
    "make_cross_modal_scorer",
    "mean_average_precision",
]
