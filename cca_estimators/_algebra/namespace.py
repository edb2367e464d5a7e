"""What the algebra needs of arrays of any library, and the devices of PyTorch.

Products, Cholesky factors and elementwise work are done where the arrays lie. Decompositions of
matrices of which a side is small are done on the host: there is less waiting in that than in a call
of a GPU's LAPACK. Of NumPy, each name here is what NumPy or LAPACK does best.
"""

import numpy as np
from scipy import linalg

from cca_estimators._compat import get_namespace
from cca_estimators._reading.arrays import is_of_library, place_of, to_host

_HOST_SIDE = 512  # of a matrix that is decomposed on the host


def namespace(array):
    """Return the namespace of an array; that of what is no array of another library is NumPy's."""
    return get_namespace(array)[0] if is_of_library(array) else np


def like(array, reference):
    """Return a NumPy array where another array lies."""
    place = place_of(reference)
    return array if place is None else place.put(np.asarray(array))


def cast(array, dtype):
    """Return an array of a type, itself if it is of it."""
    if is_of_library(array):
        return namespace(array).astype(array, dtype, copy=False)
    return array.astype(dtype, copy=False)


def float64(array):
    """Return an array in float64."""
    return cast(array, namespace(array).float64)


def eps_of(array):
    """Return the relative spacing of the numbers of an array."""
    return float(namespace(array).finfo(array.dtype).eps)


def is_single(array):
    """Tell whether an array is in float32."""
    return array.dtype == namespace(array).float32


def copied(array):
    """Return a copy."""
    return namespace(array).asarray(array, copy=True) if is_of_library(array) else array.copy()


def joined(arrays):
    """Return arrays one below the other."""
    xp = namespace(arrays[0])
    return xp.concatenate(arrays) if xp is np else xp.concat(arrays, axis=0)


def beside(left, right):
    """Return two matrices side by side."""
    xp = namespace(left)
    return np.hstack([left, right]) if xp is np else xp.concat([left, right], axis=1)


def diagonal(matrix):
    """Return the diagonal of a matrix."""
    return namespace(matrix).linalg.diagonal(matrix) if is_of_library(matrix) else matrix.diagonal()


def trace(matrix):
    """Return the sum of the diagonal as a number."""
    if is_of_library(matrix):
        return float(namespace(matrix).sum(diagonal(matrix)))
    return matrix.trace()


def squared_norm(matrix):
    """Return the sum of the squares of a matrix as a number."""
    if is_of_library(matrix):
        return float(namespace(matrix).sum(matrix * matrix))
    return np.vdot(matrix, matrix)


def add_to_diagonal(matrix, value):
    """Add a number to the diagonal of a square matrix, in place."""
    if is_of_library(matrix):
        flat = namespace(matrix).reshape(matrix, (-1,))
        flat[:: matrix.shape[0] + 1] += value
    else:
        matrix[np.diag_indices_from(matrix)] += value


def set_diagonal(matrix, mask, value):
    """Return a square matrix with entries of its diagonal replaced by a number."""
    xp = namespace(matrix)
    numbers = like(np.arange(matrix.shape[0]), matrix)
    replaced = (numbers[:, None] == numbers[None, :]) & mask[:, None]
    return xp.where(replaced, xp.asarray(value, **_like_options(matrix)), matrix)


def _like_options(matrix):
    return {"dtype": matrix.dtype} | ({"device": matrix.device} if is_of_library(matrix) else {})


def row_sums(weights, rows):
    """Return the weighted sum of rows; weights of None are all 1."""
    if weights is None:
        xp = namespace(rows)
        weights = xp.ones(rows.shape[0], **_like_options(rows))
    return weights @ rows


def mean64(rows):
    """Return the mean of rows in float64."""
    if is_of_library(rows):
        return namespace(rows).mean(float64(rows), axis=0)
    return rows.mean(axis=0, dtype=np.float64)


def take(array, numbers, axis=0):
    """Return some rows or columns by their numbers, a NumPy array."""
    if is_of_library(array):
        return namespace(array).take(array, like(numbers, array), axis=axis)
    return array[numbers] if axis == 0 else array[:, numbers]


def take_along_rows(matrix, numbers):
    """Return the entries of each row by their numbers, shape of the numbers."""
    return namespace(matrix).take_along_axis(matrix, numbers, axis=1)


def with_entries(matrix, numbers, value):
    """Return a matrix with one entry of each row set, by its number; NumPy's is changed itself."""
    if not is_of_library(matrix):
        matrix[np.arange(len(matrix)), numbers] = value
        return matrix
    xp, columns = namespace(matrix), like(np.arange(matrix.shape[1]), matrix)
    chosen = columns[None, :] == like(numbers, matrix)[:, None]
    return xp.where(chosen, xp.full_like(matrix, value), matrix)


def count(mask):
    """Return the number of true entries of each row; of other libraries as floats, to divide by."""
    if is_of_library(mask):
        xp = namespace(mask)
        return xp.sum(xp.astype(mask, xp.float64), axis=1)
    return np.count_nonzero(mask, axis=1)


