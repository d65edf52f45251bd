"""What a source of data is: rows that stand in some order, and can be read from any place on."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Rows = tuple[Array, Array, Array | None]  # X, y, weights


class Source(Protocol):
    """Examples of which some consecutive ones can be read at a time.

    Anything with these two methods is a source. What `read` has returned must stay as it is, since
    the next rows are read while these are trained on. A source may also have an attribute `bounds`:
    the rows at which pieces begin that are best read as a whole, int64, from 0 to N.

    Examples
    --------
    >>> class Squares:
    ...     def __len__(self):
    ...         return 10**9
    ...     def read(self, start, stop):
    ...         x = np.arange(start, stop) / 1e9
    ...         return x[:, np.newaxis], x**2, None
    >>> from fastbatch.data import Stream
    >>> X, y, _ = next(Stream(Squares(), batch_size=2, shuffle=False).batches(epoch=0))
    >>> y
    array([0.e+00, 1.e-18])
    """

    def __len__(self) -> int:
        """How many examples there are."""

    def read(self, start: int, stop: int) -> Rows:
        """Examples, targets and weights (or None) of the rows from `start` to `stop`."""


def joined(parts: Iterable[Rows], rows: int) -> Rows:
    """So many rows that are read in several parts, each copied while it is in the cache."""
    whole: Any = [None, None, None]
    end = 0
    for part in parts:
        start, end = end, end + len(part[0])
        if end - start == rows:
            return part
        if start and (part[2] is None) != (whole[2] is None):
            raise ValueError("the source gives weights for some rows only: give all or none")
        for number, values in enumerate(part):
            if values is None:
                continue
            if start == 0:
                whole[number] = np.empty((rows, *values.shape[1:]), values.dtype)
            dtype = np.result_type(whole[number], values)
            if whole[number].dtype != dtype:  # gaps make whole numbers floating
                whole[number] = whole[number].astype(dtype)
            whole[number][start:end] = values
    return tuple(whole)


def check_rows(start: int, stop: int, rows: int) -> None:
    """Refuse to read what a source of so many rows does not have, or nothing."""
    if not 0 <= start < stop <= rows:
        raise ValueError(
            f"found read({start}, {stop}) of {rows} rows, expected 0 <= start < stop <= {rows}"
        )


@contextmanager
def located(where: str) -> Iterator[None]:
    """Let errors say of which data they are."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from error
    except OSError as error:
        if error.errno is None:  # so pyarrow says that a file is damaged
            raise ValueError(f"{where}: {error}") from error
        if error.filename is None:
            raise OSError(error.errno, error.strerror, where) from error
        raise
