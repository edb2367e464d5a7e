"""An estimator that takes rows as their embeddings, so that the search alone is tested."""

from sklearn.base import BaseEstimator, TransformerMixin


class Given(TransformerMixin, BaseEstimator):
    """Take the views as their embeddings."""

    def __init__(self, metric="cosine"):
        self.metric = metric

    def fit(self, X, y=None):
        """Learn nothing."""
        return self

    def transform(self, X):
        """Return the views."""
        return X

    def __sklearn_is_fitted__(self):
        return True
