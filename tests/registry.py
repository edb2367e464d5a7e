"""Every estimator of the package, in the setting the generic tests run it in."""

from sklearn.preprocessing import StandardScaler

from cca_estimators import CCA, CCCA, PerView


def embeddings():
    """Return an instance of every estimator of a joint embedding."""
    return [CCA(n_components=3), CCCA()]


def estimators():
    """Return an instance of every estimator."""
    return [*embeddings(), PerView(StandardScaler())]


def is_supervised(estimator):
    """Tell whether an estimator needs labels."""
    return estimator.__sklearn_tags__().target_tags.required
