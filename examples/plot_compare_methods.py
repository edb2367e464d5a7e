"""
Compare: how well does each method find items of the same class?
================================================================

Every method of the package learns a joint embedding of spoken and handwritten digits, from the
training split alone; each sound of the test split then queries the images, and each image the
sounds. The table shows the mean average precision (MAP) of both directions, the picture the same
as bars, best method first, against the chance level.

The script also runs on any ``.npz`` file with one array per view and labels::

    python plot_compare_methods.py --data own.npz --views audio visual --labels labels

If the file has row numbers named ``train`` and ``test`` (or as ``--split`` says), they are the
split. Otherwise a fifth of the rows is held out: whole groups, such as the clips of one video, if
the file has an array of groups (or as ``--groups`` says), and else rows at random, which flatters
every method that remembers what it has seen of a group.
"""

# %%
# Data
# ----
# Each view is standardised per feature by a :class:`~cca_estimators.PerView` in the pipeline.

import argparse
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from cca_estimators import (
    ACMR,
    AGAH,
    CCA,
    CCCA,
    CDCCA,
    CKCCA,
    DCCA,
    KCCA,
    LSTMCCCA,
    SDCCA,
    TNNCCCA,
    UCAL,
    UGACH,
    Contrastive,
    PerView,
    SemanticMatching,
    Views,
    cross_modal_scores,
)
from cca_estimators.datasets import load_spoken_digits


def read_options():
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Compare all methods by their MAP.")
    parser.add_argument("--data", help="a .npz file; left out: the embedded digits")
    parser.add_argument("--views", nargs=2, default=["audio", "visual"], help="arrays of the views")
    parser.add_argument("--labels", default="labels", help="array of the class labels")
    parser.add_argument("--groups", default="groups", help="array of what belongs together")
    parser.add_argument("--split", nargs=2, default=["train", "test"], help="arrays of row numbers")
    parser.add_argument("--picture", default="compare_methods.png", help="file to save it to")
    return parser.parse_args()


def read_data(options):
    """Return the views and labels to train on and those to test on."""
    if options.data is None:
        data = load_spoken_digits()
        X, y, split = data.X, data.y, (data.train, data.test)
    else:
        data = np.load(options.data)
        X, y = Views({name: data[name] for name in options.views}), data[options.labels]
        split = [data[name] for name in options.split if name in data]
        split = split if len(split) == 2 else held_out(y, data.get(options.groups))
    return [(X[rows], y[rows]) for rows in split]


def held_out(y, groups):
    """Return the rows to train on and a fifth to test on, whole groups where they are known."""
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    if groups is not None:
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    else:
        print(
            "Rows are held out at random. If some belong together, such as clips of one video, "
            "name the array that tells which, by --groups: else the figures are too good."
        )
    return next(folds.split(y, y, groups))


options = read_options()
train, test = read_data(options)
chance = np.sum(np.square(np.unique(test[1], return_counts=True)[1] / len(test[1])))
print(f"train: {train[0]}, test: {test[0]}, {len(np.unique(train[1]))} classes")

# %%
# Methods
# -------
# A method with a grid is tuned by cross-validation on the training split; the defaults of the
# others need no tuning here. LSTM-C-CCA, S-DCCA and contrastive training read the steps of a
# sequence, for 20 epochs to be quick; all others see a view as one long row of features. UGACH and
# AGAH give codes of 64 bits, compared by their Hamming distance. The last three are not in the
# poster whose methods these are: class posteriors on top of C-CCA and C-KCCA (SemanticMatching),
# and contrastive training.

METHODS = {
    "CCA": (CCA(), {"cca__n_components": [5, 10, 20]}),
    "KCCA": (KCCA(), {"kcca__reg": [1e-4, 1e-3]}),
    "DCCA": (DCCA(random_state=0), {}),
    "C-CCA": (CCCA(), {}),
    "C-KCCA": (CKCCA(), {"ckcca__reg": [1e-4, 1e-3]}),
    "C-DCCA": (CDCCA(random_state=0), {}),
    "UGACH": (UGACH(random_state=0), {}),
    "AGAH": (AGAH(random_state=0), {}),
    "UCAL": (UCAL(random_state=0), {}),
    "ACMR": (ACMR(random_state=0), {}),
    "LSTM-C-CCA": (LSTMCCCA(max_epochs=20, random_state=0), {}),
    "TNN-C-CCA": (TNNCCCA(random_state=0), {}),
    "S-DCCA": (SDCCA(max_epochs=20, random_state=0), {}),
    "C-CCA, posteriors": (SemanticMatching(CCCA(), random_state=0), {}),
    "C-KCCA, posteriors": (SemanticMatching(CKCCA(), random_state=0), {}),
    "Contrastive": (Contrastive(max_epochs=20, random_state=0), {}),
}


def tuned(method, grid):
    """Return the method after scaling, with its parameters chosen by cross-validation."""
    pipe = make_pipeline(PerView(StandardScaler()), method)
    if not grid:
        return pipe
    return GridSearchCV(pipe, grid, cv=StratifiedKFold(3, shuffle=True, random_state=0))


# %%
# MAP
# ---

rows = []
bar = tqdm(METHODS.items())
for name, (method, grid) in bar:
    bar.set_description(name)
    start = time.perf_counter()
    scores = cross_modal_scores(tuned(method, grid).fit(*train), *test)
    seconds = time.perf_counter() - start
    there, back = (scores[key] for key in scores if key.startswith("map_"))
    rows.append((name, there, back, seconds))

first, second = train[0]
print(f"\n{'MAP (%)':<18} {f'{first}→{second}':>14} {f'{second}→{first}':>14} {'seconds':>9}")
for name, there, back, seconds in rows:
    print(f"{name:<18} {100 * there:14.2f} {100 * back:14.2f} {seconds:9.1f}")
print(f"{'chance':<18} {100 * chance:14.2f} {100 * chance:14.2f}")

# %%
# Picture
# -------

rows.sort(key=lambda row: -row[1] - row[2])
names = [row[0] for row in rows]
places = np.arange(len(rows))
figure, axes = plt.subplots(figsize=(7, 1.2 + 0.45 * len(rows)), layout="constrained")
for shift, column, name in ((-0.2, 1, f"{first} → {second}"), (0.2, 2, f"{second} → {first}")):
    bars = axes.barh(places + shift, [row[column] for row in rows], 0.38, label=name)
    axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=8)
axes.axvline(chance, color="black", linestyle=":", label="chance")
axes.set(yticks=places, yticklabels=names, xlabel="MAP on the test split", xlim=(0, 1.05))
axes.set_title("Items of the query's class come first?")
axes.invert_yaxis()
figure.legend(loc="outside upper center", ncols=3)
figure.savefig(options.picture, dpi=120)
print(f"\nSaved {options.picture}")

# %%
# Methods that know the classes are ahead of their counterparts that know the pairs alone, and
# kernels and networks far ahead of linear maps. Class posteriors, which take a second or two, lift
# what they stand on: C-KCCA to the best of all.
