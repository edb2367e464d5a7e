"""Skip the examples of docstrings whose extra is not installed."""

from importlib.util import find_spec

import pytest

NEEDED = {
    "cca_estimators.datasets._files.": "h5py",
    "cca_estimators.display.": "matplotlib",
    "cca_estimators.media._clips.": "av",
    "cca_estimators.media._made.": "av",
    "cca_estimators.persistence.": "skops",
}


def pytest_collection_modifyitems(items):
    """Mark the examples of docstrings that need a package which is not there."""
    missing = {part: name for part, name in NEEDED.items() if find_spec(name) is None}
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            for part, name in missing.items():
                if item.name.startswith(part):
                    item.add_marker(pytest.mark.skip(reason=f"{name} is not installed"))
