"""The picture of queries and what is retrieved for them."""

import textwrap
from typing import Self

import numpy as np
from sklearn.utils import column_or_1d

from cca_estimators._compat import check_matplotlib_support
from cca_estimators.display._axes import frame, frame_result, panels
from cca_estimators.retrieval import CrossModalIndex

_CAPTION_WIDTH = 14  # characters in a line


class RetrievalDisplay:
    """Queries beside the items retrieved for them, hits and misses marked.

    A row is a query and its results, best first. A hit, an item of the query's class, has a green
    frame and a check mark, a miss a broken red frame and a cross. It is recommended to make the
    display by `from_estimator` or `from_predictions`.

    Read more in the :ref:`User Guide <display>`.

    Parameters
    ----------
    query_items : sequence of n_queries items
        Pictures, shape (height, width) or (height, width, channels), or captions.
    result_items : sequence of n_queries sequences of items
        Items retrieved for each query.
    query_labels : ndarray of shape (n_queries,)
        Class of each query.
    result_labels : ndarray of shape (n_queries, n_neighbors)
        Class of each result.

    Attributes
    ----------
    hits : ndarray of bool, shape (n_queries, n_neighbors)
        Which results have the class of their query.
    axes_ : ndarray of Axes, shape (n_queries, 1 + n_neighbors)
        The panels.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    CrossModalIndex : The search alone.

    Examples
    --------
    >>> from cca_estimators import CCCA, RetrievalDisplay
    >>> from cca_estimators.datasets import load_spoken_digits
    >>> train, test = (load_spoken_digits(subset=s, return_X_y=True) for s in ("train", "test"))
    >>> sounds, images = ({name: test[0][name]} for name in ("audio", "visual"))
    >>> display = RetrievalDisplay.from_estimator(
    ...     CCCA().fit(*train), {"audio": sounds["audio"][:3]}, images, test[1][:3], test[1]
    ... )
    >>> display.hits.shape
    (3, 5)
    """

    def __init__(self, query_items, result_items, query_labels, result_labels):
        self.query_items = query_items
        self.result_items = result_items
        self.query_labels = query_labels
        self.result_labels = result_labels

    @property
    def hits(self):
        """Which results have the class of their query."""
        return self.result_labels == self.query_labels[:, None]

    @classmethod
    def from_estimator(
        cls,
        estimator,
        queries,
        gallery,
        query_labels,
        gallery_labels,
        *,
        n_neighbors=5,
        query_items=None,
        gallery_items=None,
        ax=None,
        query_kw=None,
        gallery_kw=None,
    ) -> Self:
        """Rank a gallery for some queries of the other view, and draw the best.

        Parameters
        ----------
        estimator : estimator, Pipeline or fitted search
            Its `transform` embeds a view.
        queries : mapping of one array by view name
            The queries.
        gallery : mapping of one array by view name
            The items of the other view.
        query_labels : array-like of shape (n_queries,)
            Classes of the queries.
        gallery_labels : array-like of shape (n_gallery,)
            Classes of the items.
        n_neighbors : int, default=5
            Number of results for each query.
        query_items, gallery_items : sequence of arrays or str, default=None
            What is drawn of each row: a picture or spectrogram, shape (height, width) or (height,
            width, channels), or a caption. None: the rows themselves where they have two or three
            dimensions, else their labels.
        ax : Axes or array of ``1 + n_neighbors`` Axes per query, default=None
            One to divide into panels, or the panels themselves; None: a new figure.
        query_kw, gallery_kw : dict, default=None
            Passed to :meth:`matplotlib.axes.Axes.imshow`, or :meth:`matplotlib.axes.Axes.text` for
            captions.

        Returns
        -------
        display : RetrievalDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If an argument is not as described.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        index = CrossModalIndex(estimator).fit(gallery)
        neighbors = index.kneighbors(queries, n_neighbors, return_distance=False)
        display = cls._of_neighbors(
            neighbors,
            query_labels,
            gallery_labels,
            _pictures(*queries.values()) if query_items is None else query_items,
            _pictures(gallery[index.gallery_]) if gallery_items is None else gallery_items,
        )
        return display.plot(ax, query_kw=query_kw, gallery_kw=gallery_kw)

    @classmethod
    def from_predictions(
        cls,
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
        """Draw results that were retrieved before.

        Parameters
        ----------
        neighbors : array-like of int, shape (n_queries, n_neighbors)
            Row numbers in the gallery of the results, best first, as
            :meth:`CrossModalIndex.kneighbors` gives them.
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
        display : RetrievalDisplay
            What was drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_predictions")
        display = cls._of_neighbors(
            neighbors, query_labels, gallery_labels, query_items, gallery_items
        )
        return display.plot(ax, query_kw=query_kw, gallery_kw=gallery_kw)

    @classmethod
    def _of_neighbors(cls, neighbors, query_labels, gallery_labels, query_items, gallery_items):
        query_labels, gallery_labels = column_or_1d(query_labels), column_or_1d(gallery_labels)
        neighbors = np.asarray(neighbors)
        query_items = _items(query_items, query_labels, "query")
        gallery_items = _items(gallery_items, gallery_labels, "gallery")
        if neighbors.ndim != 2 or len(neighbors) != len(query_labels):
            raise ValueError(
                f"The neighbors have shape {neighbors.shape}; with {len(query_labels)} "
                f"query_labels it must be ({len(query_labels)}, n_neighbors)."
            )
        unknown = np.setdiff1d(neighbors, np.arange(len(gallery_labels)))
        if len(unknown):
            raise ValueError(
                f"The neighbors name row {unknown[0]} of the gallery, but gallery_labels has "
                f"{len(gallery_labels)} entries: each row needs a label."
            )
        results = [[gallery_items[i] for i in row] for row in neighbors]
        return cls(query_items, results, query_labels, gallery_labels[neighbors])

    def plot(self, ax=None, *, query_kw=None, gallery_kw=None) -> Self:
        """Draw the queries and their results.

        Parameters
        ----------
        ax : Axes or array of ``1 + n_neighbors`` Axes per query, default=None
            One to divide into panels, or the panels themselves; None: a new figure.
        query_kw, gallery_kw : dict, default=None
            Passed to :meth:`matplotlib.axes.Axes.imshow`, or :meth:`matplotlib.axes.Axes.text` for
            captions.

        Returns
        -------
        display : RetrievalDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        n_queries, n_neighbors = self.result_labels.shape
        self.figure_, self.axes_ = panels(ax, n_queries, 1 + n_neighbors, (1.3, 1.5))
        for i, (query, *results) in enumerate(self.axes_):
            draw_item(query, self.query_items[i], query_kw)
            frame(query, str(self.query_labels[i]))
            labelled = zip(self.result_labels[i], self.hits[i], strict=True)
            for axes, item, (label, hit) in zip(
                results, self.result_items[i], labelled, strict=True
            ):
                draw_item(axes, item, gallery_kw)
                frame_result(axes, label, hit)
        for axes, title in zip(self.axes_[0], ["query", *range(1, n_neighbors + 1)], strict=True):
            axes.set_title(title)
        return self


def _pictures(rows):
    """Return rows that have two or three dimensions each, else None."""
    return np.asarray(rows) if np.ndim(rows) > 2 else None


def _items(items, labels, name):
    items = [str(label) for label in labels] if items is None else items
    if len(items) != len(labels):
        raise ValueError(
            f"There are {len(items)} {name}_items and {len(labels)} {name}_labels: each row needs "
            "one of both."
        )
    return items


def draw_item(axes, item, style):
    if isinstance(item, str):
        caption = textwrap.fill(item, _CAPTION_WIDTH, break_on_hyphens=False)
        centred = {"x": 0.5, "y": 0.5, "ha": "center", "va": "center", "fontsize": "small"}
        axes.text(s=caption, transform=axes.transAxes, **{**centred, **(style or {})})
        axes.set_box_aspect(1)
    else:
        axes.imshow(np.asarray(item), **{"cmap": "gray_r", **(style or {})})
    axes.set(xticks=[], yticks=[])
