"""Seconds of a training epoch of CDCCA, against a raw PyTorch loop that does the same steps.

The peer is a default skorch net: dict input through a DataLoader. Other libraries have deep CCA of
pairs, whose fit of a few epochs is compared with ours of the same networks and batches: mvlearn
trains in double precision, cca-zoo by Lightning, and both fit linear CCA afterwards, as ours does.
Their losses are sums of squares or roots of eigenvalues, of the same cost as the sum of singular
values, so that it is their speed alone that can be compared.
"""

import contextlib
import logging
import tempfile
import warnings
from functools import partial

import numpy as np
import torch
from _common import compare, write
from _peers import patch_mvlearn
from skorch import NeuralNet

from cca_estimators import CDCCA, DCCA
from cca_estimators.datasets import make_views
from cca_estimators.deep.correlation import CategoryObjective, PairObjective
from cca_estimators.deep.training.net import Towers

CASES = {
    "2 x 1024 units, batches of 800": ((1024, 1024), 800),
    "128 units, batches of 128": ((128,), 128),
}
N_ROWS, N_CLASSES, WIDTHS = 8_000, 10, (128, 256)
N_EPOCHS = 3


def new_towers(method, X):
    return Towers({name: method._tower(rows.shape[1:]) for name, rows in X.items()})


def raw_loop(towers, X, y, objective, batch_size):
    """Train for one epoch: select a batch, forward, loss, backward, step."""
    optimiser = torch.optim.AdamW(towers.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    views = {name: torch.from_numpy(rows) for name, rows in X.items()}
    codes = torch.from_numpy(y)

    def epoch():
        towers.train()
        for index in torch.randperm(len(codes)).tensor_split(-(-len(codes) // batch_size)):
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
        criterion=CategoryObjective(0.2, 1e-3, N_CLASSES),
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
    from cca_estimators.deep.training.batches import RowDataset, RowSubset
    from cca_estimators.deep.training.net import TrainingSet

    method.classes_ = np.unique(y)
    net = method._new_net(dict(X), y, seed=0, device="cpu")
    rows = RowSubset(RowDataset(dict(X), y, "cpu"), np.arange(len(y)))
    return lambda: net.partial_fit(TrainingSet(rows, None, len(net.history) + 1))


def raw_fit(method, X, y):
    epoch = raw_loop(new_towers(method, X), X, y, PairObjective(1e-3), method.batch_size)
    for _ in range(N_EPOCHS):
        epoch()


def mvlearn(method, X, y):
    """Fit mvlearn's deep CCA, which writes a file to the working directory."""
    from mvlearn.embed import DCCA

    patch_mvlearn(DCCA)
    torch.symeig = lambda matrix, eigenvectors: torch.linalg.eigh(matrix)  # since removed
    layers = [*method.hidden_layer_sizes, method.n_components]
    model = DCCA(
        *WIDTHS,
        n_components=method.n_components,
        layer_sizes1=layers,
        layer_sizes2=layers,
        epoch_num=N_EPOCHS,
        batch_size=method.batch_size,
    )
    model.tolerance = -np.inf  # never stop early
    quiet = warnings.catch_warnings(action="ignore")  # that it has not converged
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), quiet:
        model.fit(list(X.values()))


def cca_zoo(method, X, y):
    """Fit cca-zoo's deep CCA, and linear CCA on its outputs."""
    import lightning.pytorch as lightning
    from cca_zoo.deep import DCCA, MultiviewDataset
    from cca_zoo.linear import CCA
    from torch.utils.data import DataLoader

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    rows, towers = MultiviewDataset(list(X.values())), list(new_towers(method, X).towers)
    model = DCCA(method.n_components, towers, reg_covar=1e-3)
    with warnings.catch_warnings(action="ignore"):  # advice on worker processes
        trainer = lightning.Trainer(
            max_epochs=N_EPOCHS,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, DataLoader(rows, method.batch_size, shuffle=True))
        batches = trainer.predict(model, DataLoader(rows, method.batch_size))
    outputs = [torch.cat(view).numpy() for view in zip(*batches, strict=True)]
    CCA(method.n_components).fit(outputs)


def fits_of_deep_cca(title, sizes, batch_size, n_threads):
    X, y = make_data()
    method = DCCA(hidden_layer_sizes=sizes, batch_size=batch_size, batch_norm=False)
    method.set_params(max_epochs=N_EPOCHS)
    candidates = {
        "raw PyTorch loop, without linear CCA": partial(raw_fit, method, X, y),
        "ours": partial(method.fit, X),
        "mvlearn DCCA (patched, float64)": partial(mvlearn, method, X, y),
        "cca-zoo DCCA (Lightning)": partial(cca_zoo, method, X, y),
    }
    heading = f"A fit of DCCA, {N_EPOCHS} epochs, {N_ROWS} x {WIDTHS}, {title}"
    peers = ("mvlearn", "cca-zoo", "lightning")
    return compare(heading, candidates, repeats=3, n_threads=n_threads, peers=peers)


def make_data():
    X, y = make_views(N_ROWS, N_CLASSES, WIDTHS, random_state=0)
    return {name: rows.astype(np.float32) for name, rows in X.items()}, y


def against_peers(title, sizes, batch_size, n_threads):
    X, y = make_data()
    method = CDCCA(10, hidden_layer_sizes=sizes, batch_size=batch_size, batch_norm=False)
    objective = CategoryObjective(0.2, 1e-3, N_CLASSES)
    candidates = {
        "raw PyTorch loop": raw_loop(new_towers(method, X), X, y, objective, batch_size),
        "ours": ours(method, X, y),
        "skorch net with its defaults": default_skorch(method, X, y),
    }
    heading = f"An epoch of C-DCCA, {N_ROWS} x {WIDTHS}, {title}"
    return compare(heading, candidates, repeats=7, patience=60, n_threads=n_threads)


def tables():
    return [
        compared(title, *case, n_threads)
        for compared in (against_peers, fits_of_deep_cca)
        for title, case in CASES.items()
        for n_threads in (1, None)
    ]


if __name__ == "__main__":
    write("epoch", tables())
