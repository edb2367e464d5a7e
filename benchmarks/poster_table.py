"""The poster's table: MAP of its methods and ours over five class-balanced folds, with its figures.

    python benchmarks/poster_table.py --data vegas_feature.h5 --out vegas.csv

For each fold and method a fresh process tunes and fits the method on the training part, and ranks
the test part in both directions. Methods with a grid are tuned by cross-validation of 3 folds
within the training part; the settings, see METHODS, are the same for all data, and else the
defaults. Methods that the poster has no figures of are marked as added.

Results are kept as they come, in a file next to --out with the ending .jsonl. After an interruption
(Ctrl-C), the same command goes on where it was; other data or settings are other results.

Features of videos are read as their mean over time, and as sequences of 10 steps by LSTM-C-CCA,
S-DCCA and Contrastive. Other data are taken as they are: these three see their steps, the others
one long row.
Views are kept in a temporary folder (of TMPDIR), which takes 1.4 GB for the whole of VEGAS.

Seconds are those of a fold: tuning, fitting and scoring. The peak memory is what a process takes at
most beyond the views of its fold and the libraries; only Linux tells it.
"""

import argparse
import csv
import hashlib
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
from _common import (
    heading,
    in_fresh_process,
    is_running,
    kill_children,
    measure,
    system_information,
    threads,
    write_text,
)
from joblib import effective_n_jobs
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

import cca_estimators
from cca_estimators import CCCA, CKCCA, PerView, Views, __version__, cross_modal_scores
from cca_estimators._storage import replacing
from cca_estimators.datasets import load_ave, load_mv10k, load_spoken_digits, load_vegas, make_views

# MAP in %, audio to visual and visual to audio: D. Zeng, Y. Yu, K. Oyama, "Can we learn the
# correlation between audio and visual?", poster of SOKENDAI and the National Institute of
# Informatics.
POSTER = {
    "CCA": {"VEGAS": (32.43, 32.11), "MV-10K": (18.38, 18.17)},
    "KCCA": {"VEGAS": (28.65, 27.24), "MV-10K": (17.81, 17.03)},
    "DCCA": {"VEGAS": (41.43, 42.15), "MV-10K": (18.43, 18.21)},
    "C-CCA": {"VEGAS": (65.16, 64.35), "MV-10K": (19.71, 19.62)},
    "C-KCCA": {"VEGAS": (32.41, 32.74), "MV-10K": (18.38, 18.11)},
    "C-DCCA": {"VEGAS": (70.34, 69.27), "MV-10K": (21.79, 20.08)},
    "UGACH": {"VEGAS": (17.18, 17.07), "MV-10K": (11.11, 11.40)},
    "AGAH": {"VEGAS": (57.82, 56.16), "MV-10K": (20.74, 20.19)},
    "UCAL": {"VEGAS": (42.68, 41.53), "MV-10K": (18.82, 18.47)},
    "ACMR": {"VEGAS": (45.46, 43.12), "MV-10K": (19.02, 18.63)},
    "LSTM-C-CCA": {"VEGAS": (66.62, 71.34), "MV-10K": (19.11, 18.89)},
    "TNN-C-CCA": {"VEGAS": (74.66, 73.77), "MV-10K": (23.34, 21.32)},
}
SETS = {"vegas": load_vegas, "mv10k": load_mv10k, "ave": load_ave}
POSTER_SETS = {"vegas": "VEGAS", "mv10k": "MV-10K"}
GENERATED = {"n_samples": 28_103, "n_features": (128, 1024), "n_steps": 10, "imbalance": 3.0}
GENERATED |= {"class_sep": 3.0, "noise": 4.0, "random_state": 0}
_FOLDER = "poster_table_"
VIEWS, N_STEPS = ("audio", "visual"), 10
FIVE_FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)


@dataclass(frozen=True)
class Method:
    """A class of the package, its parameters that are not the default, and those to tune."""

    name: str
    options: dict = field(default_factory=dict)
    grid: dict = field(default_factory=dict)
    sequential: bool = False

    def model(self):
        """Return a pipeline of scaling and the method, within a grid search if there is a grid."""
        estimator = getattr(cca_estimators, self.name)(**self.options)
        pipe = make_pipeline(PerView(StandardScaler()), estimator)
        if not self.grid:
            return pipe
        grid = {f"{self.name.lower()}__{key}": values for key, values in self.grid.items()}
        return GridSearchCV(pipe, grid, cv=StratifiedKFold(3, shuffle=True, random_state=0))


