"""
Adversary: what does it do to the two views? (ACMR)
===================================================

ACMR trains its networks against an adversary, which learns to tell from an embedding whether it
stems from a sound or an image. The clouds of both views are drawn after 1, 10 and 40 epochs, with
and without the adversary, in the plane of their first two principal components; below, the accuracy
of the adversary and the MAP on the test split, epoch by epoch. At an accuracy of one half the
adversary knows nothing.
"""
# sphinx_gallery_thumbnail_number = 0

# %%
# Train epoch by epoch
# --------------------
# Views are scaled as usual; without the adversary means that the networks pay no heed to it, while
# it still learns.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler, normalize

from cca_estimators import ACMR, PerView, mean_average_precision
from cca_estimators.datasets import load_spoken_digits

train, test = (load_spoken_digits(subset=part, return_X_y=True) for part in ("train", "test"))
scaler = PerView(StandardScaler()).fit(train[0])
X, y = scaler.transform(train[0]), train[1]
X_test, y_test = scaler.transform(test[0]), test[1]

# %%
# A callback of skorch keeps the embeddings of the test split after each epoch.

from skorch.callbacks import Callback
from torch import from_numpy


class Watch(Callback):
    """Keep the normalised embeddings of both views after each epoch."""

    def on_train_begin(self, net, **kwargs):
        self.embeddings = []

    def on_epoch_end(self, net, **kwargs):
        outputs = (net.tower_outputs(name, [from_numpy(X_test[name])]) for name in X_test)
        self.embeddings.append([normalize(rows) for rows in outputs])


watched = {}
for name, weight in (("without adversary", 0.0), ("with adversary", 5.0)):
    watch = Watch()
    acmr = ACMR(adversary_weight=weight, max_epochs=40, callbacks=[watch], random_state=0)
    acmr.fit(X, y)
    accuracy = [epoch["adversary_accuracy"] for epoch in acmr.history_]
    maps = [
        (
            mean_average_precision(audio, visual, y_test, y_test)
            + mean_average_precision(visual, audio, y_test, y_test)
        )
        / 2
        for audio, visual in watch.embeddings
    ]
    watched[name] = watch.embeddings, accuracy, maps
    print(f"{name}: accuracy {np.mean(accuracy[-5:]):.2f}, MAP {maps[-1]:.3f}")

# %%
# The clouds, and what the adversary knows
# ----------------------------------------

figure, panels = plt.subplots(3, 3, figsize=(9, 9), layout="constrained")
for row, (name, (embeddings, accuracy, maps)) in zip(panels, watched.items(), strict=False):
    for axes, epoch in zip(row, (1, 10, 40), strict=True):
        audio, visual = embeddings[epoch - 1]
        plane = PCA(2).fit(np.vstack([audio, visual]))
        for rows, marker, label in ((audio, "o", "audio"), (visual, "x", "visual")):
            axes.scatter(*plane.transform(rows).T, marker=marker, s=10, alpha=0.6, label=label)
        axes.set(title=f"{name}, epoch {epoch}", xticks=[], yticks=[])
    epochs = np.arange(1, len(maps) + 1)
    panels[2, 0].plot(epochs, accuracy, label=name)
    panels[2, 1].plot(epochs, maps, label=name)
panels[2, 0].axhline(0.5, color="black", linestyle=":", label="chance")
panels[2, 0].set(xlabel="epoch", title="accuracy of the adversary")
panels[2, 1].set(xlabel="epoch", title="MAP on the test split")
panels[2, 2].axis("off")
for source, loc in ((panels[0, 0], "upper left"), (panels[2, 0], "lower left")):
    panels[2, 2].add_artist(panels[2, 2].legend(*source.get_legend_handles_labels(), loc=loc))
plt.show()

# %%
# At first the adversary nearly always knows the view that an embedding stems from, in the end in
# two cases of three, and less often where its reversed gradient makes the networks hide it. The MAP
# rises alike: labels and triplets do the work.
