"""One file for a fitted estimator and arrays, which runs no code when it is loaded.

The file is a zip archive of a JSON header, arrays in NumPy's format without pickles, and the
estimator in the format of skops. Deep estimators, which skops does not know, are stored as the
parameters, arrays and linear estimators that they are made of.
"""

import copy
import io
import json
import os
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

from numpy.lib import format as npy

from cca_estimators._compat import warn_user

VERSION = 1
_SPLITTERS = (
    "GroupKFold",
    "GroupShuffleSplit",
    "KFold",
    "LeaveOneGroupOut",
    "RepeatedKFold",
    "RepeatedStratifiedKFold",
    "ShuffleSplit",
    "StratifiedGroupKFold",
    "StratifiedKFold",
    "StratifiedShuffleSplit",
)
_MOST_GAIN = 100  # times its own size that a file may unpack to: a matrix of zeros reaches it
TRUSTED = (
    "cca_estimators._algebra.kernels.Kernel",
    "cca_estimators._algebra.kernels.NystroemMap",
    "cca_estimators._algebra.moments.Cross",
    "cca_estimators._algebra.moments.PairedScatter",
    "cca_estimators._algebra.moments.Scatter",
    "cca_estimators._algebra.wide.HeldRows",
    "cca_estimators.kernel.CKCCA",
    "cca_estimators.kernel.KCCA",
    "cca_estimators.linear.CCA",
    "cca_estimators.linear.CCCA",
    "cca_estimators.media._audio.LogMel",
    "cca_estimators.media._encoder.FrozenEncoder",
    "cca_estimators.media._frames.FrameFeatures",
    "cca_estimators.metrics._scorers._CrossModalScorer",
    "cca_estimators.metrics._scorers.cross_modal_map",
    "cca_estimators.metrics._scorers.cross_modal_scores",
    "cca_estimators.preprocessing.PerView",
    "cca_estimators.semantic.SemanticMatching",
    "numpy.dtype",
    "sklearn.metrics._scorer._PassthroughScorer",
    *(f"sklearn.model_selection._split.{name}" for name in _SPLITTERS),
    "sklearn.utils._metadata_requests.MetadataRequest",  # of which newer versions store nothing
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
)
_HEADER, _ESTIMATOR = "header.json", "estimator.skops"
_SCHEMA = "schema.json"  # what skops calls its list of types
_DEEP = "cca_estimators.deep"  # a name, not an import: PyTorch takes seconds
_MOVED = {  # modules by the names that older files hold
    "cca_estimators._kernels": "cca_estimators._algebra.kernels",
    "cca_estimators._moments": "cca_estimators._algebra.moments",
}
_NOTICED = ContextVar("noticed", default=None)


@contextmanager
def replacing(path):
    """Yield the path of a new file beside `path`, which takes its place when it is complete.

    The file is flushed to the disk before it is renamed, so that at any moment `path` is either
    what it was or what it is to be, whatever ends the process. On an error the new file is removed;
    a process that is killed leaves it behind, under a name that begins ``.cca_estimators-``.

    Parameters
    ----------
    path : str or path-like
        A link is followed; an existing file hands its permissions on.

    Raises
    ------
    ValueError
        If `path` is there and is no regular file.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise ValueError(f"{path} is {kind}; a file can be written and renamed only as a file.")
    unfinished = path.with_name(f".cca_estimators-{secrets.token_hex(8)}.part")
    try:
        yield unfinished
        if path.exists():
            shutil.copymode(path, unfinished)
        _flush(unfinished)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush(path):
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder):
    """Make a renaming last, where the system lets folders be flushed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def save(path, header, arrays, estimator):
    """Write a file, all of it or nothing.

    Parameters
    ----------
    path : str or path-like
    header : dict
        What JSON can hold.
    arrays : dict of ndarray
    estimator : estimator
        Fitted.
    """
    skops = _skops()
    with _noticing() as encoders:
        stored = skops.dumps(_portable(estimator))
    _warn_untrusted(_untrusted(stored) | _import_paths(encoders))
    with replacing(path) as unfinished, ZipFile(unfinished, "w", ZIP_STORED) as archive:
        archive.writestr(_HEADER, json.dumps({"version": VERSION, **header}))
        archive.writestr(_ESTIMATOR, stored)
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                npy.write_array(file, array, allow_pickle=False)


