"""What is linear, of kernels, of metrics or of an index works where PyTorch is not installed."""

import subprocess
import sys

import pytest

START = """
import sys
from importlib.machinery import PathFinder

class Slim(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = name.split(".")[0] in ("torch", "skorch")
        return None if absent else super().find_spec(name, path, target)

sys.meta_path[:] = [Slim if finder is PathFinder else finder for finder in sys.meta_path]
import cca_estimators
from cca_estimators.datasets import make_views
X, y = make_views(100, n_classes=3, n_features=(8, 9), random_state=0)
"""


def run(code):
    command = [sys.executable, "-W", "error", "-c", START + code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_all_but_deep_methods_work():
    code = """
from sklearn.preprocessing import StandardScaler
from cca_estimators import CCA, CCCA, CKCCA, KCCA, CrossModalIndex, PerView, cross_modal_scores
for method in (CCA(3), CCCA(), KCCA(3), CKCCA(), PerView(StandardScaler())):
    Z = method.fit(X, y).transform(X)
    print(sorted(cross_modal_scores(method, X, y))[:1] if hasattr(method, "score") else Z.shape)
index = CrossModalIndex(CCCA().fit(X, y), gallery="visual").fit(X)
print(index.kneighbors({"audio": X["audio"][:2]})[1].shape)
"""
    assert run(code).split("\n")[4:6] == ["(100,)", "(2, 5)"]


@pytest.mark.parametrize(
    "use",
    ["cca_estimators.DCCA", "from cca_estimators import DCCA", "import cca_estimators.deep"],
)
def test_deep_names_say_what_to_install(use):
    code = f"""
try:
    {use}
except ImportError as error:
    print(error)
"""
    assert "pip install torch skorch" in run(code)


def test_deep_names_are_left_out():
    shown = run("print(*{*dir(cca_estimators), *cca_estimators.__all__})").split()
    assert {"CCA", "CKCCA", "PerView", "datasets", "metrics"} <= set(shown)
    assert not {"DCCA", "ACMR", "UGACH", "Contrastive", "deep"} & set(shown)
    assert run("from cca_estimators import *; print(CCA.__name__)") == "CCA\n"


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert run("print(hasattr(cca_estimators, 'Nothing'))") == "False\n"


def test_modules_are_there_after_the_import_of_the_package():
    code = "import cca_estimators as c; print(*(getattr(c, name).__name__ for name in c._MODULES))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = "base datasets deep display metrics retrieval"
    assert done.stdout.split() == [f"cca_estimators.{name}" for name in names.split()]
