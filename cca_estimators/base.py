"""What a method of one's own is made of: base classes, moments, row blocks, domains of parameters.

Deep methods find theirs in `cca_estimators.deep`. How to use them is told in
:ref:`How to add a method <extending>`.
"""

from cca_estimators._algebra.moments import (
    ClassScatter,
    Cross,
    Moments,
    PairedScatter,
    class_pair_weights,
    cluster_moments,
    paired_moments,
)
from cca_estimators._base import CrossModalEstimator, ViewsTransformer
from cca_estimators._base.tags import ViewsTags
from cca_estimators._compat import Interval, StrOptions
from cca_estimators._reading import blocks
from cca_estimators.linear import LinearEmbedding

__all__ = [
    "ClassScatter",
    "Cross",
    "CrossModalEstimator",
    "Interval",
    "LinearEmbedding",
    "Moments",
    "PairedScatter",
    "StrOptions",
    "ViewsTags",
    "ViewsTransformer",
    "blocks",
    "class_pair_weights",
    "cluster_moments",
    "paired_moments",
]
