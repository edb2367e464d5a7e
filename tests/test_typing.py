"""What a user writes has the types that editors show: the package is typed where they see it."""

import os
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from numbers import Integral
from pathlib import Path

import pytest
from registry import estimators

import cca_estimators
from cca_estimators._compat import Interval, StrOptions

SCRIPT = Path(__file__).parent / "typing" / "user.py"
PLACE = Path(cca_estimators.__file__).parents[1]
CHECKERS = {
    "mypy": ["--strict", "--follow-imports=silent", "--config-file=", "--cache-dir=cache"],
    "pyright": ["--pythonpath", sys.executable],
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_users_script_has_types(checker, tmp_path):
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed: pip install -e '.[types]'")
    where = {} if PLACE.name == "site-packages" else {"MYPYPATH": PLACE, "PYTHONPATH": PLACE}
    done = subprocess.run(
        [sys.executable, "-m", checker, *CHECKERS[checker], str(SCRIPT)],
        cwd=tmp_path,
        env={**os.environ, **{name: str(path) for name, path in where.items()}},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_script_names_everything_public():
    text = SCRIPT.read_text()
    for name in set(cca_estimators.__all__) - {"__version__"}:
        assert name in text, name


NAMED = {
    "array-like": Sequence,
    "boolean": bool,
    "verbose": bool | int,
    callable: Callable,
    None: types.NoneType,
}


def domain(constraint):
    """Return the type of the values that a constraint lets through; of objects by duck, None."""
    if isinstance(constraint, Interval):
        return int if constraint.type is Integral else float
    if isinstance(constraint, StrOptions):
        return str
    if isinstance(constraint, type):
        return constraint
    return NAMED.get(constraint) if constraint.__hash__ else None


def alternatives(annotation):
    """Return the types of a union, without what they hold."""
    parts = (
        typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    )
    return {typing.get_origin(part) or part for part in parts}


@pytest.mark.parametrize(
    "kind", sorted({type(each) for each in estimators()}, key=lambda kind: kind.__name__)
)
def test_annotations_take_what_the_constraints_let_through(kind):
    annotations = typing.get_type_hints(kind.__init__)
    for name, constraints in kind._parameter_constraints.items():
        given = alternatives(annotations[name])
        if given & {object, typing.Any}:  # anything, as far as types can say
            continue
        domains = [domain(constraint) for constraint in constraints]
        assert None not in domains, (name, constraints)
        assert set().union(*map(alternatives, domains)) <= given, name
