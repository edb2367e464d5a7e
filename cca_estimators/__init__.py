"""Joint embeddings for cross-modal retrieval, as scikit-learn estimators."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cca_estimators.kernel import CKCCA, KCCA
from cca_estimators.linear import CCA, CCCA
from cca_estimators.metrics import (
    cross_modal_map,
    cross_modal_scores,
    make_cross_modal_scorer,
    mean_average_precision,
)
from cca_estimators.persistence import load, save
from cca_estimators.preprocessing import PerView, pad_sequences
from cca_estimators.retrieval import CrossModalIndex
from cca_estimators.views import Views

if TYPE_CHECKING:  # what editors and type checkers see of the names that are imported when used
    from cca_estimators import base as base
    from cca_estimators import datasets as datasets
    from cca_estimators import deep as deep
    from cca_estimators import display as display
    from cca_estimators import metrics as metrics
    from cca_estimators import retrieval as retrieval
    from cca_estimators.deep import (
        ACMR,
        AGAH,
        CDCCA,
        DCCA,
        LSTMCCCA,
        SDCCA,
        TNNCCCA,
        UCAL,
        UGACH,
        Contrastive,
    )
    from cca_estimators.display import (
        EmbeddingDisplay,
        LossCurveDisplay,
        RetrievalCurveDisplay,
        RetrievalDisplay,
        StepsDisplay,
    )
    from cca_estimators.semantic import SemanticMatching

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
_DISPLAYS = (
    "EmbeddingDisplay",
    "LossCurveDisplay",
    "RetrievalCurveDisplay",
    "RetrievalDisplay",
    "StepsDisplay",
)
# imported when first used: PyTorch takes seconds, and what others bring of scikit-learn as long as
# all the rest
_HOMES = {
    **dict.fromkeys(_DEEP, "deep"),
    **dict.fromkeys(_DISPLAYS, "display"),
    "SemanticMatching": "semantic",
}
_MODULES = ("base", "datasets", "deep", "display", "metrics", "retrieval")

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
    "StepsDisplay",
    "Views",
    "__version__",
    "cross_modal_map",
    "cross_modal_scores",
    "load",
    "make_cross_modal_scorer",
    "mean_average_precision",
    "pad_sequences",
    "save",
]

_ABSENT = () if all(map(find_spec, ("torch", "skorch"))) else (*_DEEP, "deep")
__all__ = [name for name in __all__ if name not in _ABSENT]


def __getattr__(name):
    if name in _HOMES:
        return getattr(import_module(f"cca_estimators.{_HOMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"cca_estimators.{name}")
    raise AttributeError(f"module 'cca_estimators' has no attribute {name!r}")


def __dir__():
    return [name for name in (*__all__, *_MODULES) if name not in _ABSENT]
