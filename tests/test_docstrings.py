"""Every public object is documented as numpydoc's validation wants it; pyproject.toml says which of
its checks count, and why the others do not."""

import inspect
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

validation = pytest.importorskip("numpydoc.validate")

CONFIG = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
CONFIG = CONFIG["tool"]["numpydoc_validation"]
ROOMS = ("", ".base", ".datasets", ".deep", ".deep.losses", ".display", ".media", ".metrics")
OF_OBJECTS_ALONE = {"EX01"}  # an example of a class shows its methods


def public_objects():
    """Return the names of the public functions and classes, where they are defined."""
    names = set()
    for room in (f"cca_estimators{each}" for each in (*ROOMS, ".retrieval")):
        module = import_module(room)
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value) and value.__module__.startswith("cca_estimators"):
                names.add(f"{value.__module__}.{value.__qualname__}")
    return sorted(names)


def methods_of(name):
    module, _, own = name.rpartition(".")
    value = getattr(import_module(module), own)
    if not inspect.isclass(value):
        return []
    return [
        f"{name}.{method}"
        for method, function in inspect.getmembers(value, callable)
        if not method.startswith("_")
        and str(getattr(function, "__module__", None)).startswith("cca_estimators")
    ]


def faults(name, checks):
    excluded = (re.search(pattern, name) for pattern in CONFIG["exclude"])
    if any(excluded):
        return []
    found = validation.validate(name)["errors"]
    return [f"{name}: {code} {message}" for code, message in found if code in checks]


@pytest.mark.parametrize("name", public_objects())
def test_docstrings_are_as_numpydoc_wants_them(name):
    checks = validation.get_validation_checks(set(CONFIG["checks"]))
    found = faults(name, checks)
    for method in methods_of(name):
        found += faults(method, checks - OF_OBJECTS_ALONE)
    assert not found, "\n".join(found)
