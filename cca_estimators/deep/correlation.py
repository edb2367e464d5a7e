"""Deep methods that learn by canonical correlation, of pairs and of classes."""

from dataclasses import dataclass, field
from numbers import Integral, Real

import torch
from torch import nn

from cca_estimators import _ranks
from cca_estimators._compat import Interval
from cca_estimators.deep.losses.correlation import category_correlation_loss, correlation_loss
from cca_estimators.deep.training.docs import documented
from cca_estimators.deep.training.estimator import HeadedEmbedding
from cca_estimators.linear import CCA, CCCA

__all__ = ["CDCCA", "DCCA"]

_FEWEST_OUTPUTS = 10
_ROWS_PER_OUTPUT = 4  # of a batch, so that its covariances are those of the classes


class PairObjective(nn.Module):
    """Minus the correlations of a batch and, if there are decoders, a reconstruction error.

    Parameters
    ----------
    ridge : float
    decoders : nn.ModuleList, default=()
        Networks from the outputs of each view back to its flattened rows.
    weight : float, default=0.0
        Weight of the mean squared error of the reconstruction.
    """

    adds_up = True  # over the ranks of a sharded fit

    def __init__(self, ridge, decoders=(), weight=0.0):
        super().__init__()
        self.ridge = ridge
        self.decoders = nn.ModuleList(decoders)
        self.weight = weight

    def forward(self, outputs, codes, views):
        """Return the loss of a batch."""
        loss = correlation_loss(*outputs, self.ridge)
        for decode, output, rows in zip(self.decoders, outputs, views.values(), strict=False):
            real = ~rows.flatten(1).isnan()  # NaN is padding
            errors = torch.where(real, decode(output) - rows.flatten(1).nan_to_num(), 0)
            error, n_real = map(_ranks.current().sum, (errors.square().sum(), real.sum()))
            loss = loss + self.weight * error / n_real
        return loss


class CategoryObjective(nn.Module):
    """Minus the correlations of a batch over pairs of the same class.

    Parameters
    ----------
    pair_weight, ridge : float
    n_classes : int, default=None
        See `category_correlation_loss`.
    """

    adds_up = True  # over the ranks of a sharded fit

    def __init__(self, pair_weight, ridge, n_classes=None):
        super().__init__()
        self.options = (pair_weight, ridge, n_classes)

    def forward(self, outputs, codes, views):
        """Return the loss of a batch."""
        return category_correlation_loss(*outputs, codes, *self.options)


@dataclass(eq=False, repr=False, kw_only=True)
class DeepCorrelation(HeadedEmbedding):
    """Deep estimator whose batches must determine the covariances of the outputs."""

    batch_reg: float = 1e-3

    _parameter_constraints = {
        **HeadedEmbedding._parameter_constraints,
        "batch_reg": [Interval(Real, 0, None, closed="neither")],
    }


