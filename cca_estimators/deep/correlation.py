"""Deep methods that learn by canonical correlation: of pairs, of classes, of sequences."""

from dataclasses import dataclass
from numbers import Integral, Real

import torch
from sklearn.utils._param_validation import Interval
from torch import nn
from torch.nn import functional as F

from cca_estimators.deep.training.estimator import HeadedEmbedding
from cca_estimators.deep.training.docs import documented
from cca_estimators.deep.losses import category_correlation_loss, correlation_loss
from cca_estimators.deep.towers import AttentionOverSteps, DenseSteps, SequenceTower
from cca_estimators.linear import CCA, CCCA

__all__ = ["CDCCA", "DCCA", "LSTMCCCA", "SDCCA"]


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

    def __init__(self, ridge, decoders=(), weight=0.0):
        super().__init__()
        self.ridge = ridge
        self.decoders = nn.ModuleList(decoders)
        self.weight = weight

    def forward(self, outputs, codes, views):
        """Return the loss of a batch."""
        loss = correlation_loss(*outputs, self.ridge)
        for decode, output, rows in zip(self.decoders, outputs, views.values(), strict=False):
            loss = loss + self.weight * F.mse_loss(decode(output), rows.flatten(1))
        return loss


class CategoryObjective(nn.Module):
    """Minus the correlations of a batch over pairs of the same class.

    Parameters
    ----------
    pair_weight, ridge : float
        See `category_correlation_loss`.
    """

    def __init__(self, pair_weight, ridge):
        super().__init__()
        self.pair_weight = pair_weight
        self.ridge = ridge

    def forward(self, outputs, codes, views):
        """Return the loss of a batch."""
        return category_correlation_loss(*outputs, codes, self.pair_weight, self.ridge)


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
    n_components : int, default=10
        Number of outputs of a tower. The embedding has one dimension less than there are classes,
        or as many as outputs if those are fewer.
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

    pair_weight: float = 0.2

    _parameter_constraints = {
        **DeepCorrelation._parameter_constraints,
        "pair_weight": [Interval(Real, 0, 1, closed="both")],
    }
    _supervised = True

    def _objective(self, inputs, y):
        return CategoryObjective(self.pair_weight, self.batch_reg)

    def _head(self):
        return CCCA(reg=self.reg, weighted=self.weighted)


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceCorrelation(CDCCA):
    """C-DCCA whose towers read sequences."""

    lstm_size: int = 128
    n_layers: int = 1

    _parameter_constraints = {
        **CDCCA._parameter_constraints,
        "lstm_size": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
    }
    _sequential = True

    def _width(self, rows):
        return rows.shape[-1]

    def _sequence_tower(self, n_features, summary, summary_size):
        top = self._perceptron(summary_size)
        return SequenceTower(
            n_features, self.lstm_size, self.n_layers, summary, top, dropout=self.dropout
        )


@documented
@dataclass(eq=False, repr=False, kw_only=True)
class LSTMCCCA(SequenceCorrelation):
    """LSTM networks trained by cluster CCA (LSTM-C-CCA).

    The objective of :class:`CDCCA` on the outputs of towers that read sequences: an LSTM, a dense
    layer at each step, and a perceptron on all steps side by side. Then
    :class:`~cca_estimators.CCCA` is fitted on the outputs of the whole training set.

    Views have the shape (n_samples, n_steps, n_features); one without steps is a sequence of one
    step. Steps that are NaN in all features are padding, at the end of a sequence: they never
    change a result, so sequences may be shorter than the longest one in fit.

    The network of [1]_ has two LSTM layers of 512 (audio) and 784 (visual) units, dense layers of
    128 and 256 units, 64 outputs, and is trained by RMSprop with a step size of 1e-3.

    Read more in the :ref:`User Guide <deep_correlation>`.

    Parameters
    ----------
    n_components : int, default=10
        Number of outputs of a tower.
    lstm_size : int, default=128
        Number of hidden units of an LSTM.
    n_layers : int, default=1
        Number of layers of an LSTM.
    step_size : int, default=32
        Number of units of the dense layer at each step.
    pair_weight : float in [0, 1], default=0.2
        Share of the true pairs in the loss.
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
    SDCCA : Attention that selects steps, of sequences of any length.

    References
    ----------
    .. [1] D. Zeng, "Learning joint embedding for cross-modal retrieval", IEEE International
       Conference on Data Mining Workshops (ICDMW), 2019.

    Examples
    --------
    >>> from cca_estimators import LSTMCCCA
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(200, n_classes=4, n_features=(10, 12), n_steps=5, random_state=0)
    >>> lstm = LSTMCCCA(lstm_size=16, max_epochs=5, random_state=0).fit(X, y)
    >>> lstm.transform({"audio": X["audio"][:, :3]})
    Views(audio=(200, 3))
    """

    step_size: int = 32
    dropout: float = 0.3

    _parameter_constraints = {
        **SequenceCorrelation._parameter_constraints,
        "step_size": [Interval(Integral, 1, None, closed="left")],
    }

    def _tower(self, shape):
        n_steps = shape[0] if len(shape) > 1 else 1
        summary = DenseSteps(self.lstm_size, self.step_size, n_steps)
        return self._sequence_tower(shape[-1], summary, n_steps * self.step_size)


@documented
@dataclass(eq=False, repr=False, kw_only=True)
class SDCCA(SequenceCorrelation):
    """Supervised deep canonical correlation analysis (S-DCCA): attention over the steps.

    The objective of :class:`CDCCA` on the outputs of towers that select what matters in a
    sequence: an LSTM with states `h_t`, scores ``v' tanh(W h_t)``, the `n_selected` states of the
    highest scores in their order, weighted by the softmax of the scores, and a perceptron [1]_. In
    training the gradient of the selection is that of the full softmax. A view without steps,
    shape (n_samples, n_features), has a perceptron only. Then :class:`~cca_estimators.CCCA` is
    fitted on the outputs of the whole training set.

    Steps that are NaN in all features are padding, at the end of a sequence: they never change a
    result, so the number of steps may differ between rows and between fit and transform.

    Read more in the :ref:`User Guide <deep_correlation>`.

    Parameters
    ----------
    n_components : int, default=10
        Number of outputs of a tower.
    n_selected : int, default=8
        Number of steps to select; all of a sequence that has fewer.
    lstm_size : int, default=128
        Number of hidden units of an LSTM.
    n_layers : int, default=1
        Number of layers of an LSTM.
    pair_weight : float in [0, 1], default=0.2
        Share of the true pairs in the loss.
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
    LSTMCCCA : All steps side by side.

    References
    ----------
    .. [1] D. Zeng, Y. Yu, K. Oyama, "Audio-visual embedding for cross-modal music video retrieval
       through supervised deep CCA", IEEE ISM, 2018, arXiv:1908.03744.

    Examples
    --------
    >>> from cca_estimators import SDCCA
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(200, n_classes=4, n_features=(10, 12), n_steps=5, random_state=0)
    >>> SDCCA(n_selected=3, lstm_size=16, max_epochs=5, random_state=0).fit(X, y).transform(X)
    Views(audio=(200, 3), visual=(200, 3))
    """

    n_selected: int = 8
    dropout: float = 0.3

    _parameter_constraints = {
        **SequenceCorrelation._parameter_constraints,
        "n_selected": [Interval(Integral, 1, None, closed="left")],
    }

    def _tower(self, shape):
        if len(shape) == 1:
            return self._perceptron(shape[0])
        summary = AttentionOverSteps(self.lstm_size, self.n_selected)
        return self._sequence_tower(shape[-1], summary, self.n_selected * self.lstm_size)
