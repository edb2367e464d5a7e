"""UGACH: codes learnt by ranking, against a generator that draws the negatives."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import nn

from cca_estimators import _ranks
from cca_estimators._compat import Interval
from cca_estimators.deep.hashing import HashingEstimator
from cca_estimators.deep.losses.hashing import (
    draw,
    policy_gradient_loss,
    ranking_hinges,
)
from cca_estimators.deep.training.docs import documented
from cca_estimators.deep.training.net import EMBEDDED_ROWS, TwoPlayerNet

__all__ = ["UGACH"]


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
        outputs = (tower(rows) for tower, rows in zip(self.generators, views.values(), strict=True))
        x, y = map(_ranks.current().joined, outputs)
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
    figures = ("generator_loss",)

    def __init__(self, *args, n_pretrain=0, n_draws=1, **kwargs):
        super().__init__(*args, **kwargs)
        self.n_pretrain = n_pretrain
        self.n_draws = n_draws
        self.neighbours = None

    def optimizer_of(self, parameters):
        """Return the optimiser of the generator."""
        fused = self.device.startswith(("cpu", "cuda"))
        return torch.optim.AdamW(parameters, lr=self.lr, fused=fused)

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train with the rows and their neighbours at hand, and let go of them."""
        self._rows = X.train.dataset
        self._first, _ = self.ranks_.place(len(self._rows))
        self.neighbours = torch.as_tensor(self.neighbours, device=self.device)
        try:
            return super().fit_loop(X, y, epochs, **fit_params)
        finally:
            self._rows = self.neighbours = None

    def phase(self):
        """Tell whether the discriminator learns alone."""
        return len(self.history) <= self.n_pretrain

    def train_step(self, batch, **fit_params):
        """Train the discriminator and, after pre-training, the generator."""
        views, rows = batch
        pretraining = self.phase()
        outputs, rows = self.joined(self.module_(**views), rows)
        positives = outputs if pretraining else self._positives(rows)
        scores = self.criterion_.scores(views)
        weights = [torch.isfinite(s).float() if pretraining else s.softmax(dim=1) for s in scores]
        generator = self.draws_.on_device
        drawn = [draw(w.detach(), self.n_draws, generator) for w in weights]
        hinges = [
            self.criterion_.hinges(outputs[i][:, None], positives[1 - i][:, None], negative)
            for i, negative in enumerate((outputs[1][drawn[0]], outputs[0][drawn[1]]))
        ]
        loss = (hinges[0].mean() + hinges[1].mean()) / 2
        self.learn(loss, batch)
        generator_loss = sum(
            policy_gradient_loss(s, d, torch.sigmoid(h))
            for s, d, h in zip(scores, drawn, hinges, strict=True)
        )
        if not pretraining:
            self.learn_opponent(generator_loss)
        return {"loss": loss, "y_pred": outputs, "generator_loss": generator_loss}

    def _positives(self, rows):
        """Return the outputs of each row itself or, for about half of them, of a neighbour."""
        neighbours = torch.as_tensor(self.neighbours, device=rows.device)[rows]
        options = {"device": rows.device, "generator": self.draws_.on_device}
        chosen = torch.randint(neighbours.shape[1], (len(rows), 1), **options)
        itself = torch.rand(len(rows), **options) < 0.5
        picked = torch.where(itself, rows, neighbours.gather(1, chosen).squeeze(1))
        return self._outputs(picked)

    def _outputs(self, rows):
        """Return the outputs of rows by their numbers, each of them from the rank that has it."""
        if self.ranks_.size == 1:
            return self.module_(**self._rows[rows][0])
        own = ((self._first <= rows) & (rows < self._first + len(self._rows))).nonzero().squeeze(1)
        outputs = self.module_(**self._rows[rows[own] - self._first][0])
        return [self.ranks_.placed(output, own, len(rows)) for output in outputs]


def neighbours(dataset, n_neighbors):
    """Return the numbers of each row's nearest other rows in each view, block against block.

    Parameters
    ----------
    dataset : RowDataset
    n_neighbors : int

    Returns
    -------
    ndarray of int, shape (n, 2 * n_neighbors)
        Of the rows of all ranks.
    """
    ranks = _ranks.current()
    first, total = ranks.place(len(dataset))
    n_neighbors = min(n_neighbors, total - 1)
    queries = list(gen_batches(len(dataset), EMBEDDED_ROWS))
    best = {}
    for start, candidates in _blocks_of_all(dataset):
        for taken in queries:
            asking = _block(dataset, taken)
            own = torch.arange(taken.start, taken.stop) + first
            for name, rows in candidates.items():
                found = _nearest(asking[name], rows, own, start, n_neighbors)
                before = best.setdefault(name, {}).get(taken.start, found)
                best[name][taken.start] = _nearer(before, found, n_neighbors)
    columns = [torch.cat([found[1] for found in parts.values()]) for parts in best.values()]
    return ranks.joined(torch.cat(columns, dim=1).numpy())


def _blocks_of_all(dataset):
    """Yield the number of the first row of each block of the rows of all ranks, and its views."""
    ranks, start = _ranks.current(), 0
    for rank, n_rows in enumerate(ranks.gathered(len(dataset))):
        for taken in gen_batches(n_rows, EMBEDDED_ROWS):
            yield (
                start + taken.start,
                ranks.of(rank, _block(dataset, taken) if rank == ranks.rank else None),
            )
        start += n_rows


def _nearest(asking, rows, own, start, n_neighbors):
    """Return distances and numbers of the nearest of a block of rows, other than one's own."""
    distances = torch.cdist(asking, rows).cpu()
    numbers = torch.arange(start, start + len(rows))
    distances[own[:, None] == numbers] = torch.inf
    nearest = distances.topk(min(n_neighbors, len(rows)), largest=False)
    return nearest.values, nearest.indices + start


def _nearer(before, found, n_neighbors):
    """Return the nearest of what was found before and now."""
    if before is found:
        return found
    distances, numbers = (torch.cat(parts, dim=1) for parts in zip(before, found, strict=True))
    order = distances.topk(min(n_neighbors, distances.shape[1]), largest=False).indices
    return distances.gather(1, order), numbers.gather(1, order)


def _block(dataset, taken):
    return _filled(dataset[np.arange(taken.start, taken.stop)][0])


def _filled(views):
    """Return the views flattened, with zeros for padding, which is NaN."""
    return {name: rows.flatten(1).float().nan_to_num(nan=0.0) for name, rows in views.items()}


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
        return SigmoidTower(super()._tower(shape), self.n_bits)

    def _objective(self, inputs, y):
        generators = [self._tower(rows.shape[1:]) for rows in inputs.values()]
        return RankingObjective(generators, self.n_bits / 8, self.temperature)

    def _net_options(self):
        return {"n_pretrain": self.n_pretrain, "n_draws": self.n_draws}

    def _before_training(self, net, dataset):
        """Give the net the neighbours of each row, nearest in one view or the other."""
        net.neighbours = neighbours(dataset, self.n_neighbors)
