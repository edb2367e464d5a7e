"""Seconds of a training epoch of CDCCA, against a raw PyTorch loop that does the same steps.

The peer is a default skorch net: dict input through a DataLoader.
"""

from functools import partial

import numpy as np
import torch
from _common import compare, write
from skorch import NeuralNet

from cca_estimators import CDCCA
from cca_estimators.datasets import make_views
from cca_estimators.deep.correlation import CategoryObjective
from cca_estimators.deep.net import Towers

CASES = {
    "2 x 1024 units, batches of 800": ((1024, 1024), 800),
    "128 units, batches of 128": ((128,), 128),
}
N_ROWS, WIDTHS = 8_000, (128, 256)


def new_towers(method, X):
    return Towers({name: method._tower(rows.shape[1:]) for name, rows in X.items()})


def raw_loop(method, X, y):
    """Train for one epoch: select a batch, forward, loss, backward, step."""
    towers, objective = new_towers(method, X), CategoryObjective(0.2, 1e-3)
    optimiser = torch.optim.AdamW(towers.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    views = {name: torch.from_numpy(rows) for name, rows in X.items()}
    codes = torch.from_numpy(y)

    def epoch():
        towers.train()
        for index in torch.randperm(len(codes)).tensor_split(-(-len(codes) // method.batch_size)):
            batch = {name: rows.index_select(0, index) for name, rows in views.items()}
            loss = objective(towers(**batch), codes.index_select(0, index), batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()

    return epoch


class _DefaultNet(NeuralNet):
    def get_loss(self, y_pred, y_true, X=None, training=False):
        return self.criterion_(y_pred, y_true, X)


def default_skorch(method, X, y):
    """Train for one epoch by a skorch net as it comes."""
    net = _DefaultNet(
        new_towers(method, X),
        criterion=CategoryObjective(0.2, 1e-3),
        optimizer=torch.optim.AdamW,
        lr=1e-3,
        batch_size=method.batch_size,
        max_epochs=1,
        train_split=None,
        iterator_train__shuffle=True,
        verbose=0,
    ).initialize()
    return partial(net.partial_fit, dict(X), y)


def ours(method, X, y):
    """Train for one epoch by the net that the estimator holds."""
    from cca_estimators.deep.batches import RowDataset, RowSubset
    from cca_estimators.deep.net import TrainingSet

    net = method._new_net(dict(X), y, seed=0, device="cpu")
    rows = RowSubset(RowDataset(dict(X), y, "cpu"), np.arange(len(y)))
    return lambda: net.partial_fit(TrainingSet(rows, None, len(net.history) + 1))


def against_peers(title, sizes, batch_size, n_threads):
    X, y = make_views(N_ROWS, 10, WIDTHS, random_state=0)
    X = {name: rows.astype(np.float32) for name, rows in X.items()}
    method = CDCCA(hidden_layer_sizes=sizes, batch_size=batch_size, batch_norm=False)
    candidates = {
        "raw PyTorch loop": raw_loop(method, X, y),
        "ours": ours(method, X, y),
        "skorch net with its defaults": default_skorch(method, X, y),
    }
    heading = f"An epoch of C-DCCA, {N_ROWS} x {WIDTHS}, {title}"
    return compare(heading, candidates, repeats=7, patience=60, n_threads=n_threads)


def tables():
    return [
        against_peers(title, *case, n_threads)
        for title, case in CASES.items()
        for n_threads in (1, None)
    ]


if __name__ == "__main__":
    write("epoch", tables())
