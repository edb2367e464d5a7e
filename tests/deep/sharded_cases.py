"""What each of two ranks computes in the tests of sharded fits, and one process for comparison."""

import contextlib
import os
import signal
import warnings
from unittest import mock

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn

from cca_estimators import _ranks
from cca_estimators._reading.labels import strata
from cca_estimators.deep import contrastive, losses
from cca_estimators.deep.losses import contrastive as contrastive_losses
from cca_estimators.deep.training import batches, estimator, sharded
from cca_estimators.deep.training.norms import over_ranks

PROTOTYPES = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)
ADDED_UP = {
    "correlation": lambda x, y, codes: losses.correlation_loss(x, y),
    "category": lambda x, y, codes: losses.category_correlation_loss(x, y, codes, n_classes=3),
}
JOINED = {
    "triplets": losses.triplet_loss,
    "pairs": lambda x, y, codes: losses.pair_loss(x, y),
    "sigmoid": lambda x, y, codes: losses.sigmoid_pair_loss(x, y, 10.0, -10.0),
    "classes": losses.class_loss,
    "prototypes": lambda x, y, codes: losses.prototype_loss(x, y, codes, PROTOTYPES),
    "robust": lambda x, y, codes: losses.robust_prototype_loss(x, y, codes, PROTOTYPES),
    "variance": lambda x, y, codes: losses.variance_loss(x, 9.0) + losses.variance_loss(y, 9.0),
    "covariance": lambda x, y, codes: losses.covariance_loss(x) + losses.covariance_loss(y),
    "distance": lambda x, y, codes: losses.pair_distance(x, y),
    "quantisation": lambda x, y, codes: losses.quantisation_loss(torch.cat([x, y])),
    "saturation": lambda x, y, codes: losses.saturation_loss(torch.cat([x, y])),
    "code map": lambda x, y, codes: losses.code_map_loss(x + y, PROTOTYPES.sign(), codes),
}


def gradients(rank, name, x, y, codes):
    """Return the loss and its gradients in outputs of this rank, averaged as weights' are."""
    codes = torch.from_numpy(codes)
    x, y = (torch.from_numpy(view).requires_grad_() for view in (x, y))
    with sharded.together(rank is not None):
        ranks = _ranks.current()
        if name in ADDED_UP:
            loss = ADDED_UP[name](x, y, codes)
        else:
            loss = JOINED[name](*map(ranks.joined, (x, y, codes)))
        loss.backward()
    return [loss.item(), *((view.grad / ranks.size).numpy() for view in (x, y))]


def normalised(rank, norm, rows):
    """Return rows normalised in training, their gradient, the weights' and the running figures."""
    rows = torch.from_numpy(rows).requires_grad_()
    norm = over_ranks(norm.double())
    with sharded.together(rank is not None):
        ranks = _ranks.current()
        places = torch.linspace(-1, 1, rows[0].numel(), dtype=rows.dtype).view_as(rows[0])
        (norm(rows) ** 3 * places).sum().backward()
        grads = [weight.grad.clone() for weight in norm.parameters()]
        summed = [ranks.sum(grad) for grad in grads]
    running = [norm.running_mean, norm.running_var]
    figures = [part.detach().numpy() for part in (*summed, *running) if part is not None]
    return [rows.grad.numpy(), *figures]


def weight_gradients(rank, rows, large):
    """Return the gradients of weights by the rows of all ranks, and again by one's own."""
    rows = torch.from_numpy(rows)
    first, last, turned, unused = (
        nn.Parameter(torch.linspace(-1, 1, n * m, dtype=rows.dtype).view(n, m))
        for n, m in ((4, 6), (6, 2), (2, 3), (3, 3))
    )
    wide = nn.Parameter(torch.zeros(1_000_000, dtype=rows.dtype))  # takes a while to be added up
    weights = [first, last, nn.Parameter(turned.detach().T), wide, unused]

    def descend():
        apart = rows.sum() * wide.sum()  # first here, last on the way back
        outputs = (rows @ first).tanh() @ last @ weights[2].T
        (outputs.square().sum() + apart).backward()

    with mock.patch.object(sharded, "_LARGE", large), sharded.together(rank is not None):
        with _ranks.current().adding_up(weights):
            descend()
        of_all = [weight.grad.numpy().copy() for weight in weights[:4]]
        descend()  # adds to them what is one's own
    own = [weight.grad.numpy() - grad for weight, grad in zip(weights, of_all, strict=False)]
    return of_all, own, unused.grad


