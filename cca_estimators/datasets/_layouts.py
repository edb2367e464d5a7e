"""The layouts in which features of videos are published, told apart by their contents."""

import os
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

import numpy as np

from cca_estimators.datasets._sources import (
    NUMERIC,
    H5Array,
    NpyFolder,
    NpzArray,
    ScalarFolder,
    read_whole,
    reading,
)

_MOST_GAIN = 1000  # times its own size that a file may unpack to, as zeros deflated
_H5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SPLIT_KEYS = ("Train_test", "Split")
_FOLDERS = ("vgg", "inception")
_NPZ = re.compile(r"(audio|rgb|lab)(Train|Test)(\d+)\.npz")


@dataclass
class Part:
    """Some rows as they are stored: a source of each view, and one raw label per row."""

    audio: object
    visual: object
    labels: np.ndarray


@dataclass
class Stored:
    """A data set as it is stored.

    Attributes
    ----------
    layout : str
        What the files are.
    parts : list of Part
        Consecutive rows.
    train : ndarray of bool or None
        Whether each row is to be trained on, if the files say so.
    folds : ndarray of int or None
        Number of the authors' fold of each row, if the files tell.
    ids : ndarray of str or None
        Name of each row, if the files name them.
    embedded : bool
        Whether the views are embeddings, of any width.
    """

    layout: str
    parts: list
    train: np.ndarray | None = None
    folds: np.ndarray | None = None
    ids: np.ndarray | None = None
    embedded: bool = False


@contextmanager
def open_stored(path, fold):
    """Open a file or folder of a known layout for as long as its rows are read.

    Parameters
    ----------
    path : pathlib.Path
    fold : int
        Number of the fold, where folds are files of their own.

    Yields
    ------
    stored : Stored

    Raises
    ------
    FileNotFoundError
        If there is no such path.
    ValueError
        If the files are of no known layout, unreadable, or do not fit one another.
    ImportError
        If the layout needs h5py, which is not installed.
    """
    if path.is_dir():
        yield _read_folder(path, fold)
        return
    with path.open("rb") as file:
        start = file.read(len(_H5_SIGNATURE))
    if start != _H5_SIGNATURE:
        raise ValueError(
            f"{path} is no HDF5 file: it starts with {start!r}. Give an HDF5 file, or the folder "
            f"of the {', '.join(_FOLDERS)} and label folders or of the npz files."
        )
    with reading(path):
        file = _import_h5py(path).File(path, "r")
    with file:
        yield _read_h5(path, file)


def _import_h5py(path):
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"Reading {path} needs h5py, which is not installed: "
            'pip install "cca_estimators[datasets]".'
        ) from error
    return h5py


def _read_h5(path, file):
    with reading(path):
        arrays = {array.name: array for array in _h5_arrays(file)}
    for keys, read in _H5_LAYOUTS.items():
        if set(keys) <= set(arrays):
            return read(path, arrays, keys)
    known = "; ".join(", ".join(keys) for keys in _H5_LAYOUTS)
    raise ValueError(f"{path} holds {_listed(arrays.values())}. It should hold one of: {known}.")


def _h5_arrays(file):
    """Yield the datasets at the top of a file; of a table, its columns."""
    for name in file:
        link = file.get(name, getlink=True)
        if type(link).__name__ == "ExternalLink":
            raise ValueError(f"{name!r} is a link to another file, {link.filename!r}")
        dataset = file[name]
        if getattr(dataset, "shape", None) is None:
            continue
        if dataset.external or dataset.is_virtual:
            raise ValueError(f"{name!r} keeps its values in other files, which are not read")
        if dataset.nbytes > _MOST_GAIN * os.path.getsize(file.filename):
            raise ValueError(f"{name!r} has shape {dataset.shape}, far more than the file holds")
        if dataset.dtype.names:
            yield from (H5Array(dataset, field) for field in dataset.dtype.names)
        else:
            yield H5Array(dataset)


def _read_split_file(path, arrays, keys):
    parts = [_part(path, *(arrays[key] for key in three)) for three in (keys[:3], keys[3:])]
    train = np.repeat([True, False], [len(part.labels) for part in parts])
    return Stored("HDF5 file with a training and a test part", parts, train)


def _read_table(path, arrays, keys):
    part = _part(path, *(arrays[key] for key in keys))
    split = next((arrays[key] for key in _SPLIT_KEYS if key in arrays), None)
    if split is None:
        raise ValueError(
            f"{path} holds {_listed(arrays.values())}. It should also hold the split, as "
            f"{' or '.join(_SPLIT_KEYS)}."
        )
    flags = np.array([str(flag).removesuffix(".0") for flag in _vector(path, split)])
    if set(flags) - {"0", "1"} or len(flags) != len(part.labels):
        some = np.unique(flags)[:3].tolist()
        raise ValueError(
            f"{split.name} of {path} holds {len(flags)} values for {len(part.labels)} rows, such "
            f"as {some}. It should hold 1 for each row to train on, else 0."
        )
    return Stored("HDF5 table", [part], flags == "1")


def _read_embeddings(path, arrays, keys):
    part = _part(path, *(arrays[key] for key in keys))
    train = np.zeros(len(part.labels), dtype=bool)
    return Stored("HDF5 file of embeddings of a test part", [part], train, embedded=True)


