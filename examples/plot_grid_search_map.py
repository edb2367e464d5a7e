"""
Tuning: a pipeline by MAP (GridSearchCV)
========================================

A pipeline scales each view, reduces the sound by PCA, and embeds both by TNN-C-CCA; `GridSearchCV`
tunes the PCA and the margin of the triplets together, by the mean average precision of retrieval in
both directions. The picture shows the MAP in cross-validation for every setting: a row is a
margin, a column a number of principal components.
"""

# %%
# Search
# ------
# ``cross_modal_scores`` gives every figure from one transform; ``refit="map"`` chooses by MAP.

import matplotlib.pyplot as plt
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import TNNCCCA, PerView, cross_modal_scores
from cca_estimators.datasets import load_spoken_digits

train, test = (load_spoken_digits(subset=part, return_X_y=True) for part in ("train", "test"))
train = train[0][::2], train[1][::2]
flatten = PerView(audio=StandardScaler(), visual=StandardScaler())
pipe = make_pipeline(flatten, PerView(audio=PCA(8)), TNNCCCA(max_epochs=25, random_state=0))
grid = {"perview-2__audio__n_components": [4, 8, 16], "tnnccca__margin": [0.1, 0.3, 1.0]}
folds = StratifiedKFold(2, shuffle=True, random_state=0)
search = GridSearchCV(pipe, grid, scoring=cross_modal_scores, refit="map", cv=folds)
search.fit(*train)
print(search.best_params_)
print(f"MAP {search.best_score_:.3f} in cross-validation")
for name, value in cross_modal_scores(search, *test).items():
    print(f"{name:<34} {value:.3f}")

# %%
# Every setting
# -------------

scores = search.cv_results_["mean_test_map"].reshape(3, 3).T
margins, sizes = grid["tnnccca__margin"], grid["perview-2__audio__n_components"]
figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
image = axes.imshow(scores)
for i in range(3):
    for j in range(3):
        axes.text(j, i, f"{scores[i, j]:.3f}", ha="center", va="center", color="white")
axes.set(xlabel="principal components of a step of sound", ylabel="margin")
axes.set(xticks=range(3), xticklabels=sizes, yticks=range(3), yticklabels=margins)
figure.colorbar(image, label="MAP in cross-validation")
plt.show()

# %%
# The search is scikit-learn's own; its best pipeline embeds one view alone as well as both.

print(search.transform({"audio": test[0]["audio"][:3]}))
