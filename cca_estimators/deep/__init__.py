"""Deep methods, trained by PyTorch through skorch."""

import os

# Threads that spin while they wait for each other slow small steps down, by a factor of 50 for an
# LSTM on shared cores. A default only, and without effect once PyTorch has been imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from cca_estimators.deep.adversarial import ACMR, UCAL
from cca_estimators.deep.correlation import CDCCA, DCCA, LSTMCCCA, SDCCA
from cca_estimators.deep.hashing import AGAH, UGACH
from cca_estimators.deep.triplet import TNNCCCA

__all__ = ["ACMR", "AGAH", "CDCCA", "DCCA", "LSTMCCCA", "SDCCA", "TNNCCCA", "UCAL", "UGACH"]
