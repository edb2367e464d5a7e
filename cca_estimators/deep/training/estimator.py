"""The base of the deep estimators: towers, training through skorch, a linear head."""

import copy
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import EarlyStopping
from skorch.utils import noop
from torch import nn

from cca_estimators import _ranks, _reading
from cca_estimators._algebra.namespace import device_name
from cca_estimators._base import _restored_on_error
from cca_estimators._compat import HasMethods, Interval, StrOptions, fit_context
from cca_estimators._reading.labels import n_classes_of
from cca_estimators.deep.towers import STEP_TOWERS, MLPTower, step_tower
from cca_estimators.deep.training.batches import RowDataset, RowSubset, as_tensor
from cca_estimators.deep.training.callbacks import (
    FigureLines,
    LastEpoch,
    ProgressBar,
    ValidationMap,
)
from cca_estimators.deep.training.checkpoints import check_resumable, path_of
from cca_estimators.deep.training.draws import global_generators, own_modes
from cca_estimators.deep.training.held_out import HeldOut, split
from cca_estimators.deep.training.net import Net, Towers, TrainingSet, embedded_rows
from cca_estimators.deep.training.norms import over_ranks
from cca_estimators.deep.training.sharded import check_same_method, check_same_shapes, together
from cca_estimators.deep.training.stand_ins import completed
from cca_estimators.deep.training.standard import LIMIT, TRAINING_LIMIT, StandardRows, spread_of
from cca_estimators.deep.training.step_gradients import StepGradients
from cca_estimators.deep.training.storing import Stored
from cca_estimators.views import n_rows


