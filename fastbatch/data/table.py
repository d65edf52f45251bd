"""Which columns of a table are features, targets and weights, and what they hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch import arrays
from fastbatch.constraints import one_of
from fastbatch.data.fields import texts_of
from fastbatch.data.source import Rows, located

Array = NDArray[Any]


def one_or_more(values: Any) -> tuple[Any, ...]:
    """One value or several, as several."""
    return (values,) if isinstance(values, str | Path) else tuple(values)


class Selection:
    """Columns by their names; features are all the others unless they are named."""

    def __init__(
        self,
        names: Sequence[str],
        target: str | Sequence[str] | None,
        features: Sequence[str] | None,
        sample_weight: str | None,
        categorical: Sequence[str],
    ) -> None:
        self._targets = () if target is None else one_or_more(target)
        self._target_is_one = isinstance(target, str)
        self._weights = one_or_more(sample_weight or ())
        self.texts = one_or_more(categorical)
        taken = self._targets + self._weights
        if features is None:
            features = [name for name in names if name not in taken]
        self.features = one_or_more(features)
        self.columns = list(dict.fromkeys([*self.features, *taken]))  # targets may be features
        if (not self._targets and target is not None) or not self.features:
            raise ValueError("expected at least one target and one feature, found none")
        for name in self.texts:
            one_of("categorical column", name, dict.fromkeys([*self.features, *self._targets]))
        if not self._target_is_one and set(self.texts) & set(self._targets):
            raise ValueError("one of several targets is categorical, expected numbers")

    def check(self, names: Sequence[str], path: Path) -> None:
        """Refuse a file without one of the columns, or with two of its name."""
        with located(str(path)):
            for name in self.columns:
                one_of("column", name, names)
                if names.count(name) > 1:
                    raise ValueError(f"two columns are called {name!r}: rename one of them")

    def of(self, table: Any, path: Path) -> Rows:
        """X, y and weights of a pyarrow table."""
        X, y = self._matrix(table, self.features, path), self._matrix(table, self._targets, path)
        weights = self._matrix(table, self._weights, path)[:, 0] if self._weights else None
        return X, y[:, 0] if self._target_is_one else y, weights

    def _matrix(self, table: Any, names: Sequence[str], path: Path) -> Array:
        columns = [self._column(table.column(name), name, path) for name in names]
        # Of objects, if one of them is text.
        return np.column_stack(columns) if columns else np.empty((len(table), 0))

    def _column(self, column: Any, name: str, path: Path) -> Array:
        """Numbers; or text as the command line reads it, with "" where a value is missing."""
        from pyarrow import compute, types

        is_categorical = name in self.texts
        if types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if types.is_string(column.type) or types.is_large_string(column.type):
            if not is_categorical:
                raise TypeError(
                    f"column {name!r} of {path} holds text, expected numbers: name it in "
                    "categorical, for PreparedSource, or leave it out of features"
                )
            texts: Array = compute.utf8_trim_whitespace(column.fill_null("")).to_numpy()
            return texts
        numbers = arrays.numeric(f"column {name!r} of {path}", _array(column))
        if not is_categorical:
            return numbers
        if name in self._targets and numbers.dtype == bool:  # classes, called as by NumPy
            return numbers.astype(str).astype(object)
        return texts_of(numbers.astype(np.float64))


def _array(column: Any) -> Array:
    """A column of a pyarrow table; as float64 where NumPy would have objects for its numbers."""
    from pyarrow import types

    kind = column.type
    if types.is_decimal(kind) or (types.is_boolean(kind) and column.null_count):
        column = column.cast("float64", safe=False)
    values: Array = column.to_numpy()
    return values
