"""
Own networks: convolutions as towers (CDCCA)
============================================

Any `torch.nn.Module` per view can take the place of the default networks: here a convolution over
the time and frequency of the sound, and one over the image, both on the raw arrays. The picture
shows the loss of C-DCCA by epoch for both kinds of networks, and the MAP on the test split.
"""

# %%
# Two convolutional towers
# ------------------------
# A tower gets the rows of its view as a float32 tensor, in the shape that X has.

import matplotlib.pyplot as plt
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from cca_estimators import CDCCA, PerView
from cca_estimators.datasets import load_spoken_digits


class ConvTower(nn.Sequential):
    """Two convolutions over pictures of shape (n, height, width), and a dense top."""

    def __init__(self, n_outputs):
        super().__init__(
            nn.Unflatten(1, (1, -1)),
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(4),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(512, n_outputs),
        )


train, test = (load_spoken_digits(subset=part, return_X_y=True) for part in ("train", "test"))
options = {"max_epochs": 15, "random_state": 0}
methods = {
    "perceptrons (default)": CDCCA(**options),
    "convolutions": CDCCA(towers={"audio": ConvTower(10), "visual": ConvTower(10)}, **options),
}

# %%
# Train both
# ----------

figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for name, method in methods.items():
    pipe = make_pipeline(PerView(StandardScaler()), method).fit(*train)
    losses = [epoch["train_loss"] for epoch in method.history_]
    axes.plot(range(1, len(losses) + 1), losses, label=f"{name}: MAP {pipe.score(*test):.3f}")
axes.set(xlabel="epoch", ylabel="minus the sum of correlations", title="C-DCCA on the digits")
axes.legend()
plt.show()

# %%
# Convolutions share what they learn over time and place: with far fewer weights they find partners
# as well, at a loss that is still falling.
