"""Loaders of published features, on files of every layout that the tests write themselves."""

import sys
import zipfile

import h5py
import numpy as np
import pytest
from sklearn.model_selection import (
    PredefinedSplit,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCCA, PerView, cross_modal_map
from cca_estimators.datasets import _sources, load_ave, load_mv10k, load_vegas
from cca_estimators.datasets._steps import real_steps

N, STEPS = 40, 9
WIDTHS = {"audio": 128, "visual": 1024}
FOLDS = np.arange(N) % 5


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(_sources, "_BLOCK_BYTES", 4 * STEPS * 1024)


def stored_set(steps=STEPS):
    """Return 8-bit sequences of full length, and labels 3, 5, 7, 9 in turn."""
    rng = np.random.default_rng(0)
    X = {
        name: rng.integers(1, 256, (N, steps, width)).astype(np.uint8)
        for name, width in WIDTHS.items()
    }
    return X, 3 + 2 * (np.arange(N) % 4)


def write_split(folder, X, y):
    """Write one HDF5 file of a training part and a test part, labels as a column of floats."""
    path = folder / "split.h5"
    with h5py.File(path, "w") as file:
        for part, rows in {"train": slice(0, 30), "test": slice(30, N)}.items():
            for name, view in X.items():
                file[f"{name}_{part}"] = view[rows]
            file[f"lab_{part}"] = y[rows, None].astype(float)
    return path


def write_table(folder, X, y):
    """Write an HDF5 file of columns, with the split as bytes."""
    path = folder / "table.h5"
    with h5py.File(path, "w") as file:
        file["audio_feat"], file["visual_feat"], file["Label_ID"] = X["audio"], X["visual"], y
        file["Train_test"] = np.where(np.arange(N) < 30, b"1", b"0")
    return path


def write_compound(folder, X, y):
    """Write an HDF5 file of one compound table, with the split as variable strings."""
    path = folder / "compound.h5"
    views = [(f"{name}_feat", view.dtype, view.shape[1:]) for name, view in X.items()]
    table = np.zeros(N, [*views, ("Label_ID", int), ("Split", h5py.string_dtype())])
    table["audio_feat"], table["visual_feat"], table["Label_ID"] = X["audio"], X["visual"], y
    table["Split"] = np.where(np.arange(N) < 30, "1", "0").astype(object)
    with h5py.File(path, "w") as file:
        file["table"] = table
    return path


def write_folders(folder, X, y):
    """Write one npy file per sample and view, and lists of the samples of five folds."""
    for name in ("vgg", "inception", "VEGAS_classes", "folds"):
        (folder / name).mkdir()
    for i in range(N):
        np.save(folder / "vgg" / f"v{i:02d}.npy", X["audio"][i])
        np.save(folder / "inception" / f"v{i:02d}.npy", X["visual"][i])
        np.save(folder / "VEGAS_classes" / f"v{i:02d}.npy", y[i])
    for k in range(5):
        lines = "".join(f"v{i:02d}\n" for i in np.flatnonzero(k == FOLDS))
        (folder / "folds" / f"{k:02d}.txt").write_text(lines)
    return folder


def write_npz(folder, X, y, folds=(0,)):
    """Write npz files of training and test parts; of all folds, rows go by fold."""
    for k in folds:
        test = k == FOLDS
        for part, rows in {"Train": ~test, "Test": test}.items():
            arrays = {"audio": X["audio"], "rgb": X["visual"], "lab": y}
            for name, array in arrays.items():
                np.savez(folder / f"{name}{part}{k:02d}.npz", array[rows])
    return folder


def write_all_npz(folder, X, y):
    """Write the npz files of five folds."""
    return write_npz(folder, X, y, range(5))


BY_FOLD = np.argsort(FOLDS, kind="stable")
ORDER = {
    write_split: np.arange(N),
    write_table: np.arange(N),
    write_compound: np.arange(N),
    write_folders: np.arange(N),
    write_npz: np.argsort(FOLDS == 0, kind="stable"),
    write_all_npz: BY_FOLD,
}
every_layout = pytest.mark.parametrize("write", ORDER)
H5 = [write_split, write_table, write_compound]
every_file = pytest.mark.parametrize("write", [*H5, write_folders, write_npz])


def expected(view):
    return (view.astype(float) - 128) / 256


@every_layout
def test_features_are_scaled_means_over_steps(write, tmp_path):
    X, y = stored_set()
    data = load_vegas(write(tmp_path, X, y))
    for name, view in X.items():
        assert data.X[name].dtype == np.float32
        means = expected(view).mean(axis=1)[ORDER[write]]
        np.testing.assert_allclose(data.X[name], means, atol=1e-6)
    assert data.mask is None
    np.testing.assert_array_equal(data.target_names, [3, 5, 7, 9])
    np.testing.assert_array_equal(data.y, (np.arange(N) % 4)[ORDER[write]])


@every_layout
@pytest.mark.parametrize("n_steps", [4, 12])
@pytest.mark.parametrize(("pad", "value"), [("zero", 0.0), ("nan", np.nan)])
def test_sequences_are_cut_or_padded(write, n_steps, pad, value, tmp_path):
    X, y = stored_set()
    data = load_vegas(write(tmp_path, X, y), n_steps=n_steps, pad=pad)
    for name, view in X.items():
        sequences = np.full((N, n_steps, WIDTHS[name]), value)
        sequences[:, :STEPS] = expected(view)[ORDER[write], :n_steps]
        np.testing.assert_allclose(data.X[name], sequences, atol=1e-6)
        mask = np.tile(np.arange(n_steps) < STEPS, (N, 1))
        np.testing.assert_array_equal(data.mask[name], mask)


@every_layout
def test_training_and_test_rows_are_those_of_the_files(write, tmp_path):
    X, y = stored_set()
    data = load_vegas(write(tmp_path, X, y))
    test = FOLDS == 0 if write in (write_folders, write_npz, write_all_npz) else np.arange(N) >= 30
    np.testing.assert_array_equal(ORDER[write][data.test], np.flatnonzero(test))
    np.testing.assert_array_equal(np.sort([*data.train, *data.test]), np.arange(N))
    text = f"{len(data.train)} to train on and {len(data.test)}\nto test on"
    assert text in data.DESCR


@pytest.mark.parametrize("write", [write_folders, write_all_npz])
def test_authors_folds_are_kept(write, tmp_path):
    X, y = stored_set()
    data = load_vegas(write(tmp_path, X, y), fold=3)
    np.testing.assert_array_equal(data.folds, FOLDS[ORDER[write]])
    assert isinstance(data.cv, PredefinedSplit)
    np.testing.assert_array_equal(data.test, list(data.cv.split())[3][1])
    np.testing.assert_array_equal(data.folds[data.test], 3)
    with pytest.raises(ValueError, match=r"fold=5, but .* has the folds 0 to 4 only"):
        load_vegas(tmp_path, fold=5)


def test_one_of_several_incomplete_folds(tmp_path):
    X, y = stored_set()
    write_npz(tmp_path, X, y, folds=(1, 3))
    data = load_vegas(tmp_path, fold=1)
    assert data.folds is None
    assert "npz files of fold 03" in data.DESCR
    means = expected(X["audio"][FOLDS == 3]).mean(axis=1)
    np.testing.assert_allclose(data.X["audio"][data.test], means, atol=1e-6)
    with pytest.raises(ValueError, match=r"fold=2, but .* holds the folds \['01', '03'\] only"):
        load_vegas(tmp_path, fold=2)


def test_without_folds_there_are_five_class_balanced_ones(tmp_path):
    X, y = stored_set()
    write_folders(tmp_path, X, y)
    for file in (tmp_path / "folds").iterdir():
        file.unlink()
    data = load_vegas(tmp_path, fold=4)
    assert data.folds is None
    assert isinstance(data.cv, StratifiedKFold)
    np.testing.assert_array_equal(np.bincount(data.y[data.test]), 2)
    np.testing.assert_array_equal(data.test, list(data.cv.split(data.y, data.y))[4][1])


def test_samples_in_no_fold_are_left_out_and_names_are_kept(tmp_path):
    X, y = stored_set()
    write_folders(tmp_path, X, y)
    (tmp_path / "folds" / "04.txt").write_text("v39\n")
    ids = [f"v{i:02d}" for i in range(N) if i % 5 < 4 or i == 39]
    assert load_vegas(tmp_path).ids.tolist() == ids


def test_sequences_of_different_lengths(tmp_path):
    X, y = stored_set()
    write_folders(tmp_path, X, y)
    np.save(tmp_path / "vgg" / "v07.npy", X["audio"][7, :2])
    data = load_vegas(tmp_path, n_steps=5, pad="nan")
    np.testing.assert_array_equal(data.mask["audio"].sum(axis=1), [5] * 7 + [2] + [5] * 32)
    np.testing.assert_array_equal(np.isnan(data.X["audio"]).all(axis=2), ~data.mask["audio"])
    assert data.mask["visual"].all()
    means = load_vegas(tmp_path).X["audio"]
    np.testing.assert_allclose(means[7], expected(X["audio"][7, :2]).mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(("dtype", "blank"), [(np.uint8, 0), (np.float32, 0), (float, np.nan)])
def test_stored_padding_is_no_part_of_the_mean(dtype, blank, tmp_path):
    X, y = stored_set()
    X = {name: view.astype(dtype) for name, view in X.items()}
    X["audio"][:, 6:] = blank
    X["audio"][4, 2] = 0  # a blank step that another follows is real
    path = write_split(tmp_path, X, y)
    means = X["audio"][:, :6].astype(float).mean(axis=1)
    means = (means - 128) / 256 if dtype is np.uint8 else means
    np.testing.assert_allclose(load_ave(path).X["audio"], means, rtol=1e-5, atol=1e-6)
    data = load_ave(path, n_steps=STEPS)
    np.testing.assert_array_equal(data.mask["audio"], np.tile(np.arange(STEPS) < 6, (N, 1)))
    np.testing.assert_array_equal(data.X["audio"][:, 6:], 0)


def test_a_sequence_that_is_blank_throughout_counts_as_real():
    block = np.zeros((2, 3, 4))
    block[0, 1] = 1
    np.testing.assert_array_equal(real_steps(block), [[True, True, False], [True, True, True]])


@pytest.mark.parametrize("write", H5)
def test_means_stored_as_floats_stay_as_they_are(write, tmp_path):
    X, y = stored_set()
    means = {name: expected(view).mean(axis=1) for name, view in X.items()}
    data = load_mv10k(write(tmp_path, means, y))
    for name, view in means.items():
        np.testing.assert_array_equal(data.X[name], view.astype(np.float32))
    with pytest.raises(ValueError, match=r"n_steps=10, but audio.* has shape .* Set n_steps=None"):
        load_mv10k(tmp_path / f"{write.__name__.removeprefix('write_')}.h5", n_steps=10)


@pytest.mark.parametrize("names", [["dog", "drum", "baby cry", "rain"], [b"d", b"c", b"b", b"a"]])
def test_names_of_classes_are_kept(names, tmp_path):
    X, y = stored_set()
    named = np.array(names, object)[(y - 3) // 2]
    with h5py.File(write_table(tmp_path, X, y), "a") as file:
        del file["Label_ID"]
        file["Label_ID"] = named.tolist()
    data = load_vegas(tmp_path / "table.h5")
    plain = [name.decode() if isinstance(name, bytes) else name for name in named]
    np.testing.assert_array_equal(data.target_names[data.y], plain)


def test_embeddings_of_any_width_are_a_test_part(tmp_path):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, N, 10))
    with h5py.File(tmp_path / "test_00s.h5", "w") as file:
        file["featN1"], file["featN2"], file["testLs"] = first, second, np.arange(N) % 3
    data = load_vegas(tmp_path / "test_00s.h5")
    np.testing.assert_array_equal(data.X["visual"], second.astype(np.float32))
    assert (len(data.train), len(data.test)) == (0, N)


@every_layout
def test_views_mapped_from_files_are_the_same(write, tmp_path):
    X, y = stored_set()
    (tmp_path / "in").mkdir()
    path = write(tmp_path / "in", X, y)
    whole = load_vegas(path, n_steps=STEPS)
    data = load_vegas(path, n_steps=STEPS, memmap_dir=tmp_path / "out")
    for name, view in data.X.items():
        assert isinstance(view, np.memmap)
        np.testing.assert_array_equal(view, whole.X[name])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["audio.npy", "visual.npy"]


def test_npz_stored_by_columns_is_read(tmp_path):
    X, y = stored_set()
    write_npz(tmp_path, X, y)
    turned = np.asfortranarray(X["audio"][FOLDS == 0])
    np.savez(tmp_path / "audioTest00.npz", turned)
    data = load_vegas(tmp_path)
    means = expected(turned).mean(axis=1)
    np.testing.assert_allclose(data.X["audio"][data.test], means, atol=1e-6)


def test_the_posters_protocol(tmp_path):
    X, y = stored_set()
    for view in X.values():
        view[:, :, :64] = np.where(np.arange(64) % 4 == ((y - 3) // 2)[:, None], 250, 5)[:, None]
    data = load_vegas(write_folders(tmp_path, X, y))
    pipe = make_pipeline(PerView(StandardScaler()), CCCA())
    scores = cross_validate(pipe, data.X, data.y, cv=data.cv, scoring=cross_modal_map)
    assert scores["test_score"].shape == (5,)
    assert scores["test_score"].min() > 0.6


def test_padding_is_what_sequential_methods_leave_out(tmp_path):
    from cca_estimators import LSTMCCCA

    X, y = stored_set()
    path = write_split(tmp_path, {name: view[:, :3] for name, view in X.items()}, y)
    short, long = (load_vegas(path, n_steps=n, pad="nan").X for n in (3, 5))
    model = LSTMCCCA(max_epochs=1, hidden_layer_sizes=(8,), random_state=0).fit(short, y)
    embedded = [model.transform(view)["audio"] for view in (short, long)]
    np.testing.assert_allclose(*embedded, rtol=1e-5, atol=1e-6)


# Files that are wrong in one way each


def files_of(path):
    return [path] if path.is_file() else sorted(file for file in path.rglob("*.np[yz]"))


@every_file
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.98])
def test_a_truncated_file_is_named(write, keep, tmp_path):
    path = write(tmp_path, *stored_set())
    file = files_of(path)[0]
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match=rf"{file.name} (cannot be read|is no HDF5 file)"):
        load_vegas(path)


