"""A step of training that is recorded once, as a CUDA graph, and replayed.

A step of these networks is bound by the launches of its many small operations, not by arithmetic;
a replay is one launch. What PyTorch offers for it is behind `CudaGraph`; all else is here, and
runs on any device.
"""

from contextlib import contextmanager

import torch

WARM_UP = 3  # steps before the recording, in which libraries and optimisers set themselves up


class CudaGraph:
    """A recording of operations on a CUDA device.

    Parameters
    ----------
    device : str
    generators : list of torch.Generator
        Those that the operations draw from, beside the device's own: each replay draws anew.
    """

    def __init__(self, device, generators=()):
        self.graph = torch.cuda.CUDAGraph()
        self.stream = torch.cuda.Stream(device)
        self.generators = list(generators)
        for generator in self.generators:
            self.graph.register_generator_state(generator)

    def aside(self, function):
        """Return what a function gives on a stream of its own, as recordings ask for before."""
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = function()
        current.wait_stream(self.stream)
        return result

    def record(self, function):
        """Record the operations of a function, without effect on any tensor.

        Raises
        ------
        RuntimeError
            If one of them cannot be recorded; generators are then as they were.
        """
        own = torch.cuda.default_generators[self.stream.device.index]
        states = [(each, each.clone_state()) for each in (own, *self.generators)]
        try:
            with torch.cuda.graph(self.graph, stream=self.stream):
                function()
        except RuntimeError:
            for generator, state in states:
                generator.graphsafe_set_state(state)
            raise

    def replay(self):
        """Run the operations."""
        self.graph.replay()


class CapturedStep:
    """A step of training for batches of one size, replayed once it has been recorded.

    One that cannot be recorded is taken operation by operation.

    Parameters
    ----------
    step : callable
        From the row numbers of a batch to a tensor of its figures.
    optimizers : list of torch.optim.Optimizer
        Those that take part. They may change their rates between epochs.
    graph : CudaGraph
        Or what has its three verbs.
    """

    def __init__(self, step, optimizers, graph):
        self.step = step
        self.graph = graph
        self.groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self.n_steps = 0
        self.recorded = False

    def begin_epoch(self):
        """Take up the rates of the optimisers."""
        if self.recorded:
            for group, rate in zip(self.groups, self.rates, strict=True):
                rate.fill_(group["lr"])

    def __call__(self, rows):
        """Take a step on some rows; return its figures, on the device."""
        self.n_steps += 1
        if self.n_steps <= WARM_UP:
            self.figures = self.graph.aside(lambda: self.step(rows))
            return self.figures
        if self.n_steps == WARM_UP + 1:
            self.recorded = self._record(rows)
        if not self.recorded:
            return self.step(rows)
        self.rows.copy_(rows)
        self.graph.replay()
        return self.figures.clone()

    def _record(self, rows):
        """Record the step; return whether it could be."""
        self.rows = rows.clone()
        self.figures = torch.zeros_like(self.figures)
        self.rates = [torch.tensor(float(g["lr"]), device=rows.device) for g in self.groups]
        try:
            self.graph.record(self._recorded_step)
        except RuntimeError:
            return False
        return True

    def _recorded_step(self):
        with self._rates_as_tensors():
            self.figures.copy_(self.step(self.rows))

    @contextmanager
    def _rates_as_tensors(self):
        """Let optimisers read their rates from tensors, which a replay reads again."""
        before = [{key: group[key] for key in ("lr", "capturable")} for group in self.groups]
        for group, rate in zip(self.groups, self.rates, strict=True):
            group.update(lr=rate, capturable=True)
        try:
            yield
        finally:
            for group, kept in zip(self.groups, before, strict=True):
                group.update(kept)
