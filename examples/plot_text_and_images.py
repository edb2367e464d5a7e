"""
Texts: a caption finds the images that it describes (PerView, TfidfVectorizer)
==============================================================================

A view need not be an array of numbers. Here one view is texts and the other images; PerView hands
the texts to scikit-learn's TfidfVectorizer as they are, and TruncatedSVD reduces the sparse matrix
of words. The last picture shows what captions find that were never seen.
"""

# %%
# Captions of handwritten digits
# ------------------------------
# The images are real, 1,797 digits of scikit-learn. Their captions are made from what can be
# measured on them, the ink and the slant, in words that vary from caption to caption.

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
rng = np.random.default_rng(0)
names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

y, x = np.mgrid[:8, :8] - 3.5
ink = digits.images.sum(axis=(1, 2))
centre = (digits.images * x).sum(axis=(1, 2)) / ink
slant = -(digits.images * y * (x - centre[:, None, None])).sum(axis=(1, 2)) / ink
strokes = [["thin", "fine", "light"], ["plain", "usual"], ["bold", "heavy", "thick"]]
leanings = [["left", "backwards"], ["upright", "straight"], ["right", "forwards"]]
patterns = ["a {1} {0}, {2}", "the digit {0} in {1} strokes, {2}", "{2}: a {0}, rather {1}"]


def thirds(values):
    """Return which third of all values each lies in."""
    return np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values)


captions = [
    rng.choice(patterns).format(names[digit], rng.choice(strokes[i]), rng.choice(leanings[j]))
    for digit, i, j in zip(digits.target, thirds(ink), thirds(slant), strict=True)
]
print(*captions[:4], sep="\n")

# %%
# One pipeline from texts and images to one space
# -----------------------------------------------
# No labels are used, only the pairs. What tells captions apart from each other is learnt from the
# words; the space holds digit, strokes and slant together.

from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from cca_estimators import CCA, PerView, Views, cross_modal_scores

X = Views(text=captions, image=digits.data)
train, test = train_test_split(np.arange(len(X)), test_size=500, random_state=0)
words = make_pipeline(TfidfVectorizer(), TruncatedSVD(20, random_state=0))
method = make_pipeline(PerView(text=words, image=PCA(40, random_state=0)), CCA(12))
method.fit(X[train])
scores = cross_modal_scores(method, X[test], digits.target[test])
for direction in ("text_to_image", "image_to_text"):
    print(f"MAP {direction.replace('_', ' ')}, same digit: {scores[f'map_{direction}']:.2f}")

# %%
# What new captions find
# ----------------------
# None of these texts is in the collection. The images are those of the test part, best first.

import matplotlib.pyplot as plt

from cca_estimators import RetrievalDisplay

queries = [
    "a bold three, backwards",
    "a thin three, forwards",
    "an upright seven in heavy strokes",
    "a light zero",
]
asked = np.array(["three", "three", "seven", "zero"])
RetrievalDisplay.from_estimator(
    method,
    {"text": queries},
    {"image": X["image"][test]},
    asked,
    np.array(names)[digits.target[test]],
    n_neighbors=6,
    query_items=queries,
    gallery_items=digits.images[test],
)
plt.show()

# %%
# The digit of the caption is found, and the strokes and the slant with it: bold threes that lean
# back in the first row, thin ones that lean forwards in the second.
