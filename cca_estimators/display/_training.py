"""The picture of the training of a deep estimator."""

from collections.abc import Mapping
from typing import Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from cca_estimators._compat import check_matplotlib_support
from cca_estimators.display._axes import by_name, figure_and_axes, final, line_style

_LABELS = {
    "train_loss": "training loss",
    "valid_loss": "validation loss",
    "valid_map": "validation MAP",
}


class LossCurveDisplay:
    """Loss and validation MAP of a deep estimator, epoch by epoch.

    It is recommended to make the display by `from_estimator` or `from_history`.

    Read more in the :ref:`User Guide <display>`.

    Parameters
    ----------
    train_loss : ndarray of shape (n_epochs,)
        Loss of the rows trained on.
    valid_loss : ndarray of shape (n_epochs,), default=None
        Loss of the rows left out.
    valid_map : ndarray of shape (n_epochs,), default=None
        MAP of the rows left out, drawn against an axis on the right.
    best_epoch : int, default=None
        Number, from 1, of the epoch to mark; None: none.
    name : str, default=None
        What the names in the legend begin with.

    Attributes
    ----------
    lines_ : dict of Line2D
        Curves by "train_loss", "valid_loss" and "valid_map".
    ax_ : matplotlib Axes
        Axes of the loss.
    map_ax_ : matplotlib Axes or None
        Axes of the MAP.
    figure_ : matplotlib Figure
        Figure that holds them.

    Examples
    --------
    >>> from cca_estimators import DCCA, LossCurveDisplay
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=60, n_classes=3, n_features=(8, 12), random_state=0)
    >>> dcca = DCCA(3, max_epochs=5, early_stopping=True, random_state=0).fit(X)
    >>> display = LossCurveDisplay.from_estimator(dcca)
    >>> list(display.lines_)
    ['train_loss', 'valid_loss', 'valid_map']
    """

    def __init__(self, train_loss, *, valid_loss=None, valid_map=None, best_epoch=None, name=None):
        self.train_loss = train_loss
        self.valid_loss = valid_loss
        self.valid_map = valid_map
        self.best_epoch = best_epoch
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, *, name=None, ax=None, **kwargs) -> Self:
        """Draw the training of a fitted deep estimator.

        Parameters
        ----------
        estimator : deep estimator, Pipeline or fitted search that ends in one, or dict of them
            Its `history_` is drawn, and the epoch that early stopping returned to is marked.
            Several, by name, are drawn on the same axes, each in its colour.
        name : str, default=None
            What the names in the legend begin with.
        ax : Axes, default=None
            Where to draw; None: a new figure.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : LossCurveDisplay, or dict of them by name
            What was drawn.

        Raises
        ------
        ValueError
            If an estimator keeps no history.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        if isinstance(estimator, Mapping):
            _, ax = figure_and_axes(ax)
            methods = by_name(estimator, name).items()
            return {key: cls.from_estimator(one, name=key, ax=ax, **kwargs) for key, one in methods}
        check_is_fitted(estimator)
        last = final(estimator)
        if not hasattr(last, "history_"):
            raise ValueError(
                f"{type(last).__name__} has no history_ of epochs to draw: only deep estimators "
                "are trained epoch by epoch."
            )
        best_epoch = last.best_epoch_ if last.early_stopping else None
        return cls.from_history(last.history_, best_epoch=best_epoch, name=name, ax=ax, **kwargs)

    @classmethod
    def from_history(cls, history, *, best_epoch=None, name=None, ax=None, **kwargs) -> Self:
        """Draw a history.

        Parameters
        ----------
        history : sequence of dict
            Figures of each epoch: "train_loss" and, where rows were left out, "valid_loss" and
            "valid_map".
        best_epoch : int, default=None
            Number, from 1, of the epoch to mark; None: none.
        name, ax, **kwargs
            As in `from_estimator`.

        Returns
        -------
        display : LossCurveDisplay
            What was drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_history")
        figures = {
            key: np.array([epoch[key] for epoch in history]) for key in _LABELS if key in history[0]
        }
        return cls(**figures, best_epoch=best_epoch, name=name).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None: a new figure.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : LossCurveDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        self.figure_, self.ax_ = figure_and_axes(ax)
        self.lines_, self.map_ax_ = {}, None
        self._plot_line(self.ax_, "train_loss", self.train_loss, {"linestyle": "-"}, kwargs)
        color = {"color": self.lines_["train_loss"].get_color()}
        if self.valid_loss is not None:
            style = {"linestyle": "--", **color}
            self._plot_line(self.ax_, "valid_loss", self.valid_loss, style, kwargs)
        if self.valid_map is not None:
            style = {"linestyle": ":", **color}
            self._plot_line(self.ax_, "valid_map", [], style, kwargs)  # an entry of the legend
            self.map_ax_ = _map_axes(self.ax_)
            self._plot_line(self.map_ax_, "valid_map", self.valid_map, style, kwargs)
        if self.best_epoch is not None:
            self.ax_.axvline(self.best_epoch, gid="best epoch", linewidth=0.8, alpha=0.6, **color)
        self.ax_.set(xlabel="epoch", ylabel="loss")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        self._add_legend()
        return self

    def _add_legend(self):
        """Draw a legend above the axes with a column per figure, whatever was there before."""
        lines = [line for key in _LABELS for line in self.ax_.lines if line.get_gid() == key]
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "frameon": False}
        self.ax_.legend(handles=lines, ncols=len({line.get_gid() for line in lines}), **place)

    def _plot_line(self, axes, figure, values, style, given):
        label = _LABELS[figure] if self.name is None else f"{self.name}, {_LABELS[figure]}"
        style = line_style({"label": label, "gid": figure, **style}, given)
        self.lines_[figure] = axes.plot(np.arange(1, len(values) + 1), values, **style)[0]


def _map_axes(axes):
    """Return the axes of the MAP over those of the loss: the same for all displays there."""
    gid = f"MAP beside {id(axes)}"
    for other in axes.figure.axes:
        if other.get_gid() == gid:
            return other
    twin = axes.twinx()
    twin.set(gid=gid, ylabel="MAP", ylim=(0, 1))
    return twin
