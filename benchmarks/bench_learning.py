"""MAP of the deep methods over five seeds, against the linear methods on the same inputs.

Default settings on standardised features; they were chosen by cross-validation on the training
splits. Beside the mean over both directions: that of the same networks untrained (one epoch of a
step size of 1e-12, then all that follows the towers), the loss of the first and of the last epoch,
the smallest standard deviation of an output over the test split, and how often a support vector
machine, of which the methods know nothing, tells the views apart by the directions of embeddings of
the test split that it was not trained on (1/2 at chance).

    python benchmarks/bench_learning.py [--data grid_digits.npz] [--methods CDCCA TNNCCCA]
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _common import RESULTS, system_information, write_text
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import SVC

import cca_estimators
from cca_estimators import CCA, CCCA, PerView, Views
from cca_estimators.datasets import load_spoken_digits

METHODS = ["DCCA", "CDCCA", "SDCCA", "LSTMCCCA", "TNNCCCA", "ACMR", "UCAL", "UGACH", "AGAH"]
ADVERSARIAL = ["ACMR", "UCAL"]
N_SEEDS = 5
UNTRAINED = {"learning_rate": 1e-12, "max_epochs": 1}


def read_data(path):
    """Return the standardised training and test splits."""
    if path is None:
        data = load_spoken_digits()
        X, y, train, test = data.X, data.y, data.train, data.test
    else:
        data = np.load(path)
        X, y = Views(audio=data["audio"], visual=data["visual"]), data["labels"]
        train, test = data["train"], data["test"]
    scaler = PerView(StandardScaler()).fit(X[train])
    return (scaler.transform(X[train]), y[train]), (scaler.transform(X[test]), y[test])


def row(name, estimators, train, test):
    """Fit every estimator; return the figures of the table."""
    scores, seconds, spreads, apart, first, last = [], [], [], [], [], []
    untrained = [untrained_score(estimator, train, test) for estimator in estimators]
    for estimator in estimators:
        start = time.perf_counter()
        estimator.fit(*train)
        seconds.append(time.perf_counter() - start)
        scores.append(estimator.score(*test))
        outputs = [rows.astype(float) for rows in estimator.transform(test[0]).values()]
        spreads.append(min(rows.std(axis=0).min() for rows in outputs))
        apart.append(told_apart(*outputs))
        history = getattr(estimator, "history_", [{"train_loss": np.nan}])
        first.append(history[0]["train_loss"])
        last.append(history[-1]["train_loss"])
    each = " ".join(f"{score:.3f}" for score in scores)
    figures = [name, f"{np.mean(scores):.3f}", f"{np.std(scores):.3f}", each]
    figures += [f"{np.mean(untrained):.3f}", f"{np.mean(first):.2f}", f"{np.mean(last):.2f}"]
    return [*figures, f"{min(spreads):.3f}", f"{np.mean(apart):.2f}", f"{np.median(seconds):.1f}"]


def told_apart(x, y):
    """Return the accuracy, on rows left out, of a classifier of the views."""
    rows, views = normalize(np.vstack([x, y])), np.repeat([0, 1], len(x))
    return cross_val_score(SVC(C=10), rows, views, cv=5).mean()


def untrained_score(estimator, train, test):
    """Return the MAP of an estimator whose networks stay as they begin; of a linear one, NaN."""
    if not hasattr(estimator, "learning_rate"):
        return np.nan
    return clone(estimator).set_params(**UNTRAINED).fit(*train).score(*test)


def seeded(name, **parameters):
    """Return a method with each seed."""
    method = getattr(cca_estimators, name)
    return [method(random_state=seed, **parameters) for seed in range(N_SEEDS)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a .npz file; left out: the embedded digits")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    options = parser.parse_args()
    train, test = read_data(options.data)
    system = system_information()
    versions = ", ".join(f"{name} {version}" for name, version in system["versions"].items())
    lines = [
        f"{system['date']}, `{system['command']}`, {versions}.",
        "",
        "| | MAP | std | each seed | untrained | first loss | last loss | least std | told apart "
        "| seconds |",
        "|---|---:|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    print("\n".join(lines), flush=True)
    linear = [("CCA", [CCA()]), ("CCCA", [CCCA()])]
    deep = [(name, seeded(name)) for name in options.methods]
    unheeded = [
        (f"{name}(adversary_weight=0)", seeded(name, adversary_weight=0.0))
        for name in options.methods
        if name in ADVERSARIAL
    ]
    for name, estimators in linear + deep + unheeded:
        lines.append("| " + " | ".join(row(name, estimators, train, test)) + " |")
        print(lines[-1], flush=True)
    data = Path(options.data).stem if options.data else "embedded"
    RESULTS.mkdir(exist_ok=True)
    write_text(RESULTS / f"learning_{data}.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
