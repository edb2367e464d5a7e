"""From stored features to views: scaling, the mean over steps, cutting and padding sequences."""

from pathlib import Path

import numpy as np

from cca_estimators._storage import replacing

_MIDDLE, _RANGE = 128, 256  # of features quantised to 8 bits


def read_view(sources, n_steps=None, pad="zero", path=None):
    """Return the rows of some sources, one after the other, as one view.

    Parameters
    ----------
    sources : list of sources
        Each of shape (n, features) or (n, steps, features).
    n_steps : int, default=None
        Length to cut or pad sequences to; None: take the mean over their real steps.
    pad : {"zero", "nan"}, default="zero"
        Value of padding.
    path : path-like, default=None
        File of format npy to keep the view in; None: keep it in memory.

    Returns
    -------
    rows : ndarray or memmap of float32, shape (n, features) or (n, n_steps, features)
    mask : ndarray of bool, shape (n, n_steps), or None if `n_steps` is None
        True where a step is real.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    n_samples = sum(source.shape[0] for source in sources)
    steps = () if n_steps is None else (n_steps,)
    shape = (n_samples, *steps, sources[0].shape[-1])
    mask = None if n_steps is None else np.zeros(shape[:2], dtype=bool)
    if path is None:
        rows = np.empty(shape, np.float32)
        _fill(rows, mask, sources, pad)
    else:
        rows = _fill_file(Path(path), shape, mask, sources, pad)
    return rows, mask


def _fill_file(path, shape, mask, sources, pad):
    """Write a view to a file that takes its name when it is complete, and map it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        rows = np.lib.format.open_memmap(unfinished, "w+", np.float32, shape)
        _fill(rows, mask, sources, pad)
        rows.flush()
    return np.load(path, mmap_mode="r")


def _fill(rows, mask, sources, pad):
    start = 0
    for source in sources:
        first = start
        for block in source.blocks():
            here = slice(start, start + len(block))
            if mask is None:
                rows[here], finite = _means(block)
            else:
                rows[here], mask[here], finite = _sequences(block, rows.shape[1], pad)
            if not finite.all():
                where = source.row_name(start - first + np.argmin(finite))
                raise ValueError(f"{where} holds NaN or infinity. Drop it or compute it again.")
            start += len(block)


def _means(block):
    with np.errstate(over="ignore", invalid="ignore"):
        rows = pooled(block)
    return rows, np.isfinite(rows).all(axis=1)


def _sequences(block, n_steps, pad):
    with np.errstate(over="ignore", invalid="ignore"):
        rows, mask = padded(block, n_steps, pad)
    return rows, mask, (np.isfinite(rows).all(axis=2) | ~mask).all(axis=1)


def pooled(block):
    """Return scaled features, and of sequences their means over real steps.

    Parameters
    ----------
    block : ndarray of shape (n, features) or (n, steps, features)

    Returns
    -------
    rows : ndarray of float32, shape (n, features)
    """
    if block.ndim == 2:
        return scaled(block)
    real = real_steps(block)
    if not real.all():
        block = np.where(real[:, :, None], block, 0)
    means = block.sum(axis=1, dtype=np.float64) / real.sum(axis=1, keepdims=True)
    return scaled(means, quantised=block.dtype.kind in "iu")


def padded(block, n_steps, pad):
    """Return scaled sequences cut or padded to a length, and which of their steps are real.

    Parameters
    ----------
    block : ndarray of shape (n, steps, features)
    n_steps : int
    pad : {"zero", "nan"}

    Returns
    -------
    rows : ndarray of float32, shape (n, n_steps, features)
    mask : ndarray of bool, shape (n, n_steps)
    """
    kept = min(n_steps, block.shape[1])
    mask = np.zeros((len(block), n_steps), dtype=bool)
    mask[:, :kept] = real_steps(block)[:, :kept]
    rows = np.zeros((len(block), n_steps, block.shape[2]), np.float32)
    rows[:, :kept] = scaled(block[:, :kept])
    rows[~mask] = np.nan if pad == "nan" else 0
    return rows, mask


def real_steps(block):
    """Tell which steps are real: trailing ones of only zeros or only NaN are padding.

    A sequence that is blank from beginning to end counts as real.
    """
    blank = ~block.any(axis=2)
    if block.dtype.kind == "f":
        blank |= np.isnan(block).all(axis=2)
    n_trailing = np.argmin(blank[:, ::-1], axis=1)
    return np.arange(block.shape[1]) < (block.shape[1] - n_trailing)[:, None]


def scaled(values, quantised=None):
    """Return float32, from 8 bits ``(x - 128) / 256``; floating values stay as they are."""
    quantised = values.dtype.kind in "iu" if quantised is None else quantised
    values = values.astype(np.float32)
    return (values - _MIDDLE) / _RANGE if quantised else values
