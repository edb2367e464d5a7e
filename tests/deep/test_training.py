"""The deep base: training, validation, callbacks, files, failures; and each method's own ways."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, Checkpoint, LoadInitState, LRScheduler
from torch import nn

from cca_estimators import ACMR, CCA, CDCCA, DCCA, LSTMCCCA, SDCCA, TNNCCCA, PerView, Views
from cca_estimators.datasets import make_views
from cca_estimators.deep.training.batches import BatchSampler, RowDataset, RowSubset

SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 4, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def data():
    return make_views(240, 4, (10, 14), shared_rank=3, random_state=0)


def assert_same(left, right, **options):
    for name in left:
        np.testing.assert_allclose(left[name], right[name], **options)


def losses(estimator, figure="train_loss"):
    return [epoch[figure] for epoch in estimator.history_]


@pytest.mark.parametrize("method", [DCCA, CDCCA, LSTMCCCA, SDCCA, TNNCCCA])
def test_the_loss_falls_and_nothing_collapses(data, method):
    X, y = data
    fitted = method(**{**SMALL, "max_epochs": 15}).fit(X, y)
    fall = 0.02 if method is TNNCCCA else 0.05  # triplets grow harder as it learns
    assert losses(fitted)[-1] < losses(fitted)[0] - fall * abs(losses(fitted)[0])
    for rows in fitted.transform(X).values():
        assert rows.std(axis=0).min() > 1e-3


def test_seeds_repeat_and_leave_the_global_generators_alone(data):
    X, y = data
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = CDCCA(**SMALL, dropout=0.3).fit(X, y).transform(X)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert_same(CDCCA(**SMALL, dropout=0.3).fit(X, y).transform(X), first, rtol=0)
    other = CDCCA(**{**SMALL, "random_state": 1}, dropout=0.3).fit(X, y).transform(X)
    assert np.abs(other["audio"] - first["audio"]).max() > 1e-3


def test_sorted_rows_are_learnt_as_well_as_shuffled_ones(data):
    X, y = data
    order = np.argsort(y, kind="stable")
    options = {**SMALL, "batch_size": 60, "max_epochs": 20}
    scores = [
        CDCCA(**options).fit(X[rows], y[rows]).score(X, y) for rows in (order, np.arange(len(y)))
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)


def test_stratified_batches_hold_the_classes_in_their_proportions():
    codes = np.repeat([0, 1, 2], [60, 30, 10])
    torch.manual_seed(0)
    epochs = [list(BatchSampler(100, 20, True, codes)) for _ in range(2)]
    for batches in epochs:
        assert sorted(np.concatenate(batches)) == list(range(100))
        for batch in batches:
            assert np.abs(np.bincount(codes[batch], minlength=3) - [12, 6, 2]).max() <= 1
    assert not np.array_equal(epochs[0][0], epochs[1][0])


@pytest.mark.parametrize(("n_rows", "batch_size"), [(10, 4), (3, 2), (7, 100), (401, 200), (5, 1)])
def test_batches_cover_all_rows_in_order_and_are_drawn_of_one_size(n_rows, batch_size):
    in_order, drawn = (
        list(BatchSampler(n_rows, batch_size, shuffle, generator=torch.Generator().manual_seed(0)))
        for shuffle in (False, True)
    )
    np.testing.assert_array_equal(np.concatenate(in_order), np.arange(n_rows))
    assert len({len(batch) for batch in drawn}) == 1
    assert min(len(batch) for batch in (*in_order, *drawn)) >= 2
    rows = np.concatenate(drawn)
    assert len(np.unique(rows)) == len(rows) > n_rows - len(drawn)


def test_rows_left_over_are_others_in_each_epoch():
    sampler = BatchSampler(41, 8, True, np.arange(41) % 3, torch.Generator().manual_seed(0))
    counts = np.zeros(41)
    for _ in range(300):
        counts[np.concatenate(list(sampler))] += 1
    assert counts.sum() == 300 * 36
    assert counts.min() > 220


@pytest.mark.parametrize(
    ("method", "stop"),
    [(CDCCA, "loss"), (CDCCA, "map"), (DCCA, True), (DCCA, "loss"), (TNNCCCA, "map")],
)
def test_early_stopping_returns_to_the_best_epoch(data, method, stop):
    X, y = data
    options = {**SMALL, "max_epochs": 40, "learning_rate": 0.05, "n_iter_no_change": 3}
    fitted = method(**options, early_stopping=stop, validation_fraction=0.25).fit(X, y)
    figures = losses(fitted, "valid_loss" if stop == "loss" else "valid_map")
    best = np.argmin(figures) if stop == "loss" else np.argmax(figures)
    assert len(figures) == best + 4 < 40
    shorter = method(**{**options, "max_epochs": int(best) + 1}, early_stopping=stop)
    shorter.set_params(validation_fraction=0.25, n_iter_no_change=40).fit(X, y)
    assert_same(fitted.transform(X), shorter.transform(X), rtol=1e-5, atol=1e-6)


def test_warm_start_goes_on_and_fit_begins_anew(data):
    X, y = data
    twice = CDCCA(**SMALL, warm_start=True).fit(X, y).fit(X, y)
    assert len(twice.history_) == 8
    whole = CDCCA(**{**SMALL, "max_epochs": 8}).fit(X, y)
    assert_same(twice.transform(X), whole.transform(X), rtol=1e-5, atol=1e-6)
    assert len(twice.set_params(warm_start=False).fit(X, y).history_) == 4


def test_partial_fit_trains_one_epoch(data):
    X, y = data
    gradual = CDCCA(**SMALL)
    for _ in range(3):
        gradual.partial_fit(X, y)
    whole = CDCCA(**{**SMALL, "max_epochs": 3}).fit(X, y)
    assert_same(gradual.transform(X), whole.transform(X), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="View 'audio' has 3 features"):
        gradual.partial_fit({"audio": X["audio"][:, :3], "visual": X["visual"]}, y)


class Interrupt(Callback):
    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3:
            raise KeyboardInterrupt


def test_an_interrupt_keeps_what_was_learnt(data):
    X, y = data
    stopped = CDCCA(**SMALL, callbacks=[Interrupt()])
    with pytest.warns(UserWarning, match="weights of epoch 2"), pytest.raises(KeyboardInterrupt):
        stopped.fit(X, y)
    two = CDCCA(**{**SMALL, "max_epochs": 2}).fit(X, y)
    assert_same(stopped.transform(X), two.transform(X), rtol=1e-5, atol=1e-6)


def test_training_resumed_from_a_checkpoint_equals_training_in_one_go(data, tmp_path):
    X, y = data
    options = {**SMALL, "dropout": 0.2, "max_epochs": 6}
    checkpoint = Checkpoint(monitor=None, dirname=tmp_path, f_criterion=None)
    CDCCA(**{**options, "max_epochs": 2}, callbacks=[checkpoint]).fit(X, y)
    resumed = CDCCA(**options, callbacks=[LoadInitState(checkpoint), checkpoint]).fit(X, y)
    whole = CDCCA(**options).fit(X, y)
    assert len(resumed.history_) == 6
    assert_same(resumed.transform(X), whole.transform(X), rtol=1e-6, atol=1e-7)


def test_callbacks_of_skorch_run(data):
    X, y = data
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.1)
    fitted = CDCCA(**SMALL, callbacks=[schedule]).fit(X, y)
    rates = [epoch["event_lr"] for epoch in fitted.history_]
    np.testing.assert_allclose(rates, [1e-3, 1e-4, 1e-5, 1e-6])


class Explode(Callback):
    """Make the weights infinite at the beginning of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            for parameter in net.module_.parameters():
                parameter.data.fill_(torch.inf)


