"""Growth of time and memory with rows, features, classes and components, on one thread.

Each table changes one size alone, and fits the exponents of growth to its last three sizes, for
time to the CPU seconds. These are the median of three runs, or of one that takes more than two
seconds. Linear methods read files
mapped to memory, of up to 2,000,000 rows (2 GB in a temporary folder, which is removed): their
memory is the anonymous memory beyond the pages of the files. Deep methods train for one epoch.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from _common import QUICK, Row, Table, exponent, measure, threads, write

from cca_estimators import CCA, CCCA, CKCCA, DCCA, KCCA, TNNCCCA, CrossModalIndex
from cca_estimators.metrics import mean_average_precision

N_CLASSES, N_FITTED, WIDTHS = 10, 3, (128, 128)
LONG = (1_000, 10_000, 100_000, 500_000, 2_000_000)
EXACT = (500, 1_000, 2_000, 4_000)
LANDMARKS = (5_000, 10_000, 20_000, 50_000)
EPOCH = (2_000, 8_000, 32_000)
RANKED = (2_000, 5_000, 10_000, 20_000)
INDEXED = (10_000, 50_000, 200_000, 500_000)
FEATURES = (64, 128, 256, 512, 1_024)
CLASSES = (10, 100, 1_000, 5_000)
COMPONENTS = (1, 10, 50, 100)


def make_views(n_rows, widths, n_classes=N_CLASSES):
    """Return two views of float32 whose classes have means of their own, and the classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(n_classes, size=n_rows)
    y[:n_classes] = np.arange(n_classes)
    views = [_rows(rng, y, rng.standard_normal((n_classes, width))) for width in widths]
    return dict(zip(("audio", "visual"), views, strict=True)), y


def _rows(rng, y, means):
    rows = rng.standard_normal((len(y), means.shape[1]), dtype=np.float32)
    rows += means.astype(np.float32)[y]
    return rows


def series(title, sizes, prepare, *, anonymous=False):
    """Measure calls of growing size.

    Parameters
    ----------
    title : str
    sizes : tuple of int
    prepare : callable
        From a size to a call to measure.
    anonymous : bool
        See `_common.compare`.

    Returns
    -------
    Table
    """
    rows = []
    with threads(1):
        prepare(sizes[0])()  # loads what is needed
        for size in sizes:
            call = prepare(size)
            taken = [measure(call, anonymous=anonymous)]
            while taken[0][0] < 2 and len(taken) < (1 if QUICK else 3):
                taken.append(measure(call, anonymous=anonymous))
            rows.append(_row(f"{size:,}", taken))
    return Table(title, rows, n_threads=1, facts=_exponents(sizes, rows))


def _row(name, taken):
    wall, cpu, memory = zip(*taken, strict=True)
    extra_mb = None if None in memory else max(memory)
    return Row(name, float(np.median(wall)), float(np.median(cpu)), extra_mb, repeats=len(taken))


def _exponents(sizes, rows):
    """Return the exponents of the last sizes, that of memory where there is some to tell."""
    sizes, rows = sizes[-N_FITTED:], rows[-N_FITTED:]
    power = exponent(sizes, [row.cpu_seconds for row in rows])
    facts = {"exponent of CPU seconds": round(power, 2)}
    memory = [row.extra_mb for row in rows]
    if all(extra_mb is not None and extra_mb > 1 for extra_mb in memory):
        facts["exponent of memory"] = round(exponent(sizes, memory), 2)
    return facts


def on_files():
    """Grow the rows of the linear methods, on files."""
    with tempfile.TemporaryDirectory() as folder:
        X, y = _mapped(Path(folder), max(LONG))

        def fit(method, n):
            rows = {name: view[:n] for name, view in X.items()}
            return partial(method.fit, rows, y[:n])

        return [
            series(f"{name}, rows of {WIDTHS} features", LONG, partial(fit, method), anonymous=True)
            for name, method in {"CCA": CCA(10), "C-CCA": CCCA()}.items()
        ]


def _mapped(folder, n_rows):
    """Write two views block by block; return them mapped to memory, and the classes."""
    X, y = {}, []
    for name, width in zip(("audio", "visual"), WIDTHS, strict=True):
        path = folder / f"{name}.npy"
        file = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, width))
        for start in range(0, n_rows, 100_000):
            block, labels = make_views(min(100_000, n_rows - start), WIDTHS)
            file[start : start + len(labels)] = block[name]
            y.append(labels)
        file.flush()
        X[name] = np.load(path, mmap_mode="r")
    return X, np.concatenate(y)[:n_rows]


def fitting(method, widths, n_rows):
    X, y = make_views(n_rows, widths)
    return partial(method.fit, X, y)


def more_rows():
    """Grow the rows of the other methods, which hold them in memory."""
    exact, one = {"approx": "exact"}, {"max_epochs": 1, "random_state": 0}
    landmarks = {"approx": "nystroem", "n_landmarks": 300, "random_state": 0}
    methods = {
        "KCCA, exact": (KCCA(5, reg=0.1, **exact), (20, 20), EXACT),
        "C-KCCA, exact": (CKCCA(reg=0.1, **exact), (20, 20), EXACT),
        "KCCA, 300 landmarks": (KCCA(5, reg=0.1, **landmarks), WIDTHS, LANDMARKS),
        "C-KCCA, 300 landmarks": (CKCCA(reg=0.1, **landmarks), WIDTHS, LANDMARKS),
        "DCCA, one epoch": (DCCA(**one), WIDTHS, EPOCH),
        "TNN-C-CCA, one epoch": (TNNCCCA(**one), WIDTHS, EPOCH),
    }
    return [
        series(f"{name}, rows of {widths} features", sizes, partial(fitting, method, widths))
        for name, (method, widths, sizes) in methods.items()
    ]


def ranking():
    """Grow the queries and items of MAP, and the items of an index."""

    def mean_ap(n):
        X, y = make_views(n, (10, 10))
        return partial(mean_average_precision, *X.values(), y, y)

    def search(n):
        X, y = make_views(n, (32, 32))
        estimator = CCCA().fit(X, y)
        index = CrossModalIndex(estimator).fit(X)
        return partial(index.kneighbors, {"audio": X["audio"][:1_000]}, 10)

    return [
        series("MAP of one direction, queries and items, 10 components", RANKED, mean_ap),
        series("10 neighbours of 1,000 queries, items in the index", INDEXED, search),
    ]


def other_sizes():
    """Grow features, classes and components of the linear methods."""

    def with_features(method, width):
        return fitting(method, (width, width), 5_000)

    def with_classes(n_classes):
        X, y = make_views(50_000, WIDTHS, n_classes)
        return partial(CCCA().fit, X, y)

    def with_components(n_components):
        return fitting(CCA(n_components), WIDTHS, 50_000)

    return [
        series("CCA of 5,000 rows, features of each view", FEATURES, partial(with_features, CCA())),
        series(
            "C-CCA of 5,000 rows, features of each view", FEATURES, partial(with_features, CCCA())
        ),
        series(f"C-CCA of 50,000 rows of {WIDTHS} features, classes", CLASSES, with_classes),
        series(f"CCA of 50,000 rows of {WIDTHS} features, components", COMPONENTS, with_components),
    ]


def tables():
    return [*on_files(), *more_rows(), *ranking(), *other_sizes()]


if __name__ == "__main__":
    write("scaling", tables())
