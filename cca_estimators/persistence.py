"""Fitted estimators in files that run no code when they are loaded."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from cca_estimators import _storage

__all__ = ["load", "save"]

_FORMAT = "cca_estimators.estimator"


def save(estimator, path, *, card=False, figures=None) -> None:
    """Write a fitted estimator, pipeline or search to one file, all of it or nothing.

    Needs the package skops. The file holds arrays, numbers and names, and no code. Deep estimators
    keep what they need to embed, and the losses of their epochs; callbacks, optimisers and
    adversaries are left out, so one that is trained on after loading begins with new ones.

    Read more in the :ref:`User Guide <saving>`.

    Parameters
    ----------
    estimator : estimator
        Fitted: one of this package or of scikit-learn, a pipeline, a search.
    path : str or path-like
        An existing file is replaced.
    card : bool, default=False
        Write a model card beside the file, in Markdown, under its name with ".md" added: methods,
        parameters, shapes of data, figures, versions.
    figures : dict of float, default=None
        What `cross_modal_scores` returned, for the card.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    ValueError
        If the estimator has towers of its own or a function as kernel, which are code.
    ImportError
        If skops is not installed.

    Warns
    -----
    UserWarning
        If the estimator holds types that must be named to `load`.

    See Also
    --------
    load : Read what `save` has written.
    CrossModalIndex.save : An estimator with its gallery.

    Examples
    --------
    >>> import os, tempfile
    >>> from cca_estimators import CCCA, load, save
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=200, n_classes=4, n_features=(8, 12), random_state=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "ccca.model")
    >>> save(CCCA().fit(X, y), path)
    >>> load(path).transform({"audio": X["audio"][:2]})
    Views(audio=(2, 3))
    """
    check_is_fitted(estimator)
    versions = _storage.versions()
    _storage.save(path, {"format": _FORMAT, "versions": versions}, {}, estimator)
    if card:
        text = model_card(estimator, versions, figures or {})
        with _storage.replacing(f"{path}.md") as unfinished:
            Path(unfinished).write_text(text, encoding="utf-8")


def load(path, *, trusted: Collection[str] = ()) -> Any:
    """Read an estimator from a file without running any code of it.

    Parameters
    ----------
    path : str or path-like
        A file that `save` has written, of this or any earlier version.
    trusted : collection of str, default=()
        Further types that may be in it, such as ``["package.module.Class"]``. Whoever wrote the
        file decides how such a type is used: look at its code before.

    Returns
    -------
    estimator : estimator
        Fitted. A device that is not there is replaced by the CPU.

    Raises
    ------
    ValueError
        If the file is damaged or of another kind, or holds types that are not trusted, which it
        names. Nothing of it is loaded then.
    ImportError
        If skops is not installed.

    See Also
    --------
    save : Write such a file.

    Examples
    --------
    See `save`.
    """
    header, _, estimator = _storage.load(path, trusted)
    if header.get("format") != _FORMAT:
        raise ValueError(
            f"{path} holds no estimator but {header.get('format')!r}; a CrossModalIndex is read by "
            "CrossModalIndex.load."
        )
    return estimator


def model_card(estimator, versions, figures):
    """Return the card of a fitted estimator as Markdown."""
    best = getattr(estimator, "best_estimator_", estimator)
    steps = [step for _, step in getattr(best, "steps", [("", best)])]
    sections = {
        "Method": [_first_line(step) for step in steps],
        "Parameters": [_parameters(step) for step in steps],
        "Data": [shapes for step in steps if (shapes := _shapes(step))],
        "Search": _search(estimator),
        "Figures": [f"{name}: {value:.4f}" for name, value in figures.items()],
        "Versions": [f"{package} {version}" for package, version in versions.items()],
    }
    lines = [f"# {' + '.join(type(step).__name__ for step in steps)}"]
    for title, items in sections.items():
        if items:
            lines += ["", f"## {title}", "", *(f"- {item}" for item in items)]
    return "\n".join(lines) + "\n"


def _first_line(step):
    return f"`{type(step).__name__}`: {(type(step).__doc__ or '').strip().splitlines()[0]}"


def _parameters(step):
    values = [f"{name}={value!r}" for name, value in step.get_params(deep=False).items()]
    return f"`{type(step).__name__}({', '.join(values)})`"


def _shapes(step):
    """Return what is known of the data that a step was fitted on."""
    features = getattr(step, "n_features_in_", None)
    if features is None:
        return None
    classes = getattr(step, "classes_", None)
    labels = "" if classes is None else f"; {len(classes)} classes: {', '.join(map(str, classes))}"
    return f"`{type(step).__name__}` was fitted with {features} features{labels}"


def _search(estimator):
    if not hasattr(estimator, "best_params_"):
        return []
    best = getattr(estimator, "best_score_", np.nan)
    return [f"chosen by cross-validation: {estimator.best_params_}", f"its score: {best:.4f}"]