def test_a_loss_that_is_not_finite_leaves_the_last_good_epoch(data):
    X, y = data
    fragile = TNNCCCA(**SMALL, callbacks=[Explode(3)])
    with pytest.raises(FloatingPointError, match="nan in epoch 3, batch 1.*lower learning_rate"):
        fragile.fit(X, y)
    two = TNNCCCA(**{**SMALL, "max_epochs": 2}).fit(X, y)
    assert_same(fragile.transform(X), two.transform(X), rtol=1e-5, atol=1e-6)
    fresh = TNNCCCA(**SMALL, callbacks=[Explode(1)])
    with pytest.raises(FloatingPointError, match="epoch 1"):
        fresh.fit(X, y)
    assert not hasattr(fresh, "net_")


class Channels(nn.Module):
    """Convolution over pictures of shape (n, channels, height, width)."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 2 * 3, 5)
        )

    def forward(self, rows):
        return self.net(rows)


@pytest.mark.parametrize("method", [CDCCA, TNNCCCA])
def test_towers_of_ones_own_on_raw_input(data, method):
    X, y = data
    pictures = Views(audio=X["audio"], visual=np.tile(X["visual"], 2)[:, :24].reshape(-1, 2, 3, 4))
    towers = {
        "audio": nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 5)),
        "visual": Channels(),
    }
    before = towers["visual"].net[0].weight.detach().clone()
    options = {"order": "tnn_first"} if method is TNNCCCA else {}
    fitted = method(towers=towers, **SMALL, **options).fit(pictures, y)
    assert fitted.score(pictures, y) > 0.4
    assert torch.equal(towers["visual"].net[0].weight, before)
    assert isinstance(fitted.net_.module_.tower("visual"), Channels)
    with pytest.raises(ValueError, match=r"towers names the views \['sound'\]"):
        method(towers={"sound": nn.Identity()}, **SMALL, **options).fit(pictures, y)


def test_files_are_read_batch_by_batch(data, tmp_path):
    X, y = data
    mapped = {}
    for name, rows in X.items():
        np.save(tmp_path / f"{name}.npy", rows)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    assert not RowDataset(mapped, y, "cpu").in_memory
    assert RowDataset(dict(X), y, "cpu").in_memory
    batches = RowSubset(RowDataset(mapped, y, "cpu"), np.arange(240)).batches(50)
    assert isinstance(batches, torch.utils.data.DataLoader)
    options = {**SMALL, "batch_size": 60}
    expected = CDCCA(**options).fit(X, y).transform(X)
    assert_same(CDCCA(**options).fit(mapped, y).transform(mapped), expected, rtol=1e-5, atol=1e-6)


def test_unknown_devices_are_named(data):
    X, y = data
    for device in ("cuda:17", "tpu", "gpu"):
        with pytest.raises(ValueError, match=f"device='{device}' is not there .*'cpu', or 'auto'"):
            CDCCA(**{**SMALL, "device": device}).fit(X, y)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("method", [DCCA, CDCCA, LSTMCCCA, SDCCA, TNNCCCA])
def test_cuda_gives_what_the_cpu_gives(data, method):
    X, y = data
    on_cpu, on_cuda = (method(**{**SMALL, "device": d}).fit(X, y) for d in ("cpu", "cuda"))
    assert on_cuda.score(X, y) == pytest.approx(on_cpu.score(X, y), abs=0.05)


def test_progress_bar_shows_the_loss(data, capsys):
    X, y = data
    CDCCA(**SMALL, verbose=1, early_stopping="map").fit(X, y)
    shown = capsys.readouterr().err
    assert "4/4" in shown
    assert "train_loss=" in shown
    assert "valid_map=" in shown
    CDCCA(**SMALL).fit(X, y)
    assert capsys.readouterr().err == ""


def test_verbose_2_prints_a_line_for_each_epoch(data, capsys):
    X, y = data
    fitted = CDCCA(**SMALL, verbose=2, early_stopping="map").fit(X, y)
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert len(lines) == 4
    for number, (line, epoch) in enumerate(zip(lines, fitted.history_, strict=True), 1):
        words = line.split()
        assert line.startswith(f"epoch {number}/4  ")
        for figure in ("train_loss", "valid_loss", "valid_map"):
            assert words[words.index(figure) + 1] == f"{epoch[figure]:.4g}"
        assert line.endswith("*") == epoch["valid_map_best"]


def test_the_best_epoch_is_better_than_all_before(data):
    X, y = data
    still = {"learning_rate": 1e-30, "batch_norm": False, "dropout": 0.0}
    fitted = CDCCA(**SMALL, **still, early_stopping="map").fit(X, y)
    assert len({epoch["valid_map"] for epoch in fitted.history_}) == 1
    assert [epoch["valid_map_best"] for epoch in fitted.history_] == [True, False, False, False]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("method", [CDCCA, ACMR])
def test_embeddings_have_the_type_of_the_rows(data, method, dtype):
    X, y = data
    X = Views({name: rows.astype(dtype) for name, rows in X.items()})
    for rows in method(**SMALL).fit(X, y).transform(X).values():
        assert rows.dtype == dtype


def test_grid_search_over_margin_and_components(data):
    X, y = data
    pipe = make_pipeline(PerView(StandardScaler()), TNNCCCA(**SMALL))
    grid = {"tnnccca__margin": [0.2, 0.5], "tnnccca__n_components": [3, 6]}
    search = GridSearchCV(pipe, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.5


def test_autoencoder_term_reconstructs(data):
    X, _ = data
    options = {**SMALL, "max_epochs": 30, "learning_rate": 1e-2}
    fitted = DCCA(4, autoencoder_weight=1.0, **options).fit(X)
    decoder = fitted.net_.criterion_.decoders[0].eval()
    assert [type(layer) for layer in decoder] == [nn.Linear, nn.ReLU, nn.Linear]
    tower = fitted.net_.module_.tower("audio").eval()
    rows = torch.from_numpy(X["audio"].astype(np.float32))
    with torch.inference_mode():
        error = (decoder(tower(rows)) - rows).pow(2).mean().item()
    assert error < 0.8 * rows.var(dim=0, correction=0).mean().item()


def test_linear_towers_reach_the_canonical_correlations(data):
    X, _ = data
    towers = {name: nn.Linear(rows.shape[1], 3, bias=False) for name, rows in X.items()}
    deep = DCCA(
        3,
        towers=towers,
        batch_reg=1e-6,
        learning_rate=0.02,
        max_epochs=200,
        reg=0.0,
        weight_decay=0.0,
        random_state=0,
    ).fit(X)
    expected = CCA(3, reg=0.0).fit(X).correlations_
    np.testing.assert_allclose(deep.correlations_, expected, atol=0.01)


@pytest.mark.parametrize("method", [LSTMCCCA, SDCCA])
def test_padding_never_changes_an_embedding(method):
    X, y = make_views(120, 3, (6, 7), n_steps=6, shared_rank=2, random_state=0)
    ragged = Views({name: rows.copy() for name, rows in X.items()})
    ragged["audio"][::3, 4:] = np.nan
    fitted = method(lstm_size=8, **SMALL).fit(ragged, y)
    shortened = {"audio": X["audio"][::3, :4]}
    whole = fitted.transform(ragged)["audio"][::3]
    np.testing.assert_allclose(fitted.transform(shortened)["audio"], whole, rtol=1e-4, atol=1e-5)
    ragged["audio"][0, 2, 1] = np.nan
    with pytest.raises(ValueError, match="View 'audio' contains NaN"):
        fitted.fit(ragged, y)
    ragged["audio"][0, 2] = np.nan
    with pytest.raises(ValueError, match="'audio': step 2 .* NaN .* another step follows"):
        fitted.fit(ragged, y)
