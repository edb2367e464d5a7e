"""Train one model by several processes, each of which reads its own rows.

    torchrun --nproc-per-node 2 examples/distributed/train.py
    torchrun --nproc-per-node 2 examples/distributed/train.py --folder views

By itself on the embedded digits; with --folder on the memory-mapped files audio.npy, visual.npy and
labels.npy in it, which are made of the digits if they are not there. Killed and started again with
--checkpoint, it goes on where it was.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from cca_estimators import CDCCA, save
from cca_estimators.datasets import load_spoken_digits

VIEWS = ("audio", "visual")


def shuffled_digits():
    """Return the training part of the embedded digits, in no order."""
    X, y = load_spoken_digits(subset="train", return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return X[order], y[order]


def in_files(folder):
    """Return memory-mapped views and labels, which the first rank writes if they are not there."""
    if dist.get_rank() == 0 and not (folder / "labels.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        X, y = shuffled_digits()
        for name, rows in X.items():
            np.save(folder / f"{name}.npy", rows)
        np.save(folder / "labels.npy", y)
    dist.barrier()
    X = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in VIEWS}
    return X, np.load(folder / "labels.npy", mmap_mode="r")


def own_part(X, y):
    """Return the rows of this rank: of memory-mapped files nothing else is ever read."""
    rank, size, n_rows = dist.get_rank(), dist.get_world_size(), len(y)
    mine = slice(rank * n_rows // size, (rank + 1) * n_rows // size)
    return {name: rows[mine] for name, rows in X.items()}, np.array(y[mine])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="of memory-mapped files")
    parser.add_argument("--checkpoint", help="folder in which a killed fit finds where it was")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", help="file for the model")
    options = parser.parse_args(arguments)
    dist.init_process_group("nccl" if torch.cuda.device_count() > 1 else "gloo")
    device = f"cuda:{dist.get_node_local_rank()}" if torch.cuda.device_count() > 1 else "cpu"
    X, y = own_part(*(in_files(options.folder) if options.folder else shuffled_digits()))
    method = CDCCA(
        max_epochs=options.epochs,
        random_state=0,
        device=device,
        sharded=True,
        checkpoint=options.checkpoint,
    )
    method.fit(X, y)
    print(f"rank {dist.get_rank()}: {len(y)} rows, loss {method.history_[-1]['train_loss']:.4f}")
    if dist.get_rank() == 0:
        X, y = load_spoken_digits(subset="test", return_X_y=True)
        print(f"MAP of the test part: {method.score(X, y):.3f}")
        if options.out:
            save(method, options.out)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
