"""Fixtures of arrays of several libraries, a plugin of the run that test_array_api begins."""

import numpy as np
import pytest
import sklearn

from cca_estimators import Views
from cca_estimators.datasets import make_views


class Strict:
    """Arrays that raise when NumPy is to read them."""

    def __init__(self):
        import array_api_strict

        self.xp, self.device = array_api_strict, array_api_strict.Device("device1")

    def __call__(self, array):
        """Return an array of this library."""
        return self.xp.asarray(array, device=self.device)

    def back(self, array):
        """Return an array of this library as one of NumPy."""
        assert array.device == self.device
        return np.asarray(self.xp.asarray(array, device=self.xp.Device("CPU_DEVICE")))


class Torch:
    """Tensors of one device."""

    def __init__(self, device):
        self.torch = pytest.importorskip("torch")
        if device == "cuda" and not self.torch.cuda.is_available():
            pytest.skip("needs CUDA")
        self.device = device

    def __call__(self, array):
        """Return an array of this library."""
        return self.torch.tensor(array, device=self.device)

    def back(self, array):
        """Return an array of this library as one of NumPy."""
        assert array.device.type == self.device
        return array.cpu().numpy()


@pytest.fixture(params=["strict", "torch", "cuda"])
def library(request):
    """Return what makes arrays of a library, and turns them back."""
    return Strict() if request.param == "strict" else Torch(request.param.replace("torch", "cpu"))


@pytest.fixture
def strict():
    """Return the library whose arrays nothing can turn to NumPy by the way."""
    return Strict()


@pytest.fixture(autouse=True)
def dispatch(reset):
    """Switch the dispatch on."""
    sklearn.set_config(array_api_dispatch=True)


@pytest.fixture(scope="session")
def data():
    """Return two views of 90 rows, and their classes."""
    X, y = make_views(90, 3, (8, 12), shared_rank=3, random_state=0)
    return X, y


@pytest.fixture
def there(library):
    """Return what makes `Views` of a library."""
    return lambda X: Views({name: library(rows) for name, rows in X.items()})
