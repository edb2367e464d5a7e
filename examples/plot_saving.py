"""
Saving: a file that runs no code, and what it costs (save, load, CrossModalIndex)
=================================================================================

`save` writes a fitted pipeline as a file that anyone may load, for nothing in it is run;
``joblib.dump`` writes one that runs what it says. An index is saved with its gallery. The picture
shows the size of each file.
"""

# %%
# Fit, save, load
# ---------------
# With ``card=True`` a description is written beside the file.

from pathlib import Path
from tempfile import TemporaryDirectory

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCCA, CDCCA, CrossModalIndex, PerView, load, save
from cca_estimators.datasets import load_spoken_digits

train, test = (load_spoken_digits(subset=part, return_X_y=True) for part in ("train", "test"))
temporary = TemporaryDirectory()
folder = Path(temporary.name)
methods = {"C-CCA": CCCA(), "C-DCCA": CDCCA(max_epochs=10, random_state=0)}
files = {"save": "own.model", "joblib.dump": "own.joblib", "CrossModalIndex.save": "own.index"}
sizes = {}
for name, method in methods.items():
    pipe = make_pipeline(PerView(StandardScaler()), method).fit(*train)
    save(pipe, folder / "own.model", card=True, figures={"MAP": pipe.score(*test)})
    joblib.dump(pipe, folder / "own.joblib")
    CrossModalIndex(pipe).fit({"visual": test[0]["visual"]}).save(folder / "own.index")
    sizes[name] = [(folder / file).stat().st_size / 1e6 for file in files.values()]

same = load(folder / "own.model").score(*test) == pipe.score(*test)
print("The loaded pipeline scores the same:", same)
print((folder / "own.model.md").read_text())

# %%
# A colleague who has the index can ask it at once.

index = CrossModalIndex.load(folder / "own.index")
_, found = index.kneighbors({"audio": test[0]["audio"][:3]}, n_neighbors=5)
for label, row in zip(test[1], found, strict=False):
    print("A sound of", label, "finds images of", test[1][row])

# %%
# What is refused
# ---------------
# A file of joblib, or any other pickle, is not loaded, and does not run.

try:
    load(folder / "own.joblib")
except ValueError as error:
    print(str(error).replace(str(folder), "..."))
temporary.cleanup()

# %%
# Sizes
# -----
# A deep pipeline is its networks. An index adds its gallery, 450 images here; `joblib.dump` also
# keeps the optimiser, with which training would go on.

figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for place, (name, megabytes) in enumerate(sizes.items()):
    bars = axes.barh(np.arange(3) + 0.4 * place, megabytes, height=0.38, label=name)
    axes.bar_label(bars, fmt=" %.2f")
axes.set(xlabel="megabytes", yticks=np.arange(3) + 0.2, yticklabels=files)
axes.margins(x=0.12)
axes.invert_yaxis()
axes.legend()
plt.show()
