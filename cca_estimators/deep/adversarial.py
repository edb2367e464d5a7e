"""Adversarial methods: networks whose outputs do not betray which view they stem from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real

import torch
from skorch.callbacks import PassthroughScoring
from torch import nn
from torch.nn import functional as F

from cca_estimators._compat import Interval
from cca_estimators.deep.losses.adversarial import (
    covariance_loss,
    gradient_reversal,
    modality_loss,
    pair_distance,
    reversal_scale,
    slope_penalty,
    variance_loss,
)
from cca_estimators.deep.losses.labels import category_loss
from cca_estimators.deep.losses.triplets import triplet_loss
from cca_estimators.deep.training.docs import documented
from cca_estimators.deep.training.estimator import DeepEmbedding
from cca_estimators.deep.training.net import TwoPlayerNet

__all__ = ["ACMR", "UCAL"]

_ADVERSARY_UNITS = 64
_ADVERSARY_STEPS = 5  # for each of the towers, so that it keeps up with them
_ADVERSARY_SPEED = 10.0  # of its learning rate, relative to that of the towers
_SLOPE_WEIGHT = 0.15


class AdversarialNet(TwoPlayerNet):
    """Net which trains an adversary, and the towers against it, and records what they report."""

    opponent = "adversary"
    opponent_speed = _ADVERSARY_SPEED
    figures = ("embedding_loss", "adversary_loss", "adversary_accuracy")

    def on_epoch_begin(self, net, **kwargs):
        """Tell the objective the share of the training that is done."""
        super().on_epoch_begin(net, **kwargs)
        self.criterion_.progress = (len(self.history) - 1) / self.last_epoch_

    def train_step(self, batch, **fit_params):
        """Train the adversary on the outputs for a batch, then the towers."""
        views, codes = batch
        outputs, codes = self.joined(self.module_(**views), codes)
        seen = [rows.detach().requires_grad_() for rows in self.criterion_.seen(outputs)]
        for _ in range(_ADVERSARY_STEPS):
            self.learn_opponent(self.criterion_.adversary_loss(seen))
        loss = self.get_loss(outputs, codes, X=views, training=True)
        self.learn(loss, batch)
        return {"loss": loss, "y_pred": outputs, **self.criterion_.figures}


class AdversarialObjective(nn.Module):
    """Loss of the embedding, and of an adversary behind a reversed gradient.

    The adversary learns to tell the views apart; the towers learn the opposite, by as much as the
    schedule of `reversal_scale` and `weight` say.

    Parameters
    ----------
    n_outputs : int
    weight : float
        Largest scale of the reversed gradient.
    """

    def __init__(self, n_outputs, weight):
        super().__init__()
        self.weight = weight
        self.figures = {}
        self.register_buffer("scale", torch.zeros(()), persistent=False)
        self.progress = 0.0
        self.adversary = nn.Sequential(
            nn.Linear(n_outputs, _ADVERSARY_UNITS), nn.ReLU(), nn.Linear(_ADVERSARY_UNITS, 1)
        )

    @property
    def progress(self):
        """Share of the training that is done, which sets the scale of the reversed gradient."""
        return self._progress

    @progress.setter
    def progress(self, value):
        self._progress = value
        self.scale.fill_(self.weight * reversal_scale(value))

    def forward(self, outputs, codes, views):
        """Return the loss of a batch."""
        embedding = self.embedding_loss(*outputs, codes)
        logits = [
            self.adversary(gradient_reversal(rows, self.scale)) for rows in self.seen(outputs)
        ]
        adversary = modality_loss(*logits)
        right = (logits[0] > 0).float().mean() + (logits[1] < 0).float().mean()
        figures = embedding.detach(), adversary.detach(), right / 2
        self.figures = dict(zip(AdversarialNet.figures, figures, strict=True))
        return embedding + adversary

    def adversary_loss(self, seen):
        """Return the loss that the adversary learns by, from what it sees of each view."""
        logits = [self.adversary(rows) for rows in seen]
        slopes = sum(slope_penalty(*pair) for pair in zip(logits, seen, strict=True))
        return modality_loss(*logits) + _SLOPE_WEIGHT / 2 * slopes

    def seen(self, outputs):
        """Return what the adversary sees of the outputs."""
        return outputs


class SupervisedObjective(AdversarialObjective):
    """Label prediction and triplets, against an adversary.

    Parameters
    ----------
    n_outputs, n_classes : int
    margin, weight : float
    """

    def __init__(self, n_outputs, n_classes, margin, weight):
        super().__init__(n_outputs, weight)
        self.classifier = nn.Linear(n_outputs, n_classes)
        self.margin = margin

    def embedding_loss(self, x, y, codes):
        """Return the log loss of the labels of both views, plus the hinge of the triplets."""
        labels = sum(category_loss(self.classifier(rows), codes) for rows in (x, y)) / 2
        return labels + triplet_loss(x, y, codes, self.margin)

    def seen(self, outputs):
        """Return the directions of the outputs, which is what a cosine compares."""
        return [F.normalize(rows) for rows in outputs]


class UnsupervisedObjective(AdversarialObjective):
    """Distance of the true pairs and a term against collapse, against an adversary.

    Parameters
    ----------
    n_outputs : int
    variance_weight, covariance_weight, weight : float
    """

    def __init__(self, n_outputs, variance_weight, covariance_weight, weight):
        super().__init__(n_outputs, weight)
        self.variance_weight = variance_weight
        self.covariance_weight = covariance_weight

    def embedding_loss(self, x, y, codes):
        """Return the distance per output, plus the variance and covariance terms."""
        distance = pair_distance(x, y) / x.shape[1]
        variance = variance_loss(x) + variance_loss(y)
        covariance = covariance_loss(x) + covariance_loss(y)
        return distance + self.variance_weight * variance + self.covariance_weight * covariance


@dataclass(eq=False, repr=False, kw_only=True)
class AdversarialEstimator(DeepEmbedding):
    """Deep estimator with an adversary that tells the views apart."""

    adversary_weight: float = 1.0

    _parameter_constraints = {
        **DeepEmbedding._parameter_constraints,
        "adversary_weight": [Interval(Real, 0, None, closed="left")],
    }
    _net_class = AdversarialNet

    def _callbacks(self):
        return [
            *(PassthroughScoring(name, on_train=True) for name in AdversarialNet.figures),
            *super()._callbacks(),
        ]


@documented
@dataclass(eq=False, repr=False, kw_only=True)
class ACMR(AdversarialEstimator):
    """Adversarial cross-modal retrieval (ACMR).

    Trains a network per view by the sum of three losses [1]_: a linear classifier, shared by both
    views, predicts the labels from the outputs; cross-modal triplets, as in :class:`TNNCCCA`, keep
    the structure of the classes; and an adversary, a classifier of the directions of the outputs,
    learns to tell which view they stem from, while its reversed gradient makes the networks hide
    it. The scale of the reversed gradient rises as ``2 / (1 + exp(-10 p)) - 1`` with the share `p`
    of the training that is done.

    The adversary takes five steps for each of the networks, and its slope is penalised [2]_: an
    adversary that lags behind is deceived by views that drift apart ever further.

    ``history_`` holds "embedding_loss", "adversary_loss" (log 2 = 0.69 at chance) and
    "adversary_accuracy" (1/2 at chance) of each epoch.

    The network of the authors' code has hidden layers of 512 and 100 units, 40 outputs, all tanh,
    and is trained for 200 epochs in batches of 64 by a step size of 1e-4.

    Read more in the :ref:`User Guide <adversarial>`.

    Parameters
    ----------
    n_components : int, default=40
        Number of outputs of a tower.
    margin : float, default=1.0
        By how much a positive must be nearer than a negative, by one minus the cosine.
    adversary_weight : float, default=5.0
        Largest scale of the reversed gradient; 0: the networks pay no heed to the adversary.
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    {attributes}

    See Also
    --------
    UCAL : Without labels.

    References
    ----------
    .. [1] B. Wang, Y. Yang, X. Xu, A. Hanjalic, H. Shen, "Adversarial cross-modal retrieval", ACM
       Multimedia, 154-162, 2017.
    .. [2] L. Mescheder, A. Geiger, S. Nowozin, "Which training methods for GANs do actually
       converge?", ICML, PMLR 80, 3481-3490, 2018.

    Examples
    --------
    >>> from cca_estimators import ACMR
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=200, n_classes=4, n_features=(10, 12), random_state=0)
    >>> ACMR(max_epochs=5, random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """

    n_components: int = field(default=40, kw_only=False)
    hidden_layer_sizes: int | Sequence[int] = (512,)
    dropout: float = 0.5
    margin: float = 1.0
    adversary_weight: float = 5.0

    _parameter_constraints = {
        **AdversarialEstimator._parameter_constraints,
        "margin": [Interval(Real, 0, None, closed="left")],
    }
    _supervised = True

    def _objective(self, inputs, y):
        n_outputs, n_classes = self.n_components, len(self.classes_)
        return SupervisedObjective(n_outputs, n_classes, self.margin, self.adversary_weight)


@documented
@dataclass(eq=False, repr=False, kw_only=True)
class UCAL(AdversarialEstimator):
    """Unsupervised cross-modal retrieval through adversarial learning (UCAL).

    Trains a network per view so that the outputs of true pairs lie close together, while an
    adversary learns to tell which view an output stems from and its reversed gradient makes the
    networks hide it [1]_. The labels are not used.

    A constant map would minimise both. A term against collapse, that of VICReg [2]_, is therefore
    added: the standard deviation of every output over a batch should reach 1, and the outputs
    should not correlate. The loss is ::

        mean_j (x_j - y_j)^2 + v ([1 - std(x)]_+ + [1 - std(y)]_+) + c (cov(x) + cov(y))

    plus the adversary's, which learns as that of :class:`ACMR`, with `v` and `c` the weights below.
    These terms alone bring the views so close that the adversary has little left to tell them by.

    ``history_`` holds "embedding_loss", "adversary_loss" (log 2 = 0.69 at chance) and
    "adversary_accuracy" (1/2 at chance) of each epoch.

    Read more in the :ref:`User Guide <adversarial>`.

    Parameters
    ----------
    n_components : int, default=10
        Number of outputs of a tower.
    variance_weight : float, default=1.0
        Weight of the standard deviations.
    covariance_weight : float, default=0.1
        Weight of the covariances between outputs.
    adversary_weight : float, default=1.0
        Largest scale of the reversed gradient; 0: the networks pay no heed to the adversary.
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    ACMR : With labels.
    DCCA : By canonical correlation.

    References
    ----------
    .. [1] L. He, X. Xu, H. Lu, Y. Yang, F. Shen, H. Shen, "Unsupervised cross-modal retrieval
       through adversarial learning", IEEE ICME, 1153-1158, 2017.
    .. [2] A. Bardes, J. Ponce, Y. LeCun, "VICReg: variance-invariance-covariance regularization
       for self-supervised learning", ICLR, 2022.

    Examples
    --------
    >>> from cca_estimators import UCAL
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=200, n_classes=4, n_features=(10, 12), random_state=0)
    >>> UCAL(max_epochs=10, random_state=0).fit(X).transform(X)
    Views(audio=(200, 10), visual=(200, 10))
    """

    variance_weight: float = 1.0
    covariance_weight: float = 0.1

    _parameter_constraints = {
        **AdversarialEstimator._parameter_constraints,
        "variance_weight": [Interval(Real, 0, None, closed="neither")],
        "covariance_weight": [Interval(Real, 0, None, closed="left")],
    }

    def _objective(self, inputs, y):
        weights = self.variance_weight, self.covariance_weight, self.adversary_weight
        return UnsupervisedObjective(self.n_components, *weights)
