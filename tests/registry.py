"""Every estimator of the package, in the setting the generic tests run it in."""

from sklearn.preprocessing import StandardScaler

from cca_estimators import (
    ACMR,
    AGAH,
    CCA,
    CCCA,
    CDCCA,
    CKCCA,
    DCCA,
    KCCA,
    LSTMCCCA,
    SDCCA,
    TNNCCCA,
    UCAL,
    UGACH,
    Contrastive,
    PerView,
    SemanticMatching,
)

DEEP = {"hidden_layer_sizes": (16,), "max_epochs": 15, "random_state": 0, "device": "cpu"}


def embeddings():
    """Return an instance of every estimator of a joint embedding."""
    return [
        CCA(n_components=3),
        CCCA(),
        KCCA(n_components=3),
        CKCCA(),
        DCCA(n_components=3, **DEEP),
        CDCCA(**DEEP),
        SDCCA(lstm_size=8, **DEEP),
        LSTMCCCA(lstm_size=8, **DEEP),
        TNNCCCA(n_components=10, **DEEP),
        Contrastive(loss="supervised", **DEEP),
        Contrastive(loss="infonce", **DEEP),
        ACMR(**DEEP),
        UCAL(**DEEP),
        UGACH(n_bits=16, **DEEP),
        AGAH(n_bits=16, feature_size=16, **DEEP),
        SemanticMatching(CCCA(), random_state=0),
    ]


def estimators():
    """Return an instance of every estimator."""
    return [*embeddings(), PerView(StandardScaler())]


def is_supervised(estimator):
    """Tell whether an estimator needs labels."""
    return estimator.__sklearn_tags__().target_tags.required


def is_hashing(estimator):
    """Tell whether an estimator gives bits."""
    return getattr(estimator, "metric", None) == "hamming"
