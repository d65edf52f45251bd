"""Parquet files, read by pyarrow, column by column."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.data.fields import texts_of

Array = NDArray[Any]


class ParquetFile:
    """A `Table` in a Parquet file.

    Raises
    ------
    ImportError
        Without pyarrow.
    ValueError
        If the file is not right.
    """

    def __init__(self, path: str) -> None:
        try:
            from pyarrow import parquet
        except ImportError:
            raise ImportError(
                f"{path}: Parquet files are read by pyarrow: pip install 'fastbatch[data]'"
            ) from None
        self._path = path
        with self._reading():
            self._file = parquet.ParquetFile(path)
        schema = self._file.schema_arrow
        self.names = tuple(schema.names)
        self._types = dict(zip(schema.names, schema.types, strict=True))
        if len(self._types) < len(self.names):
            raise ValueError(f"{path} has two columns of one name: rename one of them")
        if not self._file.metadata.num_rows:
            raise ValueError(f"{path} has no examples, expected some rows")

    def is_text(self, name: str) -> bool:
        """Whether a column holds text, plain or as a dictionary of categories."""
        from pyarrow import types

        kind = self._types[name]
        if types.is_dictionary(kind):
            kind = kind.value_type
        return any(is_kind(kind) for is_kind in (types.is_string, types.is_large_string))

    def numbers(self, names: Sequence[str]) -> Array:
        """Columns of numbers, (N, len(names)) float64; NaN where a value is null."""
        texts = [name for name in names if self.is_text(name)]
        if texts:
            raise ValueError(f"{self._path}: column {texts[0]} holds text, expected numbers")
        return np.column_stack([_floats(self._column(name)) for name in names])

    def texts(self, name: str) -> Array:
        """A column as text, (N,) object; numbers are written out."""
        if not self.is_text(name):
            return texts_of(self.numbers([name])[:, 0])
        column = self._column(name).cast("string").to_pylist()
        return np.array([(text or "").strip() for text in column], dtype=object)

    def targets(self, name: str) -> Array:
        """A column as it is, (N,): text, integers, truth values or float64."""
        from pyarrow import types

        if self.is_text(name):
            return self.texts(name)
        column = self._column(name)
        whole = types.is_integer(column.type) or types.is_boolean(column.type)
        return column.to_numpy() if whole and not column.null_count else _floats(column)

    def _column(self, name: str) -> Any:
        """A column of numbers, truth values or text."""
        from pyarrow import types

        kind = self._types[name]
        tests = types.is_integer, types.is_floating, types.is_boolean, types.is_decimal
        if not self.is_text(name) and not any(test(kind) for test in tests):
            raise ValueError(
                f"{self._path}: column {name} holds {kind}, expected numbers or text: "
                "convert it, or leave it out of the file"
            )
        with self._reading():
            return self._file.read([name]).column(0)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        from pyarrow import ArrowException

        try:
            yield
        except (ArrowException, OSError) as error:
            raise ValueError(f"{self._path} is damaged or not a Parquet file: {error}") from None


def _floats(column: Any) -> Array:
    """A column of numbers as float64, with NaN for nulls."""
    values: Array = column.cast("float64", safe=False).to_numpy()
    return values
