"""FrozenEncoder: any network as a transformer, kept, pickled, and safe in files."""

import pickle
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from cca_estimators import CCA, CrossModalIndex, PerView, Views, load, save
from cca_estimators.media import FrozenEncoder
from cca_estimators.media import _encoder as encoder_module

PATH = f"{__name__}.projection"
CALLS = []


class Pooling(torch.nn.Module):
    """Means over pixels, projected; counts the items that it sees."""

    def __init__(self, n_in=3, n_out=4):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.linear = torch.nn.Linear(n_in, n_out)
        self.drop = torch.nn.Dropout()

    def forward(self, pictures):
        CALLS.append(len(pictures))
        assert not torch.is_grad_enabled()
        return self.drop(self.linear(pictures.flatten(2).mean(dim=2)))


def projection(n_out=4):
    """Return a network by name, as a function that loads weights does."""
    return Pooling(n_out=n_out)


def expected(frames):
    """Return the features of frames, (steps, 4), by NumPy."""
    network = Pooling()
    weight, bias = (value.detach().numpy() for value in network.linear.parameters())
    return (frames / 255).mean(axis=(1, 2)) @ weight.T + bias


@pytest.fixture
def clips():
    CALLS.clear()
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 256, (n, 6, 8, 3), dtype=np.uint8) for n in (3, 1, 5, 2)]
    return np.fromiter(rows, dtype=object, count=4)


@pytest.mark.parametrize("model", [Pooling(), PATH], ids=["module", "path"])
@pytest.mark.parametrize("batch_size", [2, 100])
def test_frames_of_clips_are_encoded_in_batches(clips, model, batch_size):
    features = FrozenEncoder(model, batch_size=batch_size, device="cpu").fit_transform(clips)
    assert features.shape == (4, 5, 4)
    assert features.dtype == np.float32
    for row, frames in zip(features, clips, strict=True):
        np.testing.assert_allclose(row[: len(frames)], expected(frames), rtol=1e-5, atol=1e-6)
        assert np.isnan(row[len(frames) :]).all()
    assert sum(CALLS) == 11
    assert max(CALLS) <= batch_size