@documented
@dataclass(eq=False, repr=False, kw_only=True)
class DCCA(DeepCorrelation):
    """Deep canonical correlation analysis (DCCA), and DCCAE with a reconstruction term.

    Trains a network per view so that the outputs `f(x)`, `g(y)` of the true pairs of a batch
    correlate most. The loss is minus the sum of their canonical correlations::

        -||(C_ff + r I)^-1/2 C_fg (C_gg + r I)^-1/2||_*

    with the nuclear norm ``||.||_*`` and the covariances `C` of the batch [1]_. With
    `autoencoder_weight` > 0 decoders reconstruct the inputs from the outputs, and the mean squared
    error times that weight is added (DCCAE, [2]_). The labels are not used. Then
    :class:`~cca_estimators.CCA` is fitted on the outputs of the whole training set.

    Batches must be several times larger than `n_components`: the correlations of a batch with
    fewer rows than outputs are 1 whatever the networks do.

    Read more in the :ref:`User Guide <deep_correlation>`.

    Parameters
    ----------
    n_components : int, default=10
        Number of outputs of a tower.
    autoencoder_weight : float, default=0.0
        Weight of the reconstruction error.
    batch_reg : float, default=1e-3
        Ridge `r` in a batch, relative to the mean variance of the outputs of a view.
    {head_parameters}
    {parameters}

    Attributes
    ----------
    correlations_ : ndarray of shape (n_components_,)
        Canonical correlations of the outputs (regularised), descending.
    {head_attributes}
    {attributes}

    See Also
    --------
    CCA : The linear method.
    CDCCA : DCCA of all pairs of the same class.

    References
    ----------
    .. [1] G. Andrew, R. Arora, J. Bilmes, K. Livescu, "Deep canonical correlation analysis",
       ICML, PMLR 28(3), 1247-1255, 2013.
    .. [2] W. Wang, R. Arora, K. Livescu, J. Bilmes, "On deep multi-view representation learning",
       ICML, PMLR 37, 1083-1092, 2015.

    Examples
    --------
    >>> from cca_estimators import DCCA
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=200, n_classes=4, n_features=(10, 12), random_state=0)
    >>> DCCA(4, max_epochs=5, random_state=0).fit(X).transform(X)
    Views(audio=(200, 4), visual=(200, 4))
    """

    autoencoder_weight: float = 0.0

    _parameter_constraints = {
        **DeepCorrelation._parameter_constraints,
        "autoencoder_weight": [Interval(Real, 0, None, closed="left")],
    }

    def _objective(self, inputs, y):
        decoders = []
        if self.autoencoder_weight:
            decoders = [
                nn.Sequential(
                    nn.Linear(self.n_components, 256),
                    nn.ReLU(),
                    nn.Linear(256, torch.Size(rows.shape[1:]).numel()),
                )
                for rows in inputs.values()
            ]
        return PairObjective(self.batch_reg, decoders, self.autoencoder_weight)

    def _head(self):
        return CCA(self.n_components, reg=self.reg, weighted=self.weighted)


@documented
@dataclass(eq=False, repr=False, kw_only=True)
class CDCCA(DeepCorrelation):
    """Category-based deep canonical correlation analysis (C-DCCA).

    DCCA with the moments of cluster CCA: the cross covariance of a batch is
    ``b * pairs + (1 - b) * classes``, over the true pairs and over all pairs of the same class, and
    rows weigh by the number of pairs they form, so that the correlations never exceed 1 [1]_. The
    batches hold the classes in their proportions. Then :class:`~cca_estimators.CCCA` is fitted on
    the outputs of the whole training set.

    Read more in the :ref:`User Guide <deep_correlation>`.

    Parameters
    ----------
    n_components : int, default=None
        Number of outputs of a tower; None: one less than there are classes, but at least 10, and a
        quarter of the rows of a batch at most, which must determine their covariances. The
        embedding has one dimension less than there are classes, or as many as outputs if those are
        fewer.
    pair_weight : float in [0, 1], default=0.2
        Share `b` of the true pairs in the loss.
    batch_reg : float, default=1e-3
        Ridge in a batch, relative to the mean variance of the outputs of a view.
    {head_parameters}
    {parameters}

    Attributes
    ----------
    correlations_ : ndarray of shape (n_components_,)
        Canonical correlations of the outputs (regularised), descending.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    {head_attributes}
    {attributes}

    See Also
    --------
    CCCA : The linear method.
    DCCA : Without labels.

    References
    ----------
    .. [1] Y. Yu, S. Tang, K. Aizawa, A. Aizawa, "Category-based deep CCA for fine-grained venue
       discovery from multimodal data", IEEE TNNLS 30(4), 1250-1258, 2019.

    Examples
    --------
    >>> from cca_estimators import CDCCA
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=200, n_classes=4, n_features=(10, 12), random_state=0)
    >>> CDCCA(max_epochs=5, random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """

    n_components: int | None = field(default=None, kw_only=False)
    pair_weight: float = 0.2

    _parameter_constraints = {
        **DeepCorrelation._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "pair_weight": [Interval(Real, 0, 1, closed="both")],
    }
    _supervised = True

    def _n_tower_outputs(self):
        if self.n_components is not None:
            return self.n_components
        n_directions = len(self.classes_) - 1
        return max(_FEWEST_OUTPUTS, min(n_directions, self.batch_size // _ROWS_PER_OUTPUT))

    def _objective(self, inputs, y):
        return CategoryObjective(self.pair_weight, self.batch_reg, len(self.classes_))

    def _head(self):
        return CCCA(reg=self.reg, weighted=self.weighted)
