"""Tags of an estimator of two views: what it can take, beside what scikit-learn's tags tell."""

from dataclasses import dataclass, fields

from sklearn.utils import Tags


@dataclass
class ViewsTags(Tags):
    """Tags of scikit-learn and those of an estimator of two views.

    Attributes
    ----------
    sequences : bool
        Whether the steps of a sequence are read as such, padding included, instead of flattened.
    several_labels : bool
        Whether a row may have several labels, as an indicator, in `fit`.
    missing_partners : {"own rows", "stand-ins", "whole pairs"}
        What `fit` uses where a view lacks rows, which are NaN throughout: all rows that each view
        has; these, with rows of the same labels in place of those that are missing; or the rows
        that both views have. It is no `allow_nan`, which means NaN among numbers: scikit-learn's
        checks would then scatter some, which is an error.
    partial_fit : bool
        Whether rows can be added.
    device : bool
        Whether it trains on a device of PyTorch, named by the parameter `device`.
    dask : bool
        Whether views may be Dask collections.
    sharded : bool
        Whether several processes can train one model, by the parameter `sharded`.
    """

    sequences: bool = False
    several_labels: bool = False
    missing_partners: str = "whole pairs"
    partial_fit: bool = False
    device: bool = False
    dask: bool = False
    sharded: bool = False


def with_views(tags, **of_views):
    """Return scikit-learn's tags with those of an estimator of two views."""
    return ViewsTags(
        **{known.name: getattr(tags, known.name) for known in fields(Tags)}, **of_views
    )
