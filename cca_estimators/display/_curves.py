"""The picture of the precision of retrieval."""

from functools import partial
from typing import Self

import numpy as np

from cca_estimators._compat import check_matplotlib_support
from cca_estimators.display._axes import add_legend, by_name, figure_and_axes, line_style
from cca_estimators.metrics import _ranking
from cca_estimators.metrics._figures import _measure
from cca_estimators.metrics._scorers import _directions, _embeddings

_N_KS = 50
_CHANCE = "chance level"  # marks its line


class RetrievalCurveDisplay:
    """Curves of the precision of retrieval, one per method.

    It is recommended to make the display by `from_estimator` or `from_predictions`. Several methods
    share axes if given together, or one after the other by ``ax=display.ax_``.

    Read more in the :ref:`User Guide <display>`.

    Parameters
    ----------
    precision : dict of ndarray, shape (n_levels,)
        Precision of each method by name.
    levels : ndarray of shape (n_levels,)
        The recalls, or numbers of items, that the precision is at.
    kind : {"precision_recall", "precision_at_k"}, default="precision_recall"
        What the levels are.
    mean_average_precision : dict of float, default=None
        MAP of each method, for the legend.
    chance_level : float, default=None
        Precision of a random order.

    Attributes
    ----------
    lines_ : dict of Line2D
        Curve of each method by name.
    chance_level_ : Line2D or None
        Line of the chance level; None if it is not drawn, or was there already.
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    precision_recall_curve : The figures alone.
    EmbeddingDisplay : Where the classes lie.

    Examples
    --------
    >>> from cca_estimators import CCA, CCCA, RetrievalCurveDisplay
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=60, n_classes=3, n_features=(8, 12), random_state=0)
    >>> display = RetrievalCurveDisplay.from_estimator(CCA().fit(X), X, y)
    >>> both = RetrievalCurveDisplay.from_estimator(CCCA().fit(X, y), X, y, ax=display.ax_)
    >>> [text.get_text() for text in both.ax_.get_legend().get_texts()]
    ['CCA (MAP = 0...)', 'CCCA (MAP = 0...)', 'chance (0.33)']
    """

    def __init__(
        self,
        precision,
        levels,
        *,
        kind="precision_recall",
        mean_average_precision=None,
        chance_level=None,
    ):
        self.precision = precision
        self.levels = levels
        self.kind = kind
        self.mean_average_precision = mean_average_precision
        self.chance_level = chance_level

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        kind="precision_recall",
        direction: str | tuple[str, str] = "mean",
        name=None,
        ax=None,
        plot_chance_level=True,
        chance_level_kw=None,
        **kwargs,
    ) -> Self:
        """Let each view query the other by fitted estimators, and draw the precision.

        Parameters
        ----------
        estimator : estimator, Pipeline or fitted search, or dict of them by name
            The methods. The metric, cosine or Hamming, is that of the estimator.
        X : mapping of two arrays by view name, or array whose embedding is ``[first | second]``
            The two views.
        y : array-like of shape (n_samples,), default=None
            Class labels; None: each row is relevant to its own partner only.
        kind : {"precision_recall", "precision_at_k"}, default="precision_recall"
            Interpolated precision at 101 levels of recall, or precision among the first k items.
        direction : "mean" or tuple of two str, default="mean"
            Names of the view that queries and of the view that is ranked; "mean" averages the
            curves of both directions. The views of an array are named "first" and "second".
        name : str, default=None
            Name of a single method; None: that of its class.
        ax : Axes, default=None
            Where to draw; None: a new figure.
        plot_chance_level : bool, default=True
            Draw the precision of a random order.
        chance_level_kw : dict, default=None
            Passed to :meth:`matplotlib.axes.Axes.plot` for it.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.plot` for the curves.

        Returns
        -------
        display : RetrievalCurveDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If an argument is not as described.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        lists = {}
        for key, method in by_name(estimator, name).items():
            embeddings, metric = _embeddings(method, X)
            labels = np.arange(len(next(iter(embeddings.values())))) if y is None else y
            lists[key] = [
                (embeddings[query], embeddings[gallery], labels, labels, metric)
                for query, gallery in _chosen(direction, embeddings)
            ]
        display = cls._of_lists(lists, kind)
        return display.plot(
            ax, plot_chance_level=plot_chance_level, chance_level_kw=chance_level_kw, **kwargs
        )

    @classmethod
    def from_predictions(
        cls,
        query,
        gallery,
        query_labels,
        gallery_labels,
        *,
        metric="cosine",
        kind="precision_recall",
        name="retrieval",
        ax=None,
        plot_chance_level=True,
        chance_level_kw=None,
        **kwargs,
    ) -> Self:
        """Draw the precision of one direction, given embeddings.

        Parameters
        ----------
        query : array-like, shape (n_queries, n_components)
            Embeddings of the queries.
        gallery : array-like, shape (n_gallery, n_components)
            Embeddings of the items to rank.
        query_labels : array-like, shape (n_queries,)
            Classes of the queries.
        gallery_labels : array-like, shape (n_gallery,)
            Classes of the items.
        metric : {"cosine", "hamming"}, default="cosine"
            How embeddings are compared.
        kind, ax, plot_chance_level, chance_level_kw, **kwargs
            As in `from_estimator`.
        name : str, default="retrieval"
            Name of the method.

        Returns
        -------
        display : RetrievalCurveDisplay
            What was drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_predictions")
        lists = {name: [(query, gallery, query_labels, gallery_labels, metric)]}
        return cls._of_lists(lists, kind).plot(
            ax, plot_chance_level=plot_chance_level, chance_level_kw=chance_level_kw, **kwargs
        )

    @classmethod
    def _of_lists(cls, lists, kind):
        """Measure the directions of each method by name, and average them."""
        figures = {
            name: [_curve(*direction, kind) for direction in directions]
            for name, directions in lists.items()
        }
        means = {
            name: [np.mean(parts, axis=0) for parts in zip(*curves, strict=True)]
            for name, curves in figures.items()
        }
        _, _, levels, chance_level = next(iter(means.values()))
        return cls(
            {name: mean[0] for name, mean in means.items()},
            levels,
            kind=kind,
            mean_average_precision={name: float(mean[1]) for name, mean in means.items()},
            chance_level=float(chance_level),
        )

    def plot(self, ax=None, *, plot_chance_level=True, chance_level_kw=None, **kwargs) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None: a new figure.
        plot_chance_level : bool, default=True
            Draw the precision of a random order, if it is known.
        chance_level_kw : dict, default=None
            Passed to :meth:`matplotlib.axes.Axes.plot` for it.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.plot` for the curves.

        Returns
        -------
        display : RetrievalCurveDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        self.figure_, self.ax_ = figure_and_axes(ax)
        maps = self.mean_average_precision or {}
        self.lines_ = {}
        for name, precision in self.precision.items():
            label = f"{name} (MAP = {maps[name]:.2f})" if name in maps else name
            style = {"label": label, **kwargs}
            self.lines_[name] = self.ax_.plot(self.levels, precision, **style)[0]
        if self.kind == "precision_at_k":
            self.ax_.set(xscale="log", xlabel="k (items retrieved)", ylabel="precision at k")
        else:
            self.ax_.set(xlim=(0, 1), xlabel="recall", ylabel="precision")
        self.ax_.set_ylim(0, 1.02)
        self.chance_level_ = None
        if plot_chance_level and self.chance_level is not None:
            self._plot_chance_level(chance_level_kw or {})
        lines = sorted(self.ax_.lines, key=lambda line: line.get_gid() == _CHANCE)
        add_legend(self.ax_, lines)
        return self

    def _plot_chance_level(self, style):
        values = np.full(len(self.levels), self.chance_level)
        drawn = [line.get_ydata() for line in self.ax_.lines if line.get_gid() == _CHANCE]
        if any(np.array_equal(values, other) for other in drawn):
            return
        label = f"chance ({self.chance_level:.2f})"
        defaults = {"color": "black", "linestyle": ":", "label": label, "gid": _CHANCE}
        self.chance_level_ = self.ax_.plot(self.levels, values, **line_style(defaults, style))[0]


def _chosen(direction, embeddings):
    """Return the pairs of a view that queries and a view that is ranked."""
    both = _directions(embeddings)
    if isinstance(direction, str) and direction == "mean":
        return both
    if tuple(direction) not in both:
        raise ValueError(f"direction={direction!r} is not known; use 'mean' or one of {both}.")
    return [tuple(direction)]


def _curve(query, gallery, query_labels, gallery_labels, metric, kind):
    """Return the mean precision at some levels, the MAP, the levels and the chance level."""
    if kind == "precision_recall":
        levels = np.linspace(0, 1, 101)
        precision = partial(_ranking.interpolated_precisions, levels=levels)
    elif kind == "precision_at_k":
        levels = np.unique(np.geomspace(1, len(gallery), _N_KS).round().astype(int))
        precision = partial(_precisions_at_each, ks=levels)
    else:
        raise ValueError(f"kind={kind!r} is not known; use 'precision_recall' or 'precision_at_k'.")
    figures = {"precision": precision, "map": _ranking.average_precisions}
    measured = _measure(figures, query, gallery, query_labels, gallery_labels, metric)
    chance = _chance_level(np.asarray(query_labels), np.asarray(gallery_labels))
    return measured["precision"].mean(axis=0), measured["map"].mean(), levels, chance


def _precisions_at_each(ranked, ks):
    return np.stack([_ranking.precisions_at(ranked, k) for k in ks], axis=1)


def _chance_level(query_labels, gallery_labels):
    """Return the mean share of relevant items, over the queries that have any."""
    classes, counts = np.unique(gallery_labels, return_counts=True)
    known = query_labels[np.isin(query_labels, classes)]
    return counts[classes.searchsorted(known)].mean() / len(gallery_labels)
