"""CSV files as a source, parsed by blocks of lines (extra `data`)."""

import csv
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.data.source import Rows
from fastbatch.data.table import Selection

Array = NDArray[Any]

_LINES = 1024  # from one remembered place in the file to the next
_BYTES = 1 << 20  # looked at in one go when places are sought
_LONGEST = (1 << 31) - 1  # of what pyarrow parses at once, and so of a line


class CSVSource:
    """Rows of a CSV file of numbers with a header; needs pyarrow.

    The file is gone through once, to remember where every 1,024th line begins; after that any lines
    can be read. Parsing takes far longer than reading: for many epochs convert it to Parquet.

    Parameters
    ----------
    path : str or path
    target : str or list of str
        The column of the targets, or the columns.
    features : list of str, optional
        The columns of X. Default: all others, as they stand.
    sample_weight : str, optional
        The column of the weights.
    categorical : list of str
        The columns that are names, for `PreparedSource`: they are read as text.
    delimiter, decimal : str
        What stands between columns, and before the fraction of a number.

    Attributes
    ----------
    features, categorical : tuple of str
    bounds : ndarray of int64
        Where the remembered lines are, and N.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    ValueError
        If a column is missing or does not hold numbers, or a line has too many or too few.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("a,b,price\\n1,3,5\\n2,4,6\\n")
    ...     file.flush()
    ...     X, y, _ = CSVSource(file.name, target="price").read(0, 2)
    >>> X.tolist(), y.tolist()
    ([[1.0, 3.0], [2.0, 4.0]], [5.0, 6.0])
    """

    def __init__(
        self,
        path: str | Path,
        target: str | Sequence[str],
        features: Sequence[str] | None = None,
        sample_weight: str | None = None,
        categorical: Sequence[str] = (),
        delimiter: str = ",",
        decimal: str = ".",
    ) -> None:
        self._csv = _pyarrow_csv()
        self._path, self._delimiter, self._decimal = Path(path), delimiter, decimal
        with self._path.open("rb") as file:
            header = file.readline().decode("utf-8-sig")
            self._places, rows = _places(file)
        self._names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        self._selection = Selection(self._names, target, features, sample_weight, categorical)
        self._selection.check(self._names, self._path)
        self.features, self.categorical = self._selection.features, self._selection.texts
        self.bounds: Array = np.append(np.arange(0, rows, _LINES), rows)

    def __len__(self) -> int:
        return int(self.bounds[-1])

    def read(self, start: int, stop: int) -> Rows:
        """Read the rows from `start` to `stop`.

        Examples
        --------
        See `CSVSource`.
        """
        first, last = start // _LINES, -(-stop // _LINES)
        with self._path.open("rb") as file:
            file.seek(self._places[first])
            text = file.read(self._places[last] - self._places[first])
        columns = self._selection.columns
        texts = self._selection.texts
        kinds = {name: "string" if name in texts else "float64" for name in columns}
        try:
            table = self._csv.read_csv(
                BytesIO(text),
                self._csv.ReadOptions(
                    use_threads=False,
                    block_size=min(len(text), _LONGEST),
                    column_names=self._names,
                ),
                self._csv.ParseOptions(delimiter=self._delimiter),
                self._csv.ConvertOptions(
                    include_columns=columns, column_types=kinds, decimal_point=self._decimal
                ),
            )
        except ValueError as error:  # pyarrow's own
            raise ValueError(f"{self._path}, rows {start} to {stop}: {error}") from error
        expected = min(last * _LINES, len(self)) - first * _LINES
        if len(table) != expected:
            raise ValueError(
                f"{self._path}, rows {start} to {stop}: expected a row in each of {expected} "
                f"lines, found {len(table)}: remove empty lines, and line breaks in quotes"
            )
        return self._selection.of(table.slice(start - first * _LINES, stop - start), self._path)


def _places(file: Any) -> tuple[list[int], int]:
    """Where every 1,024th line from here on begins, where the last one ends, and their number."""
    place = file.tell()
    places, lines, ends_open = [place], 0, False
    while text := file.read(_BYTES):
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1
        wanted = np.arange(-(lines + 1) % _LINES, len(ends), _LINES)
        places.extend((place + ends[wanted]).tolist())
        lines, place, ends_open = lines + len(ends), place + len(text), text[-1:] != b"\n"
    lines += ends_open
    if places[-1] != place:
        places.append(place)
    return places, lines


def _pyarrow_csv() -> Any:
    try:
        from pyarrow import csv
    except ImportError as error:
        raise ImportError("CSVSource needs pyarrow: pip install 'fastbatch[data]'") from error
    return csv