@every_file
def test_a_file_of_another_kind_is_named(write, tmp_path):
    path = write(tmp_path, *stored_set())
    file = files_of(path)[-1]
    file.write_bytes(b"<!DOCTYPE html><title>Sign in</title>" * 100)
    with pytest.raises(ValueError, match=rf"{file.name} (cannot be read|is no HDF5 file)"):
        load_vegas(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damage_inside_an_npz_file_is_noticed(save, tmp_path):
    X, y = stored_set()
    path = write_npz(tmp_path, X, y) / "rgbTrain00.npz"
    save(path, X["visual"][FOLDS != 0])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"rgbTrain00.npz cannot be read, .* corrupt"):
        load_vegas(tmp_path)


@pytest.mark.parametrize("view", ["audio", "visual"])
@every_file
def test_a_transposed_view_is_named_with_its_shape(write, view, tmp_path):
    X, y = stored_set()
    path = write(tmp_path, X, y)
    name = spoil(path, view, np.transpose)
    with pytest.raises(ValueError, match=rf"({name}|vgg|inception).* has .*transposed"):
        load_vegas(path)


@pytest.mark.parametrize("view", ["audio", "visual"])
@every_file
@pytest.mark.parametrize(("value", "n_steps"), [(np.nan, None), (-np.inf, None), (np.inf, STEPS)])
def test_a_value_that_is_not_finite_is_located(write, view, value, n_steps, tmp_path):
    X, y = stored_set()
    path = write(tmp_path, {name: rows.astype(np.float32) for name, rows in X.items()}, y)

    def spoiled(rows):
        rows = rows.copy()
        rows[(5, 2, 3) if rows.ndim == 3 else (2, 3)] = value
        return rows

    name = spoil(path, view, spoiled)
    with pytest.raises(ValueError, match=rf"{name}(| of .*, row 5,|, row 5,) holds NaN or inf"):
        load_vegas(path, n_steps=n_steps, memmap_dir=tmp_path / "out")
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("view", ["audio", "visual"])
@pytest.mark.parametrize("write", [write_split, write_table, write_npz])
def test_views_that_do_not_align_with_the_labels(write, view, tmp_path):
    path = write(tmp_path, *stored_set())
    name = spoil(path, view, lambda rows: rows[1:])
    with pytest.raises(ValueError, match=rf"do not align: {name} has .*Found: .*audio.*\(.*, 9, "):
        load_vegas(path)


