"""
Steps: which moments of a sound and a film make them alike? (StepsDisplay)
===========================================================================

Each row is a spoken word, as a spectrogram, and what is retrieved for it: the films of a mouth. The
bars tell what each step adds to their similarity, by its gradient. The words here are drawn, not
recorded: each is an order of three mouth shapes, begins at a random time, and silence surrounds it.

The script also runs on recordings, an ``.npz`` file with the arrays ``audio`` (n, steps, bands),
``visual`` (n, frames, features), ``visual_pixels`` (n, frames, height, width), ``labels``,
``train`` and ``test``, such as the digits of one talker of the GRID corpus::

    python plot_steps.py --data grid_digits.npz
"""

# %%
# Words of three mouth shapes
# ---------------------------
# A shape is the width and the opening of a mouth, and the bands of frequency that sound with it.

import argparse
from itertools import permutations

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import Contrastive, PerView, StepsDisplay, Views

N_FRAMES, N_BANDS, HEIGHT, WIDTH = 8, 24, 12, 16
SHAPES = {"a": (0.5, 0.8, 5), "i": (0.9, 0.3, 19), "u": (0.35, 0.45, 11)}  # width, opening, band
WORDS = ["".join(order) for order in permutations(SHAPES)]


def say(word, start, rng):
    """Return a spectrogram with two steps a frame, and the frames of the mouth."""
    sound = rng.normal(0, 0.35, (2 * N_FRAMES, N_BANDS))
    film = rng.normal(0, 0.15, (N_FRAMES, HEIGHT, WIDTH))
    down, across = np.mgrid[-1 : 1 : 1j * HEIGHT, -1 : 1 : 1j * WIDTH]
    for frame in range(N_FRAMES):
        spoken = start <= frame < start + len(word)
        wide, opened, band = SHAPES[word[frame - start]] if spoken else (0.6, 0.08, None)
        film[frame] -= (across / wide) ** 2 + (down / opened) ** 2 < 1
        if spoken:
            bump = np.exp(-((np.arange(N_BANDS) - band) ** 2) / 6)
            sound[2 * frame : 2 * frame + 2] += 2 * bump
    return sound, film


def drawn_words(n_samples, seed):
    """Return views, the films, and the words."""
    rng = np.random.default_rng(seed)
    words = rng.choice(WORDS, n_samples)
    starts = rng.integers(0, N_FRAMES - 2, n_samples)
    sounds, films = zip(*map(say, words, starts, [rng] * n_samples), strict=True)
    films = np.array(films)
    return Views(audio=np.array(sounds), visual=films.reshape(*films.shape[:2], -1)), films, words


def recorded_words(path):
    """Return the training and the test part of a file, as `drawn_words` does."""
    with np.load(path) as file:
        data = dict(file)
    names = np.array(data.get("class_names", np.unique(data["labels"]).astype(str)))
    words = names[np.unique(data["labels"], return_inverse=True)[1]]
    X = Views(audio=data["audio"], visual=data["visual"])
    return [
        (X[data[part]], data["visual_pixels"][data[part]], words[data[part]])
        for part in ("train", "test")
    ]


parser = argparse.ArgumentParser(description="Show which steps of sequences matter.")
parser.add_argument("--data", help="a .npz file of recordings; left out: drawn words")
options = parser.parse_args()
if options.data:
    (X, _, words), (new, films, new_words) = recorded_words(options.data)
else:
    X, _, words = drawn_words(600, seed=0)
    new, films, new_words = drawn_words(100, seed=1)

# %%
# What a word finds, and why
# --------------------------
# Convolutions over the steps, by contrastive training. The spectrograms have time to the right and
# frequency upwards; the frames of a film stand side by side, over the same time.

method = make_pipeline(PerView(StandardScaler()), Contrastive(max_epochs=15, random_state=0))
method.fit(X, words)
print(f"MAP on new words: {method.score(new, new_words):.2f}")

asked = [np.flatnonzero(new_words == word)[0] for word in np.unique(new_words)[:4]]
display = StepsDisplay.from_estimator(
    method,
    {"audio": new["audio"][asked]},
    {"visual": new["visual"]},
    new_words[asked],
    new_words,
    gallery_items=films,
)
plt.show()

# %%
# The bars are high where the word is, and next to nothing in the silence around it: the networks
# have found when there is something to hear and to see. Not all of a word weighs alike; what comes
# first or where two words differ counts most.
