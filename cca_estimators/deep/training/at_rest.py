"""Models at rest: their tensors are on the CPU, wherever they were trained."""

import copy

import torch
from torch.overrides import TorchFunctionMode


def at_rest(state):
    """Return a deep copy whose tensors are on the CPU, whatever holds them.

    Parameters
    ----------
    state : object
        Networks, optimisers, callbacks: what was one object in it stays one, so an optimiser still
        holds the parameters of its network.

    Returns
    -------
    object

    Examples
    --------
    >>> import torch
    >>> rate = torch.tensor(0.1)
    >>> first, second = at_rest([rate, {"rate": rate}])
    >>> first is second["rate"], first is rate
    (True, False)
    """
    with _CopiesOnCpu():
        return copy.deepcopy(state)


def check_sizes(planned, weights):
    """Raise ValueError unless the tensors of a net are those of a file, before memory is taken.

    Parameters
    ----------
    planned : Net
        On the device "meta", where tensors have shapes alone.
    weights : dict of ndarray
        What the file holds. What plays against the networks is not in files, and may hold a hundred
        times as many numbers.
    """
    shapes = {name: tuple(each.shape) for name, each in planned.module_.state_dict().items()}
    for name in sorted({*shapes, *weights}):
        stored = weights[name].shape if name in weights else None
        if shapes.get(name) != stored:
            raise ValueError(
                f"its parameters ask for a tensor {name} of shape {shapes.get(name)}, and it holds "
                f"{stored}"
            )
    held = sum(each.size for each in weights.values())
    further = sum(each.numel() for each in planned.criterion_.state_dict().values())
    if further > _MOST_GAIN * held:
        raise ValueError(f"its parameters ask for {further} numbers beside the {held} it holds")


class _CopiesOnCpu(TorchFunctionMode):
    """While it holds, copies of tensors are on the CPU: those of parameters are clones."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        return to_cpu(result) if function in _COPIES else result


def to_cpu(tensor):
    """Return a tensor on the CPU."""
    return tensor.cpu()


_MOST_GAIN = 100
_COPIES = (torch.Tensor.clone, torch.Tensor.__deepcopy__)
