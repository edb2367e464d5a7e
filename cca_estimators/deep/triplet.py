"""Triplet networks joined with cluster CCA."""

from dataclasses import dataclass
from numbers import Real

from torch import nn

from cca_estimators._compat import Interval, StrOptions
from cca_estimators.deep.losses.triplets import triplet_loss
from cca_estimators.deep.training.docs import documented
from cca_estimators.deep.training.estimator import HeadedEmbedding
from cca_estimators.linear import CCCA

__all__ = ["TNNCCCA"]


class TripletObjective(nn.Module):
    """Hinge of the cross-modal triplets of a batch.

    Parameters
    ----------
    **options
        As for `triplet_loss`.
    """

    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, outputs, codes, views):
        """Return the loss of a batch."""
        return triplet_loss(*outputs, codes, **self.options)


@documented
@dataclass(eq=False, repr=False, kw_only=True)
class TNNCCCA(HeadedEmbedding):
    """Triplet neural network with cluster CCA (TNN-C-CCA).

    Two stages, fitted one after the other [1]_. Cluster CCA embeds the views, and a network per
    view maps the variates on so that triplets come right; or, by ``order="tnn_first"``, the
    networks learn from the views themselves and cluster CCA is fitted on their outputs. The loss is
    the mean of ``[d(a, p) - d(a, n) + margin]_+`` over the triplets of a batch: an anchor `a` in
    one view, a positive `p` of its class and a negative `n` of another class in the other view.

    The network of the authors is ``hidden_layer_sizes=(100, 100, 100), activation="tanh",
    dropout=0.1, batch_norm=False, max_epochs=10, batch_size=45, learning_rate=1e-3, margin=0.5,
    distance="sqeuclidean", symmetric=False, include_pair=False``, and ``pair_weight=0.2`` for the
    cluster CCA before it. Its top is a sigmoid of a hyperbolic tangent, which keeps the outputs so
    close together that a hinge on the cosine could never close; here the top is linear.

    Read more in the :ref:`User Guide <triplets>`.

    Parameters
    ----------
    n_components : int, default=10
        Number of outputs of a tower.
    order : {"ccca_first", "tnn_first"}, default="ccca_first"
        Which stage comes first.
    margin : float, default=1.0
        By how much a positive must be nearer than a negative.
    mining : {"batch_all", "batch_hard", "semi_hard", "random"}, default="batch_all"
        Triplets of a batch to learn from: all; for each anchor the farthest positive with the
        nearest negative; for each anchor and positive the nearest negative beyond it, or a random
        one.
    distance : {"cosine", "sqeuclidean"}, default="cosine"
        One minus the cosine, or the squared Euclidean distance.
    symmetric : bool, default=True
        Anchors in both views; False: in the first view only.
    include_pair : bool, default=True
        Whether the partner of an anchor is one of its positives.
    pair_weight : float in [0, 1], default=0.0
        Share of the true pairs in the cluster CCA.
    {head_parameters}
    {parameters}

    Attributes
    ----------
    first_ : CCCA
        The cluster CCA before the towers, if it comes first.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    {head_attributes}
    {attributes}

    See Also
    --------
    CCCA : Cluster CCA alone.
    CDCCA : Networks trained by the objective of cluster CCA.

    References
    ----------
    .. [1] D. Zeng, Y. Yu, K. Oyama, "Deep triplet neural networks with cluster-CCA for audio-visual
       cross-modal retrieval", ACM TOMM 16(3), 2020, arXiv:1908.03737.

    Examples
    --------
    >>> from cca_estimators import TNNCCCA
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=200, n_classes=4, n_features=(10, 12), random_state=0)
    >>> TNNCCCA(max_epochs=5, random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """

    hidden_layer_sizes: tuple = (256, 256)
    dropout: float = 0.5
    max_epochs: int = 60
    order: str = "ccca_first"
    margin: float = 1.0
    mining: str = "batch_all"
    distance: str = "cosine"
    symmetric: bool = True
    include_pair: bool = True
    pair_weight: float = 0.0

    _parameter_constraints = {
        **HeadedEmbedding._parameter_constraints,
        "order": [StrOptions({"ccca_first", "tnn_first"})],
        "margin": [Interval(Real, 0, None, closed="left")],
        "mining": [StrOptions({"batch_all", "batch_hard", "semi_hard", "random"})],
        "distance": [StrOptions({"cosine", "sqeuclidean"})],
        "symmetric": ["boolean"],
        "include_pair": ["boolean"],
        "pair_weight": [Interval(Real, 0, 1, closed="both")],
    }
    _supervised = True

    def _inputs(self, views, y):
        if self.order == "tnn_first":
            return views
        self.first_ = self._ccca().fit(views, y)
        return dict(self.first_.transform(views))

    def _input(self, name, rows):
        if self.order == "tnn_first":
            return rows
        return self.first_.transform({name: rows})[name]

    def _objective(self, inputs, y):
        options = ("margin", "mining", "distance", "symmetric", "include_pair")
        return TripletObjective(**{option: getattr(self, option) for option in options})

    def _head(self):
        return self._ccca() if self.order == "tnn_first" else None

    def _ccca(self):
        return CCCA(reg=self.reg, weighted=self.weighted, pair_weight=self.pair_weight)
