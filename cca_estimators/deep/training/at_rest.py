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


class _CopiesOnCpu(TorchFunctionMode):
    """While it holds, copies of tensors are on the CPU: those of parameters are clones."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        return to_cpu(result) if function in _COPIES else result


def to_cpu(tensor):
    """Return a tensor on the CPU."""
    return tensor.cpu()


_COPIES = (torch.Tensor.clone, torch.Tensor.__deepcopy__)
