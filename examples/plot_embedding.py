"""
Embedding: where do sounds and images of a class lie? (CCCA, TNNCCCA)
=====================================================================

One row of panels per method: the original features, the embedding by cluster CCA, and the embedding
by the triplet network after it. In each, the sounds alone, the images alone, and both together, in
two dimensions by t-SNE; a colour is a digit.
"""
# sphinx_gallery_thumbnail_number = 0

# %%
# Fit on the training split
# -------------------------
# The original features are those that the methods get: standardised ones.

import matplotlib.pyplot as plt
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCCA, TNNCCCA, EmbeddingDisplay, LossCurveDisplay, PerView
from cca_estimators.datasets import load_spoken_digits

train, test = (load_spoken_digits(subset=part, return_X_y=True) for part in ("train", "test"))
methods = {
    "original features": PerView(StandardScaler()),
    "C-CCA": make_pipeline(PerView(StandardScaler()), CCCA()),
    "TNN-C-CCA": make_pipeline(
        PerView(StandardScaler()),
        TNNCCCA(first="ccca", early_stopping=True, random_state=0),
    ),
}
for method in methods.values():
    method.fit(*train)

# %%
# Draw the test split
# -------------------
# An embedding is one space, so its three panels are parts of one map. Features of sound and image
# share no space: each view has a map of its own, and in the panel of both the two are set on axes
# of their own.

EmbeddingDisplay.from_estimator(methods, *test, random_state=0)
plt.show()

# %%
# In the original features, images of a digit lie together, sounds hardly do, and nothing joins the
# two. Cluster CCA brings sounds (dots) and images (triangles) of a digit together, and the triplet
# network sets the digits apart.

# %%
# Training
# --------
# A display of the loss shows how the triplet network was trained: the validation MAP is that of
# rows which `early_stopping` left out.

LossCurveDisplay.from_estimator(methods["TNN-C-CCA"])
plt.show()

# %%
# The validation MAP is above the MAP of the test split, whose voices and writers are not those
# trained on.

print(f"MAP of the test split: {methods['TNN-C-CCA'].score(*test):.2f}")
