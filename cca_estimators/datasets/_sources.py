"""Arrays in files, read in blocks of rows, with errors that name the file."""

import zipfile
import zlib
from contextlib import contextmanager
from math import prod
from tokenize import TokenError

import numpy as np

NUMERIC = "fiu"
_BLOCK_BYTES = 2**24
_UNREADABLE = (
    *(OSError, EOFError, RuntimeError, KeyError, ValueError, TypeError, AttributeError),
    *(MemoryError, OverflowError, SyntaxError, UnicodeError),
    *(zipfile.BadZipFile, zlib.error, TokenError),
)


@contextmanager
def reading(path):
    """Turn a failure to read a file that is there into a ValueError that names it."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} cannot be read, it may be corrupt or truncated: {error}. Fetch it again."
        ) from error


class H5Array:
    """A dataset of an open HDF5 file, or one field of a table in it.

    Parameters
    ----------
    dataset : h5py.Dataset
    field : str, default=None
        Name of the field, if the dataset is a table.
    """

    def __init__(self, dataset, field=None):
        self.path = dataset.file.filename
        self.name = field or dataset.name.lstrip("/")
        kind = dataset.dtype[field] if field else dataset.dtype
        self.dtype, inner = kind.subdtype or (kind, ())
        self.shape = (*dataset.shape, *inner)
        self._rows = dataset.fields(field) if field else dataset

    def blocks(self):
        """Yield arrays of consecutive rows."""
        size = _block_rows(self)
        for start in range(0, self.shape[0], size):
            with reading(self.path):
                block = np.asarray(self._rows[start : start + size])
            yield block

    def row_name(self, row):
        """Return where a row is, for an error."""
        return f"{self.name} of {self.path}, row {row},"


class NpzArray:
    """The array of an npz file, decompressed block by block.

    Parameters
    ----------
    path : pathlib.Path
    key : str, default="arr_0"
    """

    def __init__(self, path, key="arr_0"):
        self.path, self.name, self._member = path, path.name, f"{key}.npy"
        with reading(path), zipfile.ZipFile(path) as archive:
            keys = [name.removesuffix(".npy") for name in archive.namelist()]
        if key not in keys:
            raise ValueError(f"{path} holds the keys {keys}; the key {key!r} is needed.")
        with reading(path), zipfile.ZipFile(path) as archive, archive.open(self._member) as file:
            self.shape, self._by_columns, self.dtype = _read_header(file)
            stored = archive.getinfo(self._member).file_size - file.tell()
            due = prod(self.shape) * self.dtype.itemsize
            if stored != due:
                raise ValueError(f"{stored} bytes of data are stored where {due} are due")

    def blocks(self):
        """Yield arrays of consecutive rows."""
        blocks = self._read()
        while True:
            with reading(self.path):
                block = next(blocks, None)
            if block is None:
                return
            yield block

    def _read(self):
        with zipfile.ZipFile(self.path) as archive, archive.open(self._member) as file:
            _read_header(file)
            if self._by_columns:
                yield np.frombuffer(file.read(), self.dtype).reshape(self.shape, order="F")
                return
            row_bytes = prod(self.shape[1:]) * self.dtype.itemsize
            while data := file.read(_block_rows(self) * row_bytes):
                yield np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])

    def row_name(self, row):
        """Return where a row is, for an error."""
        return f"{self.path}, row {row},"


class NpyFolder:
    """Sequences of any length, one npy file of shape (steps, features) per row.

    Its shape is that of sequences as long as the first one.

    Parameters
    ----------
    folder : pathlib.Path
    ids : list of str
        Names of the files, without their ending, in the order of the rows.
    """

    def __init__(self, folder, ids):
        self.name, self._files = folder.name, _files(folder, ids)
        self.shape = (len(ids), None, None)
        first = self._load(self._files[0])
        self.dtype, self.shape = first.dtype, (len(ids), *first.shape)

    def blocks(self):
        """Yield arrays of shape (1, steps, features)."""
        for path in self._files:
            yield self._load(path)[None]

    def _load(self, path):
        steps = _read_npy(path)
        n_features = self.shape[2]
        if steps.dtype.kind not in NUMERIC or steps.ndim != 2 or 0 in steps.shape:
            raise ValueError(
                f"{path} has shape {steps.shape} and dtype {steps.dtype}; numbers of shape "
                "(steps, features) with at least one step are needed."
            )
        if n_features not in (None, steps.shape[1]):
            raise ValueError(
                f"{path} has shape {steps.shape}, the first file of {self.name} {n_features} "
                "features. All files of a folder must have the same features, as columns."
            )
        return steps

    def row_name(self, row):
        """Return where a row is, for an error."""
        return str(self._files[row])


class ScalarFolder:
    """One number per row, each in an npy file of its own.

    Parameters
    ----------
    folder : pathlib.Path
    ids : list of str
        Names of the files, without their ending, in the order of the rows.
    """

    def __init__(self, folder, ids):
        self.name, self.shape, self._files = folder.name, (len(ids),), _files(folder, ids)

    def blocks(self):
        """Yield one array of all values."""
        yield np.array([_scalar(path) for path in self._files])


def _files(folder, ids):
    return [folder / f"{name}.npy" for name in ids]


def _read_npy(path):
    with reading(path), path.open("rb") as file:
        return np.lib.format.read_array(file)


def _scalar(path):
    value = _read_npy(path)
    if value.size != 1:
        raise ValueError(f"{path} has shape {value.shape}; a single label is needed.")
    return value.item()


def read_whole(source):
    """Return all rows of a source as one array."""
    return np.concatenate([*source.blocks()])


def _block_rows(source):
    row_bytes = prod(source.shape[1:]) * source.dtype.itemsize
    return max(1, _BLOCK_BYTES // max(1, row_bytes))


def _read_header(file):
    """Return shape, order by columns or not, and dtype of an npy file open at its beginning."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f"npy format {version} is unknown")
    return read[version](file)
