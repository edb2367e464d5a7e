"""The skorch net that deep estimators hold, and the towers in it."""

import math
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch import nn

from cca_estimators import _ranks
from cca_estimators.deep.towers import Dropout
from cca_estimators.deep.training.at_rest import at_rest
from cca_estimators.deep.training.batches import InMemoryBatches, RowSubset
from cca_estimators.deep.training.captured import CapturedStep, CudaGraph
from cca_estimators.deep.training.draws import Draws, draws_by_itself, global_generators
from cca_estimators.deep.training.norms import in_step

EMBEDDED_ROWS, _EMBEDDED_BYTES = 4096, 2**25
_PRODUCT_ROWS = 64
_SEEN_BY_BATCH = ("on_batch_begin", "on_batch_end", "on_grad_computed")


class Towers(nn.Module):
    """One network per view.

    Parameters
    ----------
    towers : dict of nn.Module
        Networks by view name, each from a tensor of rows to a tensor (n, n_outputs).
    """

    def __init__(self, towers):
        super().__init__()
        self.names = list(towers)
        self.towers = nn.ModuleList(towers.values())

    def tower(self, name):
        """Return the network of a view."""
        return self.towers[self.names.index(name)]

    def forward(self, **views):
        """Return the outputs of all views, in the order of the names."""
        return tuple(in_step(self.towers, [views[name] for name in self.names]))


class TrainingSet(NamedTuple):
    """What a net trains on, and until which epoch of its history."""

    train: RowSubset
    valid: RowSubset | None
    last_epoch: int


