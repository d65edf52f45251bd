"""Rows with text among the numbers as inputs of a network, prepared block by block."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.constraints import flag
from fastbatch.data.source import Rows, check_rows, located
from fastbatch.data.stream import bounds_of, pieces_of

if TYPE_CHECKING:
    from fastbatch.datasets import Preparation

Array = NDArray[Any]


class PreparedSource:
    """Rows of another source with standardised numbers and one-hot encoded text.

    What it takes for that is learnt in one pass over the rows, and then applied to those that are
    read, so that no more than a block of them is in memory. It is done by scikit-learn's
    `StandardScaler` and `OneHotEncoder` (extra `sklearn`). Numbers come first, then a column for
    each text, with zeros for what the pass has not seen. A categorical target becomes the indices
    of its classes. A target of numbers is standardised, too, and ``preparation.values(outputs)`` is
    the way back; several targets stay as they are.

    Parameters
    ----------
    source : ParquetSource or CSVSource
        Or one of your own with attributes `features` and `categorical`, whose examples are objects
        where some of them are text.
    preparation : Preparation, optional
        One that was learnt before, from other rows with these features.
    impute : bool
        Whether values may be missing: a number is then the mean of the others, and missing text a
        text like any other. A `preparation` has its own.
    scale_target : bool
        False leaves a target of numbers as it is: for counts, and for 0 and 1 (losses "poisson" and
        "binary_cross_entropy"). A `preparation` has its own.

    Attributes
    ----------
    preparation : fastbatch.datasets.Preparation
        With `width`, the number of inputs; `classes`, the names of the classes or None; and
        `to_json` and ``Preparation.from_json``, by which it is saved with a model.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    ValueError
        If a value is missing, a number is infinite, or a column has more than a thousand texts.

    Examples
    --------
    >>> import tempfile
    >>> from fastbatch.data import CSVSource
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("age,pet,weight\\n1,cat,4\\n3,dog,20\\n")
    ...     file.flush()
    ...     source = PreparedSource(CSVSource(file.name, "weight", categorical=["pet"]))
    ...     X, y, _ = source.read(0, 2)
    >>> X.tolist(), y.tolist(), source.preparation.width
    ([[-1.0, 1.0, 0.0], [1.0, 0.0, 1.0]], [-1.0, 1.0], 3)
    >>> source.preparation.values(np.array([[0.5]])).tolist()
    [16.0]
    """

    def __init__(
        self,
        source: Any,
        preparation: "Preparation | None" = None,
        impute: bool = False,
        scale_target: bool = True,
    ) -> None:
        # Here, since `import fastbatch` would take 10 ms more.
        from fastbatch.datasets import Preparation

        if not hasattr(source, "features"):
            raise TypeError(
                "source must have the names of its features, as ParquetSource and CSVSource do, "
                f"found {type(source).__name__}"
            )
        if not len(source):
            raise ValueError("source has no rows, expected at least one")
        self._source = source
        names = tuple(getattr(source, "categorical", ()))
        self._texts = np.array([name in names for name in source.features])
        self.bounds = bounds_of(source)
        if preparation is None:
            preparation = self._learnt(flag("impute", impute), flag("scale_target", scale_target))
        if not isinstance(preparation, Preparation):
            raise TypeError(
                f"preparation must be a Preparation, found {type(preparation).__name__}: use "
                "Preparation.from_json for what to_json has given"
            )
        found = tuple(source.features), self._named(self._texts)
        if (preparation.features, preparation.texts) != found:
            raise ValueError(
                "the preparation and the source must have the same features and categorical "
                f"columns, expected {preparation.features} and {preparation.texts}, found "
                f"{found[0]} and {found[1]}"
            )
        self.preparation = preparation

    def __len__(self) -> int:
        return len(self._source)

    def read(self, start: int, stop: int) -> Rows:
        """Read the rows from `start` to `stop`, and prepare them.

        Examples
        --------
        See `PreparedSource`.
        """
        check_rows(start, stop, len(self))
        X, y, weights = self._read(start, stop, self.preparation.gaps)
        y = self._indices(y, start) if y.dtype.kind == "O" else self.preparation.targets(y)
        with located(f"rows {start} to {stop} of the source"):
            return self.preparation.inputs(X), y, weights

    def _read(self, start: int, stop: int, gaps: bool) -> Rows:
        X, y, weights = self._source.read(start, stop)
        if not gaps:
            missing = np.empty(X.shape, bool)
            missing[:, self._texts] = X[:, self._texts] == ""
            missing[:, ~self._texts] = np.isnan(X[:, ~self._texts].astype(np.float64))
            if missing.any():
                row, column = np.argwhere(missing)[0]
                raise ValueError(
                    f"row {start + row} of the source has no value in column "
                    f"{self._source.features[column]!r}: remove the row, fill the gap, or prepare "
                    "with impute=True"
                )
        no_target = y == "" if y.dtype.kind == "O" else np.isnan(y.astype(np.float64))
        if no_target.any():
            row = start + np.argwhere(no_target)[0][0]
            raise ValueError(f"row {row} of the source has no target: remove the row")
        return X, y, weights

    def _learnt(self, gaps: bool, scale_target: bool) -> "Preparation":
        """Means, deviations, categories and classes, from one pass over all blocks."""
        from fastbatch.datasets.preparation import Preparation, check_categories

        try:
            from sklearn.preprocessing import StandardScaler
        except ImportError as error:
            raise ImportError(
                "PreparedSource needs scikit-learn: pip install 'fastbatch[sklearn]'"
            ) from error
        scaler = StandardScaler()
        names = self._named(self._texts)
        numbers = [f"column {name}" for name in self._named(~self._texts)]
        width = len(numbers)
        categories: dict[str, set[str]] = {name: set() for name in names}
        classes: set[str] = set()
        for start, stop in pieces_of(self):
            X, y, _ = self._read(start, stop, gaps)
            block = X[:, ~self._texts].astype(np.float64)
            if scale_target and y.ndim == 1 and y.dtype.kind != "O":
                block = np.column_stack([block, y])
                numbers[width:] = ["the target"]
            if numbers:
                where = f"rows {start} to {stop} of the source"
                with located(where), np.errstate(over="ignore", invalid="ignore"):
                    scaler.partial_fit(block)
            for name, column in zip(names, X[:, self._texts].T, strict=True):
                categories[name].update(column)
                check_categories(f"column {name}", categories[name])
            if y.dtype.kind == "O":
                classes.update(y)
                check_categories("the target", classes)
        mean = scale = np.empty(0)
        if numbers:
            mean, scale = scaler.mean_, scaler.scale_
            right = np.isfinite(mean) & np.isfinite(scaler.var_)
            if not right.all():
                raise ValueError(
                    f"{numbers[int(right.argmin())]} has no value at all, or numbers too large to "
                    "be squared: leave it out, or divide them"
                )
        target_mean, target_scale = 0.0, 1.0
        if len(numbers) > width:
            target_mean, target_scale = float(mean[-1]), float(scale[-1])
        return Preparation(
            tuple(self._source.features),
            tuple(sorted(classes)) or None,
            tuple(mean[:width].tolist()),
            tuple(scale[:width].tolist()),
            target_mean,
            target_scale,
            names,
            tuple(tuple(sorted(known)) for known in categories.values()),
            gaps,
        )

    def _named(self, which: Array) -> tuple[str, ...]:
        return tuple(
            name for name, is_one in zip(self._source.features, which, strict=True) if is_one
        )

    def _indices(self, y: Array, start: int) -> Array:
        """The classes of these targets by their numbers."""
        numbers = {name: number for number, name in enumerate(self.preparation.classes or ())}
        try:
            return np.array([numbers[name] for name in y])
        except KeyError as error:
            row = start + int((y == error.args[0]).argmax())
            raise ValueError(
                f"row {row} of the source is of class {error.args[0]!r}, expected one of "
                f"{', '.join(numbers) or 'none'}"
            ) from None