SEED = {"random_state": 0}
METHODS = {
    "CCA": Method("CCA", grid={"n_components": [5, 10, 20]}),
    "KCCA": Method("KCCA", SEED, {"reg": [1e-4, 1e-3]}),
    "DCCA": Method("DCCA", SEED),
    "C-CCA": Method("CCCA"),
    "C-KCCA": Method("CKCCA", SEED, {"reg": [1e-4, 1e-3]}),
    "C-DCCA": Method("CDCCA", SEED),
    "UGACH": Method("UGACH", SEED),
    "AGAH": Method("AGAH", SEED),
    "UCAL": Method("UCAL", SEED),
    "ACMR": Method("ACMR", SEED),
    "LSTM-C-CCA": Method("LSTMCCCA", SEED, sequential=True),
    "TNN-C-CCA": Method("TNNCCCA", SEED),
    "S-DCCA": Method("SDCCA", SEED, sequential=True),
    "C-CCA, posteriors": Method("SemanticMatching", {"estimator": CCCA(), **SEED}),
    "C-KCCA, posteriors": Method("SemanticMatching", {"estimator": CKCCA(**SEED), **SEED}),
    "Contrastive": Method("Contrastive", SEED, sequential=True),
}


@dataclass(frozen=True)
class Data:
    """Where the views are, by whether a method reads sequences, and what belongs to their rows."""

    name: str
    folders: dict
    y: np.ndarray
    folds: list
    poster_set: str | None = None

    def chance(self):
        """Return the sum of squared shares of the classes, about the MAP of a random ranking."""
        shares = np.unique(self.y, return_counts=True)[1] / len(self.y)
        return float(np.sum(shares**2))


@dataclass(frozen=True)
class Task:
    """One method on one fold; `key` is different for other data, other settings, another fold."""

    key: str
    method_name: str
    method: Method
    fold: int
    folder: Path
    y: np.ndarray
    split: tuple


def read_data(source, set_name, folder, sequences):
    """Write the views of some data to a folder; sequences of features only if they are needed."""
    if source == "digits":
        data = load_spoken_digits()
        return _stored("digits", data.X, data.y, folder)
    if source.split(":")[0] == "generated":
        return _generated(source, folder)
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(
            f"--data {source} is not there. Give a file or folder of features, an npz file, "
            "'digits' or 'generated'."
        )
    if path.suffix == ".npz":
        return _npz(path, folder)
    return _features(path, set_name or _guessed_set(path), folder, sequences)


def _npz(path, folder):
    with np.load(path) as stored:
        missing = {*VIEWS, "labels"} - set(stored.files)
        if missing:
            raise ValueError(
                f"{path.name} lacks {sorted(missing)}; it has {stored.files}. The arrays audio, "
                "visual and labels are needed."
            )
        return _stored(path.name, {name: stored[name] for name in VIEWS}, stored["labels"], folder)


def _generated(source, folder):
    n_samples = int(source.partition(":")[2] or GENERATED["n_samples"])
    X, y = make_views(**{**GENERATED, "n_samples": n_samples})
    folders = {sequential: folder / str(sequential) for sequential in (False, True)}
    for name in VIEWS:
        rows = X.pop(name).astype(np.float32)
        _save(folders[True], name, rows)
        _save(folders[False], name, rows.mean(axis=1))
    return Data(source, folders, y, list(FIVE_FOLDS.split(y, y)))


def _stored(name, X, y, folder):
    for view in VIEWS:
        _save(folder, view, X[view])
    return Data(name, {False: folder, True: folder}, y, list(FIVE_FOLDS.split(y, y)))


def _save(folder, name, rows):
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{name}.npy", rows)


def _features(path, set_name, folder, sequences):
    """Read files of features as means and, if needed and if they have steps, as sequences."""
    load, folders = SETS[set_name], {False: folder / "means", True: folder / "sequences"}
    data = load(path, memmap_dir=folders[False])
    if sequences:
        try:
            load(path, n_steps=N_STEPS, pad="nan", memmap_dir=folders[True])
        except ValueError as error:
            print(f"{error} Sequential methods read the means.")
            folders[True] = folders[False]
    folds = list(data.cv.split(data.y, data.y))
    return Data(path.name, folders, data.y, folds, POSTER_SETS.get(set_name))


def _guessed_set(path):
    name = path.resolve().name.lower().replace("-", "")
    found = [each for each in SETS if each in name]
    if len(found) != 1:
        raise ValueError(
            f"The name {path.name} does not tell the set. Add --set with one of {list(SETS)}."
        )
    return found[0]


def tasks_of(data, names, n_folds):
    """Return the tasks of some methods on the first folds, fold by fold."""
    if n_folds > len(data.folds):
        raise ValueError(f"--folds {n_folds}, but {data.name} has {len(data.folds)} folds.")
    rows = {METHODS[name].sequential: None for name in names}
    rows = {kind: _fingerprint(data.folders[kind]) for kind in rows}
    return [
        _task(data, name, fold, rows[METHODS[name].sequential])
        for fold in range(n_folds)
        for name in names
    ]


