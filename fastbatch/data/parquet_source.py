"""Parquet files as a source, read by row groups (extra `data`)."""

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.data.source import Rows, check_rows, joined, located
from fastbatch.data.table import Selection, one_or_more

Array = NDArray[Any]


class ParquetSource:
    """Rows of one or several Parquet files; needs pyarrow.

    A row group is decoded as a whole, so what is in memory grows with it: some ten thousand rows
    are a good size.

    Parameters
    ----------
    paths : str or path, or a list of them
        The files follow each other.
    target : str or list of str, or None
        The column of the targets, or the columns. None is for rows to be predicted: y, which has
        no columns then, is not to train on.
    features : list of str, optional
        The columns of X. Default: all others, as they stand.
    sample_weight : str, optional
        The column of the weights.
    categorical : list of str
        The columns that are names, for `PreparedSource`: they are read as text.

    Attributes
    ----------
    features, categorical : tuple of str
    bounds : ndarray of int64
        Where row groups begin, and N.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    ValueError, TypeError
        If a column is missing or does not hold numbers.

    Examples
    --------
    >>> import tempfile
    >>> import pyarrow, pyarrow.parquet
    >>> table = pyarrow.table({"a": [1.0, 2.0], "b": [3.0, 4.0], "price": [5, 6]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pyarrow.parquet.write_table(table, f"{folder}/houses.parquet")
    ...     source = ParquetSource(f"{folder}/houses.parquet", target="price")
    ...     X, y, _ = source.read(0, 2)
    >>> source.features, X.tolist(), y.tolist()
    (('a', 'b'), [[1.0, 3.0], [2.0, 4.0]], [5, 6])
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        target: str | Sequence[str] | None,
        features: Sequence[str] | None = None,
        sample_weight: str | None = None,
        categorical: Sequence[str] = (),
    ) -> None:
        self._parquet = _parquet()
        files = [self._opened(Path(path)) for path in one_or_more(paths)]
        if not files:
            raise ValueError("paths holds no file, expected at least one")
        path, _, names = files[0]
        with located(str(path)):
            self._selection = Selection(names, target, features, sample_weight, categorical)
        self._groups: list[tuple[Path, Any, int]] = []  # file, its metadata, number in it
        starts = [0]
        for path, metadata, names in files:
            self._selection.check(names, path)
            for number in range(metadata.num_row_groups):
                rows = metadata.row_group(number).num_rows
                if rows:
                    self._groups.append((path, metadata, number))
                    starts.append(starts[-1] + rows)
        self.features, self.categorical = self._selection.features, self._selection.texts
        self.bounds: Array = np.array(starts, np.int64)
        self._last: tuple[int, Rows] | None = None  # the row group that was decoded last

    def __len__(self) -> int:
        return int(self.bounds[-1])

    def read(self, start: int, stop: int) -> Rows:
        """Read the rows from `start` to `stop`, decoding the row groups that have them.

        Examples
        --------
        See `ParquetSource`.
        """
        check_rows(start, stop, len(self))
        parts = []
        for group in range(bisect_right(self.bounds, start) - 1, len(self._groups)):
            first = int(self.bounds[group])
            if first >= stop:
                break
            rows = slice(max(start - first, 0), stop - first)
            X, y, weights = self._decoded(group)
            parts.append((X[rows], y[rows], None if weights is None else weights[rows]))
        return joined(parts, stop - start)

    def _opened(self, path: Path) -> tuple[Path, Any, list[str]]:
        with located(str(path)), self._parquet.ParquetFile(path) as file:
            return path, file.metadata, file.schema_arrow.names

    def _decoded(self, group: int) -> Rows:
        last = self._last
        if last is None or last[0] != group:
            path, metadata, number = self._groups[group]
            with (
                located(str(path)),
                self._parquet.ParquetFile(path, metadata=metadata) as file,
            ):
                table = file.read_row_group(number, self._selection.columns, use_threads=False)
            self._last = last = group, self._selection.of(table, path)
        return last[1]


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError("ParquetSource needs pyarrow: pip install 'fastbatch[data]'") from error
    return parquet
