"""A lower layer never imports a higher one, and the light part never pays for the heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cca_estimators"
LAYERS = [
    ["views", "_moments", "_solver", "_kernel_solver", "_ranking", "_storage"],
    ["_reading", "_search", "metrics"],
    ["_base", "_kernels"],
    ["linear", "kernel", "preprocessing", "retrieval"],
]
RANKS = {module: rank for rank, modules in enumerate(LAYERS) for module in modules}


def imports(path):
    """Yield the dotted names that a module imports, at its top or later."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", RANKS)
def test_a_layer_imports_lower_layers_only(module):
    for name in imports(PACKAGE / f"{module}.py"):
        if name.startswith("cca_estimators."):
            part = name.split(".")[1]
            assert RANKS.get(part, len(LAYERS)) <= RANKS[module], f"{module} imports {part}"


def test_every_module_has_a_layer():
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    assert modules - {"__init__", "_version"} == set(RANKS)


@pytest.mark.parametrize(
    ("heavy", "home"),
    [
        ("torch", "deep"),
        ("skorch", "deep"),
        ("matplotlib", "display"),
        ("faiss", "_search"),
        ("skops", "_storage"),
    ],
)
def test_heavy_packages_are_imported_in_one_place(heavy, home):
    for path in PACKAGE.rglob("*.py"):
        if any(name.split(".")[0] == heavy for name in imports(path)):
            assert path.relative_to(PACKAGE).parts[0].removesuffix(".py") == home, path


def test_cca_imports_neither_torch_nor_matplotlib():
    code = (
        "import sys; from cca_estimators import CCA, CCCA, CrossModalIndex, PerView;"
        "heavy = {'torch', 'skorch', 'matplotlib', 'h5py', 'faiss', 'skops'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    import cca_estimators

    for name in cca_estimators.__all__:
        assert getattr(cca_estimators, name) is not None
