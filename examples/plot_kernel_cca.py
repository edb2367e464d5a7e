"""
When does a kernel help, and what does its ridge do?
====================================================

The classes of these two views are rings around a common centre: no linear map tells them apart.
The left picture shows the first two dimensions of the embeddings by cluster CCA and by its kernel
counterpart. The right one shows the correlations that kernel cluster CCA finds in training, and the
MAP it reaches on new rows, against the ridge: with too small a ridge every correlation is 1, and
worth nothing.
"""

# %%
# Rings
# -----
# Radius means class in both views; the direction is random, and drawn for each view on its own.

import matplotlib.pyplot as plt
import numpy as np

from cca_estimators import CCCA, CKCCA, Views


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
ridges = np.logspace(-12, 2, 15)
fitted = [CKCCA(gamma=20.0, reg=reg).fit(X, y) for reg in ridges]

figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
for axes, method, title in zip(panels, (linear, kernel), ("C-CCA", "C-KCCA"), strict=False):
    embedding = method.transform(X_new)
    for view, marker in (("audio", "o"), ("visual", "x")):
        axes.scatter(*embedding[view][:, :2].T, c=y_new, marker=marker, s=14, label=view)
    axes.set(title=f"{title}, MAP {method.score(X_new, y_new):.2f}", xlabel="first dimension")
    axes.legend()
panels[0].set_ylabel("second dimension")
correlations = [method.correlations_[0] for method in fitted]
panels[2].semilogx(ridges, correlations, "--", label="first correlation in training")
panels[2].semilogx(ridges, [method.score(X_new, y_new) for method in fitted], label="MAP, new rows")
panels[2].axhline(1 / 3, color="black", linestyle=":", label="chance")
panels[2].set(xlabel="ridge", ylim=(0, 1.05), title="C-KCCA with a narrow kernel (gamma=20)")
panels[2].legend()
plt.show()

# %%
# The linear map is at chance. The kernel separates the rings, and puts both views of a ring in the
# same place. A narrow kernel can learn any training set by heart: the correlation says nothing
# about new rows until the ridge is large enough.
