"""Rows of an array in a file, read by their place in it.

A memory map would do, but its pages count as resident memory until the system wants them back,
which a container's limit may not wait for, and a file that was cut short kills a process that maps
it, where a read raises an error.
"""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class FileRows:
    """The rows of a C-contiguous array that begins at byte `offset` of a file.

    The file is opened for each slice, so that nothing is left open, and any thread may read.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int):
        self._path, self._offset = path, offset
        self.dtype, self.shape = dtype, shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Array:
        start, stop, _ = rows.indices(len(self))
        width = int(np.prod(self.shape[1:], dtype=np.int64))
        count = (stop - start) * width
        place = self._offset + start * width * self.dtype.itemsize
        values: Array = np.fromfile(self._path, self.dtype, count, offset=place)
        if len(values) < count:
            raise OSError(
                f"{self._path} ends within rows {start} to {stop}, expected {len(self)} rows: "
                "it was cut short, write it again"
            )
        return values.reshape(stop - start, *self.shape[1:])


def behind(array: Array) -> FileRows | None:
    """The file behind a memory map or a part of one; None if it is not such, or not in C order."""
    whole: Any = array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    if not isinstance(whole, np.memmap) or not isinstance(whole.base, mmap.mmap):
        return None
    if whole.filename is None or whole.mode == "c" or not array.flags.c_contiguous:
        return None  # "c": what was assigned is in memory only
    place = array.ctypes.data - whole.ctypes.data
    rows = FileRows(Path(whole.filename), array.dtype, array.shape, whole.offset + place)
    last = slice(max(len(array) - 1, 0), len(array))
    if rows[last].tobytes() != array[last].tobytes():
        raise ValueError(f"{whole.filename} is another file by now than the one that is mapped")
    return rows
