"""MAP of the methods that learn from classes, by their defaults, on several sets.

The embedded digits, and every npz file named: two views with aligned rows, `labels`, and the row
numbers `train` and `test`; where there are `train_by_speaker` and `test_by_speaker`, these. Views
are standardised and scored on the test part, both directions averaged; methods with a seed run with
three. Nothing is tuned here: the defaults were chosen by cross-validation on training parts. The
seconds are those of one fit.

    python benchmarks/bench_classes.py [--data grid_digits.npz uci_mfeat.npz] [--methods C-KCCA]
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _common import RESULTS, heading, system_information
from bench_quality import read_set
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from cca_estimators import (
    CCCA,
    CKCCA,
    KCCA,
    TNNCCCA,
    Contrastive,
    PerView,
    SemanticMatching,
)

METHODS = {
    "KCCA": KCCA(),
    "C-CCA": CCCA(),
    "C-KCCA": CKCCA(),
    "C-CCA, class posteriors": SemanticMatching(CCCA(), random_state=0),
    "C-KCCA, class posteriors": SemanticMatching(CKCCA(), random_state=0),
    "C-KCCA, posteriors and variates": SemanticMatching(
        CKCCA(), append_variates=True, random_state=0
    ),
    "TNN-C-CCA": TNNCCCA(random_state=0),
    'TNN-C-CCA, first="ccca"': TNNCCCA(first="ccca", random_state=0),
    "Contrastive": Contrastive(random_state=0),
}
N_SEEDS = 3


def read_split(path):
    """Return the standardised training and test parts of a file, of the embedded digits if None."""
    data = read_set(path)
    scaler = PerView(StandardScaler()).fit(data.train[0])
    return [(scaler.transform(X), y) for X, y in (data.train, data.test)]


def cell(method, train, test):
    """Return the mean MAP over the seeds, its spread if there are several, and seconds of a fit."""
    seeds = range(N_SEEDS) if "max_epochs" in method.get_params() else [0]
    scores, seconds = [], []
    for seed in seeds:
        seeded = clone(method)
        if "random_state" in method.get_params():
            seeded.set_params(random_state=seed)
        start = time.perf_counter()
        seeded.fit(*train)
        seconds.append(time.perf_counter() - start)
        scores.append(seeded.score(*test))
    spread = f" ± {np.std(scores):.3f}" if len(scores) > 1 else ""
    return f"{np.mean(scores):.3f}{spread}, {min(seconds):.1f} s"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="*", default=[], help="npz files with a split")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    options = parser.parse_args()
    sets = {"embedded": read_split(None)}
    sets |= {Path(path).stem: read_split(path) for path in options.data}
    title = " | ".join(
        f"{name}, {len(test[1])} of {len(train[1])}" for name, (train, test) in sets.items()
    )
    lines = [heading(system_information()), "", "| | " + title + " |"]
    lines.append("|---|" + "---|" * len(sets))
    print("\n".join(lines), flush=True)
    for name in options.methods:
        cells = [cell(METHODS[name], *parts) for parts in sets.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "classes.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