@dataclass(eq=False, repr=False, kw_only=True)
class DeepEstimator(Stored):
    """Estimator which holds a skorch net of one tower per view.

    To add a method, write `_objective` (the loss), and, as it needs them, `_tower` (the networks),
    `_head` (the linear map fitted on their outputs) and `_net_class` (the training step).
    """

    hidden_layer_sizes: int | Sequence[int] = (256,)
    activation: str = "relu"
    dropout: float = 0.0
    batch_norm: bool = True
    tower: str = "auto"
    towers: dict[str, torch.nn.Module] | None = None
    batch_size: int = 256
    max_epochs: int = 50
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    early_stopping: bool | str = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    device: str | torch.device = "auto"
    callbacks: list | None = None
    random_state: object = None
    verbose: bool | int = 0
    warm_start: bool = False
    view_split: int | None = None
    standardize: bool | str = "auto"
    checkpoint: object = None
    sharded: bool = False

    _parameter_constraints = {
        **Stored._parameter_constraints,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"relu", "tanh", "logistic", "identity"})],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
        "tower": [StrOptions({"auto", "perceptron", *STEP_TOWERS})],
        "towers": [dict, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean", StrOptions({"loss", "map"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "callbacks": [list, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "standardize": ["boolean", StrOptions({"auto"})],
        "checkpoint": [str, HasMethods("__fspath__"), None],
        "sharded": ["boolean"],
    }
    _auto_tower = "perceptron"
    _net_class = Net
    _held_out = HeldOut()
    _lacks_rows = False
    _cross_fits = False  # variates that the towers learn from

    def fit(self, X, y=None, *, groups=None, X_val=None, y_val=None) -> Self:
        """Train the towers and fit what follows them.

        Parameters
        ----------
        X : mapping of two arrays by view name, or array of shape (n_samples, n_features)
            Views with aligned rows, or both side by side in one array, see `view_split`. Arrays in
            memory are moved to the device; of memory-mapped arrays and h5py datasets only batches.
        y : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Class labels, or an indicator of several, dense or sparse; ignored by unsupervised
            estimators.
        groups : array-like of shape (n_samples,), default=None
            What each row stems from, such as its video, if `early_stopping`: whole groups are held
            out; cross-fitted variates leave them whole too, with early stopping or without. Through
            a search or a pipeline by metadata routing, ``set_fit_request(groups=True)``.
        X_val : mapping of arrays by view name, or array of shape (n_val, n_features), default=None
            Rows in the form of X for `early_stopping` to go by, if any; none of X are held out
            then. In a pipeline, ``Pipeline(..., transform_input=["X_val"])`` transforms them as X.
        y_val : array-like of shape (n_val,) or (n_val, n_labels), default=None
            Class labels of `X_val`, of the classes in y; ignored by unsupervised estimators.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X, y, groups, X_val or y_val are not as described, if one of the last three is given
            and nothing goes by it, if there are too few rows or groups to hold out some, or, with
            `warm_start`, if views, classes or parameters are not those that training began with.
            The estimator then stays as it was.
        FloatingPointError
            If the loss stops being finite. The estimator then holds the weights of the last good
            epoch, or stays as it was if there is none.
        KeyboardInterrupt
            If it was interrupted (Ctrl-C). The estimator then holds the weights of the last whole
            epoch, which a warning says, or stays as it was if there is none.
        """
        held_out = HeldOut(groups, X_val, y_val)
        held_out.check(self.early_stopping, self._cross_fits)
        with self._together():
            self._held_out = held_out
            try:
                super().fit(X, y)
            finally:
                del self._held_out
            self._raise_failure()
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, classes=None) -> Self:
        """Train for one epoch on the rows given, and fit what follows the towers on them.

        Parameters
        ----------
        X : mapping of two arrays by view name, or array of shape (n_samples, n_features)
            As in `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            As in `fit`. Rows that lack some of the classes teach the towers, but the linear method
            beside them stays as it was.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever be in y, at the first call, or the numbers of the columns of
            an indicator; None: those of its rows.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If views, classes or parameters are not those that training began with. The estimator
            then stays as it was.
        """
        with self._together():
            with _restored_on_error(self):
                self._in_blocks_, self._announced_ = True, classes
                self._check_target(X, y)
                views = self._read_first(X, self._min_samples)
                y = self._read_labels(y, views)
                del self._announced_
                self._train(views, y, 1)
            self._raise_failure()
        return self

    @property
    def _several_labels(self):
        return self._takes_labels

    def _read_labels(self, y, views):
        labels = super()._read_labels(y, views)
        return labels.toarray() > 0 if issparse(labels) else labels

    @contextmanager
    def _together(self):
        """Fit with all other ranks, if asked to."""
        with together(self.sharded):
            check_same_method(self)
            yield

    @property
    def history_(self):
        """Losses and other figures of each epoch, a list of dicts (skorch's `History`)."""
        check_is_fitted(self)
        return self.net_.history

    @property
    def best_epoch_(self) -> int:
        """Number, from 1, of the epoch that the weights are of: the best one, or the last."""
        history = self.history_
        if not self.early_stopping:
            return len(history)
        if self.early_stopping == "loss":
            return 1 + int(np.argmin(history[:, "valid_loss"]))
        return 1 + int(np.argmax(history[:, "valid_map"]))

    def _fit_rows(self, views, y):
        self._held_out = self._held_out.read(self, n_rows(next(iter(views.values()))))
        super()._fit_rows(views, y)

    @property
    def _missing_partners(self):
        return "stand-ins" if self._supervised and not self.sharded else "whole pairs"

    def _fit_incomplete(self, views, y, present, counts):
        if self._missing_partners == "whole pairs":
            super()._fit_incomplete(views, y, present, counts)
            return
        self._lacks_rows = True
        try:
            self._fit(views, y)
        finally:
            del self._lacks_rows

    def _fit_whole(self, views, y, rows):
        self._held_out = self._held_out.only(rows)
        super()._fit_whole(views, y, rows)

    def _fit(self, views, y):
        if self.checkpoint is not None:
            check_resumable(self)
        self._train(views, y, self.max_epochs, self.checkpoint)

    def _train(self, views, y, n_epochs, checkpoint=None):
        """Train on, or from the beginning, and fit the head on the outputs of all rows."""
        device = device_name(str(self.device))
        ranks = _ranks.current()
        with own_modes(device):
            seed = ranks.of_first(check_random_state(self.random_state).randint(2**31 - 1))
            check_same_shapes(views)
            inputs = self._inputs(self._at_the_door(views), y)
            inputs, present = self._filled(inputs)
            self._check_shapes(inputs)
            self._tower_shapes_ = {name: tuple(rows.shape[1:]) for name, rows in inputs.items()}
            dataset = self._dataset(inputs, y, device)
            net = self._net_to_train(inputs, y, seed, device)
            tables = self._held_out.tables(views, y)
            path = checkpoint and path_of(checkpoint, self, tables, net)
            path = None if ranks.rank else path  # the first writes for all
            parts = self._parts(dataset, y, seed, device)
            taught = _all_of(dataset)
            if present:
                parts = completed(dataset, parts, present, np.random.RandomState(seed))
                taught = self._check_completed(dataset, parts)
            self._before_training(net, dataset)
            self._failure_ = self._run(net, *parts, n_epochs, path)
            self.net_ = net
            self._finish(taught)
            if path is not None and not isinstance(self._failure_, KeyboardInterrupt):
                path.unlink(missing_ok=True)

    def _filled(self, inputs):
        """Return inputs with zeros in missing rows, and which rows are there, if some are not."""
        if not self._lacks_rows:
            return inputs, {}
        present = {
            name: np.ones(n_rows(rows), bool) if there is None else there
            for name, rows in inputs.items()
            for there in [_reading.present_rows(rows)]
        }
        filled = {}
        for name, rows in inputs.items():
            if not present[name].all():
                rows = rows.copy()
                rows[~present[name]] = 0
            filled[name] = rows
        return filled, present

    def _check_completed(self, dataset, parts):
        """Return the rows that can be learnt from, if they are enough."""
        own = [part.rows for part in parts if part is not None and part.dataset is dataset]
        rows = np.sort(np.concatenate(own))
        n_classes = n_classes_of(dataset.codes[rows].numpy(force=True)) if len(rows) else 0
        if n_classes < 2:
            raise ValueError(
                f"{n_classes} class(es) have rows in both views to train on, and two are needed: "
                "rows that are missing in one view need others of the same labels there."
            )
        return RowSubset(dataset, rows)

    def _row_numbers(self, views):
        n_samples = n_rows(next(iter(views.values())))
        first, _ = _ranks.current().place(n_samples)
        return np.arange(first, first + n_samples)

    def _net_to_train(self, inputs, y, seed, device):
        if hasattr(self, "net_"):
            net = copy.deepcopy(self.net_).move(device)
            net.go_on_with(seed, self.learning_rate, self.weight_decay, self.batch_size)
        else:
            self._begin()
            with global_generators(seed, device):
                net = self._new_net(inputs, y, seed, device)
        if self.sharded:  # of towers of one's own, each rank may have drawn others
            net.load_training_state(_ranks.current().of_first(net.training_state()))
        return net

    def _dataset(self, inputs, y, device):
        codes = self._row_numbers(inputs) if y is None else y
        return RowDataset(inputs, codes, device, self._sequential, self._token_views())

    def _check_shapes(self, inputs):
        for name, rows in inputs.items():
            if self.towers is None and self._sequential and len(rows.shape) > 3:
                raise ValueError(
                    f"View {name!r} has shape {tuple(rows.shape)}; {type(self).__name__} reads "
                    "(n, features) or (n, steps, features). Reshape it, or give own towers."
                )

    def _token_views(self):
        """Return the names of the views whose integers are tokens: own towers embed them."""
        embeddings = (nn.Embedding, nn.EmbeddingBag)
        return {
            name
            for name, tower in (self.towers or {}).items()
            if any(isinstance(module, embeddings) for module in tower.modules())
        }

    def _at_the_door(self, views):
        """Return the views standardised: by their own spread, or further ones by the first."""
        if hasattr(self, "net_"):
            limit = TRAINING_LIMIT
        else:
            limit = LIMIT
            asked = self.towers is None if self.standardize == "auto" else self.standardize
            spreads = {
                name: spread_of(self._rows_there(rows), name, self._sequential)
                for name, rows in (views.items() if asked else ())
            }
            self.means_ = {name: means for name, (means, _) in spreads.items()}
            self.scales_ = {name: scales for name, (_, scales) in spreads.items()}
        standard = {name: self._standardised(name, rows, limit) for name, rows in views.items()}
        if self._lacks_rows:  # in memory, where what comes next sees which
            lacking = [n for n, rows in views.items() if _reading.present_rows(rows) is not None]
            standard |= {name: np.asarray(standard[name]) for name in lacking}
        return standard

    def _rows_there(self, rows):
        present = _reading.present_rows(rows) if self._lacks_rows else None
        return rows if present is None else rows[present]

    def _standardised(self, name, rows, limit=LIMIT):
        if name not in self.means_:
            return rows
        return StandardRows(rows, name, self.means_[name], self.scales_[name], limit)

    def _run(self, net, train, valid, n_epochs, path):
        """Train the net; return what ended it early if a whole epoch remains."""
        last = LastEpoch(path)
        before, after = self._callbacks(), [last, *self._telling()]
        ours = [*before, *after]
        net.callbacks = [*before, *(self.callbacks or []), *after]
        net.ranks_ = _ranks.current()
        net.initialize_callbacks()
        last_epoch = len(net.history) + n_epochs
        last.find(net)
        try:
            net.partial_fit(TrainingSet(train, valid, last_epoch))
            failure = vars(net).pop("interrupt_")
        except FloatingPointError as error:
            failure = error
        finally:
            net.callbacks = self.callbacks
            net.callbacks_ = [pair for pair in net.callbacks_ if pair[1] not in ours]
        if failure is not None and not last.restore(net):
            raise failure
        net.ranks_ = _ranks.ALONE
        return failure

    def _telling(self):
        if not self.verbose:
            return []
        return [ProgressBar() if self.verbose == 1 else FigureLines()]

    def _callbacks(self):
        """Return what records figures and stops early, before callbacks of the user."""
        if not self.early_stopping:
            return []
        by_loss = self.early_stopping == "loss"
        stop = EarlyStopping(
            monitor="valid_loss" if by_loss else "valid_map",
            lower_is_better=by_loss,
            patience=self.n_iter_no_change,
            threshold=0.0,
            load_best=True,
            sink=noop,
        )
        return [ValidationMap(self._embeddings_left_out, self.metric), stop]

    def _parts(self, dataset, y, seed, device):
        """Return the rows to train on, and those to validate on or None."""
        if not self.early_stopping:
            return _all_of(dataset), None
        groups, views, codes = self._held_out
        if views is not None:
            rows = {
                name: self._input(name, self._standardised(name, views[name])) for name in views
            }
            return _all_of(dataset), _all_of(self._dataset(rows, codes, device))
        ranks = _ranks.current()
        start, total = ranks.place(len(dataset))
        classes = None if y is None else self.classes_.tolist()
        y = None if y is None else ranks.joined(y)
        if groups is not None:
            groups = np.unique(ranks.joined(groups), return_inverse=True)[1]
        parts = split(y, classes, total, self.validation_fraction, seed, groups)
        own = (rows[(start <= rows) & (rows < start + len(dataset))] - start for rows in parts)
        return tuple(RowSubset(dataset, rows) for rows in own)

    def _new_net(self, inputs, y, seed, device):
        if self.towers is not None and set(self.towers) != set(inputs):
            raise ValueError(
                f"towers names the views {list(self.towers)}; the views of X are {list(inputs)}."
            )
        towers = {
            name: copy.deepcopy(self.towers[name]) if self.towers else self._tower(rows.shape[1:])
            for name, rows in inputs.items()
        }
        module, criterion = Towers(towers), self._objective(inputs, y)
        if self.sharded:
            module, criterion = over_ranks(module), over_ranks(criterion)
        return self._net_class(
            module.float(),  # whatever PyTorch's default type is
            criterion=criterion.float(),
            optimizer=torch.optim.AdamW,
            optimizer__weight_decay=self.weight_decay,
            optimizer__fused=device.startswith(("cpu", "cuda")),
            lr=self.learning_rate,
            batch_size=self.batch_size,
            device=device,
            seed=seed,
            stratified=self._supervised,
            verbose=0,
            callbacks__print_log=None,  # which would draw up a table that nobody sees
            **self._net_options(),
        ).initialize()

    def _before_training(self, net, dataset):
        """Give the net what else it needs of the rows."""

    def _net_options(self):
        """Return further arguments of `_net_class`."""
        return {}

    def _inputs(self, views, y):
        """Fit what comes before the towers, if anything, and return what enters them."""
        return views

    def _input(self, name, rows):
        """Return what enters the tower of a view."""
        return rows

    @property
    def _tower_kind(self):
        return self._auto_tower if self.tower == "auto" or self.towers else self.tower

    @property
    def _sequential(self):
        return self._tower_kind != "perceptron"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.sequences = self._sequential
        return tags

    def _width(self, rows):
        return rows.shape[-1] if self._sequential and rows.ndim == 3 else super()._width(rows)

    def _tower(self, shape):
        """Return a new network for rows of some shape."""
        if len(shape) != 2 or not self._sequential:
            return self._perceptron(prod(shape))
        return step_tower(
            self._tower_kind,
            shape[-1],
            self._perceptron,
            activation=self.activation,
            dropout=self.dropout,
        )

    def _hidden_sizes(self):
        sizes = self.hidden_layer_sizes
        sizes = (sizes,) if isinstance(sizes, Integral) else tuple(sizes)
        for size in sizes:
            if not (isinstance(size, Integral) and size >= 1):
                raise ValueError(
                    f"hidden_layer_sizes={self.hidden_layer_sizes!r} holds {size!r}; the number of "
                    "units of a layer is an integer of 1 or more. No hidden layer: ()."
                )
        return sizes

    def _perceptron(self, n_features, **options):
        return MLPTower(
            n_features,
            self._hidden_sizes(),
            self._n_tower_outputs(),
            activation=self.activation,
            dropout=self.dropout,
            batch_norm=self.batch_norm,
            **options,
        )

    @abstractmethod
    def _n_tower_outputs(self):
        """Return the number of outputs of a tower."""

    @abstractmethod
    def _objective(self, inputs, y):
        """Return the module which makes a loss of the outputs, codes and views of a batch."""

    def _head(self):
        """Return the linear estimator to fit on the outputs of the towers, or None."""
        return None

    def _finish(self, rows):
        """Fit the head on the outputs of all rows."""
        head = self._head()
        if head is None:
            self.head_ = None
            self.n_components_ = self.net_.outputs(rows.first(2))[self.view_names_in_[0]].shape[1]
            return
        seen = n_classes_of(_ranks.current().joined(rows.codes))
        lacking = self._supervised and seen < len(self.classes_)
        if lacking and hasattr(self, "head_"):
            return
        self.head_ = head.fit(self.net_.outputs(rows), rows.codes)
        self.n_components_ = self.head_.n_components_
        if hasattr(self.head_, "correlations_"):
            self.correlations_ = self.head_.correlations_

    def _embedded(self, head, outputs):
        """Return embeddings by view name of outputs by view name."""
        return outputs if head is None else head.transform(outputs)

    def _embeddings_left_out(self, net, train, valid):
        """Return the embeddings of the rows to validate on, by the head the other rows give."""
        head = self._head()
        if head is not None:
            head.fit(net.outputs(train), train.codes)
        ranks = _ranks.current()
        outputs = {name: ranks.joined(rows) for name, rows in net.outputs(valid).items()}
        return list(self._embedded(head, outputs).values())

    def _transform_view(self, name, rows):
        dtype = np.float32 if rows.dtype == np.float32 else np.float64
        with own_modes(self.net_.device):
            outputs = self._tower_outputs(name, rows)
            return self._embedded(self.head_, {name: outputs})[name].astype(dtype, copy=False)

    def _tower_outputs(self, name, rows):
        with own_modes(self.net_.device):
            return self.net_.tower_outputs(name, self._tower_inputs(name, rows))

    def _tower_inputs(self, name, rows):
        """Yield what enters the tower of a view, as tensors, some rows at a time."""
        rows = self._standardised(name, rows)
        options = self.net_.device, self._sequential, name in self._token_views()
        for taken in gen_batches(rows.shape[0], embedded_rows([rows])):
            yield as_tensor(self._input(name, rows[taken]), name, *options, taken.start)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_") and hasattr(self, "head_")


@dataclass(eq=False, repr=False, kw_only=True)
class DeepEmbedding(StepGradients, DeepEstimator):
    """Deep estimator of a real embedding."""

    n_components: int = field(default=10, kw_only=False)

    _parameter_constraints = {
        **DeepEstimator._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
    }

    def _n_tower_outputs(self):
        return self.n_components


@dataclass(eq=False, repr=False, kw_only=True)
class HeadedEmbedding(DeepEmbedding):
    """Deep estimator of a real embedding with a linear method beside the towers."""

    reg: float | str | dict[str, Any] = "auto"
    weighted: bool = True

    _parameter_constraints = {
        **DeepEmbedding._parameter_constraints,
        "reg": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"}), dict],
        "weighted": ["boolean"],
    }


def _all_of(dataset):
    return RowSubset(dataset, np.arange(len(dataset)))
