"""Fits of several processes, each of which holds some of the rows: collectives of PyTorch.

Every rank computes the loss of the joined batch, from sums over all ranks or from the outputs of
all. What is added up going forward has its gradients added up on the way back, as the adjoint of a
sum asks for; the gradients of the weights, averaged over the ranks, are then exactly those of one
process that holds the joined batch, whichever weights they are.
"""

import copy
import pickle
from contextlib import contextmanager, suppress
from itertools import compress
from operator import not_

import numpy as np
import torch
import torch.distributed as dist
from scipy.sparse import issparse, vstack

from cca_estimators import _ranks

_CLOSING = (2, 13)  # first PyTorch whose groups are known to close
_LARGE = 2**16  # numbers that are better not copied to be added up together with others
_OF_RANK = {"callbacks", "device", "random_state", "towers", "verbose"}  # those of each


@contextmanager
def together(sharded):
    """Fit by oneself or, if `sharded`, together with all ranks of `torch.distributed`.

    Raises
    ------
    RuntimeError
        If it is to be sharded, and no process group is there, or PyTorch is too old.
    """
    if not sharded or _ranks.current().size > 1:
        with _ranks.among(_ranks.current() if sharded else _ranks.ALONE):
            yield
        return
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "sharded=True trains on the rows of several processes, and torch.distributed is not "
            "initialised. Start the script by torchrun and call "
            "torch.distributed.init_process_group() before fit, or set sharded=False."
        )
    if dist.get_world_size() == 1:
        yield
        return
    check_version()
    ranks = Ranks()
    try:
        with _ranks.among(ranks), ranks.stage():
            yield
    finally:
        ranks.close()


def groups_close():
    """Tell whether the groups of this PyTorch are known to close."""
    return tuple(int(part) for part in torch.__version__.split(".")[:2]) >= _CLOSING


def check_version():
    """Raise RuntimeError unless the groups of this PyTorch are known to close."""
    if not groups_close():
        raise RuntimeError(
            f"sharded=True among several processes needs PyTorch 2.13, and this is "
            f"{torch.__version__}: with 2.5 a process may wait for ever when its group is closed, "
            "and versions between were not tried. Set sharded=False, or update PyTorch."
        )


def check_same_method(estimator):
    """Raise ValueError unless all ranks fit the same estimator, by the parameters that matter."""
    if _ranks.current().size == 1:
        return
    told = {"the class": type(estimator).__name__}
    told |= {name: repr(value) for name, value in estimator.get_params(deep=False).items()}
    told["checkpoint"] = estimator.checkpoint is not None
    _check_same({name: value for name, value in told.items() if name not in _OF_RANK})


def check_same_shapes(views):
    """Raise ValueError unless the views have the same names and features on all ranks."""
    told = {f"the shape of view {name!r}": rows.shape[1:] for name, rows in views.items()}
    _check_same({"the names of the views": list(views), **told})


def _check_same(told):
    first, *others = _ranks.current().gathered(told)
    for rank, theirs in enumerate(others, 1):
        for name in first | theirs:
            if first.get(name) != theirs.get(name):
                raise ValueError(
                    f"{name} is {first.get(name)} on rank 0 and {theirs.get(name)} on rank {rank}: "
                    "all processes of a sharded fit need the same. Sequences of unequal length are "
                    "to be padded to one number of steps on all."
                )


