"""Hashing methods: towers whose outputs are rounded to bits, compared by Hamming distance."""

import itertools
from dataclasses import dataclass, field
from math import prod
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import PassthroughScoring
from torch import nn
from torch.nn import functional as F

from cca_estimators import _reading
from cca_estimators.deep.training.estimator import DeepEstimator
from cca_estimators.deep.training.docs import documented
from cca_estimators.deep.losses.adversarial import critic_loss
from cca_estimators.deep.losses.hashing import (
    code_map_loss,
    policy_gradient_loss,
    quantisation_loss,
    ranking_hinges,
    saturation_loss,
    update_code_map,
)
from cca_estimators.deep.losses import triplet_loss
from cca_estimators.deep.training.net import EMBEDDED_ROWS, TwoPlayerNet
from cca_estimators.views import Views

__all__ = ["AGAH", "UGACH"]


@dataclass(eq=False, repr=False, kw_only=True)
class HashingEstimator(DeepEstimator):
    """Deep estimator whose embedding is the signs of the outputs of its towers."""

    n_bits: int = field(default=64, kw_only=False)

    _parameter_constraints = {
        **DeepEstimator._parameter_constraints,
        "n_bits": [Interval(Integral, 1, None, closed="left")],
    }
    metric = "hamming"
    _figures = ()

    def decision_function(self, X):
        """Return the continuous values whose signs are the bits.

        Parameters
        ----------
        X : mapping of arrays by view name, or array of shape (n_samples, n_features)
            As in `transform`.

        Returns
        -------
        Views or array
            In (-1, 1), shape (n_samples, n_bits) for each view; a bit is 1 where positive.
        """
        return self._of_each_view(X, self._tower_outputs)

    def pack(self, X):
        """Return the bits packed into bytes, by :func:`numpy.packbits`.

        Parameters
        ----------
        X : mapping of arrays by view name, or array of shape (n_samples, n_features)
            As in `transform`.

        Returns
        -------
        Views or array
            uint8, shape (n_samples, ceil(n_bits / 8)) for each view.
        """
        return self._of_each_view(
            X, lambda name, rows: np.packbits(self._transform_view(name, rows), axis=1)
        )

    def _of_each_view(self, X, function):
        check_is_fitted(self)
        views = self._read_again(X)
        outputs = {name: function(name, rows) for name, rows in views.items()}
        return Views(outputs) if _reading.is_mapping(X) else np.hstack(list(outputs.values()))

    def _embedded(self, head, outputs):
        return {name: (rows > 0).astype(np.uint8) for name, rows in outputs.items()}

    def _transform_view(self, name, rows):
        return self._embedded(None, {name: self._tower_outputs(name, rows)})[name]

    def _n_tower_outputs(self):
        return self.n_bits

    def _callbacks(self):
        recorded = [PassthroughScoring(name, on_train=True) for name in self._figures]
        return [*recorded, *super()._callbacks()]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


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
        self.margin = margin
        self.code_weight = code_weight
        self.map_weight = map_weight / n_bits**2
        self.critics = nn.ModuleList([_critic(n_features) for _ in range(2)])
        code_map = torch.randint(2, (n_classes, n_bits)) * 2.0 - 1
        self.register_buffer("code_map", code_map)

    def forward(self, outputs, codes, views):
        """Return the loss of the codes of a batch."""
        both, labels = torch.cat(outputs), codes.repeat(2)
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
            critic_loss(critic, real, fake)
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

    def __init__(self, *args, adversary_weight=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.adversary_weight = adversary_weight

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        """Set the features and the codes of the classes from all rows."""
        super().on_epoch_begin(net, dataset_train=dataset_train, **kwargs)
        self._update_class_maps(dataset_train)

    @torch.no_grad()
    def _update_class_maps(self, subset):
        self._set_training(False)
        features, codes, labels = [], [], []
        for views, batch_labels in subset.batches(EMBEDDED_ROWS):
            for name, rows in views.items():
                tower = self.module_.tower(name)
                features.append(tower.unit_features(rows))
                codes.append(tower.codes(features[-1]).sign())
                labels.append(batch_labels)
        features, codes, labels = (torch.cat(parts) for parts in (features, codes, labels))
        members = F.one_hot(labels, len(self.criterion_.code_map)).to(features.dtype)
        means = members.T @ features / members.sum(dim=0).clamp_min(1)[:, None]
        for tower in self.module_.towers:
            tower.class_features.copy_(means)
        self.criterion_.code_map = update_code_map(self.criterion_.code_map, codes, labels)

    def train_step(self, batch, **fit_params):
        """Train the critics, then the towers."""
        self._set_training(True)
        views, codes = batch
        towers = [self.module_.tower(name) for name in self.module_.names]
        features = [
            tower.unit_features(views[name])
            for tower, name in zip(towers, self.module_.names, strict=True)
        ]
        critics = self.criterion_.critics_loss(features)
        self.learn_opponent(critics)
        outputs = tuple(t.codes(f) for t, f in zip(towers, features, strict=True))
        loss = self.get_loss(outputs, codes, X=views, training=True)
        self.learn(loss + self.adversary_weight * self.criterion_.passing(features), batch)
        self.history.record_batch("critic_loss", critics.item())
        return {"loss": loss, "y_pred": outputs}


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

    hidden_layer_sizes: tuple = (512,)
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
        features = self._perceptron(prod(shape))
        return AttentionHashTower(features, self.feature_size, len(self.classes_), self.n_bits)

    def _n_tower_outputs(self):
        return self.feature_size

    def _objective(self, inputs, y):
        sizes = self.feature_size, len(self.classes_), self.n_bits
        return AsymmetricObjective(*sizes, self.margin, self.code_weight, self.map_weight)

    def _net_options(self):
        return {"adversary_weight": self.adversary_weight}


class SigmoidTower(nn.Sequential):
    """Perceptron to codes in (-1/2, 1/2), batch-normalised so that every bit is used.

    Parameters
    ----------
    perceptron : nn.Module
        From rows to (n, n_bits).
    n_bits : int
    """

    def __init__(self, perceptron, n_bits):
        super().__init__(perceptron, nn.BatchNorm1d(n_bits), nn.Sigmoid())

    def forward(self, rows):
        """Return the continuous codes of rows."""
        return super().forward(rows) - 0.5


class RankingObjective(nn.Module):
    """Hinge of the discriminator, and the towers of the generator.

    Parameters
    ----------
    generators : list of nn.Module
        One per view.
    margin, temperature : float
    """

    def __init__(self, generators, margin, temperature):
        super().__init__()
        self.generators = nn.ModuleList(generators)
        self.margin = margin
        self.temperature = temperature

    def forward(self, outputs, codes, views):
        """Return the mean hinge of pairs against the partner of the next row."""
        x, y = outputs
        return (self.hinges(x, y, y.roll(1, 0)).mean() + self.hinges(y, x, x.roll(1, 0)).mean()) / 2

    def hinges(self, query, positive, negative):
        """Return the hinges of triplets."""
        return ranking_hinges(query, positive, negative, self.margin)

    def scores(self, views):
        """Return the generator's scores of the second view's rows for the first's, and back."""
        x, y = (tower(rows) for tower, rows in zip(self.generators, views.values(), strict=True))
        distances = torch.cdist(x, y).square() / self.temperature
        itself = torch.eye(len(x), dtype=bool, device=x.device)
        scores = (-distances).masked_fill(itself, -torch.inf)
        return scores, scores.T


class RankingNet(TwoPlayerNet):
    """Net that trains a discriminator, and a generator that draws its negatives.

    Parameters
    ----------
    n_pretrain : int
        Epochs of the discriminator alone, on true pairs and negatives drawn evenly.
    n_draws : int
        Negatives for each query.
    **kwargs
        As for `Net`.
    """

    opponent = "generators"

    def __init__(self, *args, n_pretrain=0, n_draws=1, **kwargs):
        super().__init__(*args, **kwargs)
        self.n_pretrain = n_pretrain
        self.n_draws = n_draws
        self.neighbours = None

    def optimizer_of(self, parameters):
        """Return the optimiser of the generator."""
        return torch.optim.AdamW(parameters, lr=self.lr)

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train with the rows and their neighbours at hand, and let go of them."""
        self._rows = X.train.dataset
        try:
            return super().fit_loop(X, y, epochs, **fit_params)
        finally:
            self._rows = self.neighbours = None

    def train_step(self, batch, **fit_params):
        """Train the discriminator and, after pre-training, the generator."""
        self._set_training(True)
        views, rows = batch
        pretraining = len(self.history) <= self.n_pretrain
        outputs = self.module_(**views)
        positives = outputs if pretraining else self._positives(rows)
        scores = self.criterion_.scores(views)
        weights = [torch.isfinite(s).float() if pretraining else s.softmax(dim=1) for s in scores]
        drawn = [w.detach().multinomial(self.n_draws, replacement=True) for w in weights]
        hinges = [
            self.criterion_.hinges(outputs[i][:, None], positives[1 - i][:, None], negative)
            for i, negative in enumerate((outputs[1][drawn[0]], outputs[0][drawn[1]]))
        ]
        loss = self.checked((hinges[0].mean() + hinges[1].mean()) / 2)
        self.learn(loss, batch)
        generator = sum(
            policy_gradient_loss(s, d, torch.sigmoid(h))
            for s, d, h in zip(scores, drawn, hinges, strict=True)
        )
        if not pretraining:
            self.learn_opponent(generator)
        self.history.record_batch("generator_loss", generator.item())
        return {"loss": loss, "y_pred": outputs}

    def _positives(self, rows):
        """Return the outputs of each row itself or, for about half of them, of a neighbour."""
        rows = rows.numpy(force=True)
        neighbours = self.neighbours[rows]
        chosen = torch.randint(neighbours.shape[1], (len(rows),)).numpy()
        itself = torch.rand(len(rows)).numpy() < 0.5
        picked = np.where(itself, rows, neighbours[np.arange(len(rows)), chosen])
        return self.module_(**self._rows[picked][0])


@documented
@dataclass(eq=False, repr=False, kw_only=True)
class UGACH(HashingEstimator):
    """Unsupervised generative adversarial cross-modal hashing (UGACH).

    The positives of a row in the other view are its partner, for half of the draws, and those of
    its neighbours, nearest in one view or the other. A discriminator, a perceptron per view to
    codes by a sigmoid, learns to rank a positive before a negative, by the hinge
    ``[K / 8 + d(q, p) - d(q, n)]_+`` of squared distances. A generator, networks of the same kind,
    draws the negatives from the rows of a batch by the softmax of minus its own distances, and
    learns by the policy gradient to draw those that the discriminator ranks wrongly: its reward is
    the sigmoid of the hinge, less the mean of the others [1]_. At first the discriminator learns
    alone, from true pairs. The labels are not used.

    Here both learn at every step, where the authors alternate epochs, and the candidates are the
    rows of a batch, where they draw 2 % of all rows. The codes are batch-normalised, so that every
    bit is used.

    ``history_`` holds "train_loss", that of the discriminator, and "generator_loss".

    Read more in the :ref:`User Guide <hashing>`.

    Parameters
    ----------
    n_bits : int, default=64
        Number of bits `K` of a code.
    n_neighbors : int, default=5
        Number of neighbours in each view.
    n_pretrain : int, default=20
        Number of the epochs in which the discriminator learns alone.
    n_draws : int, default=5
        Number of negatives drawn for each query.
    temperature : float, default=10.0
        Divisor of the distances in the softmax. At 1, the setting of [1]_, the generator draws
        little but rows of the query's own class, which no label tells it to spare.
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    AGAH : With labels.

    References
    ----------
    .. [1] J. Zhang, Y. Peng, M. Yuan, "Unsupervised generative adversarial cross-modal hashing",
       AAAI, 539-546, 2018, arXiv:1712.00358.

    Examples
    --------
    >>> from cca_estimators import UGACH
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=200, n_classes=4, n_features=(10, 12), random_state=0)
    >>> UGACH(16, max_epochs=10, n_pretrain=5, random_state=0).fit(X).transform(X)
    Views(audio=(200, 16), visual=(200, 16))
    """

    activation: str = "tanh"
    n_neighbors: int = 5
    n_pretrain: int = 20
    n_draws: int = 5
    temperature: float = 10.0

    _parameter_constraints = {
        **HashingEstimator._parameter_constraints,
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "n_pretrain": [Interval(Integral, 0, None, closed="left")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }
    _figures = ("generator_loss",)
    _net_class = RankingNet

    def _tower(self, shape):
        return SigmoidTower(self._perceptron(prod(shape)), self.n_bits)

    def _objective(self, inputs, y):
        generators = [self._tower(rows.shape[1:]) for rows in inputs.values()]
        return RankingObjective(generators, self.n_bits / 8, self.temperature)

    def _net_options(self):
        return {"n_pretrain": self.n_pretrain, "n_draws": self.n_draws}

    def _before_training(self, net, inputs):
        """Give the net the neighbours of each row, nearest in one view or the other."""
        graphs = []
        for rows in inputs.values():
            rows = np.asarray(rows).reshape(len(rows), -1)
            n_neighbors = min(self.n_neighbors, len(rows) - 1)
            search = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(rows)
            graphs.append(search.kneighbors(return_distance=False))
        net.neighbours = np.hstack(graphs)
