"""Callbacks that watch over training: weights to return to, validation by MAP, a progress bar."""

import copy

import numpy as np
from skorch.callbacks import Callback, EarlyStopping
from skorch.history import History
from tqdm.auto import tqdm

from cca_estimators._reading.labels import has_label
from cca_estimators.deep.training import checkpoints
from cca_estimators.metrics import mean_average_precision

_NO_CLASS = -1


class StopEarly(EarlyStopping):
    """Early stopping which can go on from where it was, and tells that it was it that stopped."""

    def state(self):
        """Return what it knows."""
        return {name: getattr(self, name) for name in self._known}

    def go_on_from(self, state):
        """Go on from what it knew."""
        vars(self).update(state)

    _known = ("misses_", "dynamic_threshold_", "best_model_weights_", "best_epoch_")


class LastEpoch(Callback):
    """Keep the training as it was after its last whole epoch, and in a file if there is a path.

    Parameters
    ----------
    stop : StopEarly or None
        Comes before it among the callbacks.
    path : Path or None
    """

    def __init__(self, stop=None, path=None):
        self.stop = stop
        self.path = path
        self.state = None

    def on_train_begin(self, net, **kwargs):
        """Go on from the file, if there is one."""
        stored = None if self.path is None else checkpoints.read(self.path)
        if stored is None:
            return
        net.load_training_state(stored["training"])
        net.history = History(stored["history"])
        if self.stop is not None:
            self.stop.go_on_from(stored["stop"])
        self.on_epoch_end(net)

    def on_epoch_end(self, net, **kwargs):
        """Keep the state, and write it."""
        self.state = copy.deepcopy(net.training_state())
        self.n_epochs = len(net.history)
        if self.path is not None:
            stop = {} if self.stop is None else self.stop.state()
            known = checkpoints.plain({"history": list(net.history), "stop": stop})
            checkpoints.write(self.path, {"training": self.state, **known})

    def restore(self, net):
        """Return the net to the last whole epoch, and drop the copy; False if there is none."""
        if self.state is None:
            return False
        net.load_training_state(self.state)
        del net.history[self.n_epochs :]
        self.state = None
        return True


class ValidationMap(Callback):
    """Record the MAP of the rows left out, averaged over both directions, as "valid_map".

    And whether it is the best so far as "valid_map_best", by which `Checkpoint` of skorch goes.

    Parameters
    ----------
    embed : callable
        ``embed(net, train, valid)`` returns the embeddings of both views of the rows left out.
    metric : {"cosine", "hamming"}
    """

    def __init__(self, embed, metric):
        self.embed = embed
        self.metric = metric

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Embed the rows left out and rank those that have a label."""
        known = has_label(dataset_valid.codes, _NO_CLASS)
        x, y = (rows[known] for rows in self.embed(net, dataset_train, dataset_valid))
        codes = dataset_valid.codes[known]
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
