"""CSV files: UTF-8, commas, and the names of the columns in the first line."""

import contextlib
import csv
import re
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.data.fields import has_decimal_comma, is_number

Array = NDArray[Any]


class CSVFile:
    """A `Table` in a CSV file, or in so many of its lines as are asked for."""

    def __init__(self, path: str, most: int | None = None) -> None:
        self._path = path
        lines = iter(_lines(path, most))
        self.names = _header(path, next(csv.reader(lines), []))
        self._rows = list(lines)
        if not self._rows:
            raise ValueError(f"{path} has no examples, expected lines below the header")
        commas = len(self.names) - 1
        if any('"' in line or line.count(",") != commas for line in self._rows):
            self._check_rows()

    def is_text(self, name: str) -> bool:
        """Whether no field of the column is a number; empty fields do not count."""
        column = self.names.index(name)
        fields = (row[column].strip() for row in csv.reader(self._rows))
        if is_number(next(filter(None, fields), "0")):
            return False
        texts = [text for text in self.texts(name) if text]
        if texts and all(map(has_decimal_comma, texts)):
            raise ValueError(
                f"{self._path}: column {name} has decimal commas, such as {texts[0]!r}: write "
                f"points, or train with --categorical {name!r} if these are names"
            )
        return not any(map(is_number, texts))

    def numbers(self, names: Sequence[str]) -> Array:
        """Columns of numbers, (N, len(names)) float64; NaN where a field is empty."""
        columns = [self.names.index(name) for name in names]
        try:
            return self._table(columns, np.float64)
        except ValueError:  # there are gaps, or worse
            fields = self._fields[:, columns]
        text = "".join(fields.flat)
        if text.isascii() and "_" not in text:  # else float takes more than `is_number`
            with contextlib.suppress(ValueError):
                return np.where(fields == "", "nan", fields).astype(np.float64)
        index, field = next(
            (index, field)
            for index, field in np.ndenumerate(fields)
            if field and not is_number(field)
        )
        name = names[index[1]]
        raise ValueError(
            f"{self._path}: example {index[0] + 1} has {field!r} in column {name}, expected a "
            f"number: {'write a decimal point, ' if has_decimal_comma(field) else ''}leave the "
            f"field empty if it is missing, or train with --categorical {name!r}"
        )

    def texts(self, name: str) -> Array:
        """A column as text, (N,) object."""
        return self._fields[:, self.names.index(name)]

    def targets(self, name: str) -> Array:
        """A column as text, (N,) object."""
        return self._table([self.names.index(name)], object)[:, 0]

    def _check_rows(self) -> None:
        """Refuse rows that are not as long as the header, and quotes that are not closed."""
        number = 0
        try:
            for number, row in enumerate(csv.reader(self._rows, strict=True), start=1):
                if len(row) != len(self.names):
                    raise ValueError(
                        f"{self._path}: example {number} has {len(row)} columns, "
                        f"expected {len(self.names)}"
                    )
        except csv.Error as error:
            raise ValueError(
                f"{self._path}: example {number + 1} cannot be read ({error}): mend its quotes"
            ) from None

    def _table(self, columns: list[int], dtype: type) -> Array:
        """Columns of all lines; much faster, and in less memory, than all `_fields`."""
        return np.loadtxt(
            self._rows, dtype, comments=None, delimiter=",", quotechar='"', usecols=columns, ndmin=2
        )

    @cached_property
    def _fields(self) -> Array:
        """All fields, (N, columns) object of str."""
        rows = [[field.strip() for field in row] for row in csv.reader(self._rows)]
        return np.array(rows, dtype=object)


def _lines(path: str, most: int | None) -> list[str]:
    """The file's lines but empty ones, each with its end, where a quoted field may go on."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            return list(islice((line for line in file if line.strip()), most))
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text, expected a CSV file") from None


def _header(path: str, fields: list[str]) -> tuple[str, ...]:
    """The names of the columns, from the first line."""
    header = [name.strip() for name in fields]
    if not header or all(map(is_number, header)):
        raise ValueError(f"{path} must name its columns in the first line, found {header}")
    if len(header) == 1 and re.search("[;\t|]", header[0]):
        raise ValueError(f"{path} has one column, {header[0]!r}: expected commas between columns")
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise ValueError(f"{path} has two columns called {min(repeated)!r}: rename one of them")
    return tuple(header)