_H5_LAYOUTS = {
    (
        *("audio_train", "visual_train", "lab_train"),
        *("audio_test", "visual_test", "lab_test"),
    ): _read_split_file,
    ("audio_feat", "visual_feat", "Label_ID"): _read_table,
    ("featN1", "featN2", "testLs"): _read_embeddings,
}


def _read_folder(path, fold):
    names = sorted(entry.name for entry in path.iterdir())
    label_folders = [name for name in names if name.endswith("_classes")]
    if {*_FOLDERS} <= {*names} and len(label_folders) == 1:
        return _read_npy_folders(path, label_folders[0])
    triples = [match for match in map(_NPZ.fullmatch, names) if match]
    if triples:
        return _read_npz_files(path, {match[0]: match for match in triples}, fold)
    raise ValueError(
        f"{path} holds {names[:10]}{' and more' if len(names) > 10 else ''}. It should hold the "
        f"folders {', '.join(_FOLDERS)} and one like VEGAS_classes, or files like "
        "audioTrain00.npz, rgbTrain00.npz and labTrain00.npz."
    )


def _read_npy_folders(path, label_folder):
    folders = [path / name for name in (*_FOLDERS, label_folder)]
    there = [{file.stem for file in folder.glob("[!.]*.npy")} for folder in folders]
    fold_of = _read_folds(path / "folds")
    ids = sorted(fold_of or set.union(*there))
    for folder, found in zip(folders, there, strict=True):
        missing = [name for name in ids if name not in found]
        if missing or not found:
            raise ValueError(
                f"{folder} holds {len(found)} npy files, and {len(missing)} of {len(ids)} samples "
                f"have none, such as {missing[:3]}. Every sample needs a file of the same name in "
                f"{', '.join(folder.name for folder in folders)}."
            )
    part = _part(
        path,
        *(NpyFolder(folder, ids) for folder in folders[:2]),
        ScalarFolder(folders[2], ids),
    )
    folds = np.array([fold_of[name] for name in ids]) if fold_of else None
    return Stored("folders of npy files", [part], folds=folds, ids=np.array(ids))


def _read_folds(folder):
    """Return the number of the fold of each sample named in the files of a folder."""
    fold_of = {}
    for number, file in enumerate(sorted(folder.glob("[0-9]*.txt"))):
        with reading(file):
            ids = file.read_text(encoding="utf-8").split()
        counts = Counter([*ids, *set(ids) & set(fold_of)])
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            raise ValueError(
                f"{file} names samples a second time, such as {twice[:3]}. A sample must be in "
                "one fold."
            )
        fold_of |= dict.fromkeys(ids, number)
    return fold_of


def _read_npz_files(path, files, fold):
    numbers = sorted({match[3] for match in files.values()})
    parts = {}
    for number in numbers:
        for part in ("Train", "Test"):
            names = [f"{kind}{part}{number}.npz" for kind in ("audio", "rgb", "lab")]
            missing = [name for name in names if name not in files]
            if missing:
                raise ValueError(f"{path} holds {sorted(files)}, but not {', '.join(missing)}.")
            audio, visual, labels = (NpzArray(path / name) for name in names)
            parts[part, number] = _part(path, audio, visual, labels)
    return _folds_of_npz(path, parts, numbers, fold)


def _folds_of_npz(path, parts, numbers, fold):
    """Lay the test parts of all folds one after the other if they make up the whole set."""
    sizes = {key: len(part.labels) for key, part in parts.items()}
    whole = sum(sizes["Test", number] for number in numbers)
    if all(sizes["Train", number] + sizes["Test", number] == whole for number in numbers):
        tests = [parts["Test", number] for number in numbers]
        folds = np.repeat(range(len(numbers)), [len(part.labels) for part in tests])
        return Stored("npz files of all folds", tests, folds=folds)
    if fold >= len(numbers):
        raise ValueError(f"fold={fold}, but {path} holds the folds {numbers} only.")
    both = [parts[part, numbers[fold]] for part in ("Train", "Test")]
    train = np.repeat([True, False], [len(part.labels) for part in both])
    return Stored(f"npz files of fold {numbers[fold]}", both, train)


def _part(path, audio, visual, labels):
    """Return a part after checking that its arrays are numbers and that their rows align."""
    found = f"Found: {_listed([audio, visual, labels])}."
    raw = _vector(path, labels)
    for array in (audio, visual):
        if array.dtype.kind not in NUMERIC or len(array.shape) not in (2, 3):
            raise ValueError(
                f"{array.name} of {path} has shape {array.shape} and dtype {array.dtype}; numbers "
                f"of shape (n, features) or (n, steps, features) are needed. {found}"
            )
        if array.shape[0] != len(raw):
            turned = " It looks transposed." if len(raw) in array.shape else ""
            raise ValueError(
                f"The rows of {path} do not align: {array.name} has {array.shape[0]}, "
                f"{labels.name} has {len(raw)}.{turned} {found}"
            )
    return Part(audio, visual, np.array(raw))


def _vector(path, source):
    """Return the values of an array (n,) or (n, 1) as a list of plain ones, bytes decoded."""
    if 0 in source.shape or len(source.shape) < 1 or prod(source.shape) != source.shape[0]:
        raise ValueError(
            f"{source.name} of {path} has shape {source.shape}; one value per row is needed, of "
            "shape (n,) or (n, 1)."
        )
    values = np.ravel(read_whole(source)).tolist()
    return [value.decode() if isinstance(value, bytes) else value for value in values]


def _listed(arrays):
    return ", ".join(f"{array.name} {array.shape}" for array in arrays) or "no array"
