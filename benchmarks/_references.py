"""What the methods of the package are to be compared with: estimators that owe them nothing.

Each takes and gives views as the package does, so that the same scorer and search serve all.
"""

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from torch import nn
from torch.nn import functional as F

from cca_estimators import Views


def flat(rows):
    """Return the rows as one matrix, steps side by side."""
    return np.asarray(rows).reshape(len(rows), -1)


def logistic():
    return LogisticRegression(max_iter=1000)


def support_vectors():
    """Return an SVM with probabilities by a sigmoid, fitted on five folds (Platt)."""
    return CalibratedClassifierCV(SVC(), ensemble=False)


def discriminants():
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


def averaged():
    """Return the mean of the probabilities of the three."""
    named = [("logistic", logistic()), ("svm", support_vectors()), ("lda", discriminants())]
    return VotingClassifier(named, voting="soft")


class Posteriors(BaseEstimator):
    """Class probabilities of a classifier per view, as they are, for the embedding.

    Parameters
    ----------
    classifier : estimator with predict_proba
    """

    def __init__(self, classifier):
        self.classifier = classifier

    def fit(self, X, y):
        self.fitted_ = {name: clone(self.classifier).fit(flat(X[name]), y) for name in X}
        return self

    def transform(self, X):
        return Views({name: self.fitted_[name].predict_proba(flat(X[name])) for name in X})


class SharedClassifier(BaseEstimator):
    """Two perceptrons to a common space, and one linear classifier for both, by cross entropy.

    The embedding are the probabilities. A tower is a layer of `n_hidden` units with batch
    normalisation, ReLU and dropout, and a linear one to `n_outputs` with ReLU. Adam, rows in
    batches of 128.

    Parameters
    ----------
    n_hidden, n_outputs : int
    dropout, learning_rate : float
    max_epochs : int
    random_state : int
    """

    def __init__(
        self,
        n_hidden=512,
        n_outputs=256,
        dropout=0.5,
        learning_rate=1e-3,
        max_epochs=50,
        random_state=0,
    ):
        self.n_hidden = n_hidden
        self.n_outputs = n_outputs
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.max_epochs = max_epochs
        self.random_state = random_state

    def fit(self, X, y):
        classes, codes = np.unique(y, return_inverse=True)
        with torch.random.fork_rng():
            torch.manual_seed(self.random_state)
            self.towers_ = self._towers({name: flat(X[name]).shape[1] for name in X})
            self.classifier_ = nn.Linear(self.n_outputs, len(classes), bias=self._bias)
            self._train([tensor(X[name]) for name in X], torch.as_tensor(codes))
        return self

    def transform(self, X):
        with torch.no_grad():
            outputs = {name: self.towers_[name](tensor(X[name])) for name in X}
            return Views({name: self._embedding(rows).numpy() for name, rows in outputs.items()})

    _bias = True

    def _towers(self, widths):
        return nn.ModuleDict({name: self._tower(width) for name, width in widths.items()})

    def _tower(self, width):
        return nn.Sequential(
            nn.Linear(width, self.n_hidden),
            nn.BatchNorm1d(self.n_hidden),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.n_hidden, self.n_outputs),
            nn.ReLU(),
        )

    def _train(self, views, codes):
        modules = nn.ModuleList([self.towers_, self.classifier_]).train()
        adam = torch.optim.Adam(modules.parameters(), self.learning_rate, weight_decay=1e-4)
        for _ in range(self.max_epochs):
            for batch in torch.randperm(len(codes)).split(128):
                towers = self.towers_.values()
                outputs = [net(rows[batch]) for net, rows in zip(towers, views, strict=True)]
                loss = self._loss(*outputs, codes[batch])
                adam.zero_grad()
                loss.backward()
                adam.step()
        modules.eval()

    def _loss(self, u, v, codes):
        return sum(F.cross_entropy(self.classifier_(rows), codes) for rows in (u, v))

    def _embedding(self, outputs):
        return self.classifier_(outputs).softmax(dim=1)


