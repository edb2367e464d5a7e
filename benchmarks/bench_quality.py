"""MAP of all methods on all sets at hand, by their defaults and tuned, beside outside references.

    python benchmarks/bench_quality.py --data FOLDER [--minutes 70] [--sets ...] [--methods ...]

Sets: the embedded digits, and of the folder the files grid_digits.npz, uci_mfeat.npz,
digit_halves.npz, spoken_written_digits.npz (by speaker) and grid_words.npz, each with two views,
labels, and the row numbers train and test; what is not there is left out, and the table says so.
Views are standardised. Methods for sequences see the steps, all others one long row.

Two ways: *defaults*, three seeds of the methods that draw numbers; and *tuned*, one seed, where
each method chooses among four candidates by two folds of the training part, on the sets of at most
1,500 training rows. The test part is measured once. Seconds are those of the processor for one fit
with one thread; a fit that takes more than five minutes is given up, and the table says so.

Each result is kept as it comes, in quality.jsonl, those that tell most first: the same command goes
on where it was, and the table holds what there is. Other settings or other data are other results.
"""

import argparse
import hashlib
import json
import signal
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import _common
import numpy as np
from _quality_methods import BITS, HASHING, METHODS, Method
from _quality_tables import text
from poster_table import append
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import PerView, Views, __version__, cross_modal_map
from cca_estimators.datasets import load_spoken_digits

FILES = ("grid_digits", "uci_mfeat", "digit_halves", "spoken_written_digits", "grid_words")
SETS = ("embedded", *FILES)
N_SEEDS, TUNED_ROWS, LARGE = 3, 1_500, 4_000
PATIENCE = 300  # seconds of the processor for a fit


@dataclass(frozen=True)
class Data:
    """The views and labels to train on and to test on, and a digest of them."""

    train: tuple
    test: tuple
    digest: str

    @property
    def n_rows(self):
        return len(self.train[1])


@dataclass(frozen=True)
class Job:
    """One fit, or one search: a method on a set with a seed."""

    way: str
    name: str
    method: Method
    data: str
    seed: int

    def key(self, digest):
        """Return what names the result: other data, settings or candidates are another."""
        settings = {key: repr(value) for key, value in self.method.estimator.get_params().items()}
        grid = repr(self.method.grid) if self.way == "tuned" else ""
        told = [__version__, digest, self.way, self.name, self.seed, settings, grid]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def model(self):
        """Return what is to be fitted."""
        estimator = clone(self.method.estimator)
        seeds = [name for name in estimator.get_params() if name.endswith("random_state")]
        estimator.set_params(**dict.fromkeys(seeds, self.seed) if self.method.seeded else {})
        pipe = make_pipeline(PerView(StandardScaler()), estimator)
        if self.way != "tuned":
            return pipe
        step = pipe.steps[-1][0]
        grid = {f"{step}__{name}": values for name, values in self.method.grid.items()}
        folds = StratifiedKFold(2, shuffle=True, random_state=0)
        return GridSearchCV(pipe, grid, scoring=cross_modal_map, cv=folds, error_score="raise")


def read_sets(folder, names):
    """Return the data by name, and for each that is missing why."""
    data, missing = {}, {}
    for name in names:
        path = None if name == "embedded" else Path(folder or "") / f"{name}.npz"
        if path and not (folder and path.exists()):
            missing[name] = f"{path.name} is not in --data" if folder else "no --data was given"
        else:
            data[name] = read_set(path)
    return data, missing


def read_set(path):
    """Return the data of a file, or of the embedded set."""
    if path is None:
        digits = load_spoken_digits()
        X, y, parts = digits.X, digits.y, (digits.train, digits.test)
    else:
        with np.load(path) as file:
            stored = {name: file[name] for name in file.files}
        speakers = "_by_speaker" if "train_by_speaker" in stored else ""
        names = ("audio", "visual") if "audio" in stored else ("first", "second")
        views = {name: stored.get(name + speakers, stored[name]) for name in names}
        X = Views({name: rows.astype(np.float32) for name, rows in views.items()})
        y, parts = stored["labels"], [stored[part + speakers] for part in ("train", "test")]
    digest = hashlib.sha256()
    for array in (*X.values(), y, *parts):
        digest.update(np.ascontiguousarray(array).tobytes() + b"|")
    train, test = ((X[rows], y[rows]) for rows in parts)
    return Data(train, test, digest.hexdigest())


