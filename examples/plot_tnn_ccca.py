"""
From features to a joint embedding: C-CCA, then triplets
=========================================================

One row of panels per method: the original features, the embedding by cluster CCA, and the embedding
by the triplet network after it. In each, the sounds alone, the images alone, and both together, in
two dimensions by t-SNE; a colour is a digit. The features of the two views have nothing in common
to be drawn together by; cluster CCA brings the classes together, and triplets set them apart.
"""

# %%
# Fit on the training split
# -------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.manifold import TSNE
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from cca_estimators import CCCA, TNNCCCA, PerView
from cca_estimators.datasets import load_spoken_digits

train, test = (load_spoken_digits(subset=part, return_X_y=True) for part in ("train", "test"))
methods = {
    "C-CCA": make_pipeline(PerView(StandardScaler()), CCCA()).fit(*train),
    "TNN-C-CCA": make_pipeline(PerView(StandardScaler()), TNNCCCA(random_state=0)).fit(*train),
}
for name, method in methods.items():
    print(f"{name}: MAP {method.score(*test):.3f}")

# %%
# Embed the test split
# --------------------
# Rows are normalised, since retrieval compares them by their cosine.

X, y = test


def flat(views):
    """Return both views as arrays with two dimensions and rows of norm 1."""
    return [normalize(np.asarray(rows).reshape(len(rows), -1)) for rows in views.values()]


def in_two_dimensions(rows):
    """Return a t-SNE map."""
    return TSNE(init="pca", perplexity=30, random_state=0).fit_transform(rows)


embeddings = {"features": flat(PerView(StandardScaler()).fit(train[0]).transform(X))}
embeddings |= {name: flat(method.transform(X)) for name, method in methods.items()}

figure, panels = plt.subplots(3, 3, figsize=(9, 9), layout="constrained")
for row, (name, (audio, visual)) in zip(panels, embeddings.items(), strict=True):
    maps = {"audio": in_two_dimensions(audio), "visual": in_two_dimensions(visual)}
    if audio.shape[1] == visual.shape[1]:
        maps["audio and visual"] = in_two_dimensions(np.vstack([audio, visual]))
    for axes, (title, points) in zip(row, maps.items(), strict=False):
        for half, marker in zip(np.split(points, len(points) // len(y)), "ox", strict=False):
            shown = axes.scatter(*half.T, c=y, cmap="tab10", marker=marker, s=8)
        axes.set(title=title, xticks=[], yticks=[])
    row[0].set_ylabel(name)
panels[0, 2].axis("off")
panels[0, 2].legend(*shown.legend_elements(), title="digit", ncols=2, loc="center")
plt.show()

# %%
# After the triplet network, sounds (dots) and images (crosses) of a digit lie together and apart
# from other digits, more so than after cluster CCA.
