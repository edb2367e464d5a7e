"""
Own data: arrays, a table of labels, and groups kept apart (Views, StratifiedGroupKFold)
========================================================================================

Two arrays on the disk and a CSV file with labels are all that it takes. Rows that belong together,
such as the clips of a video, must not be both in training and in the test: the left picture shows
the MAP that a split of the clips promises beside the one that new videos get. The right one shows,
for new videos, which classes are found for which.
"""
# sphinx_gallery_thumbnail_number = 0

# %%
# What lies on the disk
# ---------------------
# Here the files are made and written first, in the place of yours: 600 clips of 60 videos, each
# clip alike to the others of its video, in sound and in picture. A row of the table describes the
# same row of both arrays.

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CKCCA, PerView, Views
from cca_estimators.metrics import retrieved_classes

rng = np.random.default_rng(0)
video = np.arange(600) // 10
names = np.array(["dog", "drum", "rain", "train"])
temporary = TemporaryDirectory()
folder = Path(temporary.name)
for view, width in (("sound", 20), ("picture", 30)):
    of_class, of_video = rng.standard_normal((4, width)), rng.standard_normal((60, width))
    rows = 0.7 * of_class[video % 4] + of_video[video] + rng.standard_normal((600, width))
    np.save(folder / f"{view}.npy", rows)
with (folder / "clips.csv").open("w", newline="") as file:
    csv.writer(file).writerows([("video", "label"), *zip(video, names[video % 4], strict=True)])

# %%
# Read it
# -------
# Views get names of your choice.

X = Views(sound=np.load(folder / "sound.npy"), picture=np.load(folder / "picture.npy"))
with (folder / "clips.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
y, videos = (np.array([row[name] for row in rows]) for name in ("label", "video"))
temporary.cleanup()
print(X, "of", len(set(videos)), "videos")

# %%
# Hold out videos, or clips
# -------------------------
# A group is what must not be cut: a video, or, as if one did not know of videos, a clip. Parameters
# are chosen within the training part, by folds of the same kind.

pipe = make_pipeline(PerView(StandardScaler()), CKCCA())
folds = StratifiedGroupKFold(3, shuffle=True, random_state=0)
search = GridSearchCV(pipe, {"ckcca__reg": [1e-4, 1e-2]}, cv=folds)
promised = {}
for name, groups in (("clips at random", np.arange(len(y))), ("whole videos", videos)):
    train, test = next(folds.split(X, y, groups))
    search.fit(X[train], y[train], groups=groups[train])
    promised[name] = search.score(X[test], y[test])

# %%
# What is found for what
# ----------------------
# The last split held out whole videos. Sounds query pictures, and the first ten results count.

found = search.transform(X[test])
shares, classes = retrieved_classes(found["sound"], found["picture"], y[test], y[test], k=10)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
bars = left.bar(list(promised), list(promised.values()), width=0.5)
left.bar_label(bars, fmt="%.3f")
left.axhline(0.25, color="black", linestyle=":")
left.set(xlabel="held out", ylabel="MAP (dotted: chance)", ylim=(0, 1.08), title="What is promised")
picture = right.imshow(shares, cmap="Blues", vmin=0, vmax=1)
right.set(xlabel="class of the pictures found", ylabel="class of the sound", title="New videos")
right.set(xticks=range(4), xticklabels=classes, yticks=range(4), yticklabels=classes)
figure.colorbar(picture, label="share of the first ten")
plt.show()

# %%
# A split of the clips promises what no new video gets: it measures how well videos are remembered.
# :ref:`own_data` goes on from here: comparing all methods by one command, exporting, saving,
# searching.
