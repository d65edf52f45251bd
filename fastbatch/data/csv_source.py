"""CSV files as a source, parsed by blocks of lines (extra `data`)."""

import csv
import re
from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.data.fields import has_decimal_comma
from fastbatch.data.source import Rows, check_rows, located
from fastbatch.data.table import Selection

Array = NDArray[Any]

_LINES = 1024  # from one remembered place in the file to the next
_BYTES = 1 << 20  # looked at in one go when places are sought
_LONGEST = (1 << 31) - 1  # of what pyarrow parses at once, and so of a line


class CSVSource:
    """Rows of a CSV file of numbers with a header; needs pyarrow.

    The file is gone through once, to remember where every 1,024th line begins; after that any lines
    can be read. Parsing takes far longer than reading: for many epochs convert it to Parquet.
    Booleans, as pandas writes them, are 1 and 0.

    Parameters
    ----------
    path : str or path
    target : str or list of str, or None
        The column of the targets, or the columns. None is for rows to be predicted: y, which has
        no columns then, is not to train on.
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
        target: str | Sequence[str] | None,
        features: Sequence[str] | None = None,
        sample_weight: str | None = None,
        categorical: Sequence[str] = (),
        delimiter: str = ",",
        decimal: str = ".",
    ) -> None:
        self._csv = _pyarrow_csv()
        self._path, self._delimiter, self._decimal = Path(path), delimiter, decimal
        for name, mark in {"delimiter": delimiter, "decimal": decimal}.items():
            if not (isinstance(mark, str) and len(mark) == 1 and mark.isascii()):
                raise ValueError(f"{name} must be a single ASCII character, found {mark!r}")
        with located(str(path)):
            with self._path.open("rb") as file:
                self._names = _header(file.readline(), delimiter)
                self._places, rows = _places(file)
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
        check_rows(start, stop, len(self))
        first, last = start // _LINES, -(-stop // _LINES)
        table = self._table(first, last, self._kinds)
        return self._selection.of(table.slice(start - first * _LINES, stop - start), self._path)

    @cached_property
    def _kinds(self) -> dict[str, str]:
        """Of columns: text, numbers, and what looks like booleans where the file begins."""
        texts = dict.fromkeys(self._selection.texts, "string")
        schema = self._table(0, 1, texts).schema
        kinds = {field.name: "bool" if field.type == "bool" else "float64" for field in schema}
        return kinds | texts

    def _table(self, first: int, last: int, kinds: dict[str, str]) -> Any:
        """From one remembered place to another; what has no kind is guessed."""
        with located(str(self._path)), self._path.open("rb") as file:
            file.seek(self._places[first])
            text = file.read(self._places[last] - self._places[first])
        start, stop = first * _LINES, min(last * _LINES, len(self))
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
                    include_columns=self._selection.columns,
                    column_types=kinds,
                    decimal_point=self._decimal,
                ),
            )
        except ValueError as error:  # pyarrow's own
            reason = self._explained(str(error))
            raise ValueError(f"{self._path}, rows {start} to {stop}: {reason}") from error
        if len(table) != stop - start:
            raise ValueError(
                f"{self._path}, rows {start} to {stop}: expected a row in each of {stop - start} "
                f"lines, found {len(table)}: remove empty lines, and line breaks in quotes"
            )
        return table

    def _explained(self, message: str) -> str:
        """What pyarrow says of a field, with the name of its column and a cure."""
        found = re.match(
            r"In CSV column #(\d+): .*: invalid (?:value '(.*)'|UTF8 data)$", message, re.DOTALL
        )
        if found is None:
            return message
        name, value = self._names[int(found[1])], found[2]
        if value is None:
            return f"column {name!r} is not UTF-8 text: write the file in UTF-8"
        comma = "give decimal=',', or " if has_decimal_comma(value) else ""
        return (
            f"column {name!r} has {value!r}, expected a number: {comma}name the column in "
            "categorical= if these are names"
        )


def _header(line: bytes, delimiter: str) -> list[str]:
    """The names of the columns."""
    try:
        fields = next(csv.reader([line.decode("utf-8-sig")], delimiter=delimiter), [])
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(
            "expected a CSV file of UTF-8 text: write it as such, or use the source of its kind"
        ) from None
    names = [name.strip() for name in fields]
    if not any(names):
        raise ValueError("expected the names of the columns in the first line, found none")
    other = re.search("[,;\t|]", names[0])
    if len(names) == 1 and other is not None:
        raise ValueError(f"has one column, {names[0]!r}: give delimiter={other[0]!r}")
    return names


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
