"""The tests of array_api/, in a process where SciPy takes arrays of all libraries.

SciPy reads `SCIPY_ARRAY_API` when it is imported, so no test of another process can set it.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import scipy
from sklearn.utils.fixes import parse_version

FOLDER = Path(__file__).with_name("array_api")


@pytest.mark.skipif(
    parse_version(scipy.__version__) < parse_version("1.14"), reason="needs SciPy 1.14"
)
@pytest.mark.skipif(
    importlib.util.find_spec("array_api_strict") is None, reason="needs array-api-strict"
)
def test_arrays_of_any_library():
    options = ["-q", "-p", "no:cacheprovider", "-p", "places"]
    command = [sys.executable, "-m", "pytest", *options, str(FOLDER)]
    path = os.pathsep.join([str(FOLDER), *sys.path])
    environment = os.environ | {"SCIPY_ARRAY_API": "1", "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
