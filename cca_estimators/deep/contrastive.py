"""Contrastive training: pairs, or classes in either view, are drawn together, all else apart."""

from dataclasses import dataclass, field
from math import log
from numbers import Real

import numpy as np
import torch
from sklearn.utils import check_consistent_length
from torch import nn

from cca_estimators import _ranks
from cca_estimators._compat import Interval, StrOptions
from cca_estimators._reading.labels import has_label, one_dimension
from cca_estimators.deep.losses.contrastive import (
    class_loss,
    mixed,
    pair_loss,
    prototype_loss,
    robust_prototype_loss,
    sigmoid_pair_loss,
)
from cca_estimators.deep.training.docs import documented
from cca_estimators.deep.training.estimator import DeepEmbedding
from cca_estimators.deep.training.net import Net
from cca_estimators.deep.training.votes import voted_labels

__all__ = ["Contrastive"]

_BY_LABELS = ("supervised", "robust")


class MixingNet(Net):
    """Net which trains on convex combinations of the rows of a batch."""

    def train_step(self, batch, **fit_params):
        """Mix the rows, with one weight for both views, and learn from them."""
        views, codes = batch
        ranks, n_own = self.ranks_, len(codes)
        everything = {name: ranks.joined(rows) for name, rows in views.items()}
        n_rows = len(next(iter(everything.values())))
        options = {"device": codes.device, "generator": self.draws_.on_device}
        shares = torch.rand(n_rows, dtype=torch.float32, **options)
        order = torch.randperm(n_rows, **options)
        views = {
            name: ranks.own(rows, n_own) for name, rows in mixed(everything, shares, order).items()
        }
        return super().train_step((views, codes), **fit_params)


class PairContrast(nn.Module):
    """Cross entropy of finding the partners (InfoNCE).

    Parameters
    ----------
    temperature : float
    """

    def __init__(self, temperature):
        super().__init__()
        self.temperature = temperature

    def forward(self, outputs, codes, views):
        """Return the loss of a batch."""
        return pair_loss(*outputs, self.temperature)


class SigmoidContrast(nn.Module):
    """Log loss of telling pairs from all else, with a scale and a bias that are learnt (SigLIP)."""

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def forward(self, outputs, codes, views):
        """Return the loss of a batch."""
        return sigmoid_pair_loss(*outputs, self.log_scale.exp(), self.bias)


class ClassContrast(nn.Module):
    """Contrast of the classes by rows and by prototypes, which are learnt.

    Parameters
    ----------
    n_outputs, n_classes : int
    temperature : float
    robust : bool
        Prototypes by the robust loss, rows by pairs alone.
    """

    def __init__(self, n_outputs, n_classes, temperature, robust):
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(n_classes, n_outputs))
        self.temperature = temperature
        self.robust = robust

    def forward(self, outputs, codes, views):
        """Return the loss of a batch."""
        by_prototypes = robust_prototype_loss if self.robust else prototype_loss
        of_rows = (
            pair_loss(*outputs, self.temperature)
            if self.robust
            else class_loss(*outputs, codes, self.temperature)
        )
        return of_rows + by_prototypes(*outputs, codes, self.prototypes, self.temperature)


