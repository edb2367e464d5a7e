"""AGAH: codes drawn towards those of their classes, and critics of the views."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import nn
from torch.nn import functional as F

from cca_estimators import _ranks
from cca_estimators._compat import Interval
from cca_estimators.deep.hashing import HashingEstimator
from cca_estimators.deep.losses.adversarial import critic_loss
from cca_estimators.deep.losses.hashing import (
    code_map_loss,
    quantisation_loss,
    saturation_loss,
    update_code_map,
)
from cca_estimators.deep.losses.labels import members_of
from cca_estimators.deep.losses.triplets import triplet_loss
from cca_estimators.deep.training.docs import documented
from cca_estimators.deep.training.net import TwoPlayerNet, embedded_rows

__all__ = ["AGAH"]


class AttentionHashTower(nn.Module):
    """Features of unit norm, drawn towards those of their classes, and a hash layer.

    Parameters
    ----------
    features : nn.Module
        From rows to features (n, n_features).
    n_features, n_classes, n_bits : int
    """

    def __init__(self, features, n_features, n_classes, n_bits):
        super().__init__()
        self.features = features
        self.hash = nn.Sequential(nn.Linear(n_features, n_bits), nn.BatchNorm1d(n_bits), nn.Tanh())
        self.register_buffer("class_features", torch.zeros(n_classes, n_features))

    def unit_features(self, rows):
        """Return the features of rows, each of norm 1."""
        return F.normalize(self.features(rows))

    def codes(self, features):
        """Return the continuous codes of features."""
        attention = torch.sigmoid(5 * features @ self.class_features.T)
        shares = attention / attention.sum(dim=1, keepdim=True)
        return self.hash(0.8 * features + 0.2 * shares @ self.class_features)

    def forward(self, rows):
        """Return the continuous codes of rows."""
        return self.codes(self.unit_features(rows))


class AsymmetricObjective(nn.Module):
    """Loss of continuous codes towards their classes and each other; holds the critics.

    Parameters
    ----------
    n_features, n_classes, n_bits : int
    margin, code_weight, map_weight : float
    """

    def __init__(self, n_features, n_classes, n_bits, margin, code_weight, map_weight):
        super().__init__()
        self.generator = None
        self.margin = margin
        self.code_weight = code_weight
        self.map_weight = map_weight / n_bits**2
        self.critics = nn.ModuleList([_critic(n_features) for _ in range(2)])
        code_map = torch.randint(2, (n_classes, n_bits)) * 2.0 - 1
        self.register_buffer("code_map", code_map)

    def forward(self, outputs, codes, views):
        """Return the loss of the codes of a batch."""
        both, labels = torch.cat(outputs), torch.cat([codes, codes])
        return (
            triplet_loss(*outputs, codes, self.margin)
            + self.code_weight * (saturation_loss(both) + quantisation_loss(both))
            + self.map_weight * code_map_loss(both, self.code_map, labels)
        )

    def passing(self, features):
        """Return what makes the features of each view pass for those of the other."""
        return -sum(
            critic(view).mean() for critic, view in zip(self.critics, features[::-1], strict=True)
        )

    def critics_loss(self, features):
        """Return the loss of both critics: each knows the features of one view as real."""
        pairs = (features, features[::-1])
        return sum(
            critic_loss(critic, real, fake, generator=self.generator)
            for critic, (real, fake) in zip(self.critics, pairs, strict=True)
        )


class AsymmetricNet(TwoPlayerNet):
    """Net that trains critics beside the towers, and class maps epoch by epoch.

    Parameters
    ----------
    adversary_weight : float
        Weight of what makes features pass for those of the other view.
    **kwargs
        As for `Net`.
    """

    opponent = "critics"
    figures = ("critic_loss",)

    def __init__(self, *args, adversary_weight=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.adversary_weight = adversary_weight

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        """Set the features and the codes of the classes from all rows."""
        super().on_epoch_begin(net, dataset_train=dataset_train, **kwargs)
        with _ranks.among(self.ranks_):
            self._update_class_maps(dataset_train)

    @torch.no_grad()
    def _update_class_maps(self, subset):
        self._set_training(False)
        features, codes, labels = [], [], []
        for views, batch_labels in subset.batches(embedded_rows(subset.dataset.views.values())):
            for name, rows in views.items():
                tower = self.module_.tower(name)
                features.append(tower.unit_features(rows))
                codes.append(tower.codes(features[-1]).sign())
                labels.append(batch_labels)
        features, codes, labels = (torch.cat(parts) for parts in (features, codes, labels))
        members = members_of(labels, len(self.criterion_.code_map)).to(features.dtype)
        counts = self.ranks_.sum(members.sum(dim=0))[:, None]
        means = self.ranks_.sum(members.T @ features) / counts.clamp_min(1)
        for tower in self.module_.towers:  # a class without rows here keeps what it has
            tower.class_features.copy_(torch.where(counts > 0, means, tower.class_features))
        code_map = self.criterion_.code_map
        updated = update_code_map(code_map, codes, labels)
        code_map.copy_(torch.where(counts > 0, updated, code_map))

    def train_step(self, batch, **fit_params):
        """Train the critics, then the towers."""
        views, codes = batch
        towers = [self.module_.tower(name) for name in self.module_.names]
        features = [
            tower.unit_features(views[name])
            for tower, name in zip(towers, self.module_.names, strict=True)
        ]
        outputs = tuple(t.codes(f) for t, f in zip(towers, features, strict=True))
        features = [self.ranks_.joined(rows) for rows in features]
        critics = self.criterion_.critics_loss(features)
        self.learn_opponent(critics)
        outputs, codes = self.joined(outputs, codes)
        loss = self.get_loss(outputs, codes, X=views, training=True)
        self.learn(loss + self.adversary_weight * self.criterion_.passing(features), batch)
        return {"loss": loss, "y_pred": outputs, "critic_loss": critics}


def _critic(n_features):
    sizes = (n_features, n_features, max(n_features // 2, 1), 1)
    layers = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


@documented
@dataclass(eq=False, repr=False, kw_only=True)
class AGAH(HashingEstimator):
    """Adversary guided asymmetric hashing (AGAH).

    Each view has a network to features of unit norm, an attention over the mean features `P` of the
    classes, which draws features towards their classes, and a hash layer to codes `h` in (-1, 1).
    The loss is the sum of cross-modal triplets (one minus the cosine, both directions), the
    saturation of the codes and their quantisation error ``mean (h - sign h)^2``, and
    ``mean (h M' / K - (2 L - 1))^2`` against the codes `M` of the classes [1]_.

    Two Wasserstein critics with gradient penalty, one per view, tell the features of the views
    apart, and the networks learn to pass for each other. Before each epoch `P` becomes the mean
    features of the classes, and `M` is improved by discrete coordinate descent. The codes are
    batch-normalised, so that every bit is used.

    ``history_`` holds "train_loss", that of the codes, and "critic_loss" of each epoch.

    Read more in the :ref:`User Guide <hashing>`.

    Parameters
    ----------
    n_bits : int, default=64
        Number of bits `K` of a code.
    feature_size : int, default=256
        Number of features before the hash layer; 512 in [1]_.
    margin : float, default=0.3
        By how much a positive must be nearer than a negative.
    code_weight : float, default=0.1
        Weight of the saturation and of the quantisation error; 1 in [1]_.
    map_weight : float, default=0.1
        Weight of the codes of the classes; that of [1]_ is 4 for 64 bits.
    adversary_weight : float, default=0.1
        Weight of passing for the other view; 0: no adversary.
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    {attributes}

    See Also
    --------
    UGACH : Without labels.

    References
    ----------
    .. [1] W. Gu, X. Gu, J. Gu, B. Li, Z. Xiong, W. Wang, "Adversary guided asymmetric hashing for
       cross-modal retrieval", ICMR, 159-167, 2019.

    Examples
    --------
    >>> from cca_estimators import AGAH
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=200, n_classes=4, n_features=(10, 12), random_state=0)
    >>> agah = AGAH(16, max_epochs=10, random_state=0).fit(X, y)
    >>> agah.transform({"audio": X["audio"][:2]})["audio"].dtype
    dtype('uint8')
    >>> agah.pack(X)
    Views(audio=(200, 2), visual=(200, 2))
    """

    hidden_layer_sizes: int | Sequence[int] = (512,)
    dropout: float = 0.5
    feature_size: int = 256
    margin: float = 0.3
    code_weight: float = 0.1
    map_weight: float = 0.1
    adversary_weight: float = 0.1
    max_epochs: int = 40

    _parameter_constraints = {
        **HashingEstimator._parameter_constraints,
        "feature_size": [Interval(Integral, 1, None, closed="left")],
        "margin": [Interval(Real, 0, None, closed="left")],
        "code_weight": [Interval(Real, 0, None, closed="left")],
        "map_weight": [Interval(Real, 0, None, closed="left")],
        "adversary_weight": [Interval(Real, 0, None, closed="left")],
    }
    _supervised = True
    _figures = ("critic_loss",)
    _net_class = AsymmetricNet

    def _tower(self, shape):
        features = super()._tower(shape)
        return AttentionHashTower(features, self.feature_size, len(self.classes_), self.n_bits)

    def _n_tower_outputs(self):
        return self.feature_size

    def _objective(self, inputs, y):
        sizes = self.feature_size, len(self.classes_), self.n_bits
        return AsymmetricObjective(*sizes, self.margin, self.code_weight, self.map_weight)

    def _net_options(self):
        return {"adversary_weight": self.adversary_weight}
