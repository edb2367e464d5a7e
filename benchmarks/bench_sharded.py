"""An epoch of CDCCA by two processes of one thread each, against one process of one thread.

Both take the same batches of all rows; two processes have half of each, and exchange sums and
gradients by gloo on one machine. CPU seconds are those of the process that took most; the result is
the loss after the last epoch; MB are the peak of a process, PyTorch included.
"""

import multiprocessing
import os
import resource
import tempfile
import time

import numpy as np
from _common import Row, Table, write

N_ROWS, N_CLASSES, WIDTHS = 8_000, 10, (128, 1024)
UNITS, BATCH_SIZE, N_EPOCHS, N_TURNS = (1024, 1024), 1_600, 4, 2


def train(rank, n_ranks, folder, sent):
    """Fit on the rows of a rank; send the seconds of the epochs but the first, and the memory."""
    import torch
    import torch.distributed as dist
    from skorch.callbacks import Callback

    from cca_estimators import CDCCA
    from cca_estimators.datasets import make_views

    class Clock(Callback):
        """Record the CPU seconds of an epoch."""

        def on_epoch_begin(self, net, **kwargs):
            self.start = time.process_time()

        def on_epoch_end(self, net, **kwargs):
            net.history.record("cpu", time.process_time() - self.start)

    torch.set_num_threads(1)
    store = dist.FileStore(os.path.join(folder, "store"), n_ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=n_ranks)
    X, y = make_views(N_ROWS, N_CLASSES, WIDTHS, random_state=0)
    own = slice(rank, None, n_ranks)
    X = {name: rows[own].astype(np.float32) for name, rows in X.items()}
    options = {"hidden_layer_sizes": UNITS, "batch_size": BATCH_SIZE, "device": "cpu"}
    options |= {"max_epochs": N_EPOCHS, "random_state": 0, "callbacks": [Clock()]}
    history = CDCCA(sharded=True, **options).fit(X, y[own]).history_
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sent.put((history[1:, ("dur", "cpu")], history[-1, "train_loss"], memory))
    dist.destroy_process_group()


def epochs(n_ranks):
    """Return seconds and CPU seconds of epochs, the last loss, and the peak MB of a process."""
    context = multiprocessing.get_context("spawn")
    sent = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=train, args=(rank, n_ranks, folder, sent))
            for rank in range(n_ranks)
        ]
        for process in processes:
            process.start()
        told = [sent.get() for _ in processes]
        for process in processes:
            process.join()
    seconds = np.max([each for each, _, _ in told], axis=0)
    return seconds, told[0][1], max(memory for _, _, memory in told)


def tables():
    found = {1: [], 2: []}
    for _ in range(N_TURNS):
        for n_ranks, runs in found.items():
            runs.append(epochs(n_ranks))
    rows = []
    for n_ranks, runs in found.items():
        seconds = np.vstack([own for own, _, _ in runs])
        rows.append(
            Row(
                f"{n_ranks} process(es)",
                *map(float, np.median(seconds, axis=0)),
                extra_mb=max(memory for _, _, memory in runs),
                repeats=len(seconds),
                result=runs[0][1],
            )
        )
    one, two = (row.seconds for row in rows)
    for row in rows:
        row.ratio = row.seconds / one
    title = (
        f"An epoch of C-DCCA by processes of one thread each, {N_ROWS} x {WIDTHS}, "
        f"{len(UNITS)} x {UNITS[0]} units, batches of {BATCH_SIZE}"
    )
    return [Table(title, rows, (), 1, {"one process to two": round(one / two, 2)})]


if __name__ == "__main__":
    write("sharded", tables())
