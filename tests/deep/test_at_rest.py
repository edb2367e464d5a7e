"""Models that travel: at rest they are on the CPU, and go on where they were if that is there."""

import io
import pickle

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.utils import noop

from cca_estimators import ACMR, AGAH, CDCCA, LSTMCCCA, TNNCCCA, UGACH, PerView
from cca_estimators.datasets import make_views
from cca_estimators.deep.training import at_rest as module

SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
METHODS = [CDCCA, LSTMCCCA, TNNCCCA, ACMR, UGACH, AGAH]
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture(scope="module")
def data():
    return make_views(80, 4, (8, 9), random_state=0)


class Recorder(pickle.Pickler):
    """Pickler that keeps the tensors it writes."""

    def __init__(self, file):
        super().__init__(file)
        self.tensors = []

    def reducer_override(self, written):
        if isinstance(written, torch.Tensor):
            self.tensors.append(written)
        return NotImplemented


def written_tensors(estimator):
    recorder = Recorder(io.BytesIO())
    recorder.dump(estimator)
    return recorder.tensors


def with_callbacks(method, **options):
    callbacks = [
        LRScheduler("StepLR", step_size=1),
        EarlyStopping("train_loss", load_best=True, sink=noop),
    ]
    return method(**SMALL, callbacks=callbacks, **options)


@pytest.mark.parametrize("method", METHODS)
def test_every_tensor_that_is_pickled_was_brought_to_the_cpu(data, method, monkeypatch):
    """Each is marked on its way: what bypassed it would not be."""
    fitted = with_callbacks(method).fit(*data)
    monkeypatch.setattr(module, "to_cpu", lambda tensor: torch.full_like(tensor, 7))
    tensors = written_tensors(fitted)
    assert len(tensors) > len(list(fitted.net_.get_all_learnable_params()))
    assert all((tensor == 7).all() for tensor in tensors)


def test_pipelines_and_searches_are_at_rest_too(data, monkeypatch):
    X, y = data
    pipeline = make_pipeline(PerView(StandardScaler()), CDCCA(**SMALL))
    search = GridSearchCV(pipeline, {"cdcca__pair_weight": [0.0, 0.5]}, cv=2).fit(X, y)
    monkeypatch.setattr(module, "to_cpu", lambda tensor: torch.full_like(tensor, 7))
    tensors = written_tensors(search)
    assert tensors
    assert all((tensor == 7).all() for tensor in tensors)


@pytest.mark.parametrize("method", METHODS)
def test_a_loaded_estimator_goes_on_where_it_was(data, method):
    X, y = data
    fitted = method(**SMALL, device="cpu", warm_start=True).fit(X, y)
    loaded = pickle.loads(pickle.dumps(fitted))
    parameters = {id(parameter) for parameter in loaded.net_.module_.parameters()}
    held = {id(p) for group in loaded.net_.optimizer_.param_groups for p in group["params"]}
    assert parameters <= held
    assert loaded.history_ == fitted.history_
    for both in (fitted, loaded):
        both.fit(X, y)
    for name in X:
        np.testing.assert_array_equal(loaded.transform(X)[name], fitted.transform(X)[name])


def test_an_absent_device_gives_way_to_the_cpu_on_loading_alone(data):
    X, y = data
    fitted = CDCCA(**SMALL, device="cpu").fit(X, y)
    stored = pickle.dumps(fitted.set_params(device="cuda:17"))
    with pytest.warns(UserWarning, match="device='cuda:17', which is not there.*loaded to the CPU"):
        loaded = pickle.loads(stored)
    assert loaded.net_.device == "cpu"
    for name in X:
        np.testing.assert_array_equal(loaded.transform(X)[name], fitted.transform(X)[name])
    with pytest.raises(ValueError, match="device='cuda:17' is not there"):
        loaded.fit(X, y)


def test_auto_looks_again_and_warns_of_nothing(data):
    X, y = data
    fitted = CDCCA(**SMALL).fit(X, y)
    best = fitted.net_.device
    fitted.net_.device = "cuda"  # as on another machine
    assert pickle.loads(pickle.dumps(fitted)).net_.device == best


@on_cuda
@pytest.mark.parametrize("method", METHODS)
def test_what_cuda_trained_is_written_from_the_cpu(data, method):
    X, y = data
    fitted = with_callbacks(method, device="cuda").fit(X, y)
    assert {tensor.device.type for tensor in written_tensors(fitted)} == {"cpu"}
    loaded = pickle.loads(pickle.dumps(fitted))
    assert {p.device.type for p in loaded.net_.module_.parameters()} == {"cuda"}
    for name in X:
        np.testing.assert_array_equal(loaded.transform(X)[name], fitted.transform(X)[name])