def _task(data, name, fold, rows):
    method, split = METHODS[name], data.folds[fold]
    settings = {key: repr(value) for key, value in method.model().get_params().items()}
    digest = hashlib.sha256(json.dumps([__version__, rows, settings], sort_keys=True).encode())
    for part in (np.unique(data.y, return_inverse=True)[1], *split):
        digest.update(part.astype(np.int64).tobytes() + b"|")
    folder = data.folders[method.sequential]
    return Task(digest.hexdigest(), name, method, fold, folder, data.y, split)


def _fingerprint(folder):
    """Return a digest of the files of both views."""
    digests = []
    for name in VIEWS:
        with (folder / f"{name}.npy").open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests


def run_task(task, n_threads):
    """Tune and fit the method on the training part of a fold; return the figures of the test."""
    stored = {name: np.load(task.folder / f"{name}.npy", mmap_mode="r") for name in VIEWS}
    train, test = (
        (Views({name: rows[part] for name, rows in stored.items()}), task.y[part])
        for part in task.split
    )
    model, scores = task.method.model(), {}
    with threads(n_threads):
        seconds, cpu_seconds, peak_mb = measure(
            lambda: scores.update(cross_modal_scores(model.fit(*train), *test))
        )
    there, back = (scores[f"map_{a}_to_{b}"] for a, b in (VIEWS, VIEWS[::-1]))
    return {
        "key": task.key,
        "method": task.method_name,
        "fold": task.fold,
        "audio_to_visual": there,
        "visual_to_audio": back,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mb": peak_mb,
        "date": date.today().isoformat(),
        "version": __version__,
    }


def run(tasks, store, n_jobs):
    """Run tasks, each in a process of its own, and keep each result as soon as it is there.

    Returns
    -------
    failures : dict of Exception
        By method.
    """
    n_jobs, failures = effective_n_jobs(n_jobs), {}
    n_threads = None if n_jobs == 1 else max(1, os.cpu_count() // n_jobs)
    pool = ThreadPoolExecutor(n_jobs)
    running = {pool.submit(in_fresh_process, run_task, task, n_threads): task for task in tasks}
    try:
        for done in tqdm(as_completed(running), total=len(tasks), unit="result"):
            if done.exception():
                failures[running[done].method_name] = done.exception()
            else:
                append(store, done.result())
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        kill_children()
        raise
    return failures


def append(store, result):
    """Add a line to a file, after a line break if an interruption has torn its last line."""
    with store.open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            file.write(b"" if file.read() == b"\n" else b"\n")
        file.write(json.dumps(result).encode() + b"\n")


def read_results(store):
    """Return the results of a file by key; lines that are torn, or anything else, are none."""
    lines = store.read_bytes().splitlines() if store.exists() else []
    results = [result for line in lines if (result := _result(line)) is not None]
    return {result["key"]: result for result in results}


def _result(line):
    try:
        result = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, or no UTF-8
        return None
    if not isinstance(result, dict) or not isinstance(result.get("key"), str):
        return None
    numbers = [result.get(name) for name in ("audio_to_visual", "visual_to_audio", "seconds")]
    return result if all(isinstance(number, float) for number in numbers) else None


def summaries(tasks, results):
    """Return a dict of the figures of each method: means over the folds that are finished."""
    rows = {}
    for name in dict.fromkeys(task.method_name for task in tasks):
        keys = [task.key for task in tasks if task.method_name == name]
        rows[name] = _summary([results[key] for key in keys if key in results])
    return rows


def _summary(folds):
    row = {"folds": len(folds)}
    for direction in ("audio_to_visual", "visual_to_audio"):
        values = [100 * result[direction] for result in folds]
        row[direction] = float(np.mean(values)) if values else None
        row[f"{direction}_std"] = float(np.std(values)) if len(values) > 1 else None
    row["seconds"] = float(np.mean([result["seconds"] for result in folds])) if folds else None
    peaks = [result["peak_mb"] for result in folds if result["peak_mb"] is not None]
    row["peak_mb"] = max(peaks, default=None)
    return row


def table(data, rows):
    """Return the header and the lines of the table, all of str."""
    shown = shown_sets(data)
    header = ["MAP (%)", "audio→visual", "visual→audio"]
    header += [f"{name} {way}" for name in shown for way in ("a→v", "v→a")]
    lines = [
        [
            name if name in POSTER else f"{name} (added)",
            _with_std(row["audio_to_visual"], row["audio_to_visual_std"]),
            _with_std(row["visual_to_audio"], row["visual_to_audio_std"]),
            *(f"{x:.2f}" if x else "-" for each in shown for x in _poster(name, each)),
            "-" if row["seconds"] is None else f"{row['seconds']:.1f}",
            "-" if row["peak_mb"] is None else f"{row['peak_mb']:.0f}",
            str(row["folds"]),
        ]
        for name, row in rows.items()
    ]
    chance = f"{100 * data.chance():.2f}"
    lines.append(["chance", chance, chance, *["-"] * (2 * len(shown) + 3)])
    return [*header, "seconds", "peak MB", "folds"], lines


def shown_sets(data):
    """Return the sets whose figures by the poster to show: that of the data, else all."""
    return [data.poster_set] if data.poster_set else list(POSTER_SETS.values())


def about_poster(data):
    """Return a line that tells what the poster's figures belong to."""
    other = "" if data.poster_set else ", of other data than these"
    told = f"{' and '.join(shown_sets(data))}: the poster's figures{other}."
    return f"{told} Methods that it has no figures of are added."


def _poster(name, set_name):
    return POSTER.get(name, {}).get(set_name, (None, None))


def _with_std(mean, std):
    if mean is None:
        return "-"
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"


def as_text(header, lines):
    """Return a table with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in (header, *lines)
    )


def as_markdown(data, header, lines):
    """Return a table in Markdown, under the date, the command and the versions."""
    about = f"{data.name}: {len(data.y)} rows, {len(np.unique(data.y))} classes."
    rows = [header, ["---", *["---:"] * (len(header) - 1)], *lines]
    table_lines = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"{heading(system_information())}\n\n{about} {about_poster(data)}\n\n{table_lines}\n"


def write_csv(path, rows):
    """Write the figures of each method, and those of the poster, in full precision."""
    with replacing(path) as unfinished, unfinished.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", *next(iter(rows.values())), *_POSTER_COLUMNS])
        for name, row in rows.items():
            poster = [x for each in POSTER_SETS.values() for x in _poster(name, each)]
            writer.writerow([name, *row.values(), *poster])


_POSTER_COLUMNS = [
    f"poster_{name}_{way}" for name in POSTER_SETS for way in ("audio_to_visual", "visual_to_audio")
]


def read_options(arguments):
    """Return the options of the command line, and the parser to report errors by."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        default="digits",
        help="an h5 file or a folder of features; an npz file with the arrays audio, visual and "
        "labels; 'digits', the embedded set; or 'generated', views of the shape of VEGAS, of "
        "which 'generated:1000' takes 1,000 rows. Default: digits",
    )
    parser.add_argument("--set", choices=SETS, help="which set an h5 file or a folder has")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--folds",
        type=int,
        help="run the first of the five folds only. Default: all; of generated data, whose figures "
        "serve to time and check the run alone, one",
    )
    parser.add_argument("--out", default="poster_table.csv", help="file ending in .csv or .md")
    parser.add_argument("--n-jobs", type=int, default=1, help="tasks to run at once; -1: as cores")
    return parser.parse_args(arguments), parser


