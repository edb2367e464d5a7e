"""
Search: does the distance tell when an answer is wrong? (CrossModalIndex)
=========================================================================

An index embeds the images of the test split once, and answers sounds by the images nearest to them.
The left picture shows the distance of the first answer where it is right, which means the same
digit, and where it is wrong; the right one the share of right answers if only near ones are given,
against the share of the queries that still get one.
"""
# sphinx_gallery_thumbnail_number = 0

# %%
# Index a gallery
# ---------------
# Any fitted pipeline will do. Rows go by an id of your own, and those of a second batch are added.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CDCCA, CrossModalIndex, PerView
from cca_estimators.datasets import load_spoken_digits

train, test = load_spoken_digits(subset="train"), load_spoken_digits(subset="test")
pipe = make_pipeline(PerView(StandardScaler()), CDCCA(max_epochs=20, random_state=0))
pipe.fit(train.X, train.y)

images, sounds = ({name: test.X[name]} for name in ("visual", "audio"))
ids = np.array([f"image {number:03}" for number in range(len(test.y))])
index = CrossModalIndex(pipe).fit({"visual": images["visual"][:300]}, ids=ids[:300])
index.add({"visual": images["visual"][300:]}, ids=ids[300:])

# %%
# Ask it
# ------

distances, found = index.kneighbors(sounds, n_neighbors=3)
digit_of = dict(zip(ids, test.y, strict=True))
for query in range(3):
    answers = [f"{name} (a {digit_of[name]})" for name in found[query]]
    print(f"sound of a {test.y[query]}: {', '.join(answers)}")

# %%
# Near answers are right more often
# ---------------------------------

first = distances[:, 0]
right = np.array([digit_of[name] for name in found[:, 0]]) == test.y
order = np.argsort(first, kind="stable")
answered = np.arange(1, len(order) + 1)
figure, (left, axes) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
bins = np.linspace(0, first.max(), 30)
left.hist([first[right], first[~right]], bins, stacked=True, label=["right", "wrong"])
left.set(xlabel="distance of the first answer", ylabel="queries", title="One minus the cosine")
left.legend()
axes.plot(answered / len(order), np.cumsum(right[order]) / answered)
axes.set(xlabel="share of the queries that are answered", ylabel="share of right answers")
axes.set(title="Answering the nearest only", ylim=(None, 1.005))
plt.show()

# %%
# Distances of wrong answers are larger on average, and refusing the far ones pays: the distance is
# a usable measure of doubt, though not a sure one.

print(f"{right.mean():.3f} of all first answers are right")
print(f"mean distance: {first[right].mean():.3f} right, {first[~right].mean():.3f} wrong")