def jobs_of(data, names):
    """Return all jobs, those that tell most first."""
    small = [name for name in data if data[name].n_rows <= LARGE]
    large = [name for name in data if name not in small]
    tuned = [name for name in small if data[name].n_rows <= TUNED_ROWS]
    seeds = range(1, N_SEEDS)
    return [
        *_jobs("defaults", names, [*small, *large], [0]),
        *_jobs("tuned", names, tuned, [0]),
        *_hashing(names, small),
        *_jobs("defaults", names, small, seeds),
        *_jobs("defaults", names, large, seeds),
    ]


def _jobs(way, names, sets, seeds):
    return [
        Job(way, name, METHODS[name], each, seed)
        for seed in seeds
        for each in sets
        for name in names
        if seed == 0 or METHODS[name].seeded
    ]


def _hashing(names, sets):
    """Return the jobs of the hashing methods that are among the names, at other lengths."""
    chosen = [name for name in HASHING if f"{name}, 64 bits" in names]
    jobs = []
    for n_bits in BITS[:-1]:
        for name in chosen:
            estimator = clone(HASHING[name].estimator).set_params(n_bits=n_bits)
            method = Method(estimator, {}, HASHING[name].kind)
            jobs += [Job("bits", f"{name}, {n_bits} bits", method, each, 0) for each in sets]
    return jobs


def result_of(job, data):
    """Return the figures of a job, or a note of why there are none."""
    told = {"way": job.way, "method": job.name, "data": job.data, "seed": job.seed}
    told["key"] = job.key(data.digest)
    model, start = job.model(), time.process_time()
    try:
        with at_most(PATIENCE * (1 if job.way != "tuned" else 4)), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(*data.train)
    except TimeoutError as error:
        return {**told, "note": str(error)}
    told["seconds"] = time.process_time() - start
    if job.way == "tuned":
        told["seconds"] = float(model.refit_time_)
        chosen = {name.split("__", 1)[1]: str(value) for name, value in model.best_params_.items()}
        told |= {"chosen": chosen, "cross_validated": float(model.best_score_)}
    return {**told, "map": cross_modal_map(model, *data.test), "note": ""}


@contextmanager
def at_most(seconds):
    """Raise a TimeoutError where the block takes more seconds of the processor."""

    def give_up(*_):
        raise TimeoutError(f"given up after {seconds} s")

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def read_results(store):
    """Return the results of a file by key; a line that an interruption has torn is none."""
    results = {}
    for line in store.read_bytes().splitlines() if store.exists() else []:
        try:
            result = json.loads(line)
        except ValueError:
            continue
        results[result["key"]] = result
    return results


def run(jobs, data, store, minutes=None):
    """Run jobs and keep each result as soon as it is there, until the time is over."""
    start = time.monotonic()
    for number, job in enumerate(jobs):
        if minutes is not None and time.monotonic() - start > 60 * minutes:
            print(f"time is over: {len(jobs) - number} jobs are left to the next run")
            return
        result = result_of(job, data[job.data])
        append(store, result)
        figure = result["note"] or f"{result['map']:.3f}, {result['seconds']:.1f} s"
        print(f"{number + 1}/{len(jobs)} {job.way} {job.data} {job.name}: {figure}", flush=True)


def read_options(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="the folder of the sets")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--minutes", type=float, help="begin no job after them; 0: the table alone")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = read_options(arguments)
    _common.RESULTS.mkdir(exist_ok=True)
    store = _common.RESULTS / "quality.jsonl"
    data, missing = read_sets(options.data, options.sets)
    for name, reason in missing.items():
        print(f"{name} is left out: {reason}")
    jobs = jobs_of(data, options.methods)
    results = read_results(store)
    to_do = [job for job in jobs if job.key(data[job.data].digest) not in results]
    print(f"{len(jobs) - len(to_do)} of {len(jobs)} results are in {store.name}")
    try:
        with _common.threads(1):
            run(to_do, data, store, options.minutes)
    finally:
        known = {job.key(data[job.data].digest) for job in jobs}
        found = [result for key, result in read_results(store).items() if key in known]
        _common.write_text(_common.RESULTS / "quality.md", text(found, data, missing))


if __name__ == "__main__":
    main()