class JoinedBatches:
    """The batches of several ranks, one below the other: as each of them draws its own."""

    def __init__(self, sizes, codes, batch_size, generator):
        self.sizes, self.codes, self.generator = sizes, codes, generator
        self.n_batches = max(1, min(-(-sum(sizes) // batch_size), sum(sizes) // 2, *sizes))

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        state, start, parts = self.generator.get_state(), 0, []
        for rank, size in enumerate(self.sizes):
            self.generator.set_state(state)
            codes = None if self.codes is None else strata(self.codes[start : start + size])
            options = size, None, True, codes, self.generator, self.n_batches, rank
            own = batches.BatchSampler(*options)
            parts.append([rows + start for rows in own])
            start += size
        return (np.concatenate(rows) for rows in zip(*parts, strict=True))


@contextlib.contextmanager
def joined_batches(sizes):
    """Let one process draw the batches of ranks which hold so many of its rows."""

    def drawn(self, batch_size, shuffle, stratified, generator):
        codes = self.codes if stratified else None
        sampler = JoinedBatches(sizes, codes, batch_size, generator)
        return batches.InMemoryBatches(self, sampler)

    with mock.patch.object(batches.RowSubset, "joint_batches", drawn):
        yield


@contextlib.contextmanager
def in_float64():
    """Let towers, and all that they are given, be in float64."""

    def tensor(rows, name, device, padded=False, tokens=False, start=0):
        return torch.from_numpy(np.array(rows, dtype=np.float64))

    def held(self, name, rows):
        return self._tensor(name, rows[:])

    def mixed(views, shares, order):
        return contrastive_losses.mixed(views, shares.double(), order)

    with (
        mock.patch.object(nn.Module, "float", nn.Module.double),
        mock.patch.object(batches, "as_tensor", tensor),
        mock.patch.object(estimator, "as_tensor", tensor),
        mock.patch.object(batches.RowDataset, "_held", held),
        mock.patch.object(contrastive, "mixed", mixed),
    ):
        yield


def fitted(rank, method, X, y):
    """Return an estimator fitted on the rows given."""
    return method.fit(X, y)


def fitted_beside(rank, method, X, y, names, *values):
    """Return an estimator fitted with further arguments."""
    return method.fit(X, y, **dict(zip(names, values, strict=True)))


def outputs_in_float64(rank, method, X, y, X_new):
    """Return what a fit in float64 makes of new rows: embeddings, or values before rounding."""
    with in_float64():
        fit = method.fit(X, y)
        embed = getattr(fit, "decision_function", fit.transform)
        return {name: np.asarray(rows) for name, rows in embed(X_new).items()}


class AtEpoch(Callback):
    """Do something in the middle of an epoch."""

    def __init__(self, epoch, function):
        self.epoch, self.function = epoch, function

    def on_batch_end(self, net, training=False, **kwargs):
        if training and len(net.history) == self.epoch:
            self.epoch = 0
            self.function()


def killed(rank, method, X, y):
    """Fit, and let rank 1 be killed in the second epoch."""
    callbacks = [AtEpoch(2, lambda: os._exit(9))] if rank else None
    return method.set_params(callbacks=callbacks).fit(X, y)


def press_ctrl_c():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell may have ignored
    signal.raise_signal(signal.SIGINT)


def interrupted(rank, method, X, y, epoch=3):
    """Fit, and press Ctrl-C on rank 1 in some epoch; return what is there then."""
    callbacks = [AtEpoch(epoch, press_ctrl_c)] if rank else None
    method.set_params(callbacks=callbacks)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            method.fit(X, y)
        except KeyboardInterrupt:
            method.callbacks = None
            return method, [str(each.message) for each in told]
    return None
