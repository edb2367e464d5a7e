"""MAP against the true labels of the test split, of methods trained with wrong labels.

    python benchmarks/bench_noise.py --data uci_mfeat.npz [--methods CCCA Contrastive] [--seeds 3]

The given share of the training labels is flipped, evenly over the other classes. Default settings;
mean over the seeds, which draw the flips and the networks, and over both directions. The last
column is the ratio of the MAP at the largest share to that at the smallest. The file has two views,
labels, and the row numbers train and test.
"""

import argparse
from pathlib import Path

import numpy as np
from _common import RESULTS, heading, system_information
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cca_estimators
from cca_estimators import PerView, Views

SHARES = (0.2, 0.4, 0.6, 0.8)
METHODS = {
    **{name: {} for name in ("CCCA", "CKCCA", "CDCCA", "TNNCCCA", "ACMR", "AGAH")},
    **{name: {} for name in ("LSTMCCCA", "SDCCA", "Contrastive")},
    "Contrastive, robust": {"loss": "robust"},
}


def read_split(path):
    """Return the views and labels to train on, and those to test on."""
    with np.load(path) as data:
        names = ("audio", "visual") if "audio" in data else ("first", "second")
        X = Views({name: data[name].astype(np.float32) for name in names})
        return [(X[data[part]], data["labels"][data[part]]) for part in ("train", "test")]


def flipped(y, share, rng):
    """Return labels, a share of which are of another class."""
    classes, codes = np.unique(y, return_inverse=True)
    shift = rng.integers(1, len(classes), len(y)) * (rng.random(len(y)) < share)
    return classes[(codes + shift) % len(classes)]


def scores(name, train, test, n_seeds):
    """Return the mean MAP of a method for each share of wrong labels."""
    method = getattr(cca_estimators, name.partition(",")[0])
    seeded = "random_state" in method().get_params()
    means = []
    for share in SHARES:
        maps = []
        for seed in range(n_seeds):
            options = {**METHODS[name], **({"random_state": seed} if seeded else {})}
            pipe = make_pipeline(PerView(StandardScaler()), method(**options))
            labels = flipped(train[1], share, np.random.default_rng(seed))
            maps.append(pipe.fit(train[0], labels).score(*test))
        means.append(np.mean(maps))
    return means


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="an npz file with a split")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    path = Path(options.data)
    train, test = read_split(path)
    shares = " | ".join(f"{share:.0%}" for share in SHARES)
    lines = [
        heading(system_information()),
        "",
        f"### MAP on {path.name} with wrong training labels, {options.seeds} seed(s)",
        "",
        f"| | {shares} | {SHARES[-1]:.0%} / {SHARES[0]:.0%} |",
        f"|---|{'---:|' * (len(SHARES) + 1)}",
    ]
    for name in options.methods:
        means = scores(name, train, test, options.seeds)
        figures = " | ".join(f"{value:.3f}" for value in means)
        lines.append(f"| {name} | {figures} | {means[-1] / means[0]:.2f} |")
        print(lines[-1], flush=True)
        (RESULTS / f"noise_{path.stem}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
