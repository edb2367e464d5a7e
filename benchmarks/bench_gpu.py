"""On a GPU: epochs, fits and memory, beside plain loops; linear, kernel and ranking work.

    python benchmarks/bench_gpu.py                           # at most four minutes; needs CUDA
    python benchmarks/bench_gpu.py --data grid_digits.npz    # and MAP over seeds on both devices
    python benchmarks/bench_gpu.py --quick                   # a test of the script, on the CPU

Needs the package, PyTorch, skorch and scikit-learn alone. Data have the shape of VEGAS, 22,482 rows
of 128 and 1,024 features; the methods have all defaults of 0.1.0, spelled out below, and rows of
their own with those of this version where these differ. The raw loop does the same steps in plain
PyTorch, with the objectives of the package; captured, it is recorded as one CUDA graph. What does
not begin in time is left out, and says so. Linear and kernel methods, figures and searches are
given tensors of the device under scikit-learn's dispatch on the array API.
"""

import argparse
import os
import sys
import time
from functools import partial
from statistics import median

import numpy as np
import torch
from _common import Row, Table, threads, write
from bench_index import Given
from sklearn import config_context

from cca_estimators import (
    ACMR,
    AGAH,
    CCA,
    CDCCA,
    DCCA,
    KCCA,
    LSTMCCCA,
    SDCCA,
    TNNCCCA,
    UCAL,
    UGACH,
    CrossModalIndex,
    Views,
)
from cca_estimators.deep import CategoryObjective, MLPTower, PairObjective, TripletObjective
from cca_estimators.metrics import mean_average_precision

DEVICE = "cuda"
N_ROWS, WIDTHS, N_STEPS, N_CLASSES = 22_482, (128, 1_024), 10, 10
N_EXACT, N_RANKED, N_GALLERY, N_QUERIES = (4_000, 20_000), 50_000, 1_000_000, 1_000
N_EPOCHS, N_SEEDS, PATIENCE = 8, 5, 200.0  # seconds after which nothing further begins
SMALLER = {}  # options of all methods that make them small, for a test of the script
PLAIN = {
    "activation": "relu",
    "batch_norm": True,
    "tower": "auto",
    "towers": None,
    "batch_size": 256,
    "max_epochs": 50,
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
    "early_stopping": False,
    "callbacks": None,
    "standardize": False,  # which 0.1.0 did not
    "random_state": 0,
}
ONE_LAYER = {**PLAIN, "hidden_layer_sizes": (256,), "dropout": 0.0}
HEAD = {"reg": "auto", "weighted": True}
CORRELATION = {**ONE_LAYER, **HEAD, "n_components": 10, "batch_reg": 1e-3}
CATEGORIES = {**CORRELATION, "pair_weight": 0.2}
TRIPLETS = {
    **PLAIN,
    **HEAD,
    "n_components": 10,
    "hidden_layer_sizes": (256, 256),
    "dropout": 0.5,
    "max_epochs": 60,
    "first": "ccca",  # there was no other, and no folds
    "n_folds": 1,
    "order": "ccca_first",
    "margin": 1.0,
    "mining": "batch_all",
    "distance": "cosine",
    "symmetric": True,
    "include_pair": True,
    "pair_weight": 0.0,
}
WIDE = {**PLAIN, "hidden_layer_sizes": (512,), "dropout": 0.5}
STEPS = {**CATEGORIES, "dropout": 0.3, "lstm_size": 128, "n_layers": 1}
METHODS = {
    "CDCCA": (CDCCA, CATEGORIES),
    "DCCA": (DCCA, {**CORRELATION, "autoencoder_weight": 0.0}),
    "TNNCCCA": (TNNCCCA, TRIPLETS),
    "ACMR": (ACMR, {**WIDE, "n_components": 40, "adversary_weight": 5.0, "margin": 1.0}),
    "UCAL": (
        UCAL,
        {
            **ONE_LAYER,
            "n_components": 10,
            "adversary_weight": 1.0,
            "variance_weight": 1.0,
            "covariance_weight": 0.1,
        },
    ),
    "AGAH": (
        AGAH,
        {
            **WIDE,
            "n_bits": 64,
            "max_epochs": 40,
            "feature_size": 256,
            "margin": 0.3,
            "code_weight": 0.1,
            "map_weight": 0.1,
            "adversary_weight": 0.1,
        },
    ),
    "UGACH": (
        UGACH,
        {
            **ONE_LAYER,
            "activation": "tanh",
            "n_bits": 64,
            "n_neighbors": 5,
            "n_pretrain": 20,
            "n_draws": 5,
            "temperature": 10.0,
        },
    ),
}
SEQUENCES = {
    "LSTMCCCA": (LSTMCCCA, {**STEPS, "step_size": 32}),
    "SDCCA": (SDCCA, {**STEPS, "n_selected": 8}),
}
NEW_DEFAULTS = {f"{method.__name__}, defaults of 0.2": (method, {}) for method in (TNNCCCA, CDCCA)}
NEW_SEQUENCES = {"SDCCA, defaults of 0.2": (SDCCA, {})}
TARGETS = {
    "CDCCA": (0.13, 5),
    "DCCA": (0.13, 5),
    "TNNCCCA": (0.07, 5),
    "ACMR": (None, 12),
    "UCAL": (None, 8),
    "AGAH": (None, 20),
    "UGACH": (None, 15),
}


