"""From the name of a source to examples and targets."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.data.fields import has_decimal_comma, is_number, is_whole
from fastbatch.datasets import bundled
from fastbatch.datasets.array_file import Matrix, read_npy, read_npz
from fastbatch.datasets.bundled import BUNDLED
from fastbatch.datasets.columns import check_apart, check_names, roles, texts_among
from fastbatch.datasets.csv_file import CSVFile
from fastbatch.datasets.dataset import Dataset
from fastbatch.datasets.parquet_file import ParquetFile
from fastbatch.datasets.table import Table
from fastbatch.replacement import refuse_what_is_no_file

Array = NDArray[Any]

SUFFIXES = (".csv", ".parquet", ".npz", ".npy")

# Whole numbers are classes up to this many different ones: there are that many letters and digits.
MOST_CLASSES = 62


def read(
    source: str,
    target: str | None = None,
    *,
    weights: str | None = None,
    features: Sequence[str] | None = None,
    categorical: Collection[str] = (),
    gaps: bool = False,
) -> Dataset:
    """Read a data set with its targets.

    Parameters
    ----------
    source : str
        One of `BUNDLED`, or the path of a ``.csv``, ``.parquet``, ``.npz`` or ``.npy`` file.
    target : str, optional
        The target's column, by name or by index (-1 is the last), or its key in an NPZ file
        ("y" if not given; the features are "X"). Those of `BUNDLED` are not to be named.
    weights : str, optional
        The column, or key, of the weights of the examples.
    features : sequence of str, optional
        The columns of X; all others if not given.
    categorical : collection of str
        Features to be read as text. If `features` are not given, so are those without numbers.
    gaps : bool
        Whether features may be missing.

    Returns
    -------
    Dataset
        Text and whole numbers of up to `MOST_CLASSES` different values are classes; all other
        targets are values.

    Raises
    ------
    ValueError
        If there is no such source or column, it does not hold text and finite numbers, or a weight
        is negative.
    ImportError
        If a bundled data set is asked for without scikit-learn, or Parquet without pyarrow.

    Examples
    --------
    >>> iris = read("iris")
    >>> iris.X.shape, iris.classes
    ((150, 4), ('setosa', 'versicolor', 'virginica'))
    """
    raw_weights: list[Array] = []
    if source in BUNDLED:
        if target is not None or weights is not None:
            raise ValueError(f"{source} has targets of its own and no weights: name neither")
        names, X, y, classes = bundled.load(source)
        table: Table = Matrix(X, names)
        others = names
    else:
        table, others, (raw, *raw_weights) = _open_with_targets(source, target, weights)
        y, classes = _targets(source, raw)
    if features is None:
        texts = texts_among(source, table, others, categorical)
    else:
        check_names(source, others, [*categorical, *features])
        others, texts = tuple(features), [name for name in features if name in categorical]
    X = _features(source, table, others, texts, gaps)
    pixels = source == "digits" and not texts
    checked = _weights(source, *raw_weights) if raw_weights else None
    return Dataset(X, y, others, classes, tuple(texts), pixels, checked)


def read_features(
    source: str,
    features: Sequence[str] | None = None,
    *,
    categorical: Collection[str] = (),
    gaps: bool = False,
) -> Array:
    """Read the columns of these names, in this order: data for a trained network, (N, features).

    A file may have its columns in any order, and others beside them, such as the target.

    Parameters
    ----------
    source : str
    features : sequence of str, optional
        All columns if not given.
    categorical, gaps
        As for `read`.

    Raises
    ------
    ValueError, ImportError
        As `read`.

    Examples
    --------
    >>> read_features("iris", ["sepal length (cm)", "petal width (cm)"]).shape
    (150, 2)
    """
    table = _open(source)
    names = table.names if features is None else tuple(features)
    check_names(source, table.names, names)
    return _features(source, table, names, categorical, gaps)


def suffix_of(source: str) -> str:
    """The suffix of a file that exists and can be read."""
    suffix = Path(source).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"no data set {source!r}: expected one of {', '.join(BUNDLED)}, "
            f"or the path of a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file"
        )
    if not Path(source).exists():
        raise ValueError(f"{source}: no such file")
    refuse_what_is_no_file(source)
    with Path(source).open("rb"):  # an error of its own, not one of the content
        return suffix


def _open(source: str) -> Table:
    """All columns of a source; those of an NPZ file are its X."""
    if source in BUNDLED:
        names, X, *_ = bundled.load(source)
        return Matrix(X, names)
    match suffix_of(source):
        case ".csv":
            return CSVFile(source)
        case ".parquet":
            return ParquetFile(source)
        case ".npy":
            return read_npy(source)
    return read_npz(source)[0]


def _open_with_targets(
    source: str, target: str | None, weights: str | None
) -> tuple[Table, tuple[str, ...], list[Array]]:
    """A file, its features, and what else is asked for: the targets, and maybe weights."""
    if suffix_of(source) == ".npz":
        keys = ["y" if target is None else target, *([] if weights is None else [weights])]
        matrix, found = read_npz(source, *keys)
        check_apart(source, keys)
        return matrix, matrix.names, found
    table = _open(source)
    keys, features = roles(source, table.names, target, weights)
    return table, features, [table.targets(key) for key in keys]


def _features(
    source: str, table: Table, names: Sequence[str], texts: Collection[str], gaps: bool
) -> Array:
    """X, as `Dataset` has it."""
    numeric = [name for name in names if name not in texts]
    columns = {name: table.texts(name) for name in names if name in texts}
    if numeric:
        numbers = table.numbers(numeric)
        _check_finite(source, numbers, numeric, gaps)
        if not columns:
            return numbers
        columns.update(zip(numeric, numbers.T, strict=True))
    for name in texts:
        empty = columns[name] == ""
        if empty.any() and not gaps:
            raise _gap(source, int(empty.argmax()), name)
    return np.column_stack([columns[name].astype(object) for name in names])


def _check_finite(source: str, numbers: Array, names: Sequence[str], gaps: bool) -> None:
    wrong = np.isinf(numbers) if gaps else ~np.isfinite(numbers)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        if np.isnan(numbers[row, column]):
            raise _gap(source, row, names[column])
        raise ValueError(
            f"{source}: example {row + 1} has {numbers[row, column]} in column {names[column]}, "
            "expected finite numbers: remove the row or fill the gap"
        )


def _gap(source: str, row: int, name: str) -> ValueError:
    return ValueError(
        f"{source}: example {row + 1} has no value in column {name}: "
        "remove the row, fill the gap, or train with --impute"
    )


def _targets(source: str, raw: Array) -> tuple[Array, tuple[str, ...] | None]:
    """Classes as indices with their names, or values."""
    if raw.dtype.kind == "O":
        raw = raw.astype(str)
    if raw.dtype.kind == "U":
        raw = np.char.strip(raw)
        if (raw == "").any():
            row = int((raw == "").argmax()) + 1
            raise ValueError(f"{source}: example {row} has no target: remove the row")
        if all(is_whole(text) for text in raw):
            raw = raw.astype(np.int64)
        elif all(is_number(text) for text in raw):
            raw = raw.astype(np.float64)
        elif all(is_number(text) or has_decimal_comma(text) for text in raw):
            text = next(filter(has_decimal_comma, raw))
            raise ValueError(
                f"{source}: targets have decimal commas, such as {str(text)!r}: write points"
            )
    if raw.dtype.kind not in "fiubU":
        raise ValueError(f"{source}: targets must be numbers or text, found {raw.dtype}")
    if raw.dtype.kind != "f":
        names, indices = np.unique(raw, return_inverse=True)
        if raw.dtype.kind == "U" or len(names) <= MOST_CLASSES:
            if len(names) < 2:
                raise ValueError(f"{source}: all targets are {names[0]}, expected several classes")
            return indices.astype(np.int64), tuple(map(str, names))
    values = raw.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.isfinite(values).argmin())
        raise ValueError(
            f"{source}: example {row + 1} has the target {values[row]}, expected finite numbers: "
            "remove the row"
        )
    return values, None


def _weights(source: str, raw: Array) -> Array:
    """What each example counts, (N,) float64."""
    if raw.dtype.kind in "fiub":
        weights = raw.astype(np.float64)
    else:  # fields of a CSV file
        weights = np.array([float(text) if is_number(text) else np.nan for text in map(str, raw)])
    right = np.isfinite(weights) & (weights >= 0)
    if not right.all():
        row = int(right.argmin())
        raise ValueError(
            f"{source}: example {row + 1} has the weight {str(raw[row])!r}, expected a number that "
            "is not negative: use 0 to leave an example out"
        )
    if not weights.any():
        raise ValueError(f"{source}: all weights are 0, expected some that are positive")
    return weights
