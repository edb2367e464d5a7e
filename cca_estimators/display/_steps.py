"""The picture of which steps of sequences matter for what is retrieved."""

from typing import Self

import numpy as np
from sklearn.preprocessing import normalize

from cca_estimators._compat import check_matplotlib_support
from cca_estimators.display._axes import frame, frame_result, panels
from cca_estimators.display._retrieval import RetrievalDisplay, draw_item
from cca_estimators.retrieval import CrossModalIndex

_BARS = {"size": 0.3, "pad": 0.04}  # height of the bars and distance from the item, in inches
_TITLE_PAD = 72 * sum(_BARS.values()) + 4  # in points, from the item
_KNOWN_BY = {"gradient": "_step_effects", "attention": "_step_attention"}


class StepsDisplay:
    """Which steps of a query and of its results make them alike.

    A row is a query and its results, best first, as in :class:`RetrievalDisplay`; the bars above
    each are the weights of its steps, whose sizes sum to 1. By the gradient, the weight of a step
    is what it adds to the similarity, to first order: the gradient times what sets the step apart
    from an average one, in features of unit spread. The similarity is the cosine before it is
    divided by the length of the embedding itself, for at its best a cosine has no slope. Steps that
    speak against a result have a negative weight. That of a query is for the mean similarity to its
    results. By attention, it is the weight that the network of :class:`SDCCA` gives the step,
    whatever it is compared with. It is recommended to make the display by `from_estimator` or
    `from_predictions`.

    Read more in the :ref:`User Guide <display>`.

    Parameters
    ----------
    query_weights : ndarray of shape (n_queries, n_steps)
        Weights of the steps of each query.
    result_weights : ndarray of shape (n_queries, n_neighbors, n_steps)
        Weights of the steps of each result.
    query_items : sequence of n_queries items
        Spectrograms, shape (n_steps, height), films, shape (n_steps, height, width) or (n_steps,
        height, width, channels), or captions.
    result_items : sequence of n_queries sequences of items
        Items retrieved for each query.
    query_labels : ndarray of shape (n_queries,)
        Class of each query.
    result_labels : ndarray of shape (n_queries, n_neighbors)
        Class of each result.

    Attributes
    ----------
    bars_ : ndarray of BarContainer, shape (n_queries, 1 + n_neighbors)
        The weights.
    axes_ : ndarray of Axes, shape (n_queries, 1 + n_neighbors)
        The panels of the items; the bars are on axes of their own above.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    RetrievalDisplay : Items alone, of any view and method.

    Examples
    --------
    >>> from cca_estimators import SDCCA, StepsDisplay
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(100, n_classes=4, n_features=(10, 12), n_steps=5, random_state=0)
    >>> deep = SDCCA(lstm_size=16, max_epochs=2, random_state=0).fit(X, y)
    >>> display = StepsDisplay.from_estimator(
    ...     deep, {"audio": X["audio"][:2]}, {"visual": X["visual"]}, y[:2], y
    ... )
    >>> display.query_weights.shape, display.result_weights.shape
    ((2, 5), (2, 2, 5))
    """

    def __init__(
        self, query_weights, result_weights, query_items, result_items, query_labels, result_labels
    ):
        self.query_weights = query_weights
        self.result_weights = result_weights
        self.query_items = query_items
        self.result_items = result_items
        self.query_labels = query_labels
        self.result_labels = result_labels

    @classmethod
    def from_estimator(
        cls,
        estimator,
        queries,
        gallery,
        query_labels,
        gallery_labels,
        *,
        kind="gradient",
        n_neighbors=2,
        query_items=None,
        gallery_items=None,
        ax=None,
        query_kw=None,
        gallery_kw=None,
    ) -> Self:
        """Rank a gallery for some queries of the other view, and draw which steps decide it.

        Parameters
        ----------
        estimator : deep estimator, or Pipeline or fitted search that ends in one
            One whose towers read steps, see its `tower`.
        queries : mapping of one array by view name
            The queries, shape (n_queries, n_steps, n_features).
        gallery : mapping of one array by view name
            The items of the other view, shape (n_gallery, n_steps, n_features).
        query_labels : array-like of shape (n_queries,)
            Classes of the queries.
        gallery_labels : array-like of shape (n_gallery,)
            Classes of the items.
        kind : {"gradient", "attention"}, default="gradient"
            What the weights are; "attention" is known to :class:`SDCCA` alone.
        n_neighbors : int, default=2
            Number of results for each query.
        query_items, gallery_items : sequence of arrays or str, default=None
            What is drawn of each row: a spectrogram, shape (n_steps, height), a film, shape
            (n_steps, height, width) or (n_steps, height, width, channels), or a caption. None: the
            rows themselves, as spectrograms.
        ax : Axes or array of ``1 + n_neighbors`` Axes per query, default=None
            One to divide into panels, or the panels themselves; None: a new figure.
        query_kw, gallery_kw : dict, default=None
            Passed to :meth:`matplotlib.axes.Axes.imshow`, or :meth:`matplotlib.axes.Axes.text` for
            captions.

        Returns
        -------
        display : StepsDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If an argument is not as described, or the estimator knows no such weights.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        index = CrossModalIndex(estimator).fit(gallery)
        neighbors = index.kneighbors(queries, n_neighbors, return_distance=False)
        found = {index.gallery_: np.asarray(gallery[index.gallery_])[neighbors.ravel()]}
        weights = _weights(estimator, queries, found, kind)
        return cls.from_predictions(
            weights[0],
            weights[1].reshape(*neighbors.shape, -1),
            neighbors,
            query_labels,
            gallery_labels,
            query_items=next(iter(queries.values())) if query_items is None else query_items,
            gallery_items=gallery[index.gallery_] if gallery_items is None else gallery_items,
            ax=ax,
            query_kw=query_kw,
            gallery_kw=gallery_kw,
        )

    @classmethod
    def from_predictions(
        cls,
        query_weights,
        result_weights,
        neighbors,
        query_labels,
        gallery_labels,
        *,
        query_items=None,
        gallery_items=None,
        ax=None,
        query_kw=None,
        gallery_kw=None,
    ) -> Self:
        """Draw weights that were computed before.

        Parameters
        ----------
        query_weights : array-like, shape (n_queries, n_steps)
            Weights of the steps of each query.
        result_weights : array-like, shape (n_queries, n_neighbors, n_steps)
            Weights of the steps of each result.
        neighbors : array-like of int, shape (n_queries, n_neighbors)
            Row numbers in the gallery of the results, best first.
        query_labels : array-like of shape (n_queries,)
            Classes of the queries.
        gallery_labels : array-like of shape (n_gallery,)
            Classes of the items.
        query_items, gallery_items : sequence of arrays or str, default=None
            As in `from_estimator`; None: the labels.
        ax, query_kw, gallery_kw
            As in `from_estimator`.

        Returns
        -------
        display : StepsDisplay
            What was drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_predictions")
        found = RetrievalDisplay._of_neighbors(
            neighbors, query_labels, gallery_labels, query_items, gallery_items
        )
        query_weights, result_weights = np.asarray(query_weights), np.asarray(result_weights)
        shape = found.result_labels.shape
        if query_weights.shape[:-1] != shape[:1] or result_weights.shape[:-1] != shape:
            raise ValueError(
                f"The weights have shapes {query_weights.shape} and {result_weights.shape}; with "
                f"neighbors of shape {shape} they must be ({shape[0]}, n_steps) and "
                f"({shape[0]}, {shape[1]}, n_steps)."
            )
        display = cls(
            query_weights,
            result_weights,
            found.query_items,
            found.result_items,
            found.query_labels,
            found.result_labels,
        )
        return display.plot(ax, query_kw=query_kw, gallery_kw=gallery_kw)

    def plot(self, ax=None, *, query_kw=None, gallery_kw=None) -> Self:
        """Draw the queries and their results, and the weights of their steps.

        Parameters
        ----------
        ax : Axes or array of ``1 + n_neighbors`` Axes per query, default=None
            One to divide into panels, or the panels themselves; None: a new figure.
        query_kw, gallery_kw : dict, default=None
            Passed to :meth:`matplotlib.axes.Axes.imshow`, or :meth:`matplotlib.axes.Axes.text` for
            captions.

        Returns
        -------
        display : StepsDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        n_queries, n_neighbors = self.result_labels.shape
        self.figure_, self.axes_ = panels(ax, n_queries, 1 + n_neighbors, (4, 1.4))
        self.bars_ = np.empty(self.axes_.shape, dtype=object)
        titles = ["query", *map(str, range(1, n_neighbors + 1))]
        for i, j in np.ndindex(self.axes_.shape):
            axes, title = self.axes_[i, j], titles[j] if i == 0 else ""
            if j == 0:
                item, weights, style = self.query_items[i], self.query_weights[i], query_kw
                frame(axes, str(self.query_labels[i]))
            else:
                item, weights = self.result_items[i][j - 1], self.result_weights[i, j - 1]
                style, label = gallery_kw, self.result_labels[i, j - 1]
                frame_result(axes, label, label == self.query_labels[i])
            self.bars_[i, j] = _draw(axes, item, weights, style, title)
        return self


def _draw(axes, item, weights, style, title):
    """Draw an item along its steps, and bars of their weights above; return the bars."""
    from mpl_toolkits.axes_grid1 import make_axes_locatable

    if isinstance(item, str):
        draw_item(axes, item, style)
        axes.set_box_aspect(None)
    else:
        _draw_steps(axes, np.asarray(item), len(weights), style)
    divider = make_axes_locatable(axes)
    divider.set_anchor("N")
    above = divider.append_axes("top", **_BARS)
    above.set(xlim=(0, len(weights)), xticks=[], yticks=[])
    axes.set_title(title, fontsize="medium", pad=_TITLE_PAD)
    above.spines[:].set_visible(False)
    above.axhline(0, color="black", linewidth=0.8)
    return above.bar(np.arange(len(weights)) + 0.5, weights, width=0.9, color="0.35")


def _draw_steps(axes, item, n_steps, style):
    """Draw a spectrogram, or the frames of a film side by side."""
    film = item.ndim > 2
    picture = np.concatenate(item, axis=1) if film else item.T
    height = picture.shape[0] * n_steps / picture.shape[1]
    defaults = {"cmap": "gray", "extent": (0, n_steps, height, 0)}
    if not film:
        extent = (0, n_steps, 0, height)
        defaults = {"cmap": "magma", "aspect": "auto", "extent": extent, "origin": "lower"}
    axes.imshow(picture, **{**defaults, **(style or {})})
    axes.set(xticks=[], yticks=[])


def _weights(estimator, queries, found, kind):
    """Return the weights of the steps of the queries, and of all that was found for them."""
    if kind not in _KNOWN_BY:
        raise ValueError(f"kind={kind!r} is not known; use one of {list(_KNOWN_BY)}.")
    method, *views = _at_the_last_step(estimator, queries, found)
    if not hasattr(method, _KNOWN_BY[kind]):
        raise ValueError(
            f"{type(method).__name__} knows no {kind} of its steps: deep methods that embed in "
            "real numbers have gradients, SDCCA has attention too."
        )
    views = [_steps_of(view) for view in views]
    if kind == "attention":
        return [method._step_attention(*view) for view in views]
    embeddings = [np.asarray(method.transform({name: rows})[name]) for name, rows in views]
    return [
        _shares(method._step_effects(*view, slopes))
        for view, slopes in zip(views, _slopes(*embeddings), strict=True)
    ]


def _at_the_last_step(estimator, *views):
    """Return the estimator that embeds, and what enters it of some views."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not hasattr(estimator, "steps"):
        return estimator, *views
    for _, step in estimator.steps[:-1]:
        views = [step.transform(view) if hasattr(step, "transform") else view for view in views]
    return _at_the_last_step(estimator.steps[-1][1], *views)