def new(name, **options):
    """Return an estimator that is not fitted."""
    method, own = {**METHODS, **SEQUENCES, **NEW_DEFAULTS, **NEW_SEQUENCES}[name]
    options = {"random_state": 0, **own, "device": DEVICE, **SMALLER, **options}
    known = method().get_params()
    return method(**{key: value for key, value in options.items() if key in known})


def make_data(n_steps=None):
    """Return float32 views whose rows share a class and a latent vector, and the classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(N_CLASSES, size=N_ROWS)
    latent = rng.standard_normal((N_CLASSES, 20))[y] + rng.standard_normal((N_ROWS, 20))
    views = {}
    for name, width in zip(("audio", "visual"), WIDTHS, strict=True):
        rows = (latent @ rng.standard_normal((20, width))).astype(np.float32)
        rows = rows if n_steps is None else np.repeat(rows[:, None], n_steps, axis=1)
        views[name] = rows + 3 * rng.standard_normal(rows.shape, dtype=np.float32)
    return Views(views), y


def synchronise():
    """Wait for the device."""
    if DEVICE.startswith("cuda"):
        torch.cuda.synchronize()


def seconds(function):
    """Return the seconds of one call, until the device is done."""
    synchronise()
    start = time.perf_counter()
    function()
    synchronise()
    return time.perf_counter() - start


def ours(name, X, y, device, n_epochs):
    """Return the seconds of an epoch in the middle of a fit, and those the first one took more."""
    fitted = new(name, device=device, max_epochs=n_epochs).fit(X, y)
    durations = [epoch["dur"] for epoch in fitted.history_]
    usual = median(durations[1:])
    return usual, durations[0] - usual


class RawLoop:
    """An epoch of a method in plain PyTorch."""

    def __init__(self, name, X, y, captured=False):
        options = new(name).get_params()
        sizes, n_outputs = options["hidden_layer_sizes"], options["n_components"]
        shared = {"activation": options["activation"], "dropout": options["dropout"]}
        self.views = [torch.from_numpy(rows).to(DEVICE) for rows in X.values()]
        if name == "TNNCCCA":  # its towers see the variates of cluster CCA
            self.views = [rows[:, : N_CLASSES - 1].contiguous() for rows in self.views]
        self.codes = torch.from_numpy(y).to(DEVICE)
        self.towers = [
            MLPTower(rows.shape[1], sizes, n_outputs, **shared).to(DEVICE) for rows in self.views
        ]
        self.objective = {
            "CDCCA": CategoryObjective(0.2, 1e-3, N_CLASSES),
            "DCCA": PairObjective(1e-3),
            "TNNCCCA": TripletObjective(margin=1.0, mining="batch_all", distance="cosine"),
        }[name]
        parameters = [weight for tower in self.towers for weight in tower.parameters()]
        self.optimizer = torch.optim.AdamW(
            parameters, 1e-3, weight_decay=1e-4, fused=True, capturable=captured
        )
        self.rows = torch.arange(min(256, N_ROWS), device=DEVICE)
        self.graph = self._recorded() if captured else None

    def step(self):
        """Take a step on the rows."""
        batch = [rows.index_select(0, self.rows) for rows in self.views]
        outputs = [tower(rows) for tower, rows in zip(self.towers, batch, strict=True)]
        named = dict(enumerate(batch))
        loss = self.objective(tuple(outputs), self.codes.index_select(0, self.rows), named)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def _recorded(self):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self.step()
        return graph

    def __call__(self):
        """Run an epoch."""
        size = len(self.rows)
        order = torch.randperm(N_ROWS, device=DEVICE)[: N_ROWS // size * size]
        for rows in order.view(-1, size):
            self.rows.copy_(rows)
            self.step() if self.graph is None else self.graph.replay()


def raw(name, X, y, captured):
    """Return a row of the table for a plain loop."""
    title = "raw loop, captured" if captured else "raw loop"
    if captured and not DEVICE.startswith("cuda"):
        return Row(title, note="needs CUDA")
    loop = RawLoop(name, X, y, captured)
    loop()
    return Row(title, median(seconds(loop) for _ in range(5)), repeats=5)


def epochs(name, X, y):
    """Return the table of an epoch of a method."""
    usual, first = ours(name, X, y, DEVICE, N_EPOCHS)
    limit = TARGETS[name][0]
    rows = [
        raw(name, X, y, captured=False),
        raw(name, X, y, captured=True),
        Row("ours", usual, repeats=N_EPOCHS - 1, note=f"at most {limit} s on an H100"),
    ]
    with threads(1):
        on_cpu, _ = ours(name, X, y, "cpu", n_epochs=2)
    rows.append(Row("ours on one thread of the CPU", on_cpu, repeats=1))
    facts = {"seconds the first epoch took more, capture included": round(first, 3)}
    return finished(
        Table(f"An epoch of {name}, {N_ROWS} x {WIDTHS}, on {DEVICE}", rows, facts=facts)
    )


def finished(table):
    """Return a table with ratios to its first row that was measured."""
    measured = [row for row in table.rows if row.seconds]
    for row in measured:
        row.ratio = row.seconds / measured[0].seconds
    return table


def memory_of(function):
    """Return the seconds of a call and the most memory of the device in MB, None off CUDA."""
    on_cuda = DEVICE.startswith("cuda")
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    taken = seconds(function)
    return taken, torch.cuda.max_memory_allocated() / 2**20 if on_cuda else None


def fits(X, y, start):
    """Return the table of whole fits, with the memory of the device."""
    rows = []
    for name in (*METHODS, *NEW_DEFAULTS):
        note = f"at most {TARGETS[name][1]} s on an H100" if name in TARGETS else ""
        if time.perf_counter() - start > PATIENCE:
            rows.append(Row(name, note="left out: the time is up"))
            continue
        taken, memory = memory_of(partial(new(name).fit, X, y))
        rows.append(Row(name, taken, extra_mb=memory, repeats=1, note=note))
    return finished(Table(f"A fit, {N_ROWS} x {WIDTHS}, on {DEVICE}", rows))


def sequences():
    """Return the table of an epoch of the methods for sequences, with the memory of the device."""
    X, y = make_data(N_STEPS)
    rows = []
    for name in (*SEQUENCES, *NEW_SEQUENCES):
        measured = []
        _, memory = memory_of(
            lambda name=name, told=measured: told.extend(ours(name, X, y, DEVICE, 3))
        )
        note = "at most 0.4 s and 1500 MB on an H100" if name in SEQUENCES else ""
        rows.append(Row(name, measured[0], extra_mb=memory, repeats=2, note=note))
    title = f"An epoch of sequences of {N_STEPS} steps, {N_ROWS} x {WIDTHS}, on {DEVICE}"
    return finished(Table(title, rows))


def where_arrays_lie(X):
    """Return the table of linear, kernel and ranking work on the device, uploads included."""
    dispatch = os.environ.get("SCIPY_ARRAY_API") == "1"  # without which tensors go to the host
    few, many = N_EXACT
    work = {
        f"CCA, {len(X['audio'])} rows": (fitting(CCA(), X), "0.03 s"),
        f"KCCA, exact, {few} rows": (fitting(KCCA(10, approx="exact"), X[:few]), "0.04 s"),
        f"KCCA, exact, {many} rows": (
            fitting(KCCA(10, approx="exact"), X[:many]),
            "0.5 s and 14 GB",
        ),
        f"MAP, {N_RANKED} x {N_RANKED}": (ranking, "0.4 s and 2 GB"),
        f"10 nearest of {N_GALLERY}, {N_QUERIES} queries": (searching, "0.02 s"),
    }
    rows = []
    for name, (prepare, limit) in work.items():
        with config_context(array_api_dispatch=dispatch):
            run = prepare(partial(torch.asarray, device=DEVICE))
            run()
            taken, memory = zip(*(memory_of(run) for _ in range(3)), strict=True)
        note = f"at most {limit} on an H100"
        rows.append(Row(name, median(taken), extra_mb=memory[0], repeats=3, note=note))
    return Table(f"Work where the arrays lie, float32, on {DEVICE}", rows)


def fitting(method, X):
    """Return what prepares a fit of views that are put on a device."""
    return lambda put: lambda: method.fit(Views({name: put(rows) for name, rows in X.items()}))


def normal(n):
    """Return embeddings."""
    return np.random.default_rng(0).standard_normal((n, 10), dtype=np.float32)


def ranking(put):
    """Prepare a ranking of all items for each item."""
    items, classes = put(normal(N_RANKED)), np.arange(N_RANKED) % N_CLASSES
    return lambda: mean_average_precision(items, items, classes, classes)


def searching(put):
    """Prepare a search in a gallery that lies on a device."""
    index = CrossModalIndex(Given("cosine")).fit({"visual": put(normal(N_GALLERY))})
    queries = put(normal(N_QUERIES))
    return lambda: index.kneighbors({"audio": queries}, 10)


def same_bits(X, y):
    """Tell whether two fits by one seed give the same weights, bit for bit."""
    rows = []
    for name in METHODS:
        first, second = (
            new(name, max_epochs=2).fit(X, y).net_.module_.state_dict() for _ in range(2)
        )
        same = all(torch.equal(first[key], second[key]) for key in first)
        rows.append(Row(name, note="yes" if same else "no"))
    return Table("The same seed twice gives the same bits", rows)


def quality(path):
    """Return the table of MAP on a file's test rows, on both devices, over the same seeds."""
    file = np.load(path)
    X = Views({name: file[name] for name in ("audio", "visual")})
    y, train, test = file["labels"], file["train"], file["test"]
    rows = []
    for name in (*METHODS, *SEQUENCES, *NEW_DEFAULTS, *NEW_SEQUENCES):
        for device in dict.fromkeys((DEVICE, "cpu")):
            scores = [
                new(name, random_state=seed, device=device)
                .fit(X[train], y[train])
                .score(X[test], y[test])
                for seed in range(N_SEEDS)
            ]
            rows.append(Row(f"{name} on {device}", repeats=N_SEEDS, result=float(np.mean(scores))))
    note = "within .01 of each other is asked for"
    return Table("MAP on the test rows, mean over seeds", rows, facts={"the devices": note})


