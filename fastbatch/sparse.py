"""Sparse matrices at the door: rows that kernels can follow without looking where they lead."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.backends import SparseRows

Array = NDArray[Any]

_CURE = "the matrix is damaged, build it anew"


def is_sparse(values: Any) -> bool:
    """Whether `values` are one of SciPy's sparse matrices or arrays, or rows of such."""
    return isinstance(values, SparseRows) or hasattr(values, "tocsr")


def rows(name: str, values: Any) -> SparseRows:
    """Return the rows of a sparse matrix: columns in ascending order, none of them twice.

    Arrays that are so are used in place, others are sorted in a copy, where what stands twice is
    summed. The dtype stays.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> twice = csr_array(([1.0, 2.0, 4.0], [1, 0, 1], [0, 3]), shape=(1, 2))
    >>> found = rows("X", twice)
    >>> found.indices, found.data
    (array([0, 1]...), array([2., 5.]))
    """
    compressed = values if isinstance(values, SparseRows) else values.tocsr()
    data = np.asarray(compressed.data)
    if data.ndim != 1:
        raise ValueError(f"{name}.data must be a vector, found {data.ndim} dimensions: {_CURE}")
    indices = _integers(f"{name}.indices", compressed.indices)
    indptr = _integers(f"{name}.indptr", compressed.indptr).astype(np.int64, copy=False)
    examples, columns = compressed.shape
    _check_starts(name, indptr, examples, min(len(indices), len(data)))
    stored = slice(indptr[0], indptr[-1])
    data, indices = data[stored], indices[stored]
    if indptr[0]:
        indptr = indptr - indptr[0]
    _check_columns(name, indices, columns)
    if _ascend(indices, indptr):
        return SparseRows(data, indices, indptr, columns)
    from scipy.sparse import csr_array  # half of what every command would take to start

    ordered = csr_array((data, indices, indptr), (examples, columns), copy=True)
    ordered.sum_duplicates()
    indptr = ordered.indptr.astype(np.int64, copy=False)
    return SparseRows(ordered.data, ordered.indices, indptr, columns)


def row_and_column(compressed: SparseRows, number: int) -> tuple[int, int]:
    """Row and column of one of the numbers."""
    row = compressed.indptr.searchsorted(number, side="right") - 1
    return int(row), int(compressed.indices[number])


def _integers(what: str, values: Any) -> Array:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(
            f"{what} must be a vector of integers, found {array.ndim} dimensions of "
            f"{array.dtype}: {_CURE}"
        )
    dtype = array.dtype if array.dtype in (np.int32, np.int64) else np.int64
    return np.require(array, dtype, ["C", "A"])


def _check_starts(name: str, indptr: Array, examples: int, numbers: int) -> None:
    """Refuse rows that begin before the numbers do, or end behind them or before they begin."""
    if len(indptr) != examples + 1:
        raise ValueError(
            f"{name}.indptr must have {examples + 1} entries, one more than there are rows, "
            f"found {len(indptr)}: {_CURE}"
        )
    if indptr[0] < 0 or indptr[-1] > numbers:
        raise ValueError(
            f"{name}.indptr goes from {indptr[0]} to {indptr[-1]}, expected places among the "
            f"{numbers} numbers of {name}: {_CURE}"
        )
    falls = indptr[1:] < indptr[:-1]
    if falls.any():
        row = int(falls.argmax())
        raise ValueError(
            f"{name}.indptr falls from {indptr[row]} to {indptr[row + 1]} in row {row}, expected "
            f"places that never fall: {_CURE}"
        )


def _check_columns(name: str, indices: Array, columns: int) -> None:
    """Refuse columns that the matrix does not have."""
    if len(indices) and (indices.min() < 0 or indices.max() >= columns):
        wrong = int(np.argmax((indices < 0) | (indices >= columns)))
        raise ValueError(
            f"{name}.indices[{wrong}] is {indices[wrong]}, expected columns in [0, {columns}): "
            f"{_CURE}"
        )


def _ascend(indices: Array, indptr: Array) -> bool:
    """Whether the columns of each row do."""
    rises = indices[1:] > indices[:-1]
    starts = indptr[1:-1]
    starts = starts[(starts > 0) & (starts < len(indices))]
    rises[starts - 1] = True  # from the last of a row to the first of the next
    return bool(rises.all())
