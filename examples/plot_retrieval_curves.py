"""
Retrieval: how precise are the first results, and the last? (RetrievalCurveDisplay)
===================================================================================

The MAP is one number for a whole ranked list. Two curves show what it is made of: the precision at
each level of recall, from the first partner found to the last, and the precision among the first k
items. Sounds query images and images sounds, and both directions are averaged.
"""

# %%
# Fit on the training split
# -------------------------
# CCA and deep CCA know the pairs alone, C-CCA and TNN-C-CCA the classes. AGAH knows them too, and
# embeds as 64 bits; the display takes the Hamming distance from the estimator.

import matplotlib.pyplot as plt
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import AGAH, CCA, CCCA, DCCA, TNNCCCA, PerView, RetrievalCurveDisplay
from cca_estimators.datasets import load_spoken_digits

train, test = (load_spoken_digits(subset=part, return_X_y=True) for part in ("train", "test"))
methods = {
    "CCA": CCA(),
    "DCCA": DCCA(max_epochs=20, random_state=0),
    "C-CCA": CCCA(),
    "AGAH": AGAH(64, max_epochs=10, random_state=0),
    "TNN-C-CCA": TNNCCCA(max_epochs=30, random_state=0),
}
for name, method in methods.items():
    methods[name] = make_pipeline(PerView(StandardScaler()), method).fit(*train)

# %%
# Precision and recall
# --------------------

RetrievalCurveDisplay.from_estimator(methods, *test)
plt.show()

# %%
# Precision at k
# --------------

display = RetrievalCurveDisplay.from_estimator(methods, *test, kind="precision_at_k")
display.ax_.axvline(45, color="grey", linewidth=0.8)
plt.show()

# %%
# A digit has about 45 partners in the gallery (the grey line): beyond them no method can go on
# finding, and all fall to chance. The networks stay level nearly until there, and C-CCA for the
# first ten; the precision of CCA falls from the first items on.

# %%
# One direction
# -------------
# `direction` names the view that queries and the view that is ranked; `ax` adds to a picture.

tnn = methods["TNN-C-CCA"]
display = RetrievalCurveDisplay.from_estimator(
    tnn, *test, direction=("audio", "visual"), name="sounds query"
)
RetrievalCurveDisplay.from_estimator(
    tnn, *test, direction=("visual", "audio"), name="images query", ax=display.ax_, linestyle="--"
)
plt.show()

# %%
# Images find their first partners more surely than sounds do, but lose the last ones in the ranks:
# the MAP, equal in both directions, does not tell.
