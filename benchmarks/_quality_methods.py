"""The methods that bench_quality.py compares, and the four candidates of each to tune it by."""

from dataclasses import dataclass

import _references as outside
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

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
    SemanticMatching,
)

PAIRS, LABELS, OUTSIDE = "pairs", "labels", "outside"


@dataclass(frozen=True)
class Method:
    """An estimator, the candidates to tune it by, what it learns from, and if it draws numbers."""

    estimator: BaseEstimator
    grid: dict
    kind: str = LABELS
    seeded: bool = True


def logistic(*strengths):
    return [LogisticRegression(C=strength, max_iter=1000) for strength in strengths]


RIDGES = {"reg": ["auto", 0.01, 0.1, 0.5]}
KERNEL_RIDGES = {"reg": [1e-5, 1e-4, 1e-3, 1e-2]}
DROPOUTS = {"dropout": [0.3, 0.5]}
RATES = {"learning_rate": [1e-3, 3e-3]}
NETWORK = {"dropout": [0.0, 0.3], **RATES}
METHODS = {
    "CCA": Method(CCA(), RIDGES, PAIRS, seeded=False),
    "KCCA": Method(KCCA(), KERNEL_RIDGES, PAIRS, seeded=False),
    "DCCA": Method(DCCA(), {"dropout": [0.0, 0.3], "n_components": [10, 20]}, PAIRS),
    "UCAL": Method(UCAL(), {"adversary_weight": [0.1, 1.0], "n_components": [10, 20]}, PAIRS),
    "UGACH, 64 bits": Method(UGACH(), {"temperature": [3.0, 10.0], "n_neighbors": [5, 10]}, PAIRS),
    "CCA + ITQ, 64 bits": Method(
        outside.ITQ(CCA()), {f"estimator__{name}": values for name, values in RIDGES.items()}, PAIRS
    ),
    "KCCA + ITQ, 64 bits": Method(
        outside.ITQ(KCCA()),
        {f"estimator__{name}": each for name, each in KERNEL_RIDGES.items()},
        PAIRS,
    ),
    "Contrastive, pairs": Method(
        Contrastive(loss="infonce"), {"temperature": [0.1, 0.2], "mixup": [True, False]}, PAIRS
    ),
    "C-CCA": Method(CCCA(), RIDGES, seeded=False),
    "C-KCCA": Method(CKCCA(), KERNEL_RIDGES, seeded=False),
    "C-CCA + class posteriors": Method(
        SemanticMatching(CCCA()),
        {"estimator__reg": ["auto", 0.1], "classifier": logistic(0.1, 1.0)},
    ),
    "C-KCCA + class posteriors": Method(
        SemanticMatching(CKCCA()),
        {"estimator__reg": [1e-4, 1e-3], "classifier": logistic(0.1, 1.0)},
    ),
    "TNN-C-CCA": Method(TNNCCCA(), {"margin": [0.3, 0.5], **DROPOUTS}),
    "TNN-C-CCA, linear first": Method(TNNCCCA(first="ccca"), {"margin": [0.3, 0.5], **DROPOUTS}),
    "Contrastive, labels": Method(Contrastive(), {"temperature": [0.1, 0.2], **DROPOUTS}),
    "C-DCCA": Method(CDCCA(), NETWORK),
    "ACMR": Method(ACMR(), {"adversary_weight": [1.0, 5.0], **DROPOUTS}),
    "LSTM-C-CCA": Method(LSTMCCCA(), {**DROPOUTS, **RATES}),
    "S-DCCA": Method(SDCCA(), {**DROPOUTS, **RATES}),
    "AGAH, 64 bits": Method(AGAH(), {**DROPOUTS, **RATES}),
    "C-KCCA + ITQ, 64 bits": Method(
        outside.ITQ(CKCCA()), {f"estimator__{name}": each for name, each in KERNEL_RIDGES.items()}
    ),
    "logistic regression": Method(
        outside.Posteriors(outside.logistic()),
        {"classifier__C": [0.01, 0.1, 1.0, 10.0]},
        OUTSIDE,
        seeded=False,
    ),
    "linear discriminants": Method(
        outside.Posteriors(outside.discriminants()),
        {"classifier__shrinkage": ["auto", 0.01, 0.1, 0.5]},
        OUTSIDE,
        seeded=False,
    ),
    "SVM": Method(
        outside.Posteriors(outside.support_vectors()),
        {"classifier__estimator__C": [1.0, 10.0, 100.0, 1000.0]},
        OUTSIDE,
        seeded=False,
    ),
    "mean of the three": Method(
        outside.Posteriors(outside.averaged()),
        {"classifier__logistic__C": [0.1, 1.0], "classifier__svm__estimator__C": [1.0, 10.0]},
        OUTSIDE,
        seeded=False,
    ),
    "towers, shared classifier": Method(outside.SharedClassifier(), {**DROPOUTS, **RATES}, OUTSIDE),
    "DSCMR-like": Method(outside.DSCMR(), {**DROPOUTS, **RATES}, OUTSIDE),
}
BITS = (16, 32, 64)
HASHING = {
    "UGACH": Method(UGACH(), {}, PAIRS),
    "CCA + ITQ": Method(outside.ITQ(CCA()), {}, PAIRS),
    "KCCA + ITQ": Method(outside.ITQ(KCCA()), {}, PAIRS),
    "AGAH": Method(AGAH(), {}),
    "C-KCCA + ITQ": Method(outside.ITQ(CKCCA()), {}),
}