def test_items_are_rows_pictures_or_lists():
    rng = np.random.default_rng(0)
    linear = torch.nn.Linear(6, 2)
    rows = rng.normal(size=(5, 6))
    features = FrozenEncoder(linear, device="cpu").fit_transform(rows)
    weight, bias = linear.weight.detach().numpy(), linear.bias.detach().numpy()
    np.testing.assert_allclose(features, rows @ weight.T + bias, rtol=1e-5, atol=1e-6)
    listed = FrozenEncoder(linear, device="cpu").transform([list(rows[:3]), list(rows[3:])])
    np.testing.assert_allclose(listed[0], features[:3], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(listed[1, :2], features[3:], rtol=1e-5, atol=1e-6)
    pictures = rng.integers(0, 256, (5, 6, 8, 3), dtype=np.uint8)
    np.testing.assert_allclose(
        FrozenEncoder(PATH, device="cpu").transform(pictures),
        expected(pictures),
        rtol=1e-5,
        atol=1e-6,
    )


def test_arguments_go_to_what_the_path_names(clips):
    encoder = FrozenEncoder(PATH, {"n_out": 7}, device="cpu")
    assert encoder.fit_transform(clips).shape == (4, 5, 7)
    assert clone(encoder).set_params(arguments={"n_out": 2}).transform(clips).shape == (4, 5, 2)
    assert encoder.set_params(arguments=None).transform(clips).shape == (4, 5, 4)


class Sequences(torch.nn.Module):
    """Sound in steps of 10 samples, as mappings and tuples of several outputs."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, waveform, gain):
        steps = waveform.unfold(1, 10, 10) * gain
        return self.form({"steps": steps, "mean": steps.mean(dim=1)})


def padded(waveforms, gain):
    """Return the input by name, as processors of transformers do."""
    rows = [torch.as_tensor(row[:40], dtype=torch.float32) for row in waveforms]
    return {"waveform": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), "gain": gain}


@pytest.mark.parametrize(
    ("form", "output", "shape"),
    [
        (dict, None, (3, 4, 10)),
        (dict, "mean", (3, 10)),
        (lambda out: tuple(out.values()), 1, (3, 10)),
        (lambda out: tuple(out.values()), None, (3, 4, 10)),
    ],
    ids=["first", "named", "second", "first of a tuple"],
)
def test_preprocessing_makes_the_input_and_an_output_is_chosen(form, output, shape):
    waveforms = [np.arange(n, dtype=float) for n in (40, 60, 55)]
    encoder = FrozenEncoder(
        Sequences(form),
        preprocess=partial(padded, gain=torch.tensor(2.0)),
        output=output,
        device="cpu",
    )
    features = encoder.fit_transform(waveforms)
    assert features.shape == shape
    steps = 2 * np.arange(40.0).reshape(4, 10)
    wanted = steps if len(shape) == 3 else steps.mean(axis=0)
    np.testing.assert_allclose(features[1], wanted)


def test_the_module_of_the_user_stays_as_it_was(clips):
    module = Pooling().train()
    FrozenEncoder(module, device="cpu").fit_transform(clips)
    assert all(part.training for part in module.modules())
    assert all(value.requires_grad for value in module.parameters())
    module.linear(torch.ones(1, 3)).sum().backward()


def test_no_row_is_encoded_twice_with_a_memory(clips, tmp_path):
    encoder = FrozenEncoder(PATH, device="cpu", memory=str(tmp_path))
    first = encoder.fit_transform(clips)
    assert sum(CALLS) == 11
    again = clone(encoder).set_params(memory=joblib.Memory(str(tmp_path), verbose=0))
    np.testing.assert_array_equal(again.transform(clips[[2, 0]])[1, :3], first[0, :3])
    assert sum(CALLS) == 11
    module = FrozenEncoder(Pooling(), device="cpu", memory=str(tmp_path))
    np.testing.assert_array_equal(module.transform(clips), first)
    assert sum(CALLS) == 22
    changed = Pooling()
    with torch.no_grad():
        changed.linear.bias += 1
    np.testing.assert_allclose(module.set_params(model=changed).transform(clips), first + 1, 1e-5)


@pytest.mark.parametrize("model", [Pooling(), PATH], ids=["module", "path"])
def test_it_is_pickled_whole_or_by_name(clips, model):
    encoder = FrozenEncoder(model, device="cpu").fit(clips)
    before = encoder.transform(clips)
    pickled = pickle.dumps(encoder)
    weight = Pooling().linear.weight.detach().numpy().tobytes()
    assert (weight in pickled) is (model is not PATH)
    np.testing.assert_array_equal(pickle.loads(pickled).transform(clips), before)


def test_it_works_inside_a_pipeline(clips):
    X = Views(audio=np.random.default_rng(0).normal(size=(4, 3)), visual=clips[:, None][:, 0])
    first = FrozenEncoder(PATH, device="cpu")
    features = PerView(visual=first).fit_transform(X)
    assert features["visual"].shape == (4, 5, 4)
    np.testing.assert_array_equal(features["audio"], X["audio"])


@pytest.mark.parametrize(
    ("options", "rows", "message"),
    [
        ({"model": "torch.nn.functional.relu", "arguments": {"input": torch.ones(1)}}, [[1.0]],
         "model='torch.nn.functional.relu' made a Tensor; the path must lead to"),
        ({"model": torch.nn.Identity()}, [np.ones(3), np.ones(4)], "be stacked: give a prep"),
        ({"model": torch.nn.Identity()}, [np.array("text")], "cannot be stacked"),
        ({"model": torch.nn.Identity()}, [[]], "A row holds no item to encode"),
        ({"model": torch.nn.Flatten(0)}, np.ones((2, 3)), r"shape \(6,\); one vector or one seq"),
        ({"model": torch.nn.Identity()}, np.ones((2, 3, 4, 5)), "Choose another by output="),
        ({"model": torch.nn.Identity(), "device": "cuda:77"}, np.ones((2, 3)), "is not there"),
        ({"model": 3}, np.ones((2, 3)), "'model' parameter of FrozenEncoder must be"),
    ],
)  # fmt: skip
def test_what_cannot_be_encoded(options, rows, message):
    with pytest.raises(ValueError, match=message):
        FrozenEncoder(**{"device": "cpu", **options}).transform(rows)


def test_pytorch_is_imported_at_first_use():
    code = (
        "import sys; import numpy as np; from cca_estimators.media import FrozenEncoder;"
        "encoder = FrozenEncoder('torch.nn.Identity', device='cpu').fit([]);"
        "print('torch' in sys.modules); encoder.transform(np.ones((2, 3)));"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def index_of(model, **options):
    """Return a fitted index over frames, encoded by a network."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (20, 6, 8, 3), dtype=np.uint8)
    X = Views(audio=rng.normal(size=(20, 5)), visual=frames)
    encoder = FrozenEncoder(model, device="cpu", **options)
    pipe = make_pipeline(PerView(visual=make_pipeline(encoder)), CCA(2, reg=0.1))
    return CrossModalIndex(pipe).fit(X), X


def test_a_path_goes_through_a_file_and_is_a_type_there(tmp_path):
    index, X = index_of(PATH)
    path = tmp_path / "clips.index"
    with pytest.warns(UserWarning, match=rf"pass trusted=\['{PATH}'\] to load"):
        index.save(path)
    with pytest.raises(ValueError, match=rf"types that are not trusted: \['{PATH}'\]"):
        CrossModalIndex.load(path)
    loaded = CrossModalIndex.load(path, trusted=[PATH])
    queries = {"visual": X["visual"][:3]}
    np.testing.assert_allclose(loaded.kneighbors(queries)[0], index.kneighbors(queries)[0])


def test_a_module_goes_through_no_file(tmp_path):
    index, _ = index_of(Pooling())
    with pytest.raises(ValueError, match=r"a Pooling as model, which is code. Give the import pa"):
        index.save(tmp_path / "clips.index")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def ran(monkeypatch):
    """Return what `os.system` was asked to do."""
    commands = []
    monkeypatch.setattr("os.system", lambda command: commands.append(command))
    return commands


def forged(tmp_path, change):
    """Return a file whose encoder was changed after it was fitted, as an attacker would."""
    index, X = index_of(PATH)
    encoder = index.estimator_[0].transformers_["visual"][0]
    change(encoder)
    path = tmp_path / "forged.index"
    with pytest.warns(UserWarning, match="trusted"):
        index.save(path)
    return path, {"visual": X["visual"][:2]}


def test_a_file_that_names_a_command_is_refused(tmp_path, ran):
    change = partial(FrozenEncoder.set_params, model="os.system", arguments={"command": "echo"})
    path, queries = forged(tmp_path, change)
    for trusted in ((), [PATH]):
        with pytest.raises(ValueError, match=r"not trusted: \['os.system'(, .*)?\]. Nothing of it"):
            CrossModalIndex.load(path, trusted=trusted)
    assert ran == []
    with pytest.raises(ValueError, match="model='os.system' made a NoneType"):
        CrossModalIndex.load(path, trusted=[PATH, "os.system"]).kneighbors(queries)
    assert ran == ["echo"]  # trusted, so it ran: that is what the word means


def test_a_command_is_refused_however_the_file_makes_the_encoder(tmp_path, monkeypatch):
    path, _ = forged(tmp_path, partial(FrozenEncoder.set_params, model="os.system"))
    made = encoder_module.FrozenEncoder
    monkeypatch.setattr(made, "__setstate__", lambda self, state: vars(self).update(state))
    with pytest.raises(ValueError, match=r"not trusted: \['os.system'"):
        CrossModalIndex.load(path, trusted=[PATH])


def test_a_search_from_a_file_tries_no_other_path(tmp_path, ran):
    index, X = index_of(PATH)
    step = "perview__visual__frozenencoder__"
    search = GridSearchCV(index.estimator_, {f"{step}arguments": [None]}, cv=2, error_score="raise")
    search.fit(X)
    search.param_grid = {f"{step}model": ["os.system"], f"{step}arguments": [{"command": "echo"}]}
    with pytest.warns(UserWarning, match="trusted"):
        save(search, tmp_path / "search.model")
    loaded = load(tmp_path / "search.model", trusted=[PATH])
    with pytest.raises(ValueError, match="model='os.system' is not among the types trusted when"):
        loaded.fit(X)
    assert ran == []


def test_encoders_are_of_no_concern_outside_of_files():
    before = SimpleNamespace(**FrozenEncoder(PATH).get_params())
    assert FrozenEncoder(PATH).get_params() == vars(before)


def small_clip():
    """Return a CLIP of random weights, as its class in transformers makes it."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        image_size=16, patch_size=8, projection_dim=5,
    )  # fmt: skip
    return transformers.CLIPVisionModelWithProjection(config)


def test_a_model_of_transformers_and_its_processor():
    network = small_clip()
    from transformers import CLIPImageProcessor

    process = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16)
    rng = np.random.default_rng(0)
    clips = [rng.integers(0, 256, (n, 20, 30, 3), dtype=np.uint8) for n in (2, 3)]
    encoder = FrozenEncoder(
        network, preprocess=partial(process, return_tensors="pt"), device="cpu", batch_size=4
    )
    features = encoder.fit_transform(clips)
    with torch.inference_mode():
        inputs = process(list(clips[1]), return_tensors="pt")
        expected = network.eval()(**inputs).image_embeds.numpy()
    assert features.shape == (2, 3, 5)
    np.testing.assert_allclose(features[1], expected, rtol=1e-4, atol=1e-5)
    named = clone(encoder).set_params(output="last_hidden_state").transform([clips[0][0]])
    assert named.shape == (1, 5, 16)  # a class token and four patches
