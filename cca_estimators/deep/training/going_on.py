"""What must stay as it was for training to go on, by `partial_fit` or a warm start."""

import numpy as np

from cca_estimators._base import CrossModalEstimator, _check_n_rows
from cca_estimators._compat import warn_user
from cca_estimators._reading.labels import label_array

_MAY_CHANGE = {
    "batch_size",
    "callbacks",
    "checkpoint",
    "device",
    "early_stopping",
    "learning_rate",
    "max_epochs",
    "n_iter_no_change",
    "random_state",
    "validation_fraction",
    "verbose",
    "warm_start",
    "weight_decay",
}


class GoingOn(CrossModalEstimator):
    """Estimator which can be trained on: views, classes and lasting parameters stay the same.

    Subclasses hold what they have trained in `net_`, and call `_begin` before they first train.
    """

    def _begin(self):
        self._began_with_ = self._lasting()

    def _forget(self):
        if not (self.warm_start and hasattr(self, "net_")):
            super()._forget()
        self._in_blocks_ = False

    def _read_first(self, X, min_samples=1):
        if not hasattr(self, "net_"):
            return super()._read_first(X, min_samples)
        self._check_parameters()
        views = self._read_again(X)
        if set(views) != set(self.view_names_in_):
            raise ValueError(
                f"X holds the view {next(iter(views))!r} alone; training goes on with both, "
                f"{self.view_names_in_}."
            )
        _check_n_rows(views, min_samples)
        return {name: views[name] for name in self.view_names_in_}

    def _settle_classes(self, given):
        known = getattr(self, "classes_", None)
        announced = getattr(self, "_announced_", None)
        classes = given if announced is None else np.unique(label_array(announced))
        if known is not None and not self._may_go_on_with(classes, known, announced):
            raise ValueError(
                f"y holds the classes {classes.tolist()}; training began with "
                f"{known.tolist()}. Give all of them to the first partial_fit as classes=..., or "
                "fit anew with warm_start=False."
            )
        self.classes_ = classes if known is None else known
        unknown = np.setdiff1d(given, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y holds the labels {unknown.tolist()}, which are not among "
                f"classes={self.classes_.tolist()}."
            )

    def _may_go_on_with(self, classes, known, announced):
        """Tell whether further rows fit: all classes in a fit, some of them in `partial_fit`."""
        if self._in_blocks_ and announced is None:
            return np.isin(classes, known).all()
        return np.array_equal(classes, known)

    def _check_parameters(self):
        """Raise ValueError if a parameter has changed that training cannot go on with."""
        for name, value in self._lasting().items():
            before = self._began_with_.get(name, value)
            if before is not value and repr(before) != repr(value):
                raise ValueError(
                    f"{name} was {before!r} when training began and is {value!r}. Set it back, or "
                    "fit anew with warm_start=False."
                )

    def _lasting(self):
        """Return the parameters that must stay as long as training goes on."""
        of_head = ("reg", "weighted") if self._head() is not None else ()
        params = self.get_params(deep=False)
        return {name: params[name] for name in params if name not in {*_MAY_CHANGE, *of_head}}

    def _raise_failure(self):
        """Raise what ended training early, after a warning if it was the user."""
        failure = vars(self).pop("_failure_", None)
        if failure is None:
            return
        try:
            if isinstance(failure, KeyboardInterrupt):
                warn_user(
                    f"Training was interrupted. {type(self).__name__} holds the weights of epoch "
                    f"{len(self.history_)}, the last whole one.",
                )
        finally:
            raise failure