def spoil(path, view, change):
    """Change one array of a view by a function, and return a pattern of its name."""
    if path.is_dir():
        stem = {"audio": ("vgg", "audioTest"), "visual": ("inception", "rgbTest")}[view]
        file = next(f for f in files_of(path) if f.parent.name == stem[0] or stem[1] in f.name)
        loaded = np.load(file)
        if file.suffix == ".npy":
            np.save(file, change(loaded))
        else:
            np.savez(file, change(loaded["arr_0"]))
        return file.name
    with h5py.File(path, "a") as file:
        return spoil_h5(file, view, change)


def spoil_h5(file, view, change):
    if "table" in file:
        return spoil_column(file, f"{view}_feat", change)
    key = f"{view}_test" if f"{view}_test" in file else f"{view}_feat"
    rows = change(file[key][()])
    del file[key]
    file[key] = rows
    return key


def spoil_column(file, key, change):
    table = file["table"][()]
    columns = {name: table[name] for name in table.dtype.names}
    columns[key] = columns[key].swapaxes(1, 2) if change is np.transpose else change(columns[key])
    del file["table"]
    kinds = [(name, table.dtype[name].base, rows.shape[1:]) for name, rows in columns.items()]
    spoiled = np.zeros(N, kinds)
    for name, rows in columns.items():
        spoiled[name] = rows
    file["table"] = spoiled
    return key