class Net(NeuralNet):
    """skorch net which trains on a `TrainingSet`, seeded epoch by epoch.

    An epoch depends on the seed, its number, the weights and the state of the optimiser alone, so
    training that is resumed from a checkpoint of these equals training that was never interrupted.

    Parameters
    ----------
    module : Towers
    seed : int
    stratified : bool
        Whether batches hold the classes in their proportions.
    **kwargs
        As for :class:`skorch.NeuralNet`.

    Attributes
    ----------
    figures : tuple of str
        What `train_step` returns beside the loss, as tensors of one number, for the history.
    ranks_ : Alone
        Those that train the net together, while they do.
    """

    figures = ()
    captured_ = None
    ranks_ = _ranks.ALONE

    def __init__(self, module, *, seed, stratified, **kwargs):
        super().__init__(module, train_split=None, **kwargs)
        self.seed = seed
        self.stratified = stratified

    def get_split_datasets(self, X, y=None, **fit_params):
        """Return the rows to train on and those to validate on."""
        return X.train, X.valid

    def get_iterator(self, dataset, training=False):
        """Return the batches of some rows."""
        generator = self.draws_.on_host if training else None
        stratified = training and self.stratified
        return dataset.joint_batches(self.batch_size, training, stratified, generator)

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Run the epochs that are left: fewer than `max_epochs` after loading a checkpoint.

        An interrupt, which skorch ends training by without a word, is kept as `interrupt_`; that
        of a callback for early stopping is none.
        """
        self.last_epoch_ = X.last_epoch
        self.interrupt_ = None
        watched = any(_sees_batches(callback) for _, callback in self.callbacks_)
        self.watched_ = any(self.ranks_.gathered(watched))
        epochs = max(0, X.last_epoch - len(self.history))
        with self._drawing():
            try:
                with self.ranks_.stage():
                    return super().fit_loop(X, y, epochs=epochs, **fit_params)
            except KeyboardInterrupt as interrupt:
                if not any(_has_stopped(callback) for _, callback in self.callbacks_):
                    self.interrupt_ = interrupt
                raise

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run the batches of an epoch.

        What they tell stays on the device until the last one is under way, and is read at once,
        unless a callback sees each batch. A loss that is not finite is found then.
        """
        if iterator is None:
            return
        self._set_training(training)
        names = (f"{prefix}_loss", *(self.figures if training else ()))
        if self.watched_:
            watched = partial(self._watched_step, step_fn, names, training)
            super().run_single_epoch(iterator, training, prefix, watched, **fit_params)
            return
        graphed = training and self._graph is not None and isinstance(iterator, InMemoryBatches)
        batches = self._captured if graphed else self._batches
        told, sizes = zip(*batches(iterator, step_fn), strict=True)
        sizes = np.sum(self.ranks_.gathered(sizes), axis=0).tolist()
        for figures, size in zip(torch.stack(told).tolist(), sizes, strict=True):
            self.history.new_batch()
            self._record(names, figures, training)
            self.history.record_batch(f"{prefix}_batch_size", size)
        self.history.record(f"{prefix}_batch_count", len(sizes))

    def _batches(self, iterator, step_fn):
        """Yield the figures of each batch, on the device, and its number of rows."""
        for batch in iterator:
            yield self._told(step_fn(batch)), len(batch[1])

    def _captured(self, iterator, step_fn):
        """Yield as `_batches` does, by a step that is recorded and replayed."""
        phase = self.phase()
        if self.captured_ is None or self.captured_[0] != phase:
            self.captured_ = (
                phase,
                CapturedStep(
                    lambda rows: self._told(step_fn(iterator.subset.dataset[rows])),
                    self.optimizers(),
                    self._graph(self.device, [self.draws_.on_device]),
                ),
            )
        step = self.captured_[1]
        step.begin_epoch()
        for rows in iterator.rows():
            yield step(rows), len(rows)

    def _told(self, step):
        """Return the loss of a step, and its further figures, as one tensor."""
        return torch.stack(
            [step[name].detach() for name in ("loss", *self.figures) if name in step]
        )

    def _watched_step(self, step_fn, names, training, batch, **fit_params):
        step = step_fn(batch, **fit_params)
        self._record(names, self._told(step).tolist(), training)
        return step

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        """Record the size of the batch of all ranks."""
        super().on_batch_end(net, batch=batch, training=training, **kwargs)
        size = sum(self.ranks_.gathered(len(batch[1])))
        self.history.record_batch(f"{'train' if training else 'valid'}_batch_size", size)

    def _record(self, names, figures, training):
        """Write the figures of a batch to the history; in training the loss must be finite."""
        loss = figures[0]
        if training and not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} in epoch {len(self.history)}, batch "
                f"{len(self.history[-1]['batches'])}. Try a lower learning_rate, standardised "
                "inputs (PerView(StandardScaler())), or a larger batch_size."
            )
        for name, figure in zip(names, figures, strict=True):
            self.history.record_batch(name, figure)

    @property
    def _graph(self):
        """What records a step, where there is such a thing."""
        return CudaGraph if self.device.startswith("cuda") and self.ranks_.size == 1 else None

    def phase(self):
        """Return what a step depends on beside its batch; one that changes is recorded anew."""

    def train_step(self, batch, **fit_params):
        """Learn from a batch; return its loss, its outputs, and `figures`."""
        views, codes = batch
        outputs, codes = self.joined(self.module_(**views), codes)
        loss = self.get_loss(outputs, codes, X=views, training=True)
        self.learn(loss, batch)
        return {"loss": loss, "y_pred": outputs}

    def validation_step(self, batch, **fit_params):
        """Return the loss and the outputs of a batch that is not learnt from."""
        views, codes = batch
        with torch.no_grad():
            outputs, codes = self.joined(self.module_(**views), codes)
            loss = self.get_loss(outputs, codes, X=views, training=False)
        return {"loss": loss, "y_pred": outputs}

    def joined(self, outputs, codes):
        """Return the outputs and codes of all ranks, unless the objective adds up by itself."""
        if self.ranks_.size == 1 or getattr(self.criterion_, "adds_up", False):
            return outputs, codes
        rows = self.ranks_.joined(torch.cat(outputs, dim=1))
        widths = [view.shape[1] for view in outputs]
        return rows.split(widths, dim=1), self.ranks_.joined(codes)

    def learn(self, loss, batch):
        """Take a step of the first optimiser; callbacks see the gradients before it."""
        self._backward(loss, self.optimizer_)
        if self.watched_:
            learnt = list(self.get_all_learnable_params())
            self.notify("on_grad_computed", named_parameters=learnt, batch=batch, training=True)
        self.optimizer_.step()

    def _backward(self, loss, optimizer):
        """Set the gradients that an optimiser goes by: those of the loss of all ranks.

        They are averaged: every rank has computed the loss of all, and gradients of it by its rows.
        """
        optimizer.zero_grad()
        if self.ranks_.size == 1:
            loss.backward()
            return
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        with self.ranks_.adding_up(weights):
            (loss / self.ranks_.size).backward()

    def notify(self, method_name, **kwargs):
        """Call the callbacks, each of which is by itself: what it fits concerns no other rank."""
        with _ranks.among(_ranks.ALONE):
            super().notify(method_name, **kwargs)

    @contextmanager
    def _drawing(self):
        """Have all draws come from generators of this fit, or, where a layer has none, alone."""
        self.draws_ = Draws(self.device)
        parts = [*self.module_.modules(), *self.criterion_.modules()]
        drawing = [part for part in parts if hasattr(part, "generator")]
        self.draws_globally_ = any(draws_by_itself(part) for part in (self, *parts))
        alone = global_generators(self.seed, self.device) if self.draws_globally_ else nullcontext()
        for part in drawing:
            of_rank = isinstance(part, Dropout)
            part.generator = self.draws_.of_rank if of_rank else self.draws_.on_device
        try:
            with alone:
                yield
        finally:
            self.draws_ = self.captured_ = None
            for part in drawing:
                part.generator = None

    def on_epoch_begin(self, net, **kwargs):
        """Seed the epoch."""
        super().on_epoch_begin(net, **kwargs)
        self.draws_.seed(self.seed + len(self.history))
        if self.draws_globally_:
            torch.manual_seed(self.seed + len(self.history))

    def training_state(self):
        """Return what training goes on from, beside the history and the seed."""
        return {name: part.state_dict() for name, part in self._trained_parts().items()}

    def load_training_state(self, state):
        """Go on from a training state."""
        for name, part in self._trained_parts().items():
            part.load_state_dict(state[name])

    def _trained_parts(self):
        optimizers = {f"optimizer {i}": each for i, each in enumerate(self.optimizers())}
        return {"module": self.module_, "criterion": self.criterion_, **optimizers}

    def go_on_with(self, seed, lr, weight_decay, batch_size):
        """Set what may change before training goes on."""
        for optimizer in self.optimizers():
            for group in optimizer.param_groups:
                group["initial_lr"] = group.get("initial_lr", group["lr"]) * (lr / self.lr)
                group["lr"] *= lr / self.lr
        for group in self.optimizer_.param_groups:
            group["weight_decay"] = weight_decay
        self.seed, self.lr, self.batch_size = seed, lr, batch_size

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the loss of a batch."""
        return self.criterion_(y_pred, y_true, X)

    def move(self, device):
        """Go on on another device."""
        self.device = device
        for part in (self.module_, self.criterion_):
            part.to(device)
        for optimizer in self.optimizers():
            optimizer.load_state_dict(optimizer.state_dict())  # which follows the parameters
        return self

    def optimizers(self):
        """Return the optimisers of a step of training."""
        return [self.optimizer_]

    def __getstate__(self):
        of_a_fit = {"draws_": None, "captured_": None, "ranks_": _ranks.ALONE}
        return at_rest({**vars(self), **of_a_fit, "device": "cpu"})

    def __setstate__(self, state):
        vars(self).update(state)

    @torch.inference_mode()
    def outputs(self, subset):
        """Return the outputs for some rows as arrays (n, n_outputs) by view name."""
        self._set_training(False)
        at_once = embedded_rows(subset.dataset.views.values())
        batches = [self.module_(**views) for views, _ in subset.batches(at_once)]
        joined = (torch.cat(view).numpy(force=True) for view in zip(*batches, strict=True))
        return dict(zip(self.module_.names, joined, strict=True))

    @torch.inference_mode()
    def tower_outputs(self, name, batches):
        """Return the outputs of one view as an array, for an iterable of tensors of its rows."""
        tower = self.module_.tower(name).eval()
        return np.concatenate(
            [tower(_filled_up(rows))[: len(rows)].numpy(force=True) for rows in batches]
        )


class TwoPlayerNet(Net):
    """Net whose criterion holds what plays against the towers, with an optimiser of its own.

    Subclasses name it by `opponent` and write `train_step`, by `learn` for the towers; its learning
    rate is `opponent_speed` times theirs. The
    optimiser is `opponent_optimizer_`, which a checkpoint of skorch saves if it is given
    ``f_opponent_optimizer``.
    """

    opponent = None
    opponent_speed = 1.0

    def get_all_learnable_params(self):
        """Yield the parameters that the first optimiser trains: all but the opponent's."""
        for name, parameter in super().get_all_learnable_params():
            if not name.startswith(self.opponent):
                yield name, parameter

    def initialize_optimizer(self, triggered_directly=None):
        """Set up both optimisers."""
        super().initialize_optimizer(triggered_directly)
        opponent = getattr(self.criterion_, self.opponent)
        self.opponent_optimizer_ = self.optimizer_of(opponent.parameters())
        return self

    def optimizers(self):
        """Return the optimisers of a step of training."""
        return [*super().optimizers(), self.opponent_optimizer_]

    def optimizer_of(self, parameters):
        """Return the optimiser of the opponent."""
        fused = self.device.startswith(("cpu", "cuda"))
        lr = self.opponent_speed * self.lr
        return torch.optim.Adam(parameters, lr=lr, betas=(0.5, 0.9), fused=fused)

    def learn_opponent(self, loss):
        """Take a step of the opponent's optimiser."""
        self._backward(loss, self.opponent_optimizer_)
        self.opponent_optimizer_.step()


def _sees_batches(callback):
    """Tell whether a callback is called for single batches or gradients."""
    if isinstance(callback, LRScheduler):
        return callback.step_every == "batch"
    kind = type(callback)
    return any(getattr(kind, name) is not getattr(Callback, name) for name in _SEEN_BY_BATCH)


def _has_stopped(callback):
    return isinstance(callback, EarlyStopping) and callback.misses_ == callback.patience


def embedded_rows(views):
    """Return how many rows to embed at once, fewer where a row of a view is large.

    Parameters
    ----------
    views : iterable of array-like, shape (n, ...)
    """
    largest = max(4 * math.prod(rows.shape[1:]) for rows in views)
    return max(1, min(EMBEDDED_ROWS, _EMBEDDED_BYTES // largest))


def _filled_up(rows):
    """Repeat the last row up to a multiple of the rows that a matrix product takes at once.

    A product rounds the rows left over differently: what a row gives would depend on its batch.
    """
    missing = -len(rows) % _PRODUCT_ROWS
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows
