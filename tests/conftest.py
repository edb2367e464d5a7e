"""Fixtures that all tests share."""

import os
from pathlib import Path

# Small arrays gain nothing by threads, and fits of a pool's processes, which have one thread each,
# equal those of this process to the bit at the same number. Read when NumPy and PyTorch are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import sklearn

# SciPy takes arrays of other libraries in a process of their own: test_array_api begins it
collect_ignore = [] if os.environ.get("SCIPY_ARRAY_API") == "1" else ["array_api"]

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_addoption(parser):
    """Add the option that runs the suites of faults and properties at length."""
    parser.addoption("--long", action="store_true", help="run slow suites at their full length")


def pytest_configure(config):
    """Set how many cases of each property are generated: 10,000 in all at full length."""
    pytest.n_cases = 150 if config.getoption("--long") else 2


@pytest.fixture(autouse=True)
def reset():
    """Seed NumPy's global generator and leave scikit-learn's configuration as it was."""
    np.random.seed(0)  # noqa: NPY002
    with sklearn.config_context():
        yield


def load_shared(name):
    """Return the arrays of a shared data file, or skip the test."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in {SHARED_DATA}")
    with np.load(path) as data:
        return {key: data[key] for key in ("audio", "visual", "labels", "train", "test")}


@pytest.fixture(scope="session")
def grid_digits():
    """Return paired speech and mouth video of digits, and their split."""
    return load_shared("grid_digits.npz")


@pytest.fixture(scope="session")
def spoken_written_digits():
    """Return speech and handwriting of digits, split by speaker."""
    data = load_shared("spoken_written_digits.npz")
    with np.load(SHARED_DATA / "spoken_written_digits.npz") as stored:
        for part in ("train", "test"):
            data[part] = stored[f"{part}_by_speaker"]
        data["visual"] = stored["visual_by_speaker"]
    return data