def load(path, trusted=()):
    """Read a file.

    Parameters
    ----------
    path : str or path-like
    trusted : collection of str
        Further types that may be in it, such as "package.module.Class".

    Returns
    -------
    header : dict
    arrays : dict of ndarray
    estimator : estimator

    Raises
    ------
    ValueError
        If the file is damaged, of another kind, or holds a type that is not trusted.
    """
    with _naming(path):
        size = _size(path)
    with _naming(path), ZipFile(path) as archive:
        _check_entries(archive, size)
        header = json.loads(archive.read(_HEADER))
        if not isinstance(header, dict) or not is_int(header.get("version"), VERSION, VERSION):
            raise ValueError(f"its version is not {VERSION}, the one that is known here")
        stored = _with_names_of_today(archive.read(_ESTIMATOR))
        names = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
        arrays = {name: _read_array(archive, f"{name}.npy") for name in names}
        untrusted = _untrusted(stored) - set(trusted)
    _refuse(untrusted, path)
    with _naming(path), _noticing() as encoders:
        estimator = _restored(_skops().loads(stored, [*TRUSTED, *trusted]))
    _refuse(_import_paths(encoders) - set(trusted), path)
    for encoder in encoders:
        encoder.allow(trusted)
    return header, arrays, estimator


def notice(encoder):
    """Take note of an object that imports what it names once it is used, if a file is at work.

    Returns
    -------
    bool
        Whether a file is being written or read.
    """
    noticed = _NOTICED.get()
    if noticed is not None:
        noticed.append(encoder)
    return noticed is not None


@contextmanager
def _noticing():
    """Collect the objects that import what they name, however a file comes by them."""
    noticed = []
    token = _NOTICED.set(noticed)
    try:
        yield noticed
    finally:
        _NOTICED.reset(token)


def _import_paths(encoders):
    models = (getattr(encoder, "model", None) for encoder in encoders)
    return {model for model in models if isinstance(model, str)}


def _refuse(untrusted, path):
    if untrusted:
        raise ValueError(
            f"{path} holds types that are not trusted: {sorted(untrusted)}. Nothing of it was "
            "loaded. If you know that they are harmless, and trust who wrote the file, pass their "
            "names as trusted=[...]."
        )


def versions():
    """Return the versions of the packages that a file was written with."""
    packages = ("cca_estimators", "scikit-learn", "numpy", "scipy", "skops", "torch", "skorch")
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _skops():
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(
            "Saving and loading need the package skops: pip install 'cca_estimators[save]'."
        ) from error
    return skops.io