@documented
@dataclass(eq=False, repr=False, kw_only=True)
class Contrastive(DeepEmbedding):
    """Contrastive training of one network per view, by pairs or by classes.

    What belongs together is drawn together, all else apart, by the cosines of the outputs.

    Without labels, pairs belong together. ``loss="infonce"``: the similarity of a row to its
    partner, among those to all rows of the other view in a batch, is a share in a softmax; both
    directions are averaged [1]_. ``loss="sigmoid"``: each combination of two rows is a pair or not,
    by a logistic loss whose scale and bias are learnt [2]_. By `mixup` the networks see convex
    combinations of two rows, the same in both views [3]_.

    With labels, the rows of a class belong together. ``loss="supervised"``: in all four
    combinations of the views [4]_, and with one prototype per class, by the cross entropy of the
    cosines to the prototypes. Rows may have several labels, as an indicator: those that share one
    belong together. ``loss="robust"`` bears wrong labels: each row takes the label that
    its 30 nearest rows in either view vote for, in two rounds; the prototypes learn by
    ``log(1 - p)``, whose gradient is the larger the more a row agrees with its label already, and
    the rows by InfoNCE, which needs no labels [5]_. Rows without a label, marked by `unlabelled` in
    y, take part as pairs.

    Views with steps are read by convolutions, see `tower`.

    Read more in the :ref:`User Guide <contrastive>`.

    Parameters
    ----------
    n_components : int, default=64
        Number of outputs of a tower.
    loss : {"auto", "supervised", "robust", "infonce", "sigmoid"}, default="auto"
        What is learnt; "auto": "supervised" if y is given, else "infonce". The last two ignore y.
    temperature : float, default=0.1
        What cosines are divided by; the lower, the more the nearest rows matter. Not of "sigmoid".
    mixup : bool, default=True
        Whether "infonce" and "sigmoid" mix the rows of a batch, by shares drawn evenly from [0, 1].
    unlabelled : object, default=None
        The value that marks rows without a label in y, such as -1 or NaN: it is no class, and
        scores leave these rows out. In an indicator of several labels it is rows without any. None:
        every row has a label.
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, if it learnt by labels.
    {attributes}

    See Also
    --------
    TNNCCCA : By triplets, after cluster CCA.
    CDCCA : By canonical correlation.

    References
    ----------
    .. [1] A. van den Oord, Y. Li, O. Vinyals, "Representation learning with contrastive predictive
       coding", arXiv:1807.03748, 2018.
    .. [2] X. Zhai, B. Mustafa, A. Kolesnikov, L. Beyer, "Sigmoid loss for language image
       pre-training", ICCV, 2023.
    .. [3] N. Vouitsis et al., "Data-efficient multimodal fusion on a single GPU", CVPR, 2024.
    .. [4] P. Khosla et al., "Supervised contrastive learning", NeurIPS, 2020.
    .. [5] P. Hu, X. Peng, H. Zhu, L. Zhen, J. Lin, "Learning cross-modal retrieval with noisy
       labels", CVPR, 2021.

    Examples
    --------
    >>> from cca_estimators import Contrastive
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=200, n_classes=4, n_features=(10, 12), random_state=0)
    >>> Contrastive(max_epochs=5, random_state=0).fit(X, y).score(X, y) > 0.5
    True

    Half of the labels are not known:

    >>> y[::2] = -1
    >>> Contrastive(unlabelled=-1, max_epochs=5, random_state=0).fit(X, y).classes_
    array([0, 1, 2, 3])
    """

    n_components: int = field(default=64, kw_only=False)
    dropout: float = 0.3
    loss: str = "auto"
    temperature: float = 0.1
    mixup: bool = True
    unlabelled: object = None

    _parameter_constraints = {
        **DeepEmbedding._parameter_constraints,
        "loss": [StrOptions({"auto", "infonce", "sigmoid", *_BY_LABELS})],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "mixup": ["boolean"],
        "unlabelled": "no_validation",
    }
    _auto_tower = "convolution"

    @property
    def _supervised(self):
        return getattr(self, "_by_labels_", self.loss in _BY_LABELS)

    @property
    def _takes_labels(self):
        return self.loss in ("auto", *_BY_LABELS)

    def _read_labels(self, y, views):
        by_labels = self.loss in _BY_LABELS or (self.loss == "auto" and y is not None)
        if hasattr(self, "net_") and by_labels != self._by_labels_:
            began = "with labels" if self._by_labels_ else "without labels"
            raise ValueError(f"Training began {began}: go on {began}, or fit anew.")
        self._by_labels_ = by_labels
        return super()._read_labels(y, views)

    @property
    def _missing_partners(self):
        learns_pairs = self.loss == "robust"  # which are true ones
        return "whole pairs" if learns_pairs else super()._missing_partners

    def _train(self, views, y, *options):
        if self.loss == "robust":
            ranks, n_own = _ranks.current(), len(y)
            y = ranks.own(voted_labels(*ranks.joined_views(views, y)), n_own)
        super()._train(views, y, *options)

    def _class_codes(self, y, n_samples):
        if y is None or self.unlabelled is None:
            return super()._class_codes(y, n_samples)
        y = one_dimension(y)
        check_consistent_length(np.empty(n_samples), y)
        known = has_label(y, self.unlabelled)
        if not known.any():
            raise ValueError(
                f"y has no label: all of its rows are marked by {self.unlabelled!r}. Give some, or "
                "learn from pairs, loss='infonce'."
            )
        codes = np.full(n_samples, -1)
        codes[known] = super()._class_codes(y[known], np.count_nonzero(known))
        return codes

    def _check_all_labelled(self, n_labels):
        if self.unlabelled is None or not n_labels.any():
            super()._check_all_labelled(n_labels)

    @property
    def _net_class(self):
        return MixingNet if self.mixup and not self._supervised else Net

    def _objective(self, inputs, y):
        if self._supervised:
            robust = self.loss == "robust"
            return ClassContrast(self.n_components, len(self.classes_), self.temperature, robust)
        return SigmoidContrast() if self.loss == "sigmoid" else PairContrast(self.temperature)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.loss in _BY_LABELS
        return tags
