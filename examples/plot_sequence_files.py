"""
Files: sequences that need not fit into memory (SDCCA, h5py, numpy.memmap)
==========================================================================

A view may be a file: a dataset of h5py, or an array of NumPy that is mapped into memory. Deep
methods read it batch by batch. Here S-DCCA learns once from sequences in memory and once from the
same in files; the picture shows that both losses are one.
"""

# %%
# Write sequences of unequal length
# ---------------------------------
# Sounds go to an HDF5 file, pictures to a memory-mapped array, both a part at a time, as one would
# write what is too large. Steps that a sequence lacks are NaN.

from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.format import open_memmap

from cca_estimators import SDCCA, Views

N_ROWS, N_STEPS, N_CLASSES = 900, 20, 4


def make_part(n_rows, rng, patterns):
    """Return sounds, pictures and classes: each class has its course over the steps."""
    y = rng.integers(N_CLASSES, size=n_rows)
    lengths = rng.integers(N_STEPS // 2, N_STEPS + 1, n_rows)
    lacking = np.arange(N_STEPS) >= lengths[:, None]
    views = []
    for pattern in patterns:
        rows = pattern[y] + 2 * rng.standard_normal((n_rows, *pattern.shape[1:]))
        views.append(np.where(lacking[:, :, None], np.nan, rows).astype(np.float32))
    return *views, y


rng = np.random.default_rng(0)
patterns = [rng.standard_normal((N_CLASSES, N_STEPS, size)) for size in (16, 24)]
temporary = TemporaryDirectory()
folder = Path(temporary.name)
file = h5py.File(folder / "sound.h5", "w")
sound = file.create_dataset("sound", (N_ROWS, N_STEPS, 16), np.float32)
picture = open_memmap(folder / "picture.npy", "w+", np.float32, (N_ROWS, N_STEPS, 24))
y = np.empty(N_ROWS, int)
for start in range(0, N_ROWS, 300):
    part = slice(start, start + 300)
    sound[part], picture[part], y[part] = make_part(300, rng, patterns)
picture.flush()

# %%
# Learn from the files
# --------------------
# `Views` takes them as they are. A batch is read when it is its turn; cutting a dataset of h5py by
# rows, as in ``X[:100]`` or in cross-validation, would read those rows into memory.

in_files = Views(sound=sound, picture=np.load(folder / "picture.npy", mmap_mode="r"))
in_memory = Views(sound=sound[:], picture=np.array(picture))
*new, new_y = make_part(300, rng, patterns)
options = {"lstm_size": 16, "max_epochs": 8, "batch_size": 100, "random_state": 0}
losses = {}
for name, X in (("in memory", in_memory), ("in files", in_files)):
    fitted = SDCCA(**options).fit(X, y)
    losses[name] = [epoch["train_loss"] for epoch in fitted.history_]
    score = fitted.score(Views(sound=new[0], picture=new[1]), new_y)
    print(f"{name}: MAP {score:.3f} on rows that it has not seen")

# %%
# The same losses
# ---------------

figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
epochs = np.arange(1, len(losses["in files"]) + 1)
axes.plot(epochs, losses["in memory"], linewidth=6, alpha=0.4, label="in memory")
axes.plot(epochs, losses["in files"], color="black", marker="o", label="in files")
axes.set(xlabel="epoch", ylabel="loss of S-DCCA", title="Batches from memory and from files")
axes.legend()
plt.show()
del in_files, picture
file.close()
temporary.cleanup()

# %%
# Linear methods read files too, in blocks and one pass: :ref:`views`. What is too much for one
# machine is the subject of :ref:`large`.
