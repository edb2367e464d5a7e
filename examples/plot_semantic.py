"""
Which class is it? Posteriors on top of cluster CCA (SemanticMatching)
======================================================================

A classifier per view, on the variates of cluster CCA, embeds each item by its class probabilities.
The bars show the MAP of the embedded digits, by voices and hands that were not in training, of the
linear method and of the one with kernels, each alone and with posteriors on top. The lower picture
shows the probabilities of eight digits, spoken and written.
"""

# %%
# Four embeddings
# ---------------
# The classifiers learn from cross-fitted variates: each row's come from a cluster CCA that did not
# know it.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCCA, CKCCA, PerView, SemanticMatching
from cca_estimators.datasets import load_spoken_digits

data = load_spoken_digits()
train, test = ((data.X[rows], data.y[rows]) for rows in (data.train, data.test))
methods = {
    "C-CCA": CCCA(),
    "C-CCA, posteriors": SemanticMatching(CCCA(), random_state=0),
    "C-KCCA": CKCCA(),
    "C-KCCA, posteriors": SemanticMatching(CKCCA(), random_state=0),
}
fitted = {
    name: make_pipeline(PerView(StandardScaler()), method).fit(*train)
    for name, method in methods.items()
}
scores = {name: pipe.score(*test) for name, pipe in fitted.items()}
figure, axes = plt.subplots(figsize=(7, 2.4), layout="constrained")
bars = axes.barh(list(scores), list(scores.values()))
axes.bar_label(bars, fmt="%.2f", padding=3)
axes.set(xlim=(0, 1.1), xlabel="MAP, mean of both directions")
axes.invert_yaxis()

# %%
# What a classifier takes an item for
# -----------------------------------
# One row per item: above what was heard, below what was written. Where both classifiers agree, the
# cosine of the two rows is high.

matching = fitted["C-KCCA, posteriors"]
shares = matching[-1].class_shares_
chosen = [int(np.flatnonzero(test[1] == digit)[0]) for digit in range(8)]
figure, panels = plt.subplots(2, 1, figsize=(6, 5), layout="constrained", sharex=True)
for axes, view in zip(panels, ("audio", "visual"), strict=True):
    posteriors = matching.transform({view: test[0][view][chosen]})[view] + shares
    image = axes.imshow(posteriors, vmin=0, vmax=1, cmap="Blues")
    axes.set(ylabel=f"{view}: digit", yticks=range(8), xticks=range(10))
panels[1].set_xlabel("taken for")
figure.colorbar(image, ax=panels, label="posterior")
plt.show()

# %%
# Posteriors help most where the embedding leaves classes overlapping, as the linear one does.