def main(arguments=None):
    options, parser = read_options(arguments)
    out, store = Path(options.out), Path(options.out).with_suffix(".jsonl")
    n_folds = options.folds or (1 if options.data.startswith("generated") else 5)
    sequences = any(METHODS[name].sequential for name in options.methods)
    failures, interrupted = {}, False
    remove_orphans()
    with tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{os.getpid()}_") as folder:
        try:
            data = read_data(options.data, options.set, Path(folder), sequences)
            tasks = tasks_of(data, options.methods, n_folds)
        except (OSError, ValueError) as error:
            parser.error(str(error))
        missing = [task for task in tasks if task.key not in read_results(store)]
        print(f"{len(tasks) - len(missing)} of {len(tasks)} results are in {store}")
        try:
            failures = run(missing, store, options.n_jobs) if missing else {}
        except KeyboardInterrupt:
            interrupted = True
    report(data, summaries(tasks, read_results(store)), out)
    for name, error in failures.items():
        print(f"{name} failed: {type(error).__name__}: {error}", file=sys.stderr)
    if interrupted:
        print(f"Interrupted. {store} keeps what is finished: run the same command to go on.")
    return 130 if interrupted else int(bool(failures))


def remove_orphans():
    """Remove the folders of views that runs have left behind which were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}[0-9]*_*"):
        process = folder.name.removeprefix(_FOLDER).split("_")[0]
        if process.isdigit() and not is_running(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def report(data, rows, out):
    """Print the table, and write it to a file."""
    header, lines = table(data, rows)
    print(as_text(header, lines))
    print(about_poster(data))
    if out.suffix == ".md":
        write_text(out, as_markdown(data, header, lines))
    else:
        write_csv(out, rows)


if __name__ == "__main__":
    sys.exit(main())