def tables(data=None):
    """Measure all."""
    start = time.perf_counter()
    X, y = make_data()
    measured = [epochs(name, X, y) for name in ("CDCCA", "DCCA", "TNNCCCA")]
    measured += [where_arrays_lie(X), sequences(), same_bits(X, y), fits(X, y, start)]
    if DEVICE.startswith("cuda"):
        measured[0].facts["device"] = torch.cuda.get_device_name()
    return measured + ([quality(data)] if data else [])


def make_small():
    """Let all branches run on the CPU in seconds."""
    small = {
        "DEVICE": "cpu",
        "N_ROWS": 120,
        "WIDTHS": (12, 16),
        "N_STEPS": 3,
        "N_EXACT": (40, 80),
        "N_RANKED": 50,
        "N_GALLERY": 400,
        "N_QUERIES": 20,
        "N_EPOCHS": 2,
        "N_SEEDS": 1,
        "SMALLER": {"hidden_layer_sizes": (8,), "max_epochs": 1, "lstm_size": 8, "feature_size": 8},
    }
    globals().update(small)


if __name__ == "__main__":
    if os.environ.get("SCIPY_ARRAY_API") != "1":  # SciPy reads it when it is imported
        os.environ["SCIPY_ARRAY_API"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default=DEVICE)
    parser.add_argument("--data", help="an npz file, for MAP over seeds, beyond the four minutes")
    parser.add_argument("--quick", action="store_true", help="a test of the script, on the CPU")
    given = parser.parse_args()
    DEVICE = given.device
    if given.quick:
        make_small()
    write("gpu" if DEVICE.startswith("cuda") else "gpu_script_tested_on_cpu", tables(given.data))