def test_unknown_keys_are_listed_with_shapes(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["sound"], file["group/inner"], file["lab_train"] = np.zeros((3, 4)), 1, np.zeros(3)
    with pytest.raises(
        ValueError,
        match=r"holds lab_train \(3,\), sound \(3, 4\). It should hold "
        "one of: audio_train, visual_train, lab_train, audio_test",
    ):
        load_vegas(tmp_path / "a.h5")


def test_unknown_folders_are_listed(tmp_path):
    (tmp_path / "vgg").mkdir()
    with pytest.raises(ValueError, match=r"holds \['vgg'\]. It should hold the folders vgg, incep"):
        load_vegas(tmp_path)


@pytest.mark.parametrize("name", ["rgbTest00.npz", "labTrain00.npz"])
def test_an_absent_npz_file_is_named(name, tmp_path):
    write_npz(tmp_path, *stored_set())
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=rf"holds \['audioTest00.npz'.*\], but not {name}"):
        load_vegas(tmp_path)


def test_an_npz_file_with_another_key_is_named(tmp_path):
    write_npz(tmp_path, *stored_set())
    np.savez(tmp_path / "labTest00.npz", labels=np.zeros(3))
    with pytest.raises(ValueError, match=r"labTest00.npz holds the keys \['labels'\]; .*'arr_0'"):
        load_vegas(tmp_path)


