"""What a user writes has the types that editors show: the package is typed where they see it."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import cca_estimators

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
