"""Figures of cross-modal retrieval, and scorers that plug them into scikit-learn.

All figures are over ranked lists, with the items of the query's class as the relevant ones, and
none depends on the order of the gallery, not in the last bit: the rank of an item is the number of
items at least as similar, as in scikit-learn's `average_precision_score`. Where the first `k` items
cut a group of tied items, which of the group are among them is random, and the figure is the
expectation.

A query without relevant items is left out, with an `UndefinedMetricWarning`; if none is left, a
`ValueError` is raised.
"""

from cca_estimators.metrics._analysis import (
    bootstrap_map,
    map_per_class,
    permutation_test,
    retrieved_classes,
    to_frame,
    to_mteb,
)
from cca_estimators.metrics._figures import (
    average_precision,
    mean_average_precision,
    mean_reciprocal_rank,
    ndcg,
    precision_at_k,
    precision_recall_curve,
    recall_at_k,
)
from cca_estimators.metrics._scorers import (
    cross_modal_map,
    cross_modal_scores,
    make_cross_modal_scorer,
)

__all__ = [
    "average_precision",
    "bootstrap_map",
    "cross_modal_map",
    "cross_modal_scores",
    "make_cross_modal_scorer",
    "map_per_class",
    "mean_average_precision",
    "mean_reciprocal_rank",
    "ndcg",
    "permutation_test",
    "precision_at_k",
    "precision_recall_curve",
    "recall_at_k",
    "retrieved_classes",
    "to_frame",
    "to_mteb",
]
