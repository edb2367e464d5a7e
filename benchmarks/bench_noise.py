"""MAP against the true labels of the test split, of methods trained with wrong labels.

    python benchmarks/bench_noise.py --data uci_mfeat.npz [--seeds 3] [--methods C-CCA]

The given share of the training labels is flipped, evenly over the other classes. Default settings;
mean over the seeds, which draw the flips and the networks, and over both directions. The last
columns are the ratios of the MAP at the two largest shares to that at the smallest. The file has
two views, labels, and the row numbers train and test.

Each result is kept as it comes, in noise_<file>.jsonl: the same command goes on where it was, and
the table holds what there is.
"""

import argparse
from pathlib import Path

import _common
import numpy as np
from _quality_methods import LABELS, METHODS, Method
from bench_quality import Data, Job, read_results, read_set, run

from cca_estimators import Contrastive

SHARES = (0.2, 0.4, 0.6, 0.8)
METHODS = {
    "Contrastive, robust": Method(Contrastive(loss="robust"), {}),
    **{name: each for name, each in METHODS.items() if each.kind == LABELS and "ITQ" not in name},
}
CHOSEN = list(METHODS)


def flipped(y, share, rng):
    """Return labels, a share of which are of another class."""
    classes, codes = np.unique(y, return_inverse=True)
    shift = rng.integers(1, len(classes), len(y)) * (rng.random(len(y)) < share)
    return classes[(codes + shift) % len(classes)]


def noisy(data, n_seeds):
    """Return the data with wrong labels, by their share and the seed that drew them."""
    X, y = data.train
    return {
        (share, seed): Data(
            (X, flipped(y, share, np.random.default_rng(seed))),
            data.test,
            f"{data.digest} {share} {seed}",
        )
        for seed in range(n_seeds)
        for share in SHARES
    }


def jobs_of(data, names):
    """Return all jobs, the first seed of each method first; methods without one see other flips."""
    seeds = dict.fromkeys(seed for _, seed in data)
    return [
        Job("wrong labels", name, METHODS[name], (share, seed), seed)
        for seed in seeds
        for name in names
        for share in SHARES
    ]


def text(results, names, title):
    """Return the table in Markdown, under the date, the command and the versions."""
    last = [f"{share:.0%} / {SHARES[0]:.0%}" for share in SHARES[-2:]]
    head = ["", *(f"{share:.0%}" for share in SHARES), *last, "seeds"]
    lines = [_common.heading(_common.system_information()), "", f"### {title}", ""]
    lines += [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for name in names:
        maps = [_maps(results, name, share) for share in SHARES]
        if all(maps):
            means = [np.mean(each) for each in maps]
            ratios = [f"{mean / means[0]:.2f}" for mean in means[-2:]]
            figures = [*(f"{mean:.3f}" for mean in means), *ratios, str(min(map(len, maps)))]
            lines.append(f"| {name} | {' | '.join(figures)} |")
    return "\n".join(lines) + "\n"


def _maps(results, name, share):
    return [
        each["map"]
        for each in results
        if each["method"] == name and each["data"][0] == share and not each["note"]
    ]


def read_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="an npz file with a split")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=CHOSEN)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, help="begin no fit after them; 0: the table alone")
    return parser.parse_args()


def main():
    options = read_options()
    path = Path(options.data)
    _common.RESULTS.mkdir(exist_ok=True)
    store = _common.RESULTS / f"noise_{path.stem}.jsonl"
    data = noisy(read_set(path), options.seeds)
    jobs = jobs_of(data, options.methods)
    done = read_results(store)
    to_do = [job for job in jobs if job.key(data[job.data].digest) not in done]
    try:
        with _common.threads(1):
            run(to_do, data, store, options.minutes)
    finally:
        keys = [job.key(data[job.data].digest) for job in jobs_of(data, METHODS)]
        found = read_results(store)
        title = f"MAP on {path.name} with wrong training labels"
        table = text([found[key] for key in keys if key in found], METHODS, title)
        _common.write_text(store.with_suffix(".md"), table)


if __name__ == "__main__":
    main()
