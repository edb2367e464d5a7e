"""Deep methods, trained by PyTorch through skorch, and what a method of one's own is made of."""

import os

# Threads that spin while they wait for each other slow small steps down, by a factor of 50 for an
# LSTM on shared cores. A default only, and without effect once PyTorch has been imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

try:
    import skorch  # noqa: F401
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        f"The deep methods need PyTorch and skorch ({error}): pip install torch skorch. The linear "
        "and kernel methods, the metrics and the index need neither."
    ) from error

from cca_estimators.deep.adversarial import ACMR, UCAL
from cca_estimators.deep.agah import AGAH
from cca_estimators.deep.contrastive import Contrastive
from cca_estimators.deep.correlation import CDCCA, DCCA, CategoryObjective, PairObjective
from cca_estimators.deep.hashing import HashingEstimator
from cca_estimators.deep.sequences import LSTMCCCA, SDCCA
from cca_estimators.deep.towers import AttentionOverSteps, DenseSteps, MLPTower, SequenceTower
from cca_estimators.deep.training.docs import documented
from cca_estimators.deep.training.estimator import DeepEmbedding, DeepEstimator, HeadedEmbedding
from cca_estimators.deep.training.net import Net, TwoPlayerNet
from cca_estimators.deep.triplet import TNNCCCA, TripletObjective
from cca_estimators.deep.ugach import UGACH

METHODS = (
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

__all__ = [
    "ACMR",
    "AGAH",
    "CDCCA",
    "DCCA",
    "LSTMCCCA",
    "SDCCA",
    "TNNCCCA",
    "UCAL",
    "UGACH",
    "AttentionOverSteps",
    "CategoryObjective",
    "Contrastive",
    "DeepEmbedding",
    "DeepEstimator",
    "DenseSteps",
    "HashingEstimator",
    "HeadedEmbedding",
    "MLPTower",
    "Net",
    "PairObjective",
    "SequenceTower",
    "TripletObjective",
    "TwoPlayerNet",
    "documented",
]
