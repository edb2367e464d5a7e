"""What the displays share: methods by name, axes, panels, styles."""

from collections.abc import Mapping

import numpy as np


def by_name(estimator, name):
    """Return estimators by name."""
    if not isinstance(estimator, Mapping):
        return {type(final(estimator)).__name__ if name is None else name: estimator}
    if name is not None:
        raise ValueError(
            f"name={name!r} is for a single estimator; a dict names its own: {list(estimator)}."
        )
    return estimator


def final(estimator):
    """Return the estimator itself: the best of a search, a pipeline's last step."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    return final(estimator.steps[-1][1]) if hasattr(estimator, "steps") else estimator


def figure_and_axes(ax):
    """Return the axes given or new ones, after their figure."""
    import matplotlib.pyplot as plt

    ax = plt.subplots(figsize=(7, 4.2), layout="constrained")[1] if ax is None else ax
    return ax.figure, ax


def panels(ax, n_rows, n_columns, size):
    """Return a grid of panels, after their figure: new, within axes given, or given themselves."""
    import matplotlib.pyplot as plt

    if ax is None:
        figsize = np.multiply((n_columns, n_rows), size)
        return plt.subplots(n_rows, n_columns, squeeze=False, figsize=figsize, layout="constrained")
    if isinstance(ax, plt.Axes):
        ax.set_axis_off()
        grid = ax.get_subplotspec().subgridspec(n_rows, n_columns)
        return ax.figure, grid.subplots(squeeze=False)
    axes = np.asarray(ax, dtype=object)
    if axes.size != n_rows * n_columns:
        raise ValueError(
            f"ax holds {axes.size} Axes; {n_rows} rows of {n_columns} panels need "
            f"{n_rows * n_columns}, or one Axes to divide."
        )
    return axes.flat[0].figure, axes.reshape(n_rows, n_columns)


# mark, colour that the colour-blind tell apart, style of the frame
HIT, MISS = ("✓", "#009e73", "-"), ("✗", "#d55e00", "--")


def frame_result(axes, label, hit):
    """Frame a result and name its class, as a hit or a miss."""
    mark, color, linestyle = HIT if hit else MISS
    frame(axes, f"{mark} {label}", color, linestyle)


def frame(axes, label, color="black", linestyle="-"):
    """Draw a frame around axes, and a name below."""
    axes.set_xlabel(label, color=color)
    for spine in axes.spines.values():
        spine.set(color=color, linestyle=linestyle, linewidth=2)


def add_legend(axes, handles):
    """Draw a legend: beside the axes if their figure makes room for it, else where least is hid."""
    place = {"loc": "best"}
    if axes.figure.figure.get_layout_engine() is not None:  # the engine is that of the whole figure
        place = {"loc": "upper left", "bbox_to_anchor": (1.02, 1), "borderaxespad": 0}
    axes.legend(handles=handles, **place)


def line_style(defaults, given):
    """Return keywords of a line: defaults, and what is given instead, under any of its names."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return {**defaults, **normalize_kwargs(given, Line2D)}
