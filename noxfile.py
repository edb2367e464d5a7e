#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""Tasks: `nox` runs the tests, the linters and the type checkers; `nox -l` lists all."""

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"

PINNED = ("-c", "constraints.txt")
BUILT = ("docs/_build", "docs/auto_examples", "docs/gen_modules", "docs/api/generated")


@nox.session
def tests(session):
    """Run the tests with the versions of constraints.txt."""
    session.install(*PINNED, "-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(default=False)
def current(session):
    """Run the tests with the newest versions."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(default=False)
def nightly(session):
    """Run the tests with pre-releases, or with nightly builds if PIP_EXTRA_INDEX_URL has them."""
    session.install("--pre", "--upgrade", "-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(default=False)
def oldest(session):
    """Run the tests with the oldest versions that are supported, on the wheel and the sdist."""
    packages(session)
    session.run("bash", ".ci/oldest", "dist", external=True)


@nox.session(default=False)
def packages(session):
    """Build the wheel and the sdist, and check them."""
    shutil.rmtree("dist", ignore_errors=True)
    session.install(*PINNED, "build", "twine", "check-wheel-contents")
    session.run("python", "-m", "build")
    built = [str(path) for path in Path("dist").iterdir()]
    session.run("twine", "check", "--strict", *built)
    session.run("check-wheel-contents", *(name for name in built if name.endswith(".whl")))


@nox.session(default=False)
def docs(session):
    """Build the pages, with every example, and check the links between them."""
    for folder in BUILT:
        shutil.rmtree(folder, ignore_errors=True)
    session.install(*PINNED, "-e", ".[docs]")
    session.run(
        *("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html"),
        *session.posargs,
    )
    session.run("python", "docs/check_links.py", "docs/_build/html")


@nox.session
def lint(session):
    """Check style, docstrings and the set-up of the project."""
    session.install(*PINNED, "-e", ".[lint,test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")
    session.run("zizmor", "--offline", ".github")
    session.run("sp-repo-review", ".")
    session.run("python", "-m", "pytest", "tests/test_docstrings.py")


@nox.session
def types(session):
    """Check a user's script by mypy and pyright."""
    session.install(*PINNED, "-e", ".[test,types]")
    session.run("python", "-m", "pytest", "tests/test_typing.py", *session.posargs)


@nox.session(default=False)
def bench(session):
    """Run the benchmarks; do nothing else on the machine meanwhile."""
    session.install(*PINNED, "-e", ".[bench]")
    session.run("python", "benchmarks/run.py", *session.posargs)


if __name__ == "__main__":
    nox.main()
