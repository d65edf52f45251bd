"""Arrays without names for their columns: NPY and NPZ files."""

import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.data.fields import texts_of

Array = NDArray[Any]


class Matrix:
    """A `Table` of numbers in memory, (N, features) float64."""

    def __init__(self, X: Array, names: Sequence[str] | None = None) -> None:
        self._X = X
        self.names = tuple(f"x{i}" for i in range(X.shape[1])) if names is None else tuple(names)

    def is_text(self, name: str) -> bool:
        """Never."""
        return False

    def numbers(self, names: Sequence[str]) -> Array:
        """Columns of numbers, (N, len(names))."""
        return self._X[:, [self.names.index(name) for name in names]]

    def texts(self, name: str) -> Array:
        """A column written out, (N,) object."""
        return texts_of(self.targets(name))

    def targets(self, name: str) -> Array:
        """A column, (N,); whole numbers as integers."""
        column = self._X[:, self.names.index(name)]
        whole = np.isfinite(column).all() and (np.abs(column) < 2**53).all()
        return column.astype(np.int64) if whole and (column % 1 == 0).all() else column


def read_npy(path: str) -> Matrix:
    """The array of an NPY file, one row for each example."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile):
        array = None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} cannot be read as an NPY file of a plain array")
    return Matrix(_matrix(path, "the array", array))


def read_npz(path: str, *keys: str) -> tuple[Matrix, list[Array]]:
    """The array "X" of an NPZ file, and those under other keys, with an entry for each row."""
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in ("X", *keys) if key not in file]
            if missing:
                raise KeyError(
                    f"{path} has no array {missing[0]!r}: it holds {', '.join(file) or 'nothing'}"
                )
            X, *others = (file[key] for key in ("X", *keys))
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, TypeError):
        raise ValueError(f"{path} cannot be read as an NPZ file of plain arrays") from None
    for key, array in zip(keys, others, strict=True):
        if array.shape != X.shape[:1]:
            raise ValueError(
                f"{path}: {key} must have shape ({len(X)},), one entry for each row of X, "
                f"found {array.shape}"
            )
    return Matrix(_matrix(path, "X", X)), others


def _matrix(path: str, name: str, X: Array) -> Array:
    """Examples of any shape as rows of float64."""
    if X.ndim < 2 or X.size == 0 or X.dtype.kind not in "fiub":
        raise ValueError(
            f"{path}: {name} must be a table of numbers, one row for each example, "
            f"found {X.dtype} of shape {X.shape}"
        )
    return X.reshape(len(X), -1).astype(np.float64)
