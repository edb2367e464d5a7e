"""Joint embeddings for cross-modal retrieval, as scikit-learn estimators."""

from importlib import import_module

from cca_estimators.display import (
    EmbeddingDisplay,
    LossCurveDisplay,
    RetrievalCurveDisplay,
    RetrievalDisplay,
)
from cca_estimators.kernel import CKCCA, KCCA
from cca_estimators.linear import CCA, CCCA
from cca_estimators.metrics import (
    cross_modal_map,
    cross_modal_scores,
    make_cross_modal_scorer,
    mean_average_precision,
)
from cca_estimators.persistence import load, save
from cca_estimators.preprocessing import PerView
from cca_estimators.retrieval import CrossModalIndex
from cca_estimators.semantic import SemanticMatching
from cca_estimators.views import Views

__version__ = "0.2.0.dev0"

_DEEP = (
    "ACMR",
    "AGAH",
    "CDCCA",
    "Contrastive",
    "DCCA",
    "LSTMCCCA",
    "SDCCA",
    "TNNCCCA",
    "UCAL",
    "UGACH",
)
# imported when first used: PyTorch takes seconds

__all__ = [
    "ACMR",
    "AGAH",
    "CCA",
    "CCCA",
    "CDCCA",
    "CKCCA",
    "DCCA",
    "KCCA",
    "LSTMCCCA",
    "SDCCA",
    "TNNCCCA",
    "UCAL",
    "UGACH",
    "Contrastive",
    "CrossModalIndex",
    "EmbeddingDisplay",
    "LossCurveDisplay",
    "PerView",
    "RetrievalCurveDisplay",
    "RetrievalDisplay",
    "SemanticMatching",
    "Views",
    "__version__",
    "cross_modal_map",
    "cross_modal_scores",
    "load",
    "make_cross_modal_scorer",
    "mean_average_precision",
    "save",
]


def __getattr__(name):
    if name in _DEEP:
        return getattr(import_module("cca_estimators.deep"), name)
    raise AttributeError(f"module 'cca_estimators' has no attribute {name!r}")


def __dir__():
    return __all__
