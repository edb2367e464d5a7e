"""Pictures of embeddings, retrieval, steps and training, after the Display API of scikit-learn.

A display stores what it draws: `plot` draws it, again on other axes if wanted, and returns the
display. matplotlib is imported when something is drawn.
"""

from cca_estimators.display._curves import RetrievalCurveDisplay
from cca_estimators.display._embedding import EmbeddingDisplay
from cca_estimators.display._retrieval import RetrievalDisplay
from cca_estimators.display._steps import StepsDisplay
from cca_estimators.display._training import LossCurveDisplay

__all__ = [
    "EmbeddingDisplay",
    "LossCurveDisplay",
    "RetrievalCurveDisplay",
    "RetrievalDisplay",
    "StepsDisplay",
]