@contextmanager
def _naming(path):
    """Name the file in what reading it raises: damage may show as an error of any kind."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError, ImportError):
        raise
    except Exception as error:
        raise ValueError(
            f"{path} is damaged or was not written by cca_estimators "
            f"({type(error).__name__}: {error})."
        ) from error


def is_int(value, least, most):
    """Tell whether a value of JSON is an integer, not True or 2.0, within bounds."""
    return type(value) is int and least <= value <= most


def _size(path):
    """Return the size of a file, which must be a regular one that is not mostly holes."""
    status = os.stat(path)
    allocated = 512 * getattr(status, "st_blocks", 0)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise ValueError("it is no regular file")
    if allocated and status.st_size > _MOST_GAIN * allocated:
        raise ValueError(f"it is sparse: {allocated} bytes stand for {status.st_size}")
    return status.st_size


def _check_entries(archive, size):
    """Raise ValueError if an archive of some size could unpack to more than that.

    Entries are stored as they are, and arrays as long as their headers say. Sparse matrices alone
    are compressed, by SciPy, to a size that is declared before anything is read.
    """
    names = archive.namelist()
    if len(set(names)) < len(names):
        raise ValueError("it holds entries of the same name")
    for info in archive.infolist():
        if info.compress_type != ZIP_STORED:
            raise ValueError(f"{info.filename} is compressed, which it never is when saved")
    if sum(info.file_size for info in archive.infolist()) > size:
        raise ValueError("its entries are larger than the file")
    for info in archive.infolist():
        if info.filename.endswith(".npy"):
            _check_array(archive, info)
        elif info.filename.endswith(".npz"):
            _check_sparse(archive.read(info))


def _check_array(archive, info):
    """Raise ValueError unless the header of an array fits its size, and it holds no objects."""
    with archive.open(info) as file:
        magic = npy.read_magic(file)
        reader = npy.read_array_header_1_0 if magic == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = reader(file)
        if file.tell() + prod(shape) * dtype.itemsize != info.file_size:
            raise ValueError(f"{info.filename} has another size than its header says")


def _check_sparse(stored):
    with ZipFile(io.BytesIO(stored)) as archive:
        if sum(info.file_size for info in archive.infolist()) > _MOST_GAIN * len(stored):
            raise ValueError("a sparse matrix unpacks to far more than the file holds")
        for info in archive.infolist():
            _check_array(archive, info)


def _read_array(archive, name):
    with archive.open(name) as file:
        return npy.read_array(file, allow_pickle=False)


def _with_names_of_today(stored):
    """Return an archive of skops with the modules of its types as they are called now."""
    with ZipFile(io.BytesIO(stored)) as archive:
        _check_entries(archive, len(stored))
        entries = {info: archive.read(info) for info in archive.infolist()}
    renamed = io.BytesIO()
    with ZipFile(renamed, "w") as archive:
        for info, content in entries.items():
            if info.filename == _SCHEMA:
                content = json.dumps(json.loads(content, object_hook=_renamed))
            archive.writestr(info, content)
    return renamed.getvalue()


def _renamed(node):
    module = node.get("__module__")
    return {**node, "__module__": _MOVED[module]} if module in _MOVED else node


def _untrusted(stored):
    return set(_skops().get_untrusted_types(data=stored)) - set(TRUSTED)


def _warn_untrusted(untrusted):
    if untrusted:
        warn_user(
            f"The estimator holds types that are not trusted when it is loaded: pass "
            f"trusted={sorted(untrusted)} to load.",
        )


def _portable(value):
    """Return a value with the deep estimators in it, at any depth, as dicts."""
    if not _is_estimator(value):
        return _with_parts(value, _portable)
    kernels = getattr(value, "kernels_", {}).values()
    if any(callable(kernel.kernel) for kernel in kernels):
        raise ValueError(
            f"The kernel of {type(value).__name__} is a function, which is no data. Name a "
            "kernel, or keep the estimator by joblib.dump, which is to be loaded from trusted "
            "files only."
        )
    if not hasattr(value, "_to_data"):
        return _with_parts(value, _portable)
    name = type(value).__name__
    if type(value) is not getattr(import_module(_DEEP), name, None):
        raise ValueError(
            f"{name} is a class of its own, and only the deep estimators of cca_estimators can be "
            "made again from numbers."
        )
    return {"deep": name, **_with_parts(value._to_data(), _portable)}


def _restored(value):
    """Return what `_portable` was given."""
    value = _with_parts(value, _restored)
    if type(value) is not dict or not isinstance(value.get("deep"), str):
        return value
    deep = import_module(_DEEP)
    if value["deep"] not in deep.METHODS:
        raise ValueError(f"it names an estimator {value['deep']!r}, which is not known")
    return getattr(deep, value["deep"])._from_data(value)


def _is_estimator(value):
    return hasattr(value, "get_params") and not isinstance(value, type)


def _with_parts(value, function):
    """Return a value with what a function makes of its parts; the value itself if it is them."""
    if type(value) in (list, tuple):
        parts = [function(part) for part in value]
        changed = any(new is not old for new, old in zip(parts, value, strict=True))
        return type(value)(parts) if changed else value
    of_scikit_learn = type(value).__module__.startswith("sklearn.") and hasattr(value, "__dict__")
    if not (type(value) is dict or _is_estimator(value) or of_scikit_learn):
        return value
    before = value if isinstance(value, dict) else vars(value)
    after = {name: function(part) for name, part in before.items()}
    if all(after[name] is part for name, part in before.items()):
        return value
    if isinstance(value, dict):
        return after
    copied = copy.copy(value)
    vars(copied).update(after)
    return copied
