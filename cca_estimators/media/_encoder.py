"""Networks that are not trained, as transformers of a view. PyTorch is imported at first use."""

from collections.abc import Mapping
from contextlib import contextmanager
from itertools import chain
from numbers import Integral
from pkgutil import resolve_name

import joblib
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_memory

from cca_estimators import _storage
from cca_estimators._algebra.namespace import device_name
from cca_estimators._compat import HasMethods, Interval, fit_context
from cca_estimators._reading import pad_steps
from cca_estimators.views import n_rows, take_rows


class FrozenEncoder(TransformerMixin, BaseEstimator):
    """Features of a network that is used as it is, never trained.

    A row of the view is one item, such as a waveform or a picture, or a sequence of items: the
    frames of a clip, shape (n_steps, height, width, 3), or a list. Items are encoded in batches, in
    evaluation mode and without gradients.

    Read more in the :ref:`User Guide <media>`.

    Parameters
    ----------
    model : torch.nn.Module or str
        A network, or the import path of what makes or loads one, such as
        ``"torchvision.models.resnet18"`` or ``"transformers.ClapAudioModelWithProjection.``\\
        ``from_pretrained"``. A module is pickled whole. A path is pickled as a name, must give the
        same network each time, and is the only form that goes through a safe file: there it counts
        as a type, which loading refuses unless it is named as trusted.
    arguments : dict, default=None
        Keyword arguments for what the path names.
    preprocess : callable, default=None
        Makes the input of the network from a list of items: a tensor, or a mapping of tensors that
        are passed by name. The processors of transformers do so:
        ``partial(processor, return_tensors="pt")``. None: items are stacked, and pictures become
        float32 in [0, 1] with channels first.
    output : str or int, default=None
        Name or place of the tensor wanted, if the network returns several; None: the first.
    batch_size : int, default=32
        Number of items in a batch.
    device : str, default="auto"
        Device of PyTorch; "auto": a GPU where there is one, else the CPU.
    memory : str or joblib.Memory, default=None
        Where the features of each row are kept, so that no row is encoded twice. A module is told
        from others by its class, its printed form and its weights.

    Raises
    ------
    ValueError
        In `transform`, if the path leads to no network, items cannot be stacked, or the output has
        not one vector, or one sequence of vectors, for each item.

    See Also
    --------
    PerView : Applies it to a view.

    Examples
    --------
    >>> import numpy as np
    >>> from cca_estimators.media import FrozenEncoder
    >>> encoder = FrozenEncoder("torch.nn.Linear", {"in_features": 16, "out_features": 3})
    >>> encoder.transform(np.ones((5, 16), np.float32)).shape
    (5, 3)
    """

    _parameter_constraints = {
        "model": [str, HasMethods(["eval", "modules", "state_dict"])],
        "arguments": [dict, None],
        "preprocess": [callable, None],
        "output": [str, Integral, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "memory": [str, HasMethods(["cache"]), None],
    }

    def __new__(cls, *args, **kwargs):
        """Return an encoder of which `_storage` knows, whatever way a file makes it."""
        encoder = super().__new__(cls)
        _storage.notice(encoder)
        return encoder

    def __init__(
        self,
        model,
        arguments=None,
        *,
        preprocess=None,
        output=None,
        batch_size=32,
        device="auto",
        memory=None,
    ):
        self.model = model
        self.arguments = arguments
        self.preprocess = preprocess
        self.output = output
        self.batch_size = batch_size
        self.device = device
        self.memory = memory

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the parameters; nothing is learnt, and nothing imported.

        Parameters
        ----------
        X : sequence of rows
            Ignored.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The transformer.
        """
        return self

    def transform(self, X):
        """Return the features of each row.

        Parameters
        ----------
        X : sequence of n rows
            See the class.

        Returns
        -------
        ndarray of shape (n, n_features) or (n, n_steps, n_features), float32
            With steps where rows are sequences, or where the network gives a sequence for an item;
            steps after the end of a row are NaN.
        """
        X = X.to_numpy() if hasattr(X, "iloc") else X
        network = self._network()
        key = None if self.memory is None else self._key(network)
        kept = check_memory(self.memory).cache(_kept, ignore=["features"])
        features = []
        with _at_work(network, device_name(self.device)) as device:
            for taken in gen_batches(n_rows(X), self.batch_size):
                rows = list(take_rows(X, taken))
                new = [i for i, row in enumerate(rows) if not _is_kept(kept, key, row)]
                encoded = self._encoded(network, device, [rows[i] for i in new])
                made = dict(zip(new, encoded, strict=True))
                features += [kept(key, row, made.get(i)) for i, row in enumerate(rows)]
        return _joined(features)

    def _network(self):
        """Return the network, loaded once if it is named by its path."""
        import torch

        self._validate_params()
        if not isinstance(self.model, str):
            return self.model
        if self.model not in getattr(self, "_allowed", [self.model]):
            raise ValueError(
                f"model={self.model!r} is not among the types trusted when the file of this "
                f"encoder was loaded, {sorted(self._allowed)}. Make an encoder of your own."
            )
        name = self.model, self.arguments
        if getattr(self, "_loaded", (None,))[0] != name:
            network = resolve_name(self.model)(**(self.arguments or {}))
            if not isinstance(network, torch.nn.Module):
                raise ValueError(
                    f"model={self.model!r} made a {type(network).__name__}; the path must lead to "
                    "what returns a torch.nn.Module, such as its class or a function that loads it."
                )
            self._loaded = name, network
        return self._loaded[1]

    def _key(self, network):
        """Return what tells this encoding from others."""
        if isinstance(self.model, str):
            model = self.model, self.arguments
        else:
            weights = {name: _as_array(value) for name, value in network.state_dict().items()}
            model = type(network).__qualname__, repr(network), weights
        return joblib.hash((model, self.preprocess, self.output))

    def _encoded(self, network, device, rows):
        """Return the features of each row: a vector for an item, vectors of steps for several."""
        items = [_items(row) for row in rows]
        flat = [item for of_row in items for item in of_row]
        outputs = []
        for taken in gen_batches(len(flat), self.batch_size) if flat else ():
            outputs += list(self._outputs(network, device, flat[taken]))
        outputs = iter(outputs)
        features = [[next(outputs) for _ in of_row] for of_row in items]
        return [
            np.vstack(of_row) if _is_sequence(row) else of_row[0]
            for row, of_row in zip(rows, features, strict=True)
        ]

    def _outputs(self, network, device, items):
        """Return the outputs for a batch of items, (n, n_features) or (n, n_steps, n_features)."""
        inputs = (self.preprocess or _stacked)(items)
        if isinstance(inputs, Mapping):
            output = network(**{name: _on(device, value) for name, value in inputs.items()})
        else:
            output = network(_on(device, inputs))
        if isinstance(output, Mapping):
            output = output[next(iter(output)) if self.output is None else self.output]
        elif isinstance(output, (tuple, list)):
            output = output[self.output or 0]
        output = _as_array(output)
        if output.ndim not in (2, 3) or len(output) != len(items):
            raise ValueError(
                f"The output for {len(items)} items has shape {output.shape}; one vector or one "
                "sequence of vectors for each is needed. Choose another by output=, or pool it in "
                "the network."
            )
        return output

    def allow(self, trusted):
        """Let the encoder, and clones of it, import nothing but what is named, from now on.

        Parameters
        ----------
        trusted : collection of str
            Import paths. A search from a file may hold other paths in its grid.
        """
        self._allowed = frozenset(trusted)

    def __sklearn_clone__(self):
        copy = super().__sklearn_clone__()
        if hasattr(self, "_allowed"):
            copy.allow(self._allowed)
        return copy

    def __getstate__(self):
        if _storage.notice(self) and not isinstance(self.model, str):
            raise ValueError(
                f"FrozenEncoder has a {type(self.model).__name__} as model, which is code. Give "
                "the import path of what makes it, or keep the estimator by joblib.dump, which is "
                "to be loaded from trusted files only."
            )
        return {name: value for name, value in super().__getstate__().items() if name != "_loaded"}

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def _kept(key, row, features):
    """Return features, which joblib.Memory then keeps under the key and the row."""
    return features


def _is_kept(kept, key, row):
    return kept.check_call_in_cache(key, row, None)


@contextmanager
def _at_work(network, device):
    """Have a network on a device, in evaluation mode and without gradients, for a while."""
    import torch

    at_rest = next(chain(network.parameters(), network.buffers()), torch.empty(0)).device
    training = [module for module in network.modules() if module.training]
    try:
        network.eval().to(device)
        with torch.inference_mode():
            yield device
    finally:
        network.to(at_rest)
        for module in training:
            module.training = True


def _is_sequence(row):
    """Tell whether a row holds several items: a list does, and the frames of a clip."""
    return isinstance(row, (list, tuple)) or np.ndim(row) == 4


def _items(row):
    items = list(row) if _is_sequence(row) else [row]
    if not items:
        raise ValueError("A row holds no item to encode: leave such rows out.")
    return items


def _stacked(items):
    """Return items as one float32 array, pictures in [0, 1] with their channels first."""
    arrays = [np.asarray(item) for item in items]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or arrays[0].dtype.kind not in "fiub":
        raise ValueError(
            f"Items of the shapes {sorted(shapes)[:3]} and dtype {arrays[0].dtype} cannot be "
            "stacked: give a preprocess, which makes the input of the network from them."
        )
    stacked = np.stack(arrays)
    scale = np.float32(255 if stacked.dtype == np.uint8 else 1)
    pictures = stacked.ndim == 4 and stacked.shape[3] in (1, 3)
    return (np.moveaxis(stacked, 3, 1) if pictures else stacked).astype(np.float32) / scale


def _on(device, value):
    import torch

    return torch.as_tensor(value).to(device)


def _as_array(tensor):
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy(force=True)


def _joined(features):
    """Return the features of all rows as one array, padded if they have steps."""
    if all(row.ndim == 1 for row in features):
        return np.stack(features)
    return pad_steps([np.atleast_2d(row) for row in features], features[0].shape[-1])
