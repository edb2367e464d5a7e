"""Galleries on disk: a folder of shards that are never rewritten, and one manifest.

Rows and ids lie in NumPy's format, in files that are written once under new names. Only those that
the manifest names count, and it is replaced as one, so that whatever ends a writer leaves the old
gallery or the new one. Files that no manifest names are swept when the folder is next written to.
"""

import json
import os
import re
import secrets
import stat
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import numpy as np

from cca_estimators import _storage

FORMAT = "cca_estimators.CrossModalIndex.shards"
VERSION = 1
_MANIFEST = "manifest.json"
_MOST_BYTES = 2**26  # of a manifest
_SHARD_BYTES = 2**26
_NAME = re.compile(r"(rows|ids)-[0-9a-f]{16}\.npy|estimator-[0-9a-f]{16}\.zip")
_UNFINISHED = re.compile(r"\.cca_estimators-[0-9a-f]{16}\.part")


class Shards:
    """Arrays one below the other, indexed by slices and arrays of numbers as one array is.

    Parameters
    ----------
    parts : list of ndarray
        Of the same number of columns.
    """

    def __init__(self, parts):
        self.parts = parts
        self.dtype = np.result_type(*parts)
        self._starts = [0, *accumulate(len(part) for part in parts)]
        self.shape = (self._starts[-1], *parts[0].shape[1:])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, key):
        if not isinstance(key, slice):
            return self._rows(np.asarray(key))
        start, stop, _ = key.indices(len(self))
        first = bisect_right(self._starts, start) - 1
        pieces = []
        while start < stop:
            end = min(stop, self._starts[first + 1])
            pieces.append(
                self.parts[first][start - self._starts[first] : end - self._starts[first]]
            )
            start, first = end, first + 1
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces or [self.parts[0][:0]])

    def _rows(self, numbers):
        taken = np.empty((*numbers.shape, *self.shape[1:]), self.dtype)
        owners = np.searchsorted(self._starts, numbers, side="right") - 1
        for owner in np.unique(owners):
            mine = owners == owner
            taken[mine] = self.parts[owner][numbers[mine] - self._starts[owner]]
        return taken


class Folder:
    """A gallery on disk.

    Parameters
    ----------
    path : str or path-like
        Made if it is not there.

    Attributes
    ----------
    path : Path
    shards : list of dict
        Of each shard, the names of its files by "rows" and "ids", and its number of rows by "n".
    """

    def __init__(self, path):
        self.path = Path(path).absolute()
        self.shards = []
        self._estimator = None

    def written(self, blocks):
        """Write blocks, pairs of rows and of ids or None, and return the shards, not named yet."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.sweep()
        shards, held = [], []
        for rows, ids in blocks:
            held.append((rows, ids))
            if sum(part.nbytes for part, _ in held) >= _SHARD_BYTES:
                shards.append(self._write_shard(held))
                held = []
        return shards + ([self._write_shard(held)] if held else [])

    def _write_shard(self, held):
        rows, ids = zip(*held, strict=True)
        shard = {"n": sum(map(len, rows)), "rows": self._write("rows", np.concatenate(rows))}
        return shard | {"ids": None if ids[0] is None else self._write("ids", np.concatenate(ids))}

    def _write(self, kind, array):
        name = f"{kind}-{secrets.token_hex(8)}.npy"
        with (self.path / name).open("xb") as file:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        return name

    def name(self, header, shards, estimator):
        """Make shards the gallery, by one replacement of the manifest."""
        if self._estimator is None:
            stored = f"estimator-{secrets.token_hex(8)}.zip"
            _storage.save(self.path / stored, {"format": FORMAT}, {}, estimator)
            self._estimator = stored
        manifest = header | {
            "format": FORMAT,
            "version": VERSION,
            "estimator": self._estimator,
            "shards": shards,
        }
        with _storage.replacing(self.path / _MANIFEST) as path:
            path.write_text(json.dumps(manifest, indent=1))
        self.shards = shards

    def read(self, trusted):
        """Return the header and the estimator of the manifest, which may be wrong in any way."""
        manifest = self._manifest()
        self.shards = [_checked_shard(shard) for shard in manifest["shards"]]
        if not self.shards:
            raise ValueError("it names no shards")
        _check_name(manifest["estimator"], "estimator")
        self._estimator = manifest["estimator"]
        _, _, estimator = _storage.load(self.path / self._estimator, trusted)
        return manifest, estimator

    def _manifest(self):
        path = self.path / _MANIFEST
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES} bytes")
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        if not _storage.is_int(manifest.get("version"), VERSION, VERSION):
            raise ValueError(f"its version is not {VERSION}, the one that is known here")
        return manifest

    def opened(self, kind, shards=None):
        """Return the rows or the ids of shards, memory-mapped, or None if there are no ids."""
        shards = self.shards if shards is None else shards
        names = [shard[kind] for shard in shards]
        if None in names:
            if any(names):
                raise ValueError(f"some shards have {kind}, some have not")
            return None
        for name in names:
            if not stat.S_ISREG((self.path / name).lstat().st_mode):
                raise ValueError(f"{name} is no regular file")
        parts = [np.load(self.path / name, mmap_mode="r", allow_pickle=False) for name in names]
        for name, part, shard in zip(names, parts, shards, strict=True):
            if len(part) != shard["n"] or part.shape[1:] != parts[0].shape[1:]:
                raise ValueError(f"{name} has shape {part.shape}, not what the manifest says")
        return Shards(parts)

    def sweep(self):
        """Remove files of this kind that the manifest does not name."""
        named = set()
        if (self.path / _MANIFEST).exists():
            manifest = self._manifest()
            named = {
                manifest["estimator"],
                *(name for s in manifest["shards"] for name in s.values()),
            }
        for path in self.path.iterdir():
            if path.name not in named and (
                _NAME.fullmatch(path.name) or _UNFINISHED.fullmatch(path.name)
            ):
                path.unlink(missing_ok=True)


def is_folder(path):
    """Tell whether a path is that of a gallery on disk."""
    return Path(path).is_dir()


def _checked_shard(shard):
    _check_name(shard["rows"], "rows")
    if shard["ids"] is not None:
        _check_name(shard["ids"], "ids")
    if not _storage.is_int(shard["n"], 1, 2**48):
        raise ValueError(f"a shard has {str(shard['n'])[:20]} rows")
    return {key: shard[key] for key in ("n", "rows", "ids")}


def _check_name(name, kind):
    """Raise ValueError unless a name is that of a file which `Folder` writes, in the folder."""
    if not (isinstance(name, str) and _NAME.fullmatch(name) and name.startswith(kind)):
        raise ValueError(f"it names a file {str(name)[:60]!r} for its {kind}")
