"""Joint embeddings for cross-modal retrieval, as scikit-learn estimators."""

from cca_estimators._version import __version__
from cca_estimators.views import Views

__all__ = ["Views", "__version__"]
