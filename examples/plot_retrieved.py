"""
Retrieval: what does a sound find among the images? (RetrievalDisplay)
======================================================================

Each row is a query and what is retrieved for it from the other view, best first: images for the
spectrogram of a spoken digit, and captions for an image. A hit, which is the same digit, has a
green frame and a check mark, a miss a broken red frame and a cross.
"""

# %%
# Fit on the training split
# -------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCCA, PerView, RetrievalDisplay
from cca_estimators.datasets import load_spoken_digits

train, data = (load_spoken_digits(subset=part) for part in ("train", "test"))
method = make_pipeline(PerView(StandardScaler()), CCCA()).fit(train.X, train.y)
X, words = data.X, np.array(data.target_names)[data.y]

# %%
# Sounds query images
# -------------------
# The first sound of each digit from zero to five. A spectrogram is drawn with time to the right and
# frequency upwards.

rows = [np.flatnonzero(data.y == digit)[0] for digit in range(6)]
RetrievalDisplay.from_estimator(
    method,
    {"audio": X["audio"][rows]},
    {"visual": X["visual"]},
    words[rows],
    words,
    query_items=X["audio"][rows].transpose(0, 2, 1),
    query_kw={"cmap": "magma", "origin": "lower"},
)
plt.show()

# %%
# Images query sounds
# -------------------
# Items may be captions, here the word that was spoken and the number of the voice that spoke it.

captions = [f"“{word}”, voice {voice}" for word, voice in zip(words, data.groups, strict=True)]
RetrievalDisplay.from_estimator(
    method,
    {"visual": X["visual"][rows]},
    {"audio": X["audio"]},
    words[rows],
    words,
    gallery_items=captions,
)
plt.show()

# %%
# Most queries find their digit, the images more surely than the sounds. The sound of zero that
# misses does so at every rank: its embedding lies in the midst of the images of six.
