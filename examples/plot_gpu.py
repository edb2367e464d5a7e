"""
Devices: the same training on a CPU or a GPU (CDCCA)
====================================================

``device="auto"``, the default, trains on a GPU where there is one. This example trains C-DCCA on
every device of the machine that runs it, and draws the loss by epoch and the seconds of an epoch.
These pages may have been built on a machine without a GPU: the output below says which devices
there were.
"""
# sphinx_gallery_thumbnail_number = 0

# %%
# Which devices are there?
# ------------------------

import pickle
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import torch

from cca_estimators import CDCCA
from cca_estimators.datasets import make_views

devices = ["cpu"]
if torch.cuda.is_available():
    devices.append("cuda")
    print("cuda:", torch.cuda.get_device_name())
print("trained on:", *devices)

# %%
# Train on each
# -------------
# The first epoch on a GPU sets it up: it is trained before the clock starts.

X, y = make_views(4000, 10, (128, 256), random_state=0)
options = {"hidden_layer_sizes": (256,), "batch_size": 256, "random_state": 0}
losses, seconds = {}, {}
for device in devices:
    CDCCA(device=device, max_epochs=1, **options).fit(X, y)
    began = perf_counter()
    fitted = CDCCA(device=device, max_epochs=10, **options).fit(X, y)
    seconds[device] = (perf_counter() - began) / 10
    losses[device] = [epoch["train_loss"] for epoch in fitted.history_]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for device, values in losses.items():
    left.plot(np.arange(1, 11), values, marker="o", label=device)
left.set(xlabel="epoch", ylabel="loss of C-DCCA", title="Loss by device", xticks=range(1, 11))
left.legend()
bars = right.barh(list(seconds), list(seconds.values()), height=0.4)
right.bar_label(bars, fmt=" %.2f")
right.set(xlabel="seconds of an epoch", title="4,000 rows, 256 units", ylim=(-1, len(devices)))
right.margins(x=0.15)
plt.show()

# %%
# Move it
# -------
# A fitted estimator is on the CPU when it is written, so a model that was trained on a GPU opens
# where there is none. Which device it trains on next is again a parameter.

moved = pickle.loads(pickle.dumps(fitted)).set_params(device="cpu")
print("largest difference:", abs(moved.transform(X)["audio"] - fitted.transform(X)["audio"]).max())

# %%
# :ref:`gpu` says what is computed where, and what was measured.
