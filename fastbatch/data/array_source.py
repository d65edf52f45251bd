"""Arrays as a source: in memory, memory-mapped, or in .npy and .npz files."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from fastbatch import arrays
from fastbatch.constraints import one_of
from fastbatch.data.file_rows import FileRows, behind
from fastbatch.data.source import Rows

Array = NDArray[Any]
Values = ArrayLike | str | Path


class ArraySource:
    """Rows of arrays.

    Parameters
    ----------
    X : array_like or path, shape (N, inputs)
        A path is that of a ``.npy`` file. Such files, and memory maps of arrays in C order, are
        read by rows as they are needed; other arrays are used in place.
    y : array_like or path, shape (N, K) or (N,)
    sample_weight : array_like or path, shape (N,), optional

    Raises
    ------
    ValueError, TypeError
        If there are no rows, not as many of each, or no real numbers.

    Examples
    --------
    >>> source = ArraySource([[1, 2], [3, 4], [5, 6]], [7, 8, 9])
    >>> len(source)
    3
    >>> X, y, weights = source.read(1, 3)
    >>> X.tolist(), y.tolist(), weights
    ([[3, 4], [5, 6]], [8, 9], None)
    """

    def __init__(self, X: Values, y: Values, sample_weight: Values | None = None) -> None:
        parts = {"X": X, "y": y, "sample_weight": sample_weight}
        self._columns = {
            name: _rows(name, values) for name, values in parts.items() if values is not None
        }
        lengths = {name: len(rows) for name, rows in self._columns.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{length} in {name}" for name, length in lengths.items())
            raise ValueError(f"X, y and sample_weight must have as many rows, found {found}")
        if not len(self):
            raise ValueError("X has no rows, expected at least one")

    @classmethod
    def from_npz(
        cls, path: str | Path, X: str = "X", y: str = "y", sample_weight: str | None = None
    ) -> Self:
        """Take members of an ``.npz`` file by their names.

        What `numpy.savez` has written is read by rows; of a compressed file the members are read
        as a whole, since a row's place in it is not known.

        Parameters
        ----------
        path : str or path
        X, y : str
        sample_weight : str, optional

        Returns
        -------
        ArraySource

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/data.npz", X=np.eye(2), y=[0, 1])
        ...     source = ArraySource.from_npz(f"{folder}/data.npz")
        ...     source.read(1, 2)[0]
        array([[0., 1.]])
        """
        names = {"X": X, "y": y, "sample_weight": sample_weight}
        members: dict[str, Any] = {
            part: _member(Path(path), name) for part, name in names.items() if name is not None
        }
        return cls(**members)

    def __len__(self) -> int:
        return len(self._columns["X"])

    def read(self, start: int, stop: int) -> Rows:
        """Read the rows from `start` to `stop`.

        Examples
        --------
        >>> ArraySource([[1], [2]], [3, 4], [5, 6]).read(0, 1)
        (array([[1]]), array([3]), array([5]))
        """
        read = {name: rows[start:stop] for name, rows in self._columns.items()}
        return read["X"], read["y"], read.get("sample_weight")


def _rows(name: str, values: Any) -> Array | FileRows:
    """What gives rows when it is sliced."""
    if isinstance(values, FileRows):
        arrays.check_real(name, values.dtype)
        return values
    if isinstance(values, str | Path):
        if Path(values).suffix != ".npy":
            raise ValueError(
                f"{name} must be an array or the path of a .npy file, found {str(values)!r}: "
                "ArraySource.from_npz, CSVSource and ParquetSource read other files"
            )
        values = np.load(values, mmap_mode="r")
    array = arrays.numeric(name, values)
    if array.ndim == 0:
        raise ValueError(f"{name} must have rows, found a single number")
    rows = behind(values) if isinstance(values, np.memmap) else None
    return array if rows is None else rows


def _member(path: Path, name: str) -> Array | FileRows:
    """An array of an .npz file: its place where it is not compressed."""
    import zipfile  # 4 ms of `import fastbatch`, and rarely needed

    with zipfile.ZipFile(path) as archive:
        files = [file for file in archive.namelist() if file.endswith(".npy")]
        known = [file.removesuffix(".npy") for file in files]
        info = archive.getinfo(f"{one_of('member', name, known)}.npy")
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)  # of the member's own header: where its lengths stand
        lengths = np.frombuffer(file.read(4), "<u2")
        file.seek(int(lengths.sum()), 1)
        if info.compress_type == zipfile.ZIP_STORED and npy.read_magic(file) == (1, 0):
            shape, fortran_order, dtype = npy.read_array_header_1_0(file)
            if shape and not fortran_order and dtype.kind != "O":
                return FileRows(path, dtype, shape, file.tell())
    with np.load(path) as archive:
        return np.asarray(archive[name])
