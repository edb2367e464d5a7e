"""Two processes with a gloo group between them, which compute what they are sent."""

import multiprocessing
import os
import pickle
import traceback

import pytest
import torch

from cca_estimators import Views
from cca_estimators.deep.training.sharded import groups_close

N_RANKS = 2
needs_ranks = pytest.mark.skipif(
    not groups_close(), reason="groups of an older PyTorch may never close"
)


class TwoRanks:
    """Two processes which call one function each time, on arguments of their own.

    Parameters
    ----------
    folder : Path
        Where they find each other.
    """

    def __init__(self, folder):
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for rank in range(N_RANKS):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(rank, str(folder / "store"), theirs))
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)

    def __call__(self, function, *args):
        """Return what the function gives on each rank, called with the rank and its arguments.

        Arguments that are lists of two are those of each rank; what it raises is returned.
        """
        for rank, pipe in enumerate(self.pipes):
            own = [arg[rank] if isinstance(arg, list) else arg for arg in args]
            pipe.send_bytes(pickle.dumps((function, own)))  # tensors would be shared
        return [_received(pipe) for pipe in self.pipes]

    def close(self):
        """End both processes."""
        for process in self.processes:
            process.kill()
            process.join()


def _received(pipe):
    try:
        return pickle.loads(pipe.recv_bytes()) if pipe.poll(600) else TimeoutError()
    except EOFError as error:  # the process is dead
        return error


def shards(X, y, cut):
    """Return the rows of each rank: those before a cut, and those from it on."""
    parts = [slice(None, cut), slice(cut, None)]
    views = [Views({name: rows[part] for name, rows in X.items()}) for part in parts]
    return views, [None if y is None else y[part] for part in parts]


def _work(rank, store, pipe):
    torch.set_num_threads(1)
    options = {"rank": rank, "world_size": N_RANKS}
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", **options)
    while True:
        try:
            function, args = pickle.loads(pipe.recv_bytes())
        except EOFError:
            os._exit(0)
        try:
            pipe.send_bytes(pickle.dumps(function(rank, *args)))
        except BaseException as error:
            error.add_note("".join(traceback.format_exception(error)))
            pipe.send_bytes(pickle.dumps(error))
