"""Draw what all methods reach over the data sets: a picture of the front page.

python docs/images/make_map_over_sets.py
"""

import sys
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

FOLDER = Path(__file__).resolve().parent
BENCHMARKS = FOLDER.parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
from _quality_methods import LABELS, METHODS, OUTSIDE, PAIRS  # noqa: E402
from _quality_tables import by_cell  # noqa: E402
from bench_quality import read_results  # noqa: E402

COLOURS = {LABELS: "#1f6fb4", PAIRS: "#e08a1e", OUTSIDE: "#8a8a8a"}
WORDS = {
    LABELS: "learns from labels",
    PAIRS: "from pairs",
    OUTSIDE: "from labels, not of this library",
}

mpl.use("Agg")
results = read_results(BENCHMARKS / "results" / "quality.jsonl")
by_method = defaultdict(list)
for (method, _), seeds in by_cell(results.values(), "defaults").items():
    scores = [seed["map"] for seed in seeds if seed["map"] is not None]
    by_method[method] += [np.mean(scores)] if scores else []
n_sets = max(map(len, by_method.values()))
figures = {method: sets for method, sets in by_method.items() if len(sets) == n_sets}
methods = sorted(figures, key=lambda method: np.mean(figures[method]))

figure, ax = plt.subplots(figsize=(8, 0.27 * len(methods) + 1), layout="constrained")
for height, method in enumerate(methods):
    mean = np.mean(figures[method])
    ax.barh(height, mean, color=COLOURS[METHODS[method].kind], alpha=0.85)
    ax.plot(figures[method], np.full(n_sets, height), "o", ms=3, mfc="white", mec="black", mew=0.6)
    ax.text(1.01, height, f"{mean:.2f}", va="center")
ax.set(
    xlim=(0, 1), ylim=(-0.7, len(methods) - 0.3), yticks=range(len(methods)), yticklabels=methods
)
ax.set_xlabel(f"MAP by the defaults: mean of {n_sets} data sets, and each of them (rings)")
ax.spines[["top", "right"]].set_visible(False)
handles = [mpl.patches.Patch(color=COLOURS[kind], alpha=0.85) for kind in COLOURS]
ax.legend(
    handles,
    [WORDS[kind] for kind in COLOURS],
    loc="upper center",
    ncols=3,
    bbox_to_anchor=(0.4, 1.07),
    frameon=False,
)
figure.savefig(FOLDER / "map_over_sets.png", dpi=110)
