"""
Hashing: how many bits does a good code need? (AGAH, UGACH)
===========================================================

Hashing methods embed each view as bits, which take a fraction of the memory of real numbers and are
compared by counting those that differ. The left picture shows the MAP of UGACH (without labels)
and AGAH (with labels) against the number of bits; the right one the memory of a million items.
The line is ACMR with 40 real numbers.
"""
# sphinx_gallery_thumbnail_number = 0

# %%
# Fit codes of several lengths
# ----------------------------
# The scorers know from the estimator that its embedding is compared by Hamming distance.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import ACMR, AGAH, UGACH, PerView
from cca_estimators.datasets import load_spoken_digits

train, test = (load_spoken_digits(subset=part, return_X_y=True) for part in ("train", "test"))
lengths = [8, 32, 128]


def fitted(method):
    """Return the pipeline, fitted on the training split."""
    return make_pipeline(PerView(StandardScaler()), method).fit(*train)


hashing = {
    "UGACH": [fitted(UGACH(n_bits, max_epochs=25, random_state=0)) for n_bits in lengths],
    "AGAH": [fitted(AGAH(n_bits, max_epochs=10, random_state=0)) for n_bits in lengths],
}
real = fitted(ACMR(max_epochs=20, random_state=0)).score(*test)

# %%
# MAP and memory
# --------------

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for name, methods in hashing.items():
    scores = [method.score(*test) for method in methods]
    left.semilogx(lengths, scores, marker="o", base=2, label=name)
left.axhline(real, color="black", linestyle=":", label="ACMR, 40 real numbers")
left.set(xlabel="bits", ylabel="MAP on the test split", ylim=(0, 1), xticks=lengths)
left.set_xticklabels(lengths)
left.legend()
right.bar([str(n) for n in lengths], [n / 8 for n in lengths])
right.axhline(40 * 4, color="black", linestyle=":", label="40 numbers in float32")
right.set(xlabel="bits", ylabel="MB for a million items", title="memory")
right.legend(loc="center")
plt.show()

# %%
# Hamming search
# --------------
# ``pack`` puts eight bits into a byte: a code of 32 takes four. A sound queries the images: their
# distance is the number of bits that differ.

pipe = hashing["AGAH"][1]
scaled, agah = pipe[:-1].transform(test[0]), pipe[-1]
packed = agah.pack(scaled)
query, gallery = packed["audio"][:5], packed["visual"]
distances = np.bitwise_count(query[:, None] ^ gallery).sum(axis=2)
print(f"query of the digits {test[1][:5]}, a gallery of {gallery.nbytes} bytes")
print("digits of the five nearest images:")
print(test[1][np.argsort(distances, axis=1, kind="stable")[:, :5]])
