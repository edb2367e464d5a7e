"""The picture of embeddings in two dimensions."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import numpy as np
from scipy.linalg import block_diag
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils import column_or_1d

from cca_estimators import _reading
from cca_estimators._compat import check_matplotlib_support
from cca_estimators.display._axes import add_legend, by_name, panels
from cca_estimators.metrics import _ranking
from cca_estimators.metrics._figures import _checked
from cca_estimators.metrics._scorers import _embeddings

_LEGEND_ROWS = 11  # that the height of a row of panels holds
_MARKERS = ("o", "^")  # of the first and the second view
# Petroff, arXiv:2107.02270: the "petroff10" of Matplotlib 3.10; goes with Matplotlib 3.9
_CLASS_COLORS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)


class EmbeddingDisplay:
    """Map of embeddings in two dimensions: one row of panels per method.

    The panels of a row show the first view, the second view, and both. A colour is a class, where
    there are labels, and a marker a view. It is recommended to make the display by
    `from_estimator` or `from_predictions`.

    Views of the same width are taken to share a space: both are mapped together, and the panels of
    one view show its part of that map. Views of different widths, such as original features, share
    none. Each is then mapped on its own, and for the panel of both they are set on axes of their
    own, zero on those of the other view, so that no row is nearer to one row of the other view than
    to the next.

    Read more in the :ref:`User Guide <display>`.

    Parameters
    ----------
    points : dict of dict of ndarray, shape (n_points, 2)
        Of each method by name, the points of each panel by title: first view, second view, and
        both, the rows of the first above those of the second.
    labels : ndarray of shape (n_samples,), default=None
        Class of each row.

    Attributes
    ----------
    axes_ : ndarray of Axes, shape (n_methods, 3)
        The panels.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    RetrievalCurveDisplay : How well the methods retrieve.

    Examples
    --------
    >>> from cca_estimators import CCA, CCCA, EmbeddingDisplay
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=60, n_classes=3, n_features=(8, 12), random_state=0)
    >>> methods = {"features": "passthrough", "CCA": CCA().fit(X), "C-CCA": CCCA().fit(X, y)}
    >>> display = EmbeddingDisplay.from_estimator(methods, X, y, projection="pca")
    >>> display.axes_.shape
    (3, 3)
    """

    def __init__(self, points, labels=None):
        self.points = points
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        projection: Any = "tsne",
        random_state=None,
        name=None,
        n_links=0,
        ax=None,
        **kwargs,
    ) -> Self:
        """Embed both views by fitted estimators, and draw the embeddings.

        Parameters
        ----------
        estimator : estimator, Pipeline or fitted search, or dict of them by name
            The methods. "passthrough" in a dict stands for X as it is.
        X : mapping of two arrays by view name, or array whose embedding is ``[first | second]``
            The two views.
        y : array-like of shape (n_samples,), default=None
            Class labels; None: the views are drawn in one colour each.
        projection : {"tsne", "pca"} or transformer, default="tsne"
            What maps embeddings to two dimensions: t-SNE, the first two principal components, or a
            transformer of your own, of which each map gets a clone. Embeddings compared by their
            cosine are normalised before.
        random_state : int, RandomState instance or None, default=None
            Seed of t-SNE.
        name : str, default=None
            Name of a single method; None: that of its class.
        n_links : int, default=0
            Number of pairs, evenly chosen, to link by a line in the panel of both views.
        ax : Axes or array of 3 Axes per method, default=None
            One to divide into panels, or the panels themselves; None: a new figure.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        display : EmbeddingDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If an argument is not as described.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        methods = by_name(estimator, name)
        outputs = {key: _outputs(method, X) for key, method in methods.items()}
        return cls._of_views(outputs, y, projection, random_state).plot(
            ax, n_links=n_links, **kwargs
        )

    @classmethod
    def from_predictions(
        cls,
        embeddings,
        y=None,
        *,
        metric="cosine",
        projection: Any = "tsne",
        random_state=None,
        name="embedding",
        n_links=0,
        ax=None,
        **kwargs,
    ) -> Self:
        """Draw embeddings.

        Parameters
        ----------
        embeddings : mapping of two arrays by view name, or dict of them by method
            Embeddings, shape (n_samples, n_components), or features.
        y : array-like of shape (n_samples,), default=None
            Class labels; None: the views are drawn in one colour each.
        metric : {"cosine", "hamming"}, default="cosine"
            How embeddings are compared.
        projection, random_state, n_links, ax, **kwargs
            As in `from_estimator`.
        name : str, default="embedding"
            Name of a single method.

        Returns
        -------
        display : EmbeddingDisplay
            What was drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_predictions")
        several = all(isinstance(views, Mapping) for views in embeddings.values())
        methods = embeddings if several else {name: embeddings}
        outputs = {key: (views, metric) for key, views in methods.items()}
        return cls._of_views(outputs, y, projection, random_state).plot(
            ax, n_links=n_links, **kwargs
        )

    @classmethod
    def _of_views(cls, outputs, y, projection, random_state):
        """Map the views of each method, given with the metric to compare them by."""
        project = partial(_projected, projection=projection, random_state=random_state)
        points = {}
        for name, (views, metric) in outputs.items():
            labels = {view: np.zeros(len(rows)) if y is None else y for view, rows in views.items()}
            rows = {
                view: _comparable(rows, labels[view], view, metric) for view, rows in views.items()
            }
            points[name] = _maps(rows, project)
        titles = {tuple(maps) for maps in points.values()}
        if len(titles) > 1:
            raise ValueError(f"The methods must have the same views; they have {sorted(titles)}.")
        return cls(points, None if y is None else column_or_1d(y))

    def plot(self, ax=None, *, n_links=0, **kwargs) -> Self:
        """Draw the panels.

        Parameters
        ----------
        ax : Axes or array of 3 Axes per method, default=None
            One to divide into panels, or the panels themselves; None: a new figure.
        n_links : int, default=0
            As in `from_estimator`.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        display : EmbeddingDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        classes, colors, of_views = self._colors()
        style = {"s": 9, "alpha": 0.8, "linewidths": 0, **kwargs}
        self.figure_, self.axes_ = panels(ax, len(self.points), 3, (2.8, 2.7))
        for row, (name, maps) in zip(self.axes_, self.points.items(), strict=True):
            row[0].set_ylabel(name)
            markers = [_MARKERS[:1], _MARKERS[1:], _MARKERS]
            for axes, points, shown in zip(row, maps.values(), markers, strict=True):
                axes.set(xticks=[], yticks=[])
                for view, marker in zip(np.split(points, len(shown)), shown, strict=True):
                    axes.scatter(*view.T, **{"c": of_views[marker], "marker": marker, **style})
            _link(row[2], list(maps.values())[2], n_links)
        titles = list(next(iter(self.points.values())))
        for axes, title in zip(self.axes_[0], titles, strict=True):
            axes.set_title(title)
        handles = _legend_handles(classes, colors, titles[:2], of_views)
        if ax is None:
            rows = max(1, int(_LEGEND_ROWS * len(self.points)))
            columns = -(-len(handles) // rows)
            self.figure_.legend(handles=handles, loc="outside right upper", ncols=columns)
            width, height = self.figure_.get_size_inches()
            self.figure_.set_size_inches(width + 1.1 * (columns - 1), height)
        else:
            add_legend(self.axes_[0, -1], handles)
        return self

    def _colors(self):
        """Return the classes, their colours, and the colours of the points of each view."""
        if self.labels is None:
            first, second = _class_colors(2)
            return [], [], dict(zip(_MARKERS, ([first], [second]), strict=True))
        classes, codes = np.unique(self.labels, return_inverse=True)
        order = np.array(sorted(range(len(classes)), key=lambda code: _natural(classes[code])))
        colors = _class_colors(len(classes))
        of_codes = np.empty_like(colors)
        of_codes[order] = colors
        return classes[order], colors, dict.fromkeys(_MARKERS, of_codes[codes])


def _natural(label):
    """Return a key by which "digit 10" comes after "digit 9"."""
    parts = re.split(r"(\d+)", str(label))
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def _link(axes, points, n_links):
    """Link some pairs by lines, evenly chosen."""
    first, second = np.split(points, 2)
    chosen = np.unique(np.linspace(0, len(first) - 1, min(n_links, len(first))).astype(int))
    for a, b in zip(first[chosen], second[chosen], strict=True):
        axes.plot(*zip(a, b, strict=True), color="0.5", linewidth=0.6, zorder=0)


def _outputs(method, X):
    """Return the views to draw, and the metric to compare them by."""
    if not isinstance(method, str):
        return _embeddings(method, X)
    if method != "passthrough":
        raise ValueError(
            f"{method!r} is no estimator; use a fitted one, or 'passthrough' for X as it is."
        )
    if not _reading.is_mapping(X):
        raise ValueError(
            "'passthrough' needs X as a mapping: where the views of an array meet is not known. "
            "Use Views(first=X[:, :n], second=X[:, n:])."
        )
    return _reading.named_views(X), "cosine"


def _comparable(rows, y, view, metric):
    """Return rows whose Euclidean distances order them as the metric does."""
    rows = np.asarray(rows)
    rows, _ = _checked(rows.reshape(len(rows), -1), y, view, metric)
    return _ranking._comparable(rows, metric)


def _maps(views, project):
    """Return the points of the first view, the second view and both."""
    if len(views) != 2:
        raise ValueError(f"There must be two views to draw; there are {list(views)}.")
    first, second = views.values()
    if first.shape[1] == second.shape[1]:
        both = project(np.vstack([first, second]))
        parts = np.split(both, [len(first)])
    else:
        both = project(block_diag(first, second))
        parts = [project(first), project(second)]
    titles = [*views, " and ".join(views)]
    return dict(zip(titles, [*parts, both], strict=True))


def _projected(rows, projection, random_state):
    """Map rows to two dimensions."""
    rows = np.pad(rows, [(0, 0), (0, max(0, 2 - rows.shape[1]))])
    points = np.asarray(_projector(projection, len(rows), random_state).fit_transform(rows))
    if points.shape != (len(rows), 2):
        raise ValueError(
            f"{projection!r} gave an array of shape {points.shape}; the picture needs "
            f"{(len(rows), 2)}. Set its n_components to 2."
        )
    return points


def _projector(projection, n_rows, random_state):
    if hasattr(projection, "fit_transform"):
        return clone(projection)
    if projection == "pca":
        return PCA(2)
    if projection == "tsne":
        from sklearn.manifold import TSNE

        return TSNE(perplexity=min(30, (n_rows - 1) / 3), random_state=random_state)
    raise ValueError(
        f"projection={projection!r} is not known; use 'tsne', 'pca' or a transformer with "
        "fit_transform."
    )


def _class_colors(n_classes):
    """Return a colour per class, which the colour-blind tell apart up to ten."""
    import matplotlib as mpl

    if n_classes <= 10:
        return mpl.colors.to_rgba_array(_CLASS_COLORS[:n_classes])
    return mpl.colormaps["turbo"](np.linspace(0, 1, n_classes))


def _legend_handles(classes, colors, views, of_views):
    """Return the entries of the legend, for the classes and the views."""
    from matplotlib.lines import Line2D

    marks = [(str(label), "s", color) for label, color in zip(classes, colors, strict=True)]
    marks += [
        (view, marker, "black" if len(classes) else of_views[marker][0])
        for view, marker in zip(views, _MARKERS, strict=True)
    ]
    return [
        Line2D([], [], linestyle="", marker=marker, color=color, label=label)
        for label, marker, color in marks
    ]