@pytest.mark.parametrize("missing", [-1, 1])
def test_an_npz_file_with_other_rows_than_it_says(missing, tmp_path):
    X, y = stored_set()
    write_npz(tmp_path, X, y)
    file = tmp_path / "audioTest00.npz"
    with zipfile.ZipFile(file) as archive:
        content, row = archive.read("arr_0.npy"), STEPS * 128
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("arr_0.npy", (content + bytes(row))[: len(content) - missing * row])
    with pytest.raises(ValueError, match=rf"00.npz .*: {(8 - missing) * row} bytes .* {8 * row}"):
        load_vegas(tmp_path)


@pytest.mark.parametrize("folder", ["vgg", "inception", "VEGAS_classes"])
def test_samples_without_a_file_are_named(folder, tmp_path):
    write_folders(tmp_path, *stored_set())
    (tmp_path / folder / "v11.npy").unlink()
    with pytest.raises(ValueError, match=rf"{folder} holds 39 npy files, and 1 of 40 .*\['v11'\]"):
        load_vegas(tmp_path)


def test_a_sample_in_two_folds_is_named(tmp_path):
    write_folders(tmp_path, *stored_set())
    (tmp_path / "folds" / "01.txt").write_text("v01\nv00\n")
    with pytest.raises(ValueError, match=r"01.txt names samples a second time, such as \['v00'\]"):
        load_vegas(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("VEGAS_classes/v03.npy", np.zeros(2), r"v03.npy has shape \(2,\); a single label"),
        ("vgg/v00.npy", np.zeros(128), r"v00.npy has shape \(128,\) .*\(steps, features\)"),
        ("vgg/v03.npy", np.zeros((0, 128)), r"v03.npy has shape \(0, 128\) .* at least one step"),
        ("vgg/v03.npy", np.full((9, 128), "a"), r"v03.npy has shape .* dtype <U1; numbers"),
        ("vgg/v03.npy", np.zeros((9, 64)), r"v03.npy has shape \(9, 64\), the first file .* 128"),
    ],
)
def test_a_wrong_array_in_a_folder_is_named(file, content, message, tmp_path):
    write_folders(tmp_path, *stored_set())
    np.save(tmp_path / file, content)
    with pytest.raises(ValueError, match=message):
        load_vegas(tmp_path)


