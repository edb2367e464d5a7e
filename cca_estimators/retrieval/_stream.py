"""Galleries in parts, as they stream in and as they are handed on."""

from math import prod
from pathlib import Path

import numpy as np

from cca_estimators import _reading, _storage
from cca_estimators.views import n_rows, take_rows

_PART_BYTES = 2**25


def parts_of(rows, ids):
    """Yield the rows of a view in parts, with the ids of each, or None.

    Parameters
    ----------
    rows : array-like
        In memory, memory-mapped, an h5py dataset or a Dask collection.
    ids : ndarray of shape (n,), or None
    """
    start = 0
    for part in _chunks(rows) if _reading.is_dask(rows) else _slices(rows):
        stop = start + len(part)
        yield part, None if ids is None else ids[start:stop]
        start = stop


def _chunks(rows):
    rows = rows.to_dask_array() if hasattr(rows, "to_dask_array") else rows
    for number in range(len(rows.chunks[0])):
        yield np.asarray(rows.blocks[number])


def _slices(rows):
    shape = getattr(rows, "shape", (len(rows), 1))
    size = max(1, _PART_BYTES // (8 * prod(shape[1:])))
    for start in range(0, n_rows(rows), size):
        yield take_rows(rows, slice(start, start + size))


def blocks_of(gallery, ids):
    """Yield blocks of stored rows, and of ids or None, for another folder or file."""
    size = max(1, _PART_BYTES // (8 * gallery.shape[1]))
    for start in range(0, len(gallery), size):
        taken = slice(start, start + size)
        yield gallery[taken], None if ids is None else ids[taken]


def export_npy(path, gallery, ids):
    """Write rows to one file in NumPy's format, and ids to one beside it."""
    path = Path(path)
    _write_npy(path, (rows for rows, _ in blocks_of(gallery, None)), gallery)
    if ids is not None:
        _write_npy(path.with_suffix(".ids.npy"), (part for _, part in blocks_of(gallery, ids)), ids)


def _write_npy(path, blocks, whole):
    with _storage.replacing(path) as unfinished, unfinished.open("xb") as file:
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(whole.dtype)),
            "fortran_order": False,
            "shape": tuple(whole.shape),
        }
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, whole.dtype).tobytes())


def export_parquet(path, gallery, ids):
    """Write ids and rows to one Parquet file, of the columns "id" and "vector"."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "Parquet files need the package pyarrow: pip install 'cca_estimators[parquet]'. A path "
            "that ends in .npy needs no other package."
        ) from error
    start, writer = 0, None
    with _storage.replacing(path) as unfinished:
        for rows, own in blocks_of(gallery, ids):
            own = np.arange(start, start + len(rows)) if own is None else np.asarray(own)
            rows = np.ascontiguousarray(rows)
            rows = rows.view(np.uint8) if rows.dtype == np.uint64 else rows
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
            table = pa.table({"id": pa.array(own), "vector": vectors})
            writer = writer or parquet.ParquetWriter(unfinished, table.schema)
            writer.write_table(table)
            start += len(rows)
        writer.close()