def suffix_extremum(matrix, kind):
    """Return the least or greatest of each entry and those right of it.

    Parameters
    ----------
    matrix : array, shape (n, m)
    kind : {"minimum", "maximum"}
    """
    if not is_of_library(matrix):
        return getattr(np, kind).accumulate(matrix[:, ::-1], axis=1)[:, ::-1]
    xp, step = namespace(matrix), 1
    while step < matrix.shape[1]:  # each entry knows of `step` entries, and asks the next of them
        beyond = getattr(xp, kind)(matrix[:, :-step], matrix[:, step:])
        matrix = xp.concat([beyond, matrix[:, -step:]], axis=1)
        step *= 2
    return matrix


def submatrix(matrix, numbers):
    """Return a copy of some rows and the same columns of a square matrix."""
    if len(numbers) == matrix.shape[0]:
        return copied(matrix)
    if is_of_library(matrix):
        return take(take(matrix, numbers), numbers, axis=1)
    return matrix[np.ix_(numbers, numbers)]


def spread(values, numbers, n_rows, fill=0.0):
    """Return a matrix of `n_rows` rows that holds values in some, and one number elsewhere."""
    if not is_of_library(values):
        full = np.full((n_rows, values.shape[1]), fill)
        full[numbers] = values
        return full
    if len(numbers) == n_rows:
        return values
    xp = namespace(values)
    sources = np.full(n_rows, len(numbers))
    sources[numbers] = np.arange(len(numbers))
    elsewhere = xp.full((1, values.shape[1]), fill, **_like_options(values))
    return take(xp.concat([values, elsewhere], axis=0), sources)


def cholesky(matrix):
    """Return the lower factor of a symmetric matrix, or None if it is not positive definite."""
    xp = namespace(matrix)
    try:
        factor = xp.linalg.cholesky(matrix)
    except (np.linalg.LinAlgError, RuntimeError):  # PyTorch's is a RuntimeError
        return None
    return factor if xp.isfinite(factor[-1, -1]) else None  # others leave NaN behind


def positive_factor(matrix):
    """Return what `solve_positive` takes of a positive definite matrix, which is given away.

    Raises
    ------
    numpy.linalg.LinAlgError
        If it is not positive definite.
    """
    if not is_of_library(matrix):  # .T: LAPACK wants columns, and works in place then
        return linalg.cho_factor(matrix.T, lower=True, overwrite_a=True, check_finite=False)
    factor = cholesky(matrix)
    if factor is None:
        raise np.linalg.LinAlgError("The matrix is not positive definite.")
    return factor


def solve_positive(factor, matrix):
    """Return ``(L L')^-1 A`` for what `positive_factor` returned."""
    if not is_of_library(matrix):
        return linalg.cho_solve(factor, matrix, check_finite=False)
    return solve_lower(factor, solve_lower(factor, matrix), transposed=True)


def solve_lower(factor, matrix, *, transposed=False):
    """Return ``L^-1 A``, or ``L^-T A``, for a lower factor `L`."""
    if not is_of_library(factor):
        kind = "T" if transposed else "N"
        return linalg.solve_triangular(factor, matrix, trans=kind, lower=True, check_finite=False)
    xp = namespace(factor)
    system = factor.T if transposed else factor
    if hasattr(xp.linalg, "solve_triangular"):
        return xp.linalg.solve_triangular(system, matrix, upper=transposed)
    return xp.linalg.solve(system, matrix)


def eigh(matrix, n_last=None):
    """Return the eigenvalues, ascending, and eigenvectors of a symmetric matrix.

    Parameters
    ----------
    matrix : array, shape (n, n)
    n_last : int, default=None
        Number of the last ones to find; None: all.
    """
    if is_of_library(matrix) and matrix.shape[0] > _HOST_SIDE:
        values, vectors = namespace(matrix).linalg.eigh(matrix)
        return (values, vectors) if n_last is None else (values[-n_last:], vectors[:, -n_last:])
    n_rows = matrix.shape[0]
    subset = None if n_last is None else (n_rows - n_last, n_rows - 1)
    found = linalg.eigh(to_host(matrix), subset_by_index=subset, check_finite=False)
    return tuple(like(part, matrix) for part in found)


def svd(matrix):
    """Return the thin singular value decomposition: left, values, right in rows."""
    if is_of_library(matrix) and min(matrix.shape) > _HOST_SIDE:
        return tuple(namespace(matrix).linalg.svd(matrix, full_matrices=False))
    found = linalg.svd(to_host(matrix), full_matrices=False, check_finite=False)
    return tuple(like(part, matrix) for part in found)


def free_bytes(array):
    """Return the free memory of the device of an array, or None where the device is not asked."""
    place = place_of(array)
    if place is None or not place.computes:
        return None
    if hasattr(array, "detach"):
        import torch

        return torch.cuda.mem_get_info(array.device)[0] if array.device.type == "cuda" else None
    cuda = getattr(place.xp, "cuda", None)
    return None if cuda is None else cuda.runtime.memGetInfo()[0]


def device_name(name):
    """Return the name of a device that is there, for "auto" the fastest.

    Raises
    ------
    ValueError
        If the device is not there.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={name!r} is not there ({str(error).splitlines()[0]}). "
            "A GPU is 'cuda' or, of a Mac, 'mps'. Set device='cpu', or 'auto' for the best."
        ) from error
    return name