@pytest.mark.parametrize(
    ("key", "content", "message"),
    [
        ("Label_ID", np.eye(N), r"Label_ID of .* has shape \(40, 40\); one value per row"),
        ("Label_ID", np.zeros(0), r"Label_ID of .* has shape \(0,\); one value per row"),
        ("Label_ID", 3, r"Label_ID of .* has shape \(\); one value per row"),
        ("Label_ID", np.full(N, np.nan), r"labels of .* hold nan in row 0; whole numbers"),
        ("Label_ID", np.full(N, 0.5), r"labels of .* hold 0.5 in row 0; whole numbers"),
        ("Label_ID", np.arange(N) + (np.arange(N) == 3) / 2, r"hold 3.5 in row 3; whole numbers"),
        ("Train_test", np.arange(N), r"Train_test of .* such as \['0', '1', '10'\]"),
        ("Train_test", np.ones(3), r"Train_test of .* holds 3 values for 40 rows"),
        ("audio_feat", np.zeros(N), r"audio_feat of .* has shape \(40,\) .*\(n, features\)"),
        ("audio_feat", np.zeros((N, 64)), r"audio_feat .* \(40, 64\); 128 audio features are nee"),
        ("audio_feat", np.full((N, 2), b"a"), r"audio_feat of .* dtype \|S1; numbers"),
    ],
)
def test_a_wrong_array_in_a_table_is_named(key, content, message, tmp_path):
    with h5py.File(write_table(tmp_path, *stored_set()), "a") as file:
        del file[key]
        file[key] = content
    with pytest.raises(ValueError, match=message):
        load_vegas(tmp_path / "table.h5")


def test_a_table_without_split(tmp_path):
    with h5py.File(write_table(tmp_path, *stored_set()), "a") as file:
        del file["Train_test"]
    with pytest.raises(ValueError, match=r"should also hold the split, as Train_test or Split"):
        load_vegas(tmp_path / "table.h5")


