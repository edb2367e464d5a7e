"""
Protocol: the poster's folds and figures in ten lines
=====================================================

The methods are compared by the mean average precision (MAP) over the full ranked list: five
class-balanced folds, each ranked by a method that has learnt from the four others, sounds querying
images and images querying sounds. scikit-learn's own ``cross_validate`` does all of it.
"""

# %%
# Ten lines
# ---------
# The scorer returns the MAP of each direction, and other figures, from one transform of a fold.

from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCCA, PerView, cross_modal_scores
from cca_estimators.datasets import load_spoken_digits

X, y = load_spoken_digits(return_X_y=True)
folds = StratifiedKFold(5, shuffle=True, random_state=0)
pipe = make_pipeline(PerView(StandardScaler()), CCCA())
scores = cross_validate(pipe, X, y, cv=folds, scoring=cross_modal_scores)
print(scores["test_map_audio_to_visual"], scores["test_map_visual_to_audio"])

# %%
# More methods
# ------------
# Some that are quick, on the same folds, by their default settings (the networks train for fewer
# epochs). The bars are the mean over the folds, the lines on them the standard deviation.

import matplotlib.pyplot as plt
import numpy as np

from cca_estimators import CCA, CDCCA, CKCCA, DCCA

METHODS = {
    "CCA": CCA(),
    "C-CCA": CCCA(),
    "C-KCCA": CKCCA(),
    "DCCA": DCCA(max_epochs=20, random_state=0),
    "C-DCCA": CDCCA(max_epochs=20, random_state=0),
}

figures = {}
for name, method in METHODS.items():
    pipe = make_pipeline(PerView(StandardScaler()), method)
    figures[name] = cross_validate(pipe, X, y, cv=folds, scoring=cross_modal_scores)

figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
places = np.arange(len(METHODS))
for shift, (query, gallery) in ((-0.2, ("audio", "visual")), (0.2, ("visual", "audio"))):
    maps = np.array([scores[f"test_map_{query}_to_{gallery}"] for scores in figures.values()])
    axes.bar(
        places + shift,
        maps.mean(axis=1),
        0.38,
        yerr=maps.std(axis=1),
        label=f"{query} → {gallery}",
    )
axes.axhline(0.1, color="black", linestyle=":", label="chance")
axes.set(xticks=places, xticklabels=METHODS, ylabel="MAP of five folds", ylim=(0, 1))
figure.legend(loc="outside upper center", ncols=3)
plt.show()

# %%
# C-CCA and C-DCCA, which learn from the classes, are ahead of CCA and DCCA, which learn from the
# pairs, by more than the folds differ; networks and kernels are ahead of linear maps.
#
# The script ``benchmarks/poster_table.py`` runs all methods by this protocol, on the files of VEGAS
# and MV-10K as well as on these digits, and prints their figures beside the poster's.
