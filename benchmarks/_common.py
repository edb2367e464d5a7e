"""Timing, peak memory, system information and output that all benchmarks share.

A benchmark is a script with a function `tables()`, which returns a list of `Table`, and ends with
``if __name__ == "__main__": write("name", tables())``. Candidates run in turns, so that a change in
the machine's speed meets all of them, and each row's ratio is to the first candidate, by convention
the physical limit. A candidate imports what it needs when it is called: one that cannot be imported
is reported as missing.
"""

import ctypes
import gc
import json
import multiprocessing
import os
import platform
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from cca_estimators._storage import replacing

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
QUICK = False  # one run of each candidate, for a smoke test
_VARIABLES = ["NPY_DISABLE_CPU_FEATURES", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE"]
_PACKAGES = ["cca_estimators", "numpy", "scipy", "scikit-learn", "torch", "skorch", "joblib"]


@dataclass
class Row:
    """One line of a table; seconds are the median, of `repeats` runs."""

    name: str
    seconds: float | None = None
    cpu_seconds: float | None = None
    extra_mb: float | None = None
    ratio: float | None = None
    repeats: int = 0
    result: float | None = None
    note: str = ""


@dataclass
class Table:
    """Rows under a title; `peers` are the packages whose versions belong to it."""

    title: str
    rows: list
    peers: tuple = ()
    n_threads: int | None = None
    facts: dict = field(default_factory=dict)


def compare(
    title,
    candidates,
    *,
    repeats=5,
    patience=30.0,
    n_threads=1,
    peers=(),
    anonymous=False,
    once=(),
):
    """Measure candidates in turns, after one run each to warm up.

    Parameters
    ----------
    title : str
    candidates : dict of callable by name
        The first is what ratios refer to. A float that one returns is kept as its result.
    repeats : int
        Number of runs; a candidate that has taken `patience` seconds runs no more.
    patience : float
    n_threads : int or None
        Limit of the BLAS, OpenMP and torch threads; None: all.
    peers : tuple of str
        Distribution names of the packages that candidates import.
    anonymous : bool
        Sample anonymous memory instead of taking the peak of all resident memory, which counts the
        pages of mapped files.
    once : tuple of str
        Candidates too slow for a run to warm up: they run once. None that may be missing.

    Returns
    -------
    Table
    """
    rows = [
        Row(name) if name in once else _warmed_up(name, function)
        for name, function in candidates.items()
    ]
    runs = {row.name: [] for row in rows if not row.note}
    with threads(n_threads):  # after the warm-up, when all libraries are loaded
        for _ in range(1 if QUICK else repeats):
            for name, taken in runs.items():
                used = sum(wall for wall, _, _ in taken)
                if not taken or (used < patience and name not in once):
                    taken.append(measure(candidates[name], anonymous=anonymous))
    for row in rows:
        _summarise(row, runs.get(row.name, []), limit=runs[rows[0].name])
    return Table(title, rows, tuple(peers), n_threads)


def measure(function, *, anonymous=False):
    """Return wall seconds, CPU seconds and peak extra memory in MB of one call."""
    gc.collect()
    with _peak_memory(anonymous) as peak:
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return wall, cpu, peak["extra_mb"]


@contextmanager
def threads(n_threads):
    """Limit the threads of BLAS, OpenMP and torch; None changes nothing."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    with threadpool_limits(n_threads):
        if torch and n_threads:
            torch.set_num_threads(n_threads)
        yield
    if torch:
        torch.set_num_threads(before)


def exponent(sizes, seconds):
    """Return the fitted power of the growth of seconds with sizes."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def in_fresh_process(function, *arguments, timeout=None):
    """Return the result of a call in a process of its own, which starts with empty memory.

    An interrupt (Ctrl-C) kills the process; it never returns what is half done.

    Raises
    ------
    BrokenProcessPool
        If the process dies.
    TimeoutError
        If it takes more than `timeout` seconds.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _follow, (os.getpid(),)) as pool:
        try:
            return pool.submit(function, *arguments).result(timeout)
        except (KeyboardInterrupt, TimeoutError):
            kill_children()
            raise


def _follow(parent):
    """Leave interrupts to the parent process, and end when it is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def is_running(process):
    """Tell whether there is a process of some number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def kill_children():
    """Kill the processes that `in_fresh_process` has started."""
    for process in multiprocessing.active_children():
        process.kill()


def write(name, tables):
    """Print tables as Markdown, and write them to `results` as Markdown and JSON."""
    system = system_information({peer for table in tables for peer in table.peers})
    text = "\n\n".join([heading(system), *(_markdown(table) for table in tables)]) + "\n"
    RESULTS.mkdir(exist_ok=True)
    content = {"system": system, "tables": [asdict(table) for table in tables]}
    write_text(RESULTS / f"{name}.json", json.dumps(content, indent=1) + "\n")
    write_text(RESULTS / f"{name}.md", text)
    print(text)


def write_text(path, text):
    """Write a file of text, all of it or nothing."""
    with replacing(path) as unfinished:
        unfinished.write_text(text)


def system_information(peers=()):
    """Return the machine, the versions, the date and the command."""
    packages = [*_PACKAGES, *sorted(set(peers) - set(_PACKAGES))]
    libraries = {f"{pool['internal_api']} {pool['version']}" for pool in threadpool_info()}
    return {
        "date": date.today().isoformat(),
        "command": command(sys.argv),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": sorted(libraries),
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "versions": {package: _version(package) for package in packages},
    }


def command(arguments):
    """Return a command line without paths of this machine: relative to the project, or names."""
    return " ".join(["python", *(_portable(argument) for argument in arguments)])


def _portable(argument):
    option, equals, value = argument.rpartition("=")
    path = Path(value)
    if path.is_absolute():
        inside = path.resolve().is_relative_to(ROOT)
        value = str(path.resolve().relative_to(ROOT)) if inside else path.name
    elif path.suffix == ".py" and path.resolve().is_relative_to(ROOT):
        value = str(path.resolve().relative_to(ROOT))
    return option + equals + value


def heading(system):
    """Return the system information as a line of Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in system["versions"].items())
    return (
        f"{system['date']}, `{system['command']}`, {system['processor']} "
        f"({system['cores']} cores), {system['system']}, Python {system['python']}, {versions}, "
        f"{', '.join(system['libraries'])}"
        f"{''.join(f', {name}={value}' for name, value in system['environment'].items())}."
    )