class DSCMR(SharedClassifier):
    """The losses of deep supervised cross-modal retrieval, on the towers of `SharedClassifier`.

    With outputs u and v, a last layer that both views share, and a classifier P without bias: the
    distance ``||P'u - one_hot(y)||`` of both, plus `pair_weight` times the likelihood
    ``log(1 + e^g) - s g`` of all combinations of two rows within and across the views, g half their
    cosine and s whether they share a class, plus 0.1 times the distance ``||u - v||`` of the
    partners; means over rows and combinations. The embedding are the outputs, by their cosine.

    L. Zhen, P. Hu, X. Wang, D. Peng, "Deep supervised cross-modal retrieval", CVPR, 2019. Theirs
    trains pretrained networks for 500 epochs at a rate of 1e-4.
    """

    def __init__(
        self,
        n_hidden=512,
        n_outputs=256,
        dropout=0.5,
        learning_rate=1e-3,
        max_epochs=50,
        pair_weight=1.0,
        random_state=0,
    ):
        super().__init__(n_hidden, n_outputs, dropout, learning_rate, max_epochs, random_state)
        self.pair_weight = pair_weight

    _bias = False

    def _towers(self, widths):
        shared = nn.Linear(self.n_outputs, self.n_outputs)
        return nn.ModuleDict(
            {name: nn.Sequential(self._tower(width), shared) for name, width in widths.items()}
        )

    def _loss(self, u, v, codes):
        targets = F.one_hot(codes, self.classifier_.out_features)
        of_labels = sum((self.classifier_(rows) - targets).norm(dim=1).mean() for rows in (u, v))
        same = (codes[:, None] == codes).float()
        of_pairs = 0.0
        for first, second in ((u, v), (u, u), (v, v)):
            g = F.normalize(first) @ F.normalize(second).T / 2
            of_pairs = of_pairs + (F.softplus(g) - same * g).mean()
        return of_labels + self.pair_weight * of_pairs + 0.1 * (u - v).norm(dim=1).mean()

    def _embedding(self, outputs):
        return outputs


def tensor(rows):
    return torch.as_tensor(flat(rows), dtype=torch.float32)


class ITQ(BaseEstimator):
    """Signs of the rotated variates of an estimator: iterative quantization.

    The rotation brings the variates of both views as near to the corners of a cube as it can: it
    and the corners are solved for in turns. Where there are more bits than variates, it is one into
    as many dimensions as bits.

    Y. Gong, S. Lazebnik, A. Gordo, F. Perronnin, "Iterative quantization", IEEE TPAMI 35(12), 2013.

    Parameters
    ----------
    estimator : estimator
        Of its variates the leading ones are taken, as many as bits.
    n_bits : int
    n_iter : int
    random_state : int
        Of the first rotation.
    """

    metric = "hamming"

    def __init__(self, estimator, n_bits=64, n_iter=50, random_state=0):
        self.estimator = estimator
        self.n_bits = n_bits
        self.n_iter = n_iter
        self.random_state = random_state

    def fit(self, X, y=None):
        self.fitted_ = clone(self.estimator).fit(X, y)
        self.n_kept_ = min(self.n_bits, self._variates(X)[0].shape[1])
        rows = np.vstack([rows[:, : self.n_kept_] for rows in self._variates(X)])
        draws = np.random.default_rng(self.random_state).standard_normal((self.n_bits,) * 2)
        rotation = np.linalg.qr(draws)[0][: self.n_kept_]
        for _ in range(self.n_iter):
            rotation = nearest_rotation(rows.T @ np.sign(rows @ rotation))
        self.rotation_ = rotation
        return self

    def transform(self, X):
        variates = zip(X, self._variates(X), strict=True)
        kept = {name: rows[:, : self.n_kept_] @ self.rotation_ for name, rows in variates}
        return Views({name: (rows > 0).astype(np.uint8) for name, rows in kept.items()})

    def _variates(self, X):
        return [np.asarray(rows, float) for rows in self.fitted_.transform(X).values()]


def nearest_rotation(products):
    """Return the matrix with orthonormal rows, or columns, nearest to the one given."""
    left, _, right = np.linalg.svd(products, full_matrices=False)
    return left @ right
