"""Random draws of a fit's own, and the modes of PyTorch that deep methods work in."""

import os
import threading
from contextlib import ExitStack, contextmanager

import sklearn
import torch
from torch.overrides import TorchFunctionMode

from cca_estimators import _ranks

_GLOBAL_GENERATORS = threading.RLock()
_PROCESS = os.getpid()
_STRIDE = 0x9E3779B1  # between the seeds of ranks, far from those of other epochs
_OF_DEFAULT_DTYPE = (
    *(torch.empty, torch.zeros, torch.ones, torch.eye),
    *(torch.rand, torch.randn, torch.linspace),
)


@contextmanager
def global_generators(seed, device):
    """Seed PyTorch's own generators for a while, one fit at a time, and leave them as they were.

    For what offers no other: the weights of new layers, and layers that draw by themselves.
    """
    cuda = [torch.device(device)] if device.startswith("cuda") else []
    with _GLOBAL_GENERATORS, torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        yield


class Draws:
    """Generators of one fit: draws in other threads do not reach them.

    Attributes
    ----------
    on_host, on_device : torch.Generator
        For tensors on the CPU, and for those on the device; one if that is the CPU. All ranks of a
        sharded fit draw the same.
    of_rank : torch.Generator
        For the rows that one rank alone has, on the device; `on_device` if there are no others.
    """

    def __init__(self, device):
        self.on_host = torch.Generator()
        self.on_device = self.on_host if device == "cpu" else torch.Generator(device)
        self._ranks = _ranks.current()
        self.of_rank = self.on_device if self._ranks.size == 1 else torch.Generator(device)

    def seed(self, seed):
        """Begin anew from a seed."""
        self.on_host.manual_seed(seed)
        self.on_device.manual_seed(seed)
        if self._ranks.size > 1:
            self.of_rank.manual_seed((seed + _STRIDE * (self._ranks.rank + 1)) % 2**32)


def draws_by_itself(module):
    """Tell whether a module, its parts aside, may draw from PyTorch's own generators."""
    kind = type(module).__module__
    if kind.partition(".")[0] not in ("torch", "cca_estimators"):
        return True
    rate = getattr(module, "dropout", 0.0)  # of recurrent networks and transformers
    return kind == "torch.nn.modules.dropout" or (isinstance(rate, float) and rate > 0)


class _Float32(TorchFunctionMode):
    """New tensors hold float32, whatever PyTorch's default is: it is process-wide, this is not.

    Draws of another type are other draws, not the same ones rounded.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in _OF_DEFAULT_DTYPE and kwargs.get("dtype") is None:
            kwargs = {**kwargs, "dtype": torch.float32}
        return function(*args, **kwargs)


@contextmanager
def own_modes(device):
    """Work as if the caller had set no mode of PyTorch, and no output of scikit-learn.

    What is entered belongs to the thread. A child that was forked from a process whose PyTorch had
    several threads hangs in the first operation of several, and therefore goes on with one.
    """
    if os.getpid() != _PROCESS:
        torch.set_num_threads(1)
    with ExitStack() as stack:
        stack.enter_context(sklearn.config_context(transform_output="default"))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {"cpu", torch.device(device).type}:
            if torch.amp.is_autocast_available(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.empty(0).device.type != "cpu":  # asked of PyTorch 2.5, a reset default raises
            stack.enter_context(torch.device("cpu"))
        if torch.get_default_dtype() != torch.float32:
            stack.enter_context(_Float32())
        yield