def _warmed_up(name, function):
    try:
        result = function()
    except ImportError as error:
        return Row(name, note=f"missing: {error}")
    return Row(name, result=float(result) if isinstance(result, (float, np.floating)) else None)


def _summarise(row, taken, limit):
    if taken:
        wall, cpu, memory = zip(*taken, strict=True)
        row.seconds, row.cpu_seconds = float(np.median(wall)), float(np.median(cpu))
        row.ratio = row.seconds / float(np.median([wall for wall, _, _ in limit]))
        row.extra_mb, row.repeats = None if None in memory else max(memory), len(taken)


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


@contextmanager
def _peak_memory(anonymous):
    """Yield a dict that holds the peak memory above the start, in MB, after the block (Linux)."""
    peak = {"extra_mb": None}
    if not sys.platform.startswith("linux"):
        yield peak
        return
    ctypes.CDLL(None).malloc_trim(0)
    start = _status("RssAnon" if anonymous else "VmRSS")
    if anonymous:
        with _Sampler() as sampler:
            yield peak
        end = sampler.highest
    else:
        Path("/proc/self/clear_refs").write_text("5")  # restarts the peak that VmHWM reports
        yield peak
        end = _status("VmHWM")
    peak["extra_mb"] = max(0.0, (end - start) / 1024)


def _status(entry):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(entry + ":")))


class _Sampler:
    """Thread that watches the anonymous memory of the process every millisecond."""

    def __enter__(self):
        self.highest = _status("RssAnon")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _watch(self):
        while not self._done.wait(0.001):
            self.highest = max(self.highest, _status("RssAnon"))


def _markdown(table):
    threads_used = "all threads" if table.n_threads is None else f"{table.n_threads} thread(s)"
    lines = [
        f"### {table.title} ({threads_used})",
        "",
        "| | seconds | CPU seconds | ratio | extra MB | runs | result | |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
        *(_markdown_row(row) for row in table.rows),
    ]
    facts = [f"{name}: {value}" for name, value in table.facts.items()]
    return "\n".join(lines + (["", "; ".join(facts) + "."] if facts else []))


def _markdown_row(row):
    cells = [
        row.name,
        _cell(row.seconds, "#.3g"),
        _cell(row.cpu_seconds, "#.3g"),
        _cell(row.ratio, ".2f"),
        _cell(row.extra_mb, ".0f"),
        str(row.repeats),
        _cell(row.result, ".6f"),
        row.note,
    ]
    return "| " + " | ".join(cells) + " |"


def _cell(value, form):
    return "-" if value is None else format(value, form)