class Ranks(_ranks.Alone):
    """The processes of the default group of `torch.distributed`.

    A rank that fails closes its connections, by which the others leave the collective that they
    wait in; all meet in a second group then, and learn from it what was raised. No rank enters a
    collective of the devices' own, which cannot be left, before all have come to it.
    """

    def __init__(self):
        self.size, self.rank = dist.get_world_size(), dist.get_rank()
        self._groups = [dist.new_group(backend="gloo") for _ in range(2)]

    @contextmanager
    def stage(self):
        """See `Alone`."""
        try:
            self._sizes(0)
            yield
            self._sizes(0)
        except BaseException as error:
            common = self._met(error)
            if common is error:
                raise
            raise common from error

    def sum(self, tensor):
        """See `Alone`."""
        return _Sum.apply(tensor, self)

    def place(self, n_rows):
        """See `Alone`."""
        sizes = self._sizes(n_rows)
        return sum(sizes[: self.rank]), sum(sizes)

    def joined(self, rows):
        """See `Alone`; arrays are pickled, tensors added up with zeros for all other rows."""
        if not isinstance(rows, torch.Tensor):
            parts = self.gathered(rows)
            return vstack(parts, "csr") if issparse(rows) else np.concatenate(parts)
        if rows.dtype == torch.bool:
            return self.joined(rows.byte()).bool()
        start, total = self.place(len(rows))
        numbers = torch.arange(start, start + len(rows), device=rows.device)
        return self.placed(rows, numbers, total)

    def placed(self, rows, numbers, total):
        """See `Alone`."""
        return self.sum(rows.new_zeros(total, *rows.shape[1:]).index_copy(0, numbers, rows))

    def picked(self, rows, numbers):
        """See `Alone`."""
        start, _ = self.place(len(rows))
        own = np.flatnonzero((start <= numbers) & (numbers < start + len(rows)))
        parts = self.gathered((own, rows[numbers[own] - start]))
        picked = np.empty((len(numbers), *rows.shape[1:]), rows.dtype)
        for places, theirs in parts:
            picked[places] = theirs
        return picked

    def gathered(self, value):
        """See `Alone`."""
        values = [None] * self.size
        with self._connected() as group:
            dist.all_gather_object(values, value, group=group)
        return values

    def of(self, rank, value):
        """See `Alone`."""
        box = [value if rank == self.rank else None]
        with self._connected() as group:
            dist.broadcast_object_list(box, rank, group=group)
        return box[0]

    def merged(self, part):
        """See `Alone`; all merge in the same order, so that all get the same to the bit."""
        merged = copy.deepcopy(self.of(0, part))
        for rank in range(1, self.size):
            merged.merge(self.of(rank, part))
        return merged

    @contextmanager
    def adding_up(self, weights):
        """See `Alone`; large gradients while others are computed, the rest by one collective."""
        under_way = []
        large = [weight.numel() >= _LARGE and weight.is_contiguous() for weight in weights]
        hooks = [
            weight.register_post_accumulate_grad_hook(
                lambda weight: under_way.append(self._begin(weight.grad))
            )
            for weight in compress(weights, large)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        self._add_up([weight.grad for weight in compress(weights, map(not_, large))])
        for work in under_way:
            self._finish(work)

    def _add_up(self, gradients):
        gradients = [gradient for gradient in gradients if gradient is not None]
        if gradients:
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            self._reduce(flat)
            parts = flat.split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def reduced(self, tensor):
        """Return the sum over all ranks, without a gradient."""
        tensor = tensor.detach().clone(memory_format=torch.contiguous_format)
        self._reduce(tensor)
        return tensor

    def stacked(self, tensor):
        """Return the tensors of all ranks, without a gradient, shape (n_ranks, ...)."""
        parts = tensor.new_zeros(self.size, *tensor.shape)
        parts[self.rank] = tensor
        self._reduce(parts)
        return parts

    def close(self):
        """Close all connections."""
        while self._groups:
            self._closed(self._groups.pop())

    def _sizes(self, number):
        """Return a number of each rank; none goes on before all have come."""
        numbers = [torch.empty(1, dtype=torch.int64) for _ in range(self.size)]
        with self._connected() as group:
            dist.all_gather(numbers, torch.tensor([number]), group=group)
        return [int(number) for number in numbers]

    def _reduce(self, tensor):
        """Add up a tensor over all ranks where it is."""
        self._finish(self._begin(tensor))

    def _begin(self, tensor):
        """Begin to add up a tensor over all ranks where it is; return what to wait for."""
        if tensor.device.type != "cpu":
            self._sizes(0)
            return dist.all_reduce(tensor, async_op=True)
        with self._connected() as group:
            return dist.all_reduce(tensor, group=group, async_op=True)

    def _finish(self, work):
        with self._connected():
            work.wait()

    @contextmanager
    def _connected(self):
        """Give the group; what fails in it is the end of another rank."""
        if not self._groups:
            raise _gone_error(None)
        try:
            yield self._groups[0]
        except RuntimeError as error:
            raise _gone_error(error) from error

    def _met(self, error):
        """Return what all ranks raise, which is the error itself where it is one's own."""
        if not self._groups:
            return error
        self._closed(self._groups.pop(0))
        told = None if isinstance(error, RankGoneError) else _picklable(error)
        try:
            errors = self._exchanged(told)
            self._groups.insert(0, dist.new_group(backend="gloo"))
            self._exchanged(None)  # none closes the new group before all have it
        except RuntimeError:  # a rank is dead: nothing more can be learnt
            self.close()
            return error
        raised = [rank for rank, theirs in enumerate(errors) if theirs is not None]
        if told is not None or not raised:
            return error
        theirs = errors[raised[0]]
        theirs.add_note(f"This was raised on rank {raised[0]}; this is rank {self.rank}.")
        return theirs

    def _exchanged(self, value):
        """Return what each rank has, by the group in which they meet."""
        values = [None] * self.size
        dist.all_gather_object(values, value, group=self._groups[-1])
        return values

    @staticmethod
    def _closed(group):
        with suppress(RuntimeError, ValueError):  # as it may be, with all others
            dist.destroy_process_group(group)


class RankGoneError(RuntimeError):
    """Another rank has died, does not answer, or has raised an error of its own."""


class _Sum(torch.autograd.Function):
    """Sum over all ranks: `torch.distributed.nn.functional` has it, but is deprecated."""

    @staticmethod
    def forward(ctx, tensor, ranks):
        ctx.ranks = ranks
        return ranks.reduced(tensor)

    @staticmethod
    def backward(ctx, gradient):
        return _Sum.apply(gradient, ctx.ranks), None


def _gone_error(error):
    return RankGoneError(
        "Another process of this sharded fit has ended, or has not answered within the timeout of "
        f"torch.distributed ({error}). See its output for the cause, and start all of them again."
    )


def _picklable(error):
    """Return an error that can be sent, if need be its words alone."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
