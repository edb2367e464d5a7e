"""The pages name everything public, and what they refer to is there."""

import doctest
import re
from ast import literal_eval
from importlib import import_module
from inspect import cleandoc, signature
from pathlib import Path

import pytest
from registry import embeddings

import cca_estimators

ROOT = Path(__file__).parents[1]
DOCS, EXAMPLES = ROOT / "docs", sorted((ROOT / "examples").glob("*.py"))
PAGES = sorted([*DOCS.glob("*.rst"), *DOCS.glob("user_guide/*.rst"), *DOCS.glob("api/*.rst")])
PAGES += sorted(DOCS.glob("benchmarks/*.rst"))
PACKAGE = Path(cca_estimators.__file__).parent
SOURCES = [*sorted(PACKAGE.rglob("*.py")), *EXAMPLES, *PAGES]
API = (DOCS / "api" / "index.rst").read_text()
PUBLIC_MODULES = [
    "",
    ".metrics",
    ".datasets",
    ".display",
    ".retrieval",
    ".base",
    ".deep",
    ".deep.losses",
]
EXTENDING = ("cca_estimators.base", "cca_estimators.deep")
OF_SCIKIT_LEARN = {"Interval", "StrOptions"}


def listed(page):
    """Return the names that the autosummaries of a page list, with their modules."""
    module, names = "", set()
    for line in page.splitlines():
        directive = re.match(r"\.\. currentmodule:: (\S+)", line)
        module = directive[1] if directive else module
        name = re.fullmatch(r" {3}(\w+)", line)
        if name:
            names.add(f"{module}.{name[1]}")
    return names


def labels(texts):
    """Return the labels that pages define."""
    return {label for text in texts for label in re.findall(r"^\.\. _([\w-]+):$", text, re.M)}


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_every_public_name_has_a_page(module):
    bare = {name.rpartition(".")[2] for name in listed(API)}
    public = set(import_module(f"cca_estimators{module}").__all__) - {"__version__"}
    assert public - OF_SCIKIT_LEARN <= bare


def test_every_name_on_the_page_is_there():
    names = listed(API)
    assert len(names) > 25
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute), name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_reference_leads_to_a_label_or_an_example(path):
    known = labels(page.read_text() for page in PAGES)
    known |= labels([(ROOT / "examples" / "GALLERY_HEADER.rst").read_text()])
    known |= {f"sphx_glr_auto_examples_{example.name}" for example in EXAMPLES}
    references = re.findall(r":ref:`(?:[^`<]*<)?([^`<>]+)>?`", path.read_text())
    assert set(references) <= known


def test_every_class_leads_to_the_user_guide_and_has_an_example():
    examples = "".join(path.read_text() for path in EXAMPLES)
    for name in listed(API):
        module, _, attribute = name.rpartition(".")
        public = getattr(import_module(module), attribute)
        if isinstance(public, type) and module not in EXTENDING:
            assert "Read more in the :ref:`User Guide <" in public.__doc__, name
            assert re.search(rf"\b{attribute}\(|\b{attribute}\.from_", examples), name


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_has_a_title_cells_and_a_place(path):
    text = path.read_text()
    title, underline, blank = text.split("\n")[1:4]
    assert text.startswith('"""\n')
    assert underline == "=" * len(underline)
    assert len(underline) >= len(title)
    assert blank == ""
    assert text.count("\n# %%\n") >= 2
    order = (DOCS / "_ext" / "reading_order.py").read_text()
    assert f'"{path.stem}"' in order


def test_every_example_has_words_for_its_pictures():
    words = (DOCS / "_ext" / "pictures.py").read_text()
    for path in EXAMPLES:
        assert f'"{path.stem}": [' in words, path.name
        panel = f'    "{path.stem}": ' in words.partition("PANELS")[2]
        assert panel == ("thumbnail_number = 0" in path.read_text()), path.name


@pytest.mark.parametrize(
    ("page", "source"), [("changelog", "CHANGELOG.md"), ("contributing", "CONTRIBUTING.md")]
)
def test_pages_include_the_files_of_the_root(page, source):
    assert f".. include:: ../{source}" in (DOCS / f"{page}.rst").read_text()
    assert (ROOT / source).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_table_begins_with_an_empty_cell(page):
    """Docutils takes such a row for the rest of another: of a header, it shows nothing."""
    assert not re.search(r"^=+( +=+)+\n +\S", page.read_text(), re.M)


def test_every_file_of_results_is_on_a_page():
    extension = (DOCS / "_ext" / "results.py").read_text()
    for path in (ROOT / "benchmarks" / "results").glob("*.md"):
        assert f'"{path.stem}":' in extension, path.name


def test_every_page_is_in_a_table_of_contents():
    entries = set()
    for page in PAGES:
        for line in page.read_text().splitlines():
            entry = re.fullmatch(r" {3}([\w/]+)", line)
            if entry:
                entries.add((page.parent / f"{entry[1]}.rst").resolve())
    assert set(PAGES) - {DOCS / "index.rst"} <= entries


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_the_examples_of_a_page_run(path):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, _ = doctest.testfile(str(path), module_relative=False, optionflags=flags)
    assert failed == 0


def documented_parameters(estimator):
    """Return the parameters of a docstring, each with its default as text, or None."""
    sections = re.split(r"\n *(?=\w+\n *-+\n)", cleandoc(estimator.__doc__))
    section = next(part for part in sections if part.startswith("Parameters\n"))
    entries = re.findall(r"^(\w+(?:, \w+)*) : ?(.*)$", section, re.M)
    return {
        name: (re.search(r"default=(.*)$", kind) or [None, None])[1]
        for names, kind in entries
        for name in names.split(", ")
    }


@pytest.mark.parametrize("estimator", embeddings(), ids=lambda one: type(one).__name__)
def test_docstrings_have_the_parameters_and_defaults_of_signatures(estimator):
    documented = documented_parameters(estimator)
    parameters = signature(type(estimator)).parameters
    assert set(documented) == set(parameters)
    for name, default in documented.items():
        if default is not None and name not in ("degree", "coef0"):  # documented together
            assert literal_eval(default) == parameters[name].default, name
    if hasattr(estimator, "max_epochs"):
        assert all(documented.values())


def test_every_promise_is_held_by_a_test():
    root = Path(__file__).parent
    named = re.findall(
        r"``([\w/]+\.py)::(\w+)``", (root.parent / "docs" / "promises.rst").read_text()
    )
    assert len(named) > 25
    for file, test in named:
        assert f"\ndef {test}(" in (root / file).read_text(), f"{file}::{test}"
