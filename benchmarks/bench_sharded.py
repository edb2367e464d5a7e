"""An epoch of C-DCCA by two processes of one thread each, against one process of one thread.

Both take the same batches of all rows; of two processes each has half, and they exchange sums and
gradients by gloo on one machine. The peer is a bare loop of `DistributedDataParallel` on the same
towers: there each process has the loss and the statistics of its own rows alone, which is another
objective, and nothing but gradients is exchanged. The limit is the same loop where each process
trains by itself. Candidates run in turns, in the same two processes, of which one waits where it is
not needed. Each keeps to a core of its own, unless the row says otherwise. CPU seconds are those of
the process that took most; the result is the loss after the last epoch of a fit.
"""

import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from _common import Row, Table, write

N_ROWS, N_CLASSES, WIDTHS = 8_000, 10, (128, 1024)
UNITS, BATCH_SIZE, N_EPOCHS, N_TURNS = (1024, 1024), 1_600, 4, 6
SIZES = ("N_ROWS", "WIDTHS", "UNITS", "BATCH_SIZE", "N_TURNS")  # which a quick run changes


def candidates():
    """Return by name a function that trains, the number of ranks, and whether each has a core."""
    return {
        "1 process": (fit, 1, True),
        "2 processes": (fit, 2, True),
        "2 processes, on any core": (fit, 2, False),
        "bare loop, 1 process": (loop, 1, True),
        "bare loop, 2 processes, DistributedDataParallel": (loop, 2, True),
        "bare loop, 2 processes, each by itself": (partial(loop, exchange=False), 2, True),
    }


def method(n_ranks, **options):
    from cca_estimators import CDCCA

    return CDCCA(
        hidden_layer_sizes=UNITS,
        batch_size=BATCH_SIZE,
        max_epochs=N_EPOCHS,
        device="cpu",
        random_state=0,
        sharded=n_ranks > 1,
        **options,
    )


def fit(X, y, n_ranks):
    """Fit; return wall and CPU seconds of each epoch, and the last loss."""
    from skorch.callbacks import Callback

    class Clock(Callback):
        """Record the CPU seconds of an epoch."""

        def on_epoch_begin(self, net, **kwargs):
            self.start = time.process_time()

        def on_epoch_end(self, net, **kwargs):
            net.history.record("cpu", time.process_time() - self.start)

    history = method(n_ranks, callbacks=[Clock()]).fit(X, y).history_
    return history[:, ("dur", "cpu")], history[-1, "train_loss"]


def loop(X, y, n_ranks, exchange=True):
    """Train by a bare loop; return wall and CPU seconds of each epoch, and no loss."""
    import torch
    from bench_epoch import raw_loop

    from cca_estimators.deep.correlation import CategoryObjective
    from cca_estimators.deep.towers import MLPTower
    from cca_estimators.deep.training.net import Towers

    torch.manual_seed(0)
    n_outputs = N_CLASSES - 1
    model = Towers({name: MLPTower(rows.shape[1], UNITS, n_outputs) for name, rows in X.items()})
    if n_ranks > 1 and exchange:
        model = torch.nn.parallel.DistributedDataParallel(model)
    objective = CategoryObjective(0.2, 1e-3, N_CLASSES)
    epoch = raw_loop(model, X, y, objective, BATCH_SIZE // n_ranks)
    seconds = []
    for _ in range(N_EPOCHS):
        start = time.perf_counter(), time.process_time()
        epoch()
        seconds.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return seconds, None


def work(rank, folder, sizes):
    """Run all candidates in turns; return by name the seconds of the slower rank, and the loss."""
    import torch
    import torch.distributed as dist

    from cca_estimators.datasets import make_views

    globals().update(sizes)
    torch.set_num_threads(1)
    cores = sorted(os.sched_getaffinity(0))
    store = dist.FileStore(os.path.join(folder, "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    X, y = make_views(N_ROWS, N_CLASSES, WIDTHS, random_state=0)
    X = {name: rows.astype(np.float32) for name, rows in X.items()}
    runs, losses = {name: [] for name in candidates()}, {}
    for _ in range(N_TURNS):
        for name, (train, n_ranks, bound) in candidates().items():
            os.sched_setaffinity(0, cores[rank : rank + 1] if bound else cores)
            seconds = torch.zeros(N_EPOCHS - 1, 2)
            if rank < n_ranks:
                own = slice(rank, None, n_ranks)
                told, losses[name] = train(
                    {key: rows[own] for key, rows in X.items()}, y[own], n_ranks
                )
                seconds = torch.tensor(told[1:])  # the first epoch warms up
            dist.all_reduce(seconds, dist.ReduceOp.MAX)
            runs[name].append(seconds.numpy())
    dist.destroy_process_group()
    return {name: np.array(told) for name, told in runs.items()}, losses


def tables():
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(2, context) as pool:
        sizes = {name: globals()[name] for name in SIZES}
        seconds, losses = next(pool.map(work, range(2), [folder] * 2, [sizes] * 2))
    one, *_ = (np.median(told[:, :, 0]) for told in seconds.values())
    rows = [
        Row(
            name,
            *map(float, np.median(told, axis=(0, 1))),
            ratio=float(np.median(told[:, :, 0]) / one),
            repeats=told[:, :, 0].size,
            result=losses[name],
        )
        for name, told in seconds.items()
    ]
    title = (
        f"An epoch of C-DCCA by processes of one thread each, {N_ROWS} x {WIDTHS}, "
        f"{len(UNITS)} x {UNITS[0]} units, batches of {BATCH_SIZE}"
    )
    alone, two, anywhere, loop_alone, averaged, apart = seconds.values()
    gains = {
        "what two processes gain, median of the turns and range": gain(alone, two),
        "on any core": gain(alone, anywhere),
        "DistributedDataParallel": gain(loop_alone, averaged),
        "each by itself": gain(loop_alone, apart),
    }
    return [Table(title, rows, (), 1, gains)]


def gain(one, two):
    """Return the median over the turns of what two processes gain, and the range."""
    by_turn = np.median(one[:, :, 0], axis=1) / np.median(two[:, :, 0], axis=1)
    return f"{np.median(by_turn):.2f} ({by_turn.min():.2f} to {by_turn.max():.2f})"


if __name__ == "__main__":
    write("sharded", tables())
