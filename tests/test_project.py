"""What the files beside the package say of it holds."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

import cca_estimators

ROOT = Path(__file__).parents[1]
CONFIG = ConfigParser()
CONFIG.read(ROOT / "setup.cfg")
EXTRAS = CONFIG["options.extras_require"]
HOME = CONFIG["metadata"]["url"]
NEITHER_USED_NOR_IMPORTED = {"ruff"}  # by the tests


def bounds(*texts):
    """Return the lower bound by package of lists of requirements."""
    lines = (line for text in texts for line in text.split())
    return dict(re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?>=([\d.]+)", line).groups() for line in lines)


def pins(name):
    """Return the version by package of a file of constraints."""
    return dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / name).read_text(), re.M))


def of_users():
    """Return the bounds of what users and the tests import."""
    extras = (
        EXTRAS[name]
        for name in ("examples", "datasets", "faiss", "dask", "save", "media", "serving", "test")
    )
    return bounds(CONFIG["options"]["install_requires"], *extras)


def test_the_oldest_versions_are_the_bounds():
    asked = {name: low for name, low in of_users().items() if name not in NEITHER_USED_NOR_IMPORTED}
    oldest = pins("constraints-oldest.txt")
    assert set(oldest) == set(asked)
    for name, low in asked.items():
        assert f"{oldest[name]}.".startswith(f"{low}."), name


def test_one_package_has_one_bound():
    lists = [CONFIG["options"]["install_requires"], *EXTRAS.values()]
    asked = {tuple(bound) for text in lists for bound in bounds(text).items()}
    assert len(asked) == len(dict(asked))


def test_the_current_versions_are_pinned():
    asked = {**of_users(), **bounds(EXTRAS["docs"]), **bounds(EXTRAS["lint"])}
    assert set(asked) <= set(pins("constraints.txt"))


def test_the_page_of_supported_versions_is_the_truth():
    page = (ROOT / "docs" / "install.rst").read_text()
    table = dict(re.findall(r"(?:^|  )([\w-]+) {2,}([\d.]+)(?=  |$)", page, re.M))
    python = CONFIG["options"]["python_requires"].removeprefix(">=")
    assert table.pop("Python") == python
    assert table.items() <= of_users().items()
    assert bounds(CONFIG["options"]["install_requires"]).items() <= table.items()


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    (version,) = re.findall(r"^version: (\S+)$", citation, re.M)
    assert version == cca_estimators.__version__.split(".dev")[0]
    assert f"repository-code: {HOME}\n" in citation


@pytest.mark.parametrize("name", ["README.md", "SECURITY.md", "CODE_OF_CONDUCT.md"])
def test_links_lead_to_files(name):
    text = (ROOT / name).read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        assert link.startswith("https://") or (ROOT / link).is_file(), link
