"""Callbacks that watch over training: weights to return to, validation by MAP, a progress bar."""

import copy

import numpy as np
from skorch.callbacks import Callback
from skorch.history import History
from tqdm.auto import tqdm

from cca_estimators import _ranks
from cca_estimators._reading.labels import has_label
from cca_estimators.deep.training import checkpoints
from cca_estimators.metrics import mean_average_precision

_NO_CLASS = -1


class LastEpoch(Callback):
    """Keep the training as it was after its last whole epoch, and in a file if there is a path.

    Comes after the callbacks that change what the next epoch does.

    Parameters
    ----------
    path : Path or None
    """

    def __init__(self, path=None):
        self.path = path
        self.state = None

    def find(self, net):
        """Read the file, if there is one, before other callbacks begin, which look at the net."""
        stored = None if self.path is None else checkpoints.read(self.path)
        self.stored = net.ranks_.of_first(stored)
        if self.stored is not None:
            net.history = History(self.stored["history"])
            net.load_training_state(self.stored["training"])

    def on_train_begin(self, net, **kwargs):
        """Go on from the file, after schedules have begun anew, by a step of their own."""
        if self.stored is None:
            return
        net.load_training_state(self.stored["training"])
        for callback, state in zip(_stateful(net), self.stored["callbacks"], strict=True):
            checkpoints.go_on_from(callback, state)
        self.on_epoch_end(net)

    def on_epoch_end(self, net, **kwargs):
        """Keep the state, and write it."""
        self.state = copy.deepcopy(net.training_state())
        self.n_epochs = len(net.history)
        if self.path is not None:
            states = [checkpoints.state_of(callback) for callback in _stateful(net)]
            known = checkpoints.plain({"history": list(net.history), "callbacks": states})
            checkpoints.write(self.path, {"training": self.state, **known})

    def restore(self, net):
        """Return the net to the last whole epoch, and drop the copy; False if there is none."""
        n_epochs = net.ranks_.of_first(0 if self.state is None else self.n_epochs)
        if not n_epochs:
            return False
        net.load_training_state(net.ranks_.of_first(self.state))
        net.history[:] = net.ranks_.of_first(list(net.history)[:n_epochs])
        self.state = None
        return True


def _stateful(net):
    return checkpoints.stateful(callback for _, callback in net.callbacks_)


class ValidationMap(Callback):
    """Record the MAP of the rows left out, averaged over both directions, as "valid_map".

    And whether it is the best so far as "valid_map_best", by which `Checkpoint` of skorch goes.

    Parameters
    ----------
    embed : callable
        ``embed(net, train, valid)`` returns the embeddings of both views of the rows left out, of
        all ranks.
    metric : {"cosine", "hamming"}
    """

    def __init__(self, embed, metric):
        self.embed = embed
        self.metric = metric

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Embed the rows left out and rank those that have a label."""
        with _ranks.among(net.ranks_):
            x, y = self.embed(net, dataset_train, dataset_valid)
        codes = net.ranks_.joined(dataset_valid.codes)
        known = has_label(codes, _NO_CLASS)
        x, y, codes = x[known], y[known], codes[known]
        maps = (
            mean_average_precision(*pair, codes, codes, metric=self.metric)
            for pair in ((x, y), (y, x))
        )
        figure = float(np.mean(list(maps)))
        before = [epoch["valid_map"] for epoch in net.history[:-1] if "valid_map" in epoch]
        net.history.record("valid_map", figure)
        net.history.record("valid_map_best", figure > max(before, default=-1.0))


class FigureLines(Callback):
    """Print the figures of each epoch in a line of its own, as for the log of a job."""

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Print a line."""
        last = net.history[-1]
        figures = (f"{key} {value:.4g}" for key, value in _figures(net).items())
        of_best = "*" if last.get("valid_map_best") else ""
        epoch = f"epoch {len(net.history)}/{net.last_epoch_}"
        print(epoch, *figures, f"{last['dur']:.2g} s {of_best}".strip(), sep="  ", flush=True)


class ProgressBar(Callback):
    """Show a bar over the epochs with the loss and, where there are any, validation figures."""

    def on_train_begin(self, net, X=None, **kwargs):
        """Open the bar."""
        self.bar_ = tqdm(total=X.last_epoch, initial=len(net.history), unit="epoch")

    def on_epoch_end(self, net, **kwargs):
        """Move the bar on."""
        self.bar_.set_postfix({key: f"{value:.4g}" for key, value in _figures(net).items()})
        self.bar_.update()

    def on_train_end(self, net, **kwargs):
        """Close the bar."""
        vars(self).pop("bar_").close()


def _figures(net):
    """Return the loss of the last epoch and, where there are any, validation figures."""
    last = net.history[-1]
    return {key: last[key] for key in ("train_loss", "valid_loss", "valid_map") if key in last}
