"""Triplet networks joined with cluster CCA."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from numbers import Integral, Real

from sklearn.base import clone
from sklearn.utils import check_random_state, get_tags
from torch import nn

from cca_estimators._algebra.cross_fitting import cross_fitted, takes_kernels
from cca_estimators._compat import HasMethods, Interval, StrOptions
from cca_estimators.deep.losses.triplets import triplet_loss
from cca_estimators.deep.training.docs import documented
from cca_estimators.deep.training.estimator import HeadedEmbedding
from cca_estimators.kernel import CKCCA
from cca_estimators.linear import CCCA

__all__ = ["TNNCCCA"]

_OF_NAMED = {"reg": "auto", "weighted": True, "pair_weight": 0.0}  # an instance brings its own


class TripletObjective(nn.Module):
    """Hinge of the cross-modal triplets of a batch.

    Parameters
    ----------
    **options
        As for `triplet_loss`.
    """

    def __init__(self, **options):
        super().__init__()
        self.generator = None
        self.options = options

    def forward(self, outputs, codes, views):
        """Return the loss of a batch."""
        return triplet_loss(*outputs, codes, **self.options, generator=self.generator)


@documented
@dataclass(eq=False, repr=False, kw_only=True)
class TNNCCCA(HeadedEmbedding):
    """Triplet neural network with cluster CCA (TNN-C-CCA).

    Two stages, fitted one after the other [1]_. Cluster CCA embeds the views, and a network per
    view maps the variates on so that triplets come right; or, by ``order="tnn_first"``, the
    networks learn from the views themselves and cluster CCA is fitted on their outputs. The loss is
    the mean of ``[d(a, p) - d(a, n) + margin]_+`` over the triplets of a batch: an anchor `a` in
    one view, a positive `p` of its class and a negative `n` of another class in the other view.

    The networks learn from cross-fitted variates, each row's from a cluster CCA of the other folds:
    those of the cluster CCA that knows the row are far cleaner than a new row's. Batches do not
    normalise them, which would undo their weights.

    The authors' setting is linear: ``first="ccca", n_folds=1, pair_weight=0.2, n_components=10,
    hidden_layer_sizes=(100, 100, 100), activation="tanh", dropout=0.1, batch_norm=False,
    max_epochs=10, batch_size=45, margin=0.5, mining="batch_all", distance="sqeuclidean",
    symmetric=False, include_pair=False``. Their top is a sigmoid of a hyperbolic tangent, which
    keeps the outputs so close together that a hinge on the cosine could never close; here the top
    is linear.

    Read more in the :ref:`User Guide <triplets>`.

    Parameters
    ----------
    n_components : int, default=64
        Number of outputs of a tower.
    first : {"ckcca", "ccca"} or estimator, default="ckcca"
        The cluster CCA: with kernels, linear, or any estimator of a joint embedding that learns
        from labels, which brings its own parameters. It comes first, or last with
        ``order="tnn_first"``.
    n_folds : int, default=5
        Number of folds of the cross-fitted variates; 1: none, as where the median class has fewer
        than 12 rows. They are drawn from `random_state`, the number of rows and the labels alone,
        and keep the `groups` that `fit` is given whole: give them where new rows will be of new
        groups, such as new speakers.
    order : {"ccca_first", "tnn_first"}, default="ccca_first"
        Which stage comes first.
    margin : float, default=0.3
        By how much a positive must be nearer than a negative.
    mining : {"batch_all", "batch_hard", "semi_hard", "random"}, default="semi_hard"
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
        Share of the true pairs in the linear cluster CCA.
    reg : float, "auto" or dict, default="auto"
        Ridge of a cluster CCA named by `first`; "auto": its own default, see
        :class:`~cca_estimators.CKCCA` and :class:`~cca_estimators.CCCA`.
    weighted : bool, default=True
        Whether a cluster CCA named by `first` multiplies each variate by its correlation.
    {parameters}

    Attributes
    ----------
    first_ : estimator
        The cluster CCA before the towers, fitted on all rows, if it comes first.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    {head_attributes}
    {attributes}

    See Also
    --------
    CCCA, CKCCA : Cluster CCA alone.
    SemanticMatching : Class probabilities of the variates.
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

    n_components: int = field(default=64, kw_only=False)
    hidden_layer_sizes: int | Sequence[int] = (256, 256)
    dropout: float = 0.5
    max_epochs: int = 30
    first: object = "ckcca"
    n_folds: int = 5
    order: str = "ccca_first"
    margin: float = 0.3
    mining: str = "semi_hard"
    distance: str = "cosine"
    symmetric: bool = True
    include_pair: bool = True
    pair_weight: float = 0.0

    _parameter_constraints = {
        **HeadedEmbedding._parameter_constraints,
        "first": [StrOptions({"ckcca", "ccca"}), HasMethods(["fit", "transform"])],
        "n_folds": [Interval(Integral, 1, None, closed="left")],
        "order": [StrOptions({"ccca_first", "tnn_first"})],
        "margin": [Interval(Real, 0, None, closed="left")],
        "mining": [StrOptions({"batch_all", "batch_hard", "semi_hard", "random"})],
        "distance": [StrOptions({"cosine", "sqeuclidean"})],
        "symmetric": ["boolean"],
        "include_pair": ["boolean"],
        "pair_weight": [Interval(Real, 0, 1, closed="both")],
    }
    _supervised = True

    @property
    def _sequential(self):
        return self.order == "tnn_first" and super()._sequential

    @property
    def _cross_fits(self):
        return self.order == "ccca_first" and self.n_folds > 1

    def _inputs(self, views, y):
        cluster = self._cluster()
        if self.order == "tnn_first":
            return views
        if hasattr(self, "net_"):  # training that goes on keeps its first stage
            return dict(self.first_.transform(views))
        rng = check_random_state(self.random_state)
        self.first_, variates = cross_fitted(
            cluster, views, y, y, self.n_folds, rng, self._held_out.groups
        )
        return variates

    def _input(self, name, rows):
        if self.order == "tnn_first":
            return rows
        return self.first_.transform({name: rows})[name]

    def _tower(self, shape):
        if self.order == "tnn_first":
            return super()._tower(shape)
        return self._perceptron(prod(shape), input_norm=hasattr(self, "_variates_normalised_"))

    def _objective(self, inputs, y):
        options = ("margin", "mining", "distance", "symmetric", "include_pair")
        return TripletObjective(**{option: getattr(self, option) for option in options})

    def _head(self):
        return self._cluster() if self.order == "tnn_first" else None

    def _cluster(self):
        """Return the cluster CCA, not fitted."""
        if not isinstance(self.first, str):
            self._check_instance()
            return clone(self.first)
        if self.first == "ccca":
            return CCCA(reg=self.reg, weighted=self.weighted, pair_weight=self.pair_weight)
        if self.pair_weight:
            raise ValueError(
                f"pair_weight={self.pair_weight} needs the linear cluster CCA, for C-KCCA has no "
                'pairs: set first="ccca", or pair_weight=0.'
            )
        kernel = CKCCA(weighted=self.weighted, random_state=self.random_state)
        return kernel.set_params(reg=_without_auto(self.reg, kernel.reg))

    def _check_instance(self):
        name = type(self.first).__name__
        beside = [key for key, default in _OF_NAMED.items() if getattr(self, key) != default]
        if beside:
            raise ValueError(
                f"{', '.join(beside)} set beside first={name}(...), which brings its own "
                f"parameters: set there what {name} has of them, and leave them here as they are."
            )
        embeds = getattr(self.first, "metric", None) == "cosine"
        if not (embeds and get_tags(self.first).target_tags.required):
            raise ValueError(
                f"first={name}(...) is no cluster estimator, an embedding of real numbers that "
                'learns from labels: take "ckcca", "ccca" or such as CKCCA(gamma=0.01).'
            )
        if takes_kernels(self.first) and (self.standardize or self.order == "tnn_first"):
            raise ValueError(
                f"first={name}(...) has kernel='precomputed', and a standardised kernel matrix is "
                "none, nor are outputs of towers. Pass the rows and the kernel as a function, or "
                "set standardize=False and n_folds=1."
            )
        self.first._validate_params()  # fit skips the validation of nested estimators

    @classmethod
    def _from_data(cls, data):
        """Return the estimator made anew; those of 0.1 normalised the variates of C-CCA."""
        if "first" not in data["params"]:
            params = {**data["params"], "first": "ccca", "n_folds": 1}
            data = {
                **data,
                "params": params,
                "fitted": {**data["fitted"], "_variates_normalised_": True},
            }
        return super()._from_data(data)


def _without_auto(reg, default):
    """Return a setting of `reg` with a default in place of "auto"."""
    if isinstance(reg, dict):
        return {name: _without_auto(value, default) for name, value in reg.items()}
    return default if reg == "auto" else reg
