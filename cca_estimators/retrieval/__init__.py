"""Retrieval across views: a gallery that is embedded once and then answers queries."""

from cca_estimators.retrieval._index import CrossModalIndex

__all__ = ["CrossModalIndex"]