def _steps_of(view):
    """Return the name and the rows of the one view in a mapping."""
    ((name, rows),) = view.items()
    rows = np.asarray(rows)
    if rows.ndim != 3:
        raise ValueError(
            f"View {name!r} has shape {rows.shape} where it enters the method; its steps have "
            "weights if it has the shape (n_samples, n_steps, n_features)."
        )
    return name, rows


def _slopes(queries, results):
    """Return the directions along which the embeddings are followed.

    A cosine has no slope where it is best. The projection onto what an embedding is compared with
    has one: the cosine before it is divided by the length of the embedding itself.

    Parameters
    ----------
    queries : ndarray, shape (n_queries, n_components)
    results : ndarray, shape (n_queries * n_neighbors, n_components)

    Returns
    -------
    of_queries, of_results : ndarray
        The mean direction of the results of each query; the query's direction for each result.
    """
    n_neighbors = len(results) // len(queries)
    of_queries = normalize(results).reshape(len(queries), n_neighbors, -1).mean(axis=1)
    return of_queries, np.repeat(normalize(queries), n_neighbors, axis=0)


def _shares(effects):
    """Return the effects of the steps of each row as shares of the sum of their sizes."""
    total = np.abs(effects).sum(axis=1, keepdims=True)
    return effects / np.where(total > 0, total, 1.0)
