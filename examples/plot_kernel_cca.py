"""
Kernels: when do they help, and what does the ridge do? (KCCA, CKCCA)
=====================================================================

The classes of these two views are rings around a common centre: no linear map tells them apart.
The left picture shows the first two dimensions of the embeddings by cluster CCA and by its kernel
counterpart. The right one shows, against the ridge, the first correlation that kernel CCA finds in
training, the same on new rows, and the MAP there: with too small a ridge the correlation tends to
1 in training, and to nothing on new rows.
"""
# sphinx_gallery_thumbnail_number = 0

# %%
# Rings
# -----
# Radius means class in both views; the direction is random, and drawn for each view on its own.

import matplotlib.pyplot as plt
import numpy as np

from cca_estimators import CCCA, CKCCA, KCCA, Views


def make_rings(n_samples, rng):
    """Return two views of rings with radius 1, 2 and 3, and the ring of each sample."""
    y = rng.integers(3, size=n_samples)
    views = []
    for _ in range(2):
        angles = rng.uniform(0, 2 * np.pi, n_samples)
        radii = y + 1 + 0.25 * rng.standard_normal(n_samples)
        views.append(np.c_[radii * np.cos(angles), radii * np.sin(angles)])
    return Views(audio=views[0], visual=views[1]), y


rng = np.random.default_rng(0)
X, y = make_rings(600, rng)
X_new, y_new = make_rings(300, rng)

# %%
# Embeddings, and the effect of the ridge
# ---------------------------------------

linear = CCCA().fit(X, y)
kernel = CKCCA(gamma=0.5, reg=0.01).fit(X, y)
ridges = np.logspace(-9, 1, 11)
fitted = [KCCA(2, gamma=0.5, reg=reg).fit(X) for reg in ridges]


def first_correlation(method, X):
    """Return the correlation of the first variates of both views."""
    first = [variates[:, 0] for variates in method.transform(X).values()]
    return np.corrcoef(*first)[0, 1]


figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
for axes, method, title in zip(panels, (linear, kernel), ("C-CCA", "C-KCCA"), strict=False):
    embedding = method.transform(X_new)
    for view, marker in (("audio", "o"), ("visual", "x")):
        axes.scatter(*embedding[view][:, :2].T, c=y_new, marker=marker, s=14, label=view)
    axes.set(title=f"{title}, MAP {method.score(X_new, y_new):.2f}", xlabel="first dimension")
    axes.legend()
panels[0].set_ylabel("second dimension")
panels[2].semilogx(ridges, [first_correlation(m, X) for m in fitted], "--", label="in training")
panels[2].semilogx(ridges, [first_correlation(m, X_new) for m in fitted], label="on new rows")
panels[2].semilogx(ridges, [m.score(X_new, y_new) for m in fitted], ":", label="MAP, new rows")
panels[2].set(xlabel="ridge", ylim=(0, 1.05), title="KCCA: first correlation")
panels[2].legend(loc="lower right")
plt.show()

# %%
# The linear map is at chance. The kernel separates the rings, and puts both views of a ring in the
# same place. Without labels, a small ridge lets KCCA learn the training rows by heart; the best
# correlation on new rows, and the best MAP, lie at a moderate one.
