"""
Clips: from a folder of videos to a search (read_clips, LogMel, FrameFeatures)
==============================================================================

A library of clips is a folder of files. Here it is 300 little mp4 files, written on the spot:
moving shapes with sounds that match them, from 1.5 to 3 seconds long, five of them damaged. They
are read, made into features, and searched: the last pictures show the frames that a sound finds,
and the spectrograms that a picture finds.
"""

# %%
# Write the clips, and damage some
# --------------------------------
# A folder for each class, as most collections have it. Nothing is downloaded; the folder is removed
# at the end.

from tempfile import TemporaryDirectory

from cca_estimators.media import make_clips, read_clips

temporary = TemporaryDirectory()
folder = make_clips(temporary.name, n_clips=300, random_state=0)
for path in sorted(folder.glob("*/*.mp4"))[::60]:
    path.write_bytes(path.read_bytes()[:2000])

# %%
# Read them
# ---------
# What cannot be used is left out, with its reason, and rows, labels and names stay aligned. The
# clips are decoded when they are used, a few at a time.

import warnings

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    clips = read_clips(folder, fps=4, rate=16000)
for warning in caught:
    print(warning.message.args[0].replace(temporary.name, "clips"))
print(clips.data, clips.target_names)

# %%
# Features
# --------
# The view of sounds becomes log-mel energies, that of pictures colours, gradients and motion, each
# (clips, steps, features). TNNCCCA reads rows of one length, so both are summarised over their
# steps; methods that read steps (see :ref:`sphx_glr_auto_examples_plot_sequences.py`) would take
# them as they are. This is done once, and kept.

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from cca_estimators import PerView
from cca_estimators.media import FrameFeatures, FrozenEncoder, LogMel


def summary(rows):
    """Return means and deviations over the steps that are no padding."""
    return np.hstack([np.nanmean(rows, axis=1), np.nanstd(rows, axis=1)])


extract = PerView(
    audio=make_pipeline(LogMel(n_bands=40, hop=0.05), FunctionTransformer(summary)),
    visual=make_pipeline(FrameFeatures(grid=3), FunctionTransformer(summary)),
)
X, y = extract.fit_transform(clips.data), clips.target
print(X)

# %%
# Tune, and compare
# -----------------
# Everything is chosen within the training part; the table is of the test part.

from sklearn.model_selection import GridSearchCV, train_test_split

from cca_estimators import CCA, CCCA, TNNCCCA, cross_modal_map, make_cross_modal_scorer

train, test = train_test_split(np.arange(len(y)), test_size=100, stratify=y, random_state=0)
tnn = make_pipeline(PerView(StandardScaler()), TNNCCCA(max_epochs=15, random_state=0))
search = GridSearchCV(tnn, {"tnnccca__margin": [0.2, 0.5]}, scoring=cross_modal_map, cv=3)
methods = {
    "CCA": make_pipeline(PerView(StandardScaler()), CCA(10)),
    "C-CCA": make_pipeline(PerView(StandardScaler()), CCCA()),
    "TNN-C-CCA": search,
}
directions = {
    "sound to picture": make_cross_modal_scorer(direction=("audio", "visual")),
    "picture to sound": make_cross_modal_scorer(direction=("visual", "audio")),
}
print(f"{'MAP':<12}" + "".join(f"{direction:>18}" for direction in directions))
for name, method in methods.items():
    method.fit(X[train], y[train])
    maps = (score(method, X[test], y[test]) for score in directions.values())
    print(f"{name:<12}" + "".join(f"{value:>18.3f}" for value in maps))

# %%
# What a sound finds
# ------------------
# Each row begins with the spectrogram of a sound of the test part; the middle frames of the clips
# that it finds follow. A hit has a green frame and a check mark.

import matplotlib.pyplot as plt

from cca_estimators import RetrievalDisplay

names = np.array(clips.target_names)[y]
spectrograms = [
    row[~np.isnan(row).all(axis=1)].T
    for row in LogMel(n_bands=40, hop=0.05).transform(clips.data["audio"][test])
]
frames = [row[len(row) // 2] for row in clips.data["visual"][test]]
queries = [np.flatnonzero(y[test] == label)[0] for label in range(6)]
spectrum = {"cmap": "magma", "origin": "lower", "aspect": "auto"}
RetrievalDisplay.from_estimator(
    search,
    {"audio": X["audio"][test][queries]},
    {"visual": X["visual"][test]},
    names[test][queries],
    names[test],
    query_items=[spectrograms[row] for row in queries],
    gallery_items=frames,
    query_kw=spectrum,
)
plt.show()

# %%
# What a picture finds
# --------------------

RetrievalDisplay.from_estimator(
    search,
    {"visual": X["visual"][test][queries]},
    {"audio": X["audio"][test]},
    names[test][queries],
    names[test],
    query_items=[frames[row] for row in queries],
    gallery_items=spectrograms,
    gallery_kw=spectrum,
)
plt.show()

# %%
# A network in place of the statistics
# ------------------------------------
# FrozenEncoder makes a transformer of any network of PyTorch, torchvision or transformers. Nothing
# can be downloaded here, so the filters of this one are random; with
# ``FrozenEncoder("torchvision.models.resnet18", {"weights": "DEFAULT"})`` it is one line as well.

import torch

torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Conv2d(3, 32, 5, stride=2),
    torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(3),
    torch.nn.Flatten(),
)
encode = make_pipeline(FrozenEncoder(network), FunctionTransformer(summary))
Z = PerView(visual=encode).fit_transform({"audio": X["audio"], "visual": clips.data["visual"]})
method = make_pipeline(PerView(StandardScaler()), CCCA()).fit(Z[train], y[train])
print(f"C-CCA on random filters: MAP {cross_modal_map(method, Z[test], y[test]):.3f}")
temporary.cleanup()

# %%
# Sounds find pictures of their class, from statistics that need no network, and labels help to find
# them. Damaged files cost their own rows and nothing else.
