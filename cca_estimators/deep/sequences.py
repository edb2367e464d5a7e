"""Deep methods that learn by canonical correlation of classes, from the steps of sequences."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch

from cca_estimators._compat import Interval, RealNotInt
from cca_estimators.deep.correlation import CDCCA
from cca_estimators.deep.towers import (
    AttentionOverSteps,
    DenseSteps,
    SequenceTower,
    n_of_share,
)
from cca_estimators.deep.training.docs import documented

__all__ = ["LSTMCCCA", "SDCCA"]


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
    _auto_tower = "own"

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
    n_components : int, default=None
        Number of outputs of a tower; None: one less than there are classes, but at least 10, and a
        quarter of the rows of a batch at most, which must determine their covariances.
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
        if self._tower_kind != "own":
            return super()._tower(shape)
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
    n_components : int, default=None
        Number of outputs of a tower; None: one less than there are classes, but at least 10, and a
        quarter of the rows of a batch at most, which must determine their covariances.
    n_selected : int or float, default=1.0
        Number of steps to select, all of a sequence that has fewer; or a share in (0, 1] of the
        true length of each, rounded up, and of the longest in `fit` at most.
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

    n_selected: int | float = 1.0
    dropout: float = 0.3

    _parameter_constraints = {
        **SequenceCorrelation._parameter_constraints,
        "n_selected": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="right"),
        ],
    }

    def _tower(self, shape):
        if self._tower_kind != "own" or len(shape) == 1:
            return super()._tower(shape)
        n_selected, share = self.n_selected, 1.0
        if not isinstance(n_selected, Integral):
            n_selected, share = int(n_of_share(n_selected, shape[0])), n_selected
        summary = AttentionOverSteps(self.lstm_size, n_selected, share)
        return self._sequence_tower(shape[-1], summary, n_selected * self.lstm_size)

    @torch.inference_mode()
    def _step_attention(self, name, rows):
        """Return the share of each step in the attention, shape (n, n_steps)."""
        tower = self.net_.module_.tower(name).eval()
        if not isinstance(getattr(tower, "summary", None), AttentionOverSteps):
            raise ValueError(
                f"The tower of view {name!r} is no LSTM with attention: no step has a weight. Ask "
                "for the gradient, or fit views with steps and tower='auto'."
            )
        shares = [
            tower.summary.shares(*tower.states(inputs)).numpy(force=True)
            for inputs in self._tower_inputs(name, rows)
        ]
        return np.concatenate(shares)
