"""Training that a kill cannot lose: one file per fit, whole at any moment, that runs no code."""

import hashlib
import os
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from sklearn.utils import gen_batches
from skorch.callbacks import EarlyStopping, LRScheduler

from cca_estimators import _ranks
from cca_estimators._storage import replacing
from cca_estimators.deep.training.standard import block_size

_WITHOUT_EFFECT = {"checkpoint", "callbacks", "device", "verbose", "warm_start", "sharded"}
_KNOWN_WHEN_STOPPING = ("misses_", "dynamic_threshold_", "best_model_weights_", "best_epoch_")


def check_resumable(estimator):
    """Raise ValueError unless the same fit can be called again."""
    if not isinstance(estimator.random_state, Integral):
        raise ValueError(
            f"checkpoint={str(estimator.checkpoint)!r} needs an integer as random_state, and it is "
            f"{estimator.random_state!r}: without a seed no fit can be called again."
        )


def path_of(folder, estimator, tables, net):
    """Return the path of the file of a fit, by what determines its result.

    Parameters
    ----------
    folder : str or path-like
        Made if it is not there.
    estimator : DeepEstimator
        Of whose parameters those that change no result are left out.
    tables : list of dict of array-like
        Aligned arrays by name, in each.
    net : Net
        As it is before training: its weights are those to begin from.
    """
    digest = hashlib.blake2b(digest_size=16)
    parameters = estimator.get_params(deep=False)
    told = {name: parameters[name] for name in sorted(parameters) if name not in _WITHOUT_EFFECT}
    told["callbacks"] = [_told(callback) for callback in stateful(estimator.callbacks or ())]
    digest.update(repr((type(estimator).__name__, told, net.seed, len(net.history))).encode())
    for arrays in tables:
        for name, rows in arrays.items():
            digest.update(repr((name, rows.shape[1:], str(rows.dtype))).encode())
        digest.update(repr(sum_of_rows(arrays)).encode())
    for weights in net.module_.state_dict().values():
        digest.update(weights.numpy(force=True).tobytes())
    os.makedirs(folder, exist_ok=True)
    return Path(folder) / f"{type(estimator).__name__}-{digest.hexdigest()}.pt"


def stateful(callbacks):
    """Return the callbacks that change what the next epoch does, and how training ends."""
    return [
        callback for callback in callbacks if isinstance(callback, (EarlyStopping, LRScheduler))
    ]


def _told(callback):
    """Return what determines the effect of a callback, the same in every process."""
    options = {name: value for name, value in vars(callback).items() if not name.endswith("_")}
    return type(callback).__name__, {
        name: getattr(options[name], "__qualname__", options[name]) for name in sorted(options)
    }


def state_of(callback):
    """Return where a schedule or early stopping is."""
    if isinstance(callback, LRScheduler):
        return callback.lr_scheduler_.state_dict()
    return {name: getattr(callback, name) for name in _KNOWN_WHEN_STOPPING}


def go_on_from(callback, state):
    """Let a schedule or early stopping, which has begun anew, go on from a state."""
    if isinstance(callback, LRScheduler):
        callback.lr_scheduler_.load_state_dict(state)
    else:
        vars(callback).update(state)


def sum_of_rows(arrays):
    """Return the sum of a digest of each row, of all ranks: whichever order they are in.

    Parameters
    ----------
    arrays : dict of array-like
        Aligned, or none at all.

    Returns
    -------
    int
    """
    total, parts = 0, list(arrays.values())
    size = min((block_size(rows) for rows in parts), default=1)
    for taken in gen_batches(parts[0].shape[0], size) if parts else ():
        for row in zip(*(np.ascontiguousarray(rows[taken]) for rows in parts), strict=True):
            digest = hashlib.blake2b(digest_size=16)
            for part in row:
                digest.update(part)
            total += int.from_bytes(digest.digest(), "little")
    return sum(_ranks.current().gathered(total)) % 2**128


def write(path, state):
    """Write a state of tensors, numbers and names, whole or not at all."""
    with replacing(path) as unfinished:
        torch.save(state, unfinished)


def read(path):
    """Return the state in a file, or None if there is no file.

    Raises
    ------
    ValueError
        If the file is damaged, or holds anything but tensors, numbers and names.
    """
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} is damaged or no checkpoint ({type(error).__name__}). Delete it, and the fit "
            "begins anew."
        ) from error


def plain(value):
    """Return lists and dicts with Python's own numbers in place of NumPy's."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value.item() if isinstance(value, np.generic) else value
