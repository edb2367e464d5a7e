"""Callbacks that watch over training: weights to return to, validation by MAP, a progress bar."""

import copy

import numpy as np
from skorch.callbacks import Callback
from tqdm.auto import tqdm

from cca_estimators.metrics import mean_average_precision


class KeepLastEpoch(Callback):
    """Keep the weights of the last epoch that ended well, to return to if training diverges."""

    def on_epoch_end(self, net, **kwargs):
        """Copy the weights."""
        self.state_ = copy.deepcopy(net.module_.state_dict())

    def restore(self, net):
        """Load the weights into the net, and drop the copy; False if no epoch ended."""
        state = vars(self).pop("state_", None)
        if state is not None:
            net.module_.load_state_dict(state)
        return state is not None


class ValidationMap(Callback):
    """Record the MAP of the rows left out, averaged over both directions, as "valid_map".

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
        known = dataset_valid.codes >= 0
        x, y = (rows[known] for rows in self.embed(net, dataset_train, dataset_valid))
        codes = dataset_valid.codes[known]
        maps = (
            mean_average_precision(*pair, codes, codes, metric=self.metric)
            for pair in ((x, y), (y, x))
        )
        net.history.record("valid_map", float(np.mean(list(maps))))


class ProgressBar(Callback):
    """Show a bar over the epochs with the loss and, where there are any, validation figures."""

    def on_train_begin(self, net, X=None, **kwargs):
        """Open the bar."""
        self.bar_ = tqdm(total=X.last_epoch, initial=len(net.history), unit="epoch")

    def on_epoch_end(self, net, **kwargs):
        """Move the bar on."""
        last = net.history[-1]
        figures = {
            key: last[key] for key in ("train_loss", "valid_loss", "valid_map") if key in last
        }
        self.bar_.set_postfix({key: f"{value:.4g}" for key, value in figures.items()})
        self.bar_.update()

    def on_train_end(self, net, **kwargs):
        """Close the bar."""
        vars(self).pop("bar_").close()
