"""A lower room never imports a higher one, and the light part never pays for the heavy."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import cca_estimators

PACKAGE = Path(cca_estimators.__file__).parent
ROOMS = [
    ["_compat"],
    ["views", "_storage", "_ranks"],
    ["_reading", "datasets"],
    ["_algebra"],
    ["media"],
    ["metrics"],
    ["_base"],
    ["linear", "kernel", "preprocessing", "semantic", "retrieval", "persistence"],
    ["base"],
    ["deep", "display"],
]
DEEP_ROOMS = [
    ["losses", "towers"],
    ["training"],
    [
        "correlation",
        "sequences",
        "triplet",
        "contrastive",
        "adversarial",
        "hashing",
        "agah",
        "ugach",
    ],
]
RANKS = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}
DEEP_RANKS = {room: rank for rank, rooms in enumerate(DEEP_ROOMS) for room in rooms}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "data")
PUBLIC_OF_0_1 = {
    "cca_estimators": "ACMR AGAH CCA CCCA CDCCA CKCCA DCCA KCCA LSTMCCCA SDCCA TNNCCCA UCAL UGACH "
    "CrossModalIndex EmbeddingDisplay LossCurveDisplay PerView RetrievalCurveDisplay "
    "RetrievalDisplay Views __version__ cross_modal_map cross_modal_scores "
    "make_cross_modal_scorer mean_average_precision",
    "cca_estimators.views": "Views",
    "cca_estimators.preprocessing": "PerView",
    "cca_estimators.linear": "CCA CCCA",
    "cca_estimators.kernel": "CKCCA KCCA",
    "cca_estimators.metrics": "average_precision cross_modal_map cross_modal_scores "
    "make_cross_modal_scorer mean_average_precision mean_reciprocal_rank precision_at_k "
    "precision_recall_curve recall_at_k",
    "cca_estimators.retrieval": "CrossModalIndex",
    "cca_estimators.display": "EmbeddingDisplay LossCurveDisplay RetrievalCurveDisplay "
    "RetrievalDisplay",
    "cca_estimators.datasets": "load_ave load_mv10k load_spoken_digits load_vegas make_views",
    "cca_estimators.deep": "ACMR AGAH CDCCA DCCA LSTMCCCA SDCCA TNNCCCA UCAL UGACH",
    "cca_estimators.deep.correlation": "CDCCA DCCA",
    "cca_estimators.deep.losses": "category_correlation_loss correlation_loss triplet_loss",
    "cca_estimators.deep.towers": "AttentionOverSteps DenseSteps MLPTower SequenceTower",
    "cca_estimators.deep.triplet": "TNNCCCA",
    "cca_estimators.deep.adversarial": "ACMR UCAL",
}
PRIVATE_HOSTS = ("sklearn", "skorch", "torch", "numpy", "scipy", "pandas", "joblib", "skops")


def name_of(path):
    return str(path.relative_to(PACKAGE))


def room_of(parts):
    return parts[0].removesuffix(".py")


def imports(path):
    """Yield the dotted names that a module imports, at its top or later."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path):
    """Yield what a module imports of this package, without the package's name."""
    for name in imports(path):
        if name.startswith("cca_estimators."):
            yield name.split(".")[1:]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_room_imports_lower_rooms_only(path):
    room = room_of(path.relative_to(PACKAGE).parts)
    if room == "__init__":
        return
    for name in own_imports(path):
        if name[0] in RANKS:
            assert RANKS[name[0]] < RANKS[room] or name[0] == room, name


@pytest.mark.parametrize("path", sorted((PACKAGE / "deep").rglob("*.py")), ids=name_of)
def test_a_room_of_the_deep_part_imports_lower_rooms_only(path):
    room = room_of(path.relative_to(PACKAGE / "deep").parts)
    if room == "__init__":
        return
    for name in own_imports(path):
        if name[0] == "deep" and len(name) > 1:
            lower = DEEP_RANKS[name[1]] < DEEP_RANKS[room]
            same = DEEP_RANKS[name[1]] == DEEP_RANKS[room]
            assert lower or (same and (name[1] == room or room in DEEP_ROOMS[-1])), name


def test_every_module_has_a_room():
    here = {room_of(path.relative_to(PACKAGE).parts) for path in MODULES} - {"__init__"}
    assert here <= set(RANKS)
    deep = (PACKAGE / "deep").rglob("*.py")
    here = {room_of(path.relative_to(PACKAGE / "deep").parts) for path in deep} - {"__init__"}
    assert here <= set(DEEP_RANKS)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_private_names_of_others_enter_through_one_door(path):
    if path.name == "_compat.py":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] in PRIVATE_HOSTS:
            private = [part for part in parts if part.startswith("_")]
            assert not private, f"{name}: import it in _compat.py, with the reason"


def test_examples_import_nothing_private():
    for path in sorted((PACKAGE.parent / "examples").rglob("*.py")):
        for name in imports(path):
            assert not any(part.startswith("_") for part in name.split(".")), f"{path.name}: {name}"


@pytest.mark.parametrize(
    ("heavy", "homes"),
    [
        ("torch", {"deep", "media", "_algebra/namespace.py"}),
        ("skorch", {"deep"}),
        ("matplotlib", {"display"}),
        ("faiss", {"retrieval"}),
        ("skops", {"_storage"}),
        ("av", {"media"}),
        ("dask", {"_algebra"}),
        ("usearch", {"retrieval"}),
        ("pyarrow", {"retrieval"}),
    ],
)
def test_heavy_packages_are_imported_in_one_place(heavy, homes):
    for path in MODULES:
        if any(name.split(".")[0] == heavy for name in imports(path)):
            own = path.relative_to(PACKAGE)
            assert {room_of(own.parts), own.as_posix()} & homes, path


def test_cca_imports_neither_torch_nor_matplotlib():
    code = (
        "import sys; from cca_estimators import CCA, CCCA, CrossModalIndex, PerView;"
        "import cca_estimators.media;"
        "heavy = {'torch', 'skorch', 'matplotlib', 'h5py', 'faiss', 'skops', 'av', 'dask'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in cca_estimators.__all__:
        assert getattr(cca_estimators, name) is not None


def test_files_may_name_every_deep_method_and_nothing_else():
    import cca_estimators
    from cca_estimators import deep

    assert set(cca_estimators._DEEP) == set(deep.METHODS)
    for name in deep.METHODS:
        assert issubclass(getattr(deep, name), deep.DeepEstimator)


@pytest.mark.parametrize("module", sorted(PUBLIC_OF_0_1))
def test_public_names_of_the_first_version_are_where_they_were(module):
    for name in PUBLIC_OF_0_1[module].split():
        assert hasattr(import_module(module), name), name
