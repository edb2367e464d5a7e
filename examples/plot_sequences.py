"""
Sequences: when the order of the steps carries the class (LSTMCCCA)
===================================================================

Both classes of these sequences show the same two patterns, one after the other: the class is which
comes first. The mean over the steps is the same for both, so no method that pools the steps can
tell them apart; LSTM-C-CCA and S-DCCA read them in order. Half of the sequences are cut short, and
padded by NaN: padding never changes a result.
"""
# sphinx_gallery_thumbnail_number = 0

# %%
# Sequences of two patterns
# -------------------------

import matplotlib.pyplot as plt
import numpy as np

from cca_estimators import CCCA, LSTMCCCA, SDCCA, Views

N_STEPS = 8


def make_sequences(n_samples, seed):
    """Return two views whose class is the order of their patterns, some sequences cut short."""
    patterns = np.random.default_rng(0).standard_normal((2, 2, 6))
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n_samples)
    lengths = rng.choice([6, N_STEPS], n_samples)
    steps = np.arange(N_STEPS)
    first = (steps < lengths[:, None] / 2) == y[:, None]
    X = {}
    for name, (a, b) in zip(("audio", "visual"), patterns, strict=True):
        X[name] = np.where(first[:, :, None], a, b) + rng.standard_normal((n_samples, N_STEPS, 6))
        X[name][steps >= lengths[:, None]] = np.nan
    return Views(X), y


train, test = make_sequences(600, seed=1), make_sequences(300, seed=2)


def pooled(X, y):
    """Return the mean over the steps."""
    return Views({name: np.nanmean(rows, axis=1) for name, rows in X.items()}), y


# %%
# Three ways to see them
# ----------------------

options = {"lstm_size": 32, "max_epochs": 20, "random_state": 0}
scores = {
    "C-CCA on the mean of the steps": CCCA().fit(*pooled(*train)).score(*pooled(*test)),
    "LSTM-C-CCA": LSTMCCCA(**options).fit(*train).score(*test),
    "S-DCCA": SDCCA(**options).fit(*train).score(*test),
}

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
for label in (0, 1):
    rows = test[0]["audio"][test[1] == label]
    left.plot(np.nanmean(rows[:, :, 0], axis=0), marker="o", label=f"class {label}")
left.set(xlabel="step", ylabel="first feature of the sound, mean", title="The order differs")
left.legend()
right.barh(list(scores), list(scores.values()))
right.axvline(0.5, color="black", linestyle=":", label="chance")
right.set(xlabel="MAP on new sequences", xlim=(0, 1), title="Only sequence methods see it")
right.invert_yaxis()
right.legend()
plt.show()

# %%
# Pooling is at chance; both sequence methods find the partner almost always.
