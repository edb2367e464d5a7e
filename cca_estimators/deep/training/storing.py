"""What is stored of a deep estimator, and made of it again: tensors on the CPU, or arrays alone."""

import copyreg

import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch.history import History

from cca_estimators._algebra.namespace import device_name
from cca_estimators._compat import warn_user
from cca_estimators.deep.training.at_rest import at_rest, check_sizes
from cca_estimators.deep.training.draws import global_generators, own_modes
from cca_estimators.deep.training.going_on import GoingOn


class Stored(GoingOn):
    """Estimator of a net, `net_`, which is pickled at rest, and told in values and arrays.

    Subclasses make a net by `_new_net`, and keep the shapes that enter its towers in
    `_tower_shapes_`.
    """

    def _to_data(self):
        """Return what `_from_data` makes the estimator of: values, arrays and linear estimators."""
        if self.towers is not None:
            raise ValueError(
                f"{type(self).__name__} has towers of its own, which cannot be made again from "
                "numbers. Keep it by joblib.dump, which is to be loaded from trusted files only."
            )
        params = {**self.get_params(deep=False), "callbacks": None, "checkpoint": None}
        if not hasattr(self, "net_"):
            return {"params": params}
        weights = self.net_.module_.state_dict()
        return {
            "params": params,
            "fitted": {
                name: value
                for name, value in vars(self).items()
                if name not in params and name != "net_"
            },
            "weights": {name: value.numpy(force=True) for name, value in weights.items()},
            "history": [{**epoch, "batches": []} for epoch in self.net_.history],
        }

    @classmethod
    def _from_data(cls, data):
        """Return the estimator made anew; should it be trained on, its optimiser starts afresh."""
        estimator = cls(**data["params"])
        estimator._validate_params()
        if "weights" not in data:
            return estimator
        since_0_2 = {"means_": {}, "scales_": {}, "_began_with_": estimator._lasting()}
        vars(estimator).update({**since_0_2, **data["fitted"]})
        inputs = {
            name: np.broadcast_to(np.float32(0), (1, *shape))
            for name, shape in estimator._tower_shapes_.items()
        }
        y = np.arange(len(estimator.classes_)) if estimator._supervised else None
        if getattr(estimator, "n_layers", 1) > len(data["weights"]):
            raise ValueError(f"n_layers={estimator.n_layers}, and it holds fewer tensors")
        with own_modes("cpu"), torch.device("meta"):
            check_sizes(estimator._new_net(inputs, y, 0, "meta"), data["weights"])
        device = _device_or_cpu(str(estimator.device))
        seed = check_random_state(estimator.random_state).randint(2**31 - 1)
        with own_modes(device), global_generators(seed, device):
            net = estimator._new_net(inputs, y, seed, device)
        weights = {name: torch.from_numpy(value) for name, value in data["weights"].items()}
        net.module_.load_state_dict(weights)
        net.history = History(data["history"])
        estimator.net_ = net
        return estimator

    def __reduce_ex__(self, protocol):
        return copyreg.__newobj__, (type(self),), self.__getstate__()

    def __reduce__(self):
        """Refuse what asks past `__reduce_ex__`: skops, which would stop at a tensor somewhere."""
        if not hasattr(self, "net_"):
            return super().__reduce__()
        raise TypeError(
            f"{type(self).__name__} holds networks, which skops cannot dump. Write it by "
            "cca_estimators.save, whose files run no code either and are read by "
            "cca_estimators.load, or keep all of it by joblib.dump."
        )

    def __getstate__(self):
        return at_rest(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(state)
        if hasattr(self, "net_"):
            self.net_.move(_device_or_cpu(str(self.device)))


def _device_or_cpu(name):
    """Return the name of a device that is there: the CPU, with a warning, in place of another."""
    try:
        return device_name(name)
    except ValueError:
        warn_user(
            f"The estimator was trained with device={name!r}, which is not there: it is loaded to "
            "the CPU. To train it further, set device='cpu' or 'auto'.",
        )
        return "cpu"
