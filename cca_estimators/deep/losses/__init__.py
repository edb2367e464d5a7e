"""Losses: plain functions of tensors, each tested against a closed form or a loop."""

from cca_estimators.deep.losses.adversarial import (
    covariance_loss,
    critic_loss,
    gradient_reversal,
    modality_loss,
    pair_distance,
    reversal_scale,
    slope_penalty,
    variance_loss,
)
from cca_estimators.deep.losses.contrastive import (
    class_loss,
    mixed,
    pair_loss,
    prototype_loss,
    robust_prototype_loss,
    sigmoid_pair_loss,
)
from cca_estimators.deep.losses.correlation import category_correlation_loss, correlation_loss
from cca_estimators.deep.losses.hashing import (
    code_map_loss,
    policy_gradient_loss,
    quantisation_loss,
    ranking_hinges,
    saturation_loss,
    update_code_map,
)
from cca_estimators.deep.losses.labels import category_loss
from cca_estimators.deep.losses.triplets import triplet_loss

__all__ = [
    "category_correlation_loss",
    "category_loss",
    "class_loss",
    "code_map_loss",
    "correlation_loss",
    "covariance_loss",
    "critic_loss",
    "gradient_reversal",
    "mixed",
    "modality_loss",
    "pair_distance",
    "pair_loss",
    "policy_gradient_loss",
    "prototype_loss",
    "quantisation_loss",
    "ranking_hinges",
    "reversal_scale",
    "robust_prototype_loss",
    "saturation_loss",
    "sigmoid_pair_loss",
    "slope_penalty",
    "triplet_loss",
    "update_code_map",
    "variance_loss",
]