def test_features_of_ones_own_have_any_width(tmp_path):
    X, y = stored_set()
    own = {"audio": X["audio"][..., :7], "visual": X["visual"][..., :9]}
    path = write_split(tmp_path, own, y)
    assert load_vegas(path, n_features=(7, 9)).X["visual"].shape == (N, 9)
    assert load_vegas(path, n_features=None).X["audio"].shape == (N, 7)
    with pytest.raises(ValueError, match=r"audio_train of .* 128 audio features are needed"):
        load_vegas(path)
    with pytest.raises(ValueError, match=r"n_features=\(7,\) must be two numbers"):
        load_vegas(path, n_features=(7,))


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.h5"):
        load_vegas(tmp_path / "absent.h5")


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    path = write_split(tmp_path, *stored_set())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r'pip install "cca_estimators\[datasets\]"'):
        load_vegas(path)


def test_values_in_other_files_are_not_read(tmp_path):
    """A file may name another one as the place of its values: that would read any file there is."""
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(30 * 128 * 4))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["rows"] = np.zeros((30, 128), np.float32)

    def external(file):
        shape = {"shape": (30, 128), "dtype": np.float32}
        file.create_dataset("audio_train", external=[(secret, 0, h5py.h5f.UNLIMITED)], **shape)

    def virtual(file):
        layout = h5py.VirtualLayout((30, 128), np.float32)
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "rows", (30, 128))
        file.create_virtual_dataset("audio_train", layout)

    def link(file):
        file["audio_train"] = h5py.ExternalLink(tmp_path / "other.h5", "rows")

    for number, place in enumerate((external, virtual, link)):
        path = tmp_path / f"hostile{number}.h5"
        with h5py.File(path, "w") as file:
            place(file)
        with pytest.raises(ValueError, match="other files|another file"):
            load_vegas(path)


def test_mapped_views_are_read_by_several_processes(tmp_path):
    write_h5 = np.random.default_rng(0)
    with h5py.File(tmp_path / "vegas.h5", "w") as file:
        for part, n in {"train": 24, "test": 6}.items():
            file[f"audio_{part}"] = write_h5.standard_normal((n, 128)).astype(np.float32)
            file[f"visual_{part}"] = write_h5.standard_normal((n, 1024)).astype(np.float32)
            file[f"lab_{part}"] = np.arange(n) % 3
    data = load_vegas(tmp_path / "vegas.h5", memmap_dir=tmp_path / "views")
    scores = [
        cross_val_score(CCCA(), data.X, data.y, scoring=cross_modal_map, cv=2, n_jobs=n_jobs)
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("huge", "cannot be read"),
        ("name", "cannot be read|holds"),
    ],
)
def test_damage_of_any_kind_names_the_file(file, message, tmp_path):
    folder = tmp_path / "features"
    for kind in ("vgg", "inception", "VEGAS_classes"):
        (folder / kind).mkdir(parents=True)
        np.save(folder / kind / "a.npy", np.ones((2, 128)))
    path = folder / "vgg" / "a.npy"
    content = path.read_bytes()
    changed = {
        "huge": content.replace(b"(2, 128)", b"(9**9, 8)".replace(b"9**9", b"9" * 4)),
        "name": content[:8] + b"\xff" + content[9:],
    }[file]
    path.write_bytes(changed)
    with pytest.raises(ValueError, match=message):
        load_vegas(folder)


def test_more_memory_than_there_is_names_the_file(tmp_path):
    path = tmp_path / "vegas.h5"
    with h5py.File(path, "w") as file:
        for part in ("train", "test"):
            for view, width in (("audio", 128), ("visual", 1024)):
                shape = (2**44, width)
                file.create_dataset(f"{view}_{part}", shape, np.float32, chunks=(1, width))
            file.create_dataset(f"lab_{part}", (2**44,), np.int64, chunks=(1024,))
    with pytest.raises(ValueError, match=f"{path}|vegas.h5"):
        load_vegas(path)
