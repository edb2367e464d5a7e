"""What hashing methods share: towers whose outputs are rounded to bits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import PassthroughScoring

from cca_estimators import _reading
from cca_estimators._compat import Interval
from cca_estimators.deep.training.estimator import DeepEstimator
from cca_estimators.views import Views

__all__ = ["HashingEstimator"]


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
        return self._of_each_view(X, self._tower_outputs, self.n_bits)

    @overload
    def pack(self, X: Mapping[str, Any]) -> Views: ...
    @overload
    def pack(self, X: ArrayLike) -> np.ndarray: ...
    def pack(self, X):
        """Return the bits packed into bytes, by :func:`numpy.packbits`.

        Parameters
        ----------
        X : mapping of arrays by view name, or array of shape (n_samples, n_features)
            As in `transform`.

        Returns
        -------
        Views or array
            Of uint8, shape (n_samples, ceil(n_bits / 8)) for each view.
        """
        return self._of_each_view(
            X,
            lambda name, rows: np.packbits(self._transform_view(name, rows), axis=1),
            -(-self.n_bits // 8),
        )

    def _of_each_view(self, X, function, n_outputs):
        check_is_fitted(self)
        views = self._read_again(X)
        outputs = {
            name: self._of_present_rows(name, rows, function, n_outputs)
            for name, rows in views.items()
        }
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
