"""Run the benchmarks, each in a fresh process, and write what came of them to results/summary.md.

    python benchmarks/run.py                              # all but those by name, half an hour
    python benchmarks/run.py linear map                   # some
    python benchmarks/run.py --data grid_digits.npz       # with the other libraries' MAP on a file
    python benchmarks/run.py quality --data FOLDER        # all methods on all sets, over an hour
    python benchmarks/run.py --quick                      # a smoke test of ten minutes

A benchmark is a script bench_<name>.py, which can be run on its own too; it writes its tables to
results/<name>.md and .json. One that fails does not stop the others. With --quick, data are small,
candidates run once, and the results go to the folder quick instead.
"""

import argparse
import importlib
import sys
import time
from datetime import date
from pathlib import Path

import _common

FOLDER = Path(__file__).resolve().parent
PEERS = ("cca-zoo", "mvlearn", "pyrcca", "statsmodels", "torchmetrics", "pytorch-metric-learning")
TAKE_DATA = ("learning", "libraries", "noise", "quality")
BY_NAME_ONLY = ("dask", "gpu", "learning", "noise", "quality", "sequences")  # long, or a GPU
NEED_DATA = ("libraries", "noise")
# Constants of the scripts that make them small, for --quick.
QUICK = {
    "dask": {"N_ROWS": 2_000, "N_CHUNK": 500, "WIDTHS": (8, 16)},
    "epoch": {"N_ROWS": 800},
    "exactness": {},
    "fit_times": {"SIZES": (60, 120), "METHODS": ["CCA", "DCCA"]},
    "gpu": {
        "DEVICE": "cpu",
        "N_ROWS": 120,
        "WIDTHS": (12, 16),
        "N_EPOCHS": 2,
        "SMALLER": {"hidden_layer_sizes": (8,), "max_epochs": 1, "lstm_size": 8, "feature_size": 8},
    },
    "galleries": {
        "N_ROWS": 10_000,
        "N_BLOCK": 3_000,
        "N_SHORT": 5_000,
        "N_CLUSTERS": 16,
        "N_PROBE": 4,
    },
    "index": {"N_GALLERY": 2_000, "N_QUERIES": 100, "SIZES": (500, 1_000, 2_000)},
    "labels": {"N_ROWS": 300},
    "kernel": {"SIZES": (200,), "ALL_THREADS": 200, "WIDE": (1_000, (8, 8))},
    "learning": {"METHODS": ["DCCA"], "N_SEEDS": 1},
    "libraries": {"PATIENCE": 20},
    "linear": {"N_ROWS": 500, "WIDTHS": (12, 16), "SIZES": (100, 200, 400, 800)},
    "map": {"N_ROWS": 300, "SIZES": (100, 200, 400)},
    "memmap": {"SIZES": (1_000, 2_000)},
    "noise": {"CHOSEN": ["C-CCA"]},
    "quality": {"SETS": ("embedded",), "N_SEEDS": 1, "PATIENCE": 2, "TUNED_ROWS": 0, "BITS": (64,)},
    "scaling": {
        "LONG": (1_000, 2_000),
        "EXACT": (100, 200),
        "LANDMARKS": (400, 800),
        "EPOCH": (200, 400),
        "RANKED": (100, 200),
        "INDEXED": (1_000, 2_000),
        "FEATURES": (8, 16),
        "CLASSES": (10, 100),
        "COMPONENTS": (1, 10),
    },
    "sharded": {"N_ROWS": 200, "WIDTHS": (16, 20), "UNITS": (8,), "BATCH_SIZE": 40, "N_TURNS": 1},
    "wide": {"SHAPES": ((50, (200, 300)),)},
    "sequences": {"N_ROWS": 60, "N_NEW": 60, "ON_MEANS": ["CCA"], "BY_STEPS": {"Contrastive": {}}},
    "step_memory": {"LARGE": (60, 10, (8, 16)), "METHODS": ("SDCCA",)},
    "towers": {"N_ROWS": 60},
    "triplets": {"N_ROWS": 64, "SIZES": (32, 64)},
}


def benchmarks():
    """Return the names of all benchmarks."""
    return sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


def run_benchmark(name, data, quick, results):
    """Run a benchmark in the process that calls this; return the names of missing peers."""
    arguments = ["--data", data] if data and name in TAKE_DATA else []
    sys.argv = [f"benchmarks/bench_{name}.py", *arguments]
    _common.RESULTS, _common.QUICK = results, quick
    module = importlib.import_module(f"bench_{name}")
    if quick:
        make_small(module, QUICK[name])
    if not hasattr(module, "tables"):
        return module.main() or []
    tables = module.tables()
    _common.write(name, tables)
    rows = [row for table in tables for row in table.rows]
    return sorted({row.name for row in rows if row.note.startswith("missing")})


def make_small(module, constants):
    """Set constants of a module, which must have them."""
    unknown = set(constants) - set(vars(module))
    if unknown:
        raise AttributeError(f"{module.__name__} has no {sorted(unknown)}")
    vars(module).update(constants)


def status_of(name, options, results):
    """Run a benchmark in a fresh process; return its status, its seconds and missing peers."""
    if name in NEED_DATA and not options.data:
        return "skipped: needs --data", 0.0, []
    start, status, missing = time.perf_counter(), "ok", []
    try:
        missing = _common.in_fresh_process(
            run_benchmark, name, options.data, options.quick, results
        )
    except Exception as error:  # whatever it is, the others are to run
        status = f"failed: {type(error).__name__}: {error}".replace("\n", " ")
    return status, time.perf_counter() - start, missing


def row(name, status, seconds, missing):
    """Return a line of the summary."""
    day = date.today().isoformat()
    return f"| {name} | {status} | {seconds:.0f} | {', '.join(missing) or '-'} | {day} |"


def summary(rows):
    """Return the table of all benchmarks in Markdown, under the date, command and versions."""
    table = ["| benchmark | status | seconds | peers missing | day |", "|---|---|---:|---|---|"]
    text = "\n".join([*table, *rows.values()])
    return f"{_common.heading(_common.system_information(PEERS))}\n\n{text}\n"


def earlier_rows(path):
    """Return the lines of a summary by benchmark, to be kept for those that do not run again."""
    lines = path.read_text().splitlines() if path.exists() else []
    named = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    return {name: line for name, line in named.items() if name in benchmarks()}


def read_options(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(benchmarks())}")
    parser.add_argument("--data", help="an npz file with a split; of quality a folder of them")
    parser.add_argument("--quick", action="store_true", help="a smoke test; keeps the results")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(benchmarks())
    if unknown:
        parser.error(f"no benchmark is called {sorted(unknown)}; there are {benchmarks()}")
    if options.data:
        if not Path(options.data).exists():
            parser.error(f"--data {options.data} is not there")
        options.data = str(Path(options.data).resolve())
    return options


def main(arguments=None):
    options = read_options(arguments)
    chosen = options.names or [name for name in benchmarks() if name not in BY_NAME_ONLY]
    results = FOLDER / ("quick" if options.quick else "results")
    results.mkdir(exist_ok=True)
    rows, failed = earlier_rows(results / "summary.md"), False
    for name in chosen:
        print(f"\n## {name}\n", flush=True)
        status, seconds, missing = status_of(name, options, results)
        rows[name] = row(name, status, seconds, missing)
        print(f"\n{name}: {status}, {seconds:.0f} s", flush=True)
        _common.write_text(results / "summary.md", summary(rows))
        failed |= status.startswith("failed")
    print("\n" + summary(rows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
