"""Files that are larger than memory, as sources of what `read` would find in them."""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from fastbatch.data import CSVSource, ParquetSource
from fastbatch.data.fields import is_number, is_whole
from fastbatch.data.stream import pieces_of
from fastbatch.datasets.columns import roles, texts_among
from fastbatch.datasets.csv_file import CSVFile
from fastbatch.datasets.parquet_file import ParquetFile
from fastbatch.datasets.sources import MOST_CLASSES, suffix_of
from fastbatch.datasets.table import Table

FileSource = CSVSource | ParquetSource

_LINES = 1024  # of a CSV file tell which columns are text


def stream(
    source: str,
    target: str | None = None,
    *,
    weights: str | None = None,
    categorical: Collection[str] = (),
) -> FileSource:
    """Open a file that `read` would read as a whole, with the same features, targets and weights.

    Which columns of a CSV file are text is seen from its beginning.

    Parameters
    ----------
    source : str
        The path of a ``.csv`` or ``.parquet`` file.
    target, weights, categorical
        As for `read`.

    Returns
    -------
    CSVSource or ParquetSource
        For `PreparedSource`, with classes as text.

    Raises
    ------
    ValueError, ImportError
        As `read`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("pet,age,weight\\ncat,3,4.1\\ndog,5,21.7\\n")
    ...     file.flush()
    ...     found = stream(file.name, "weight")
    >>> found.features, found.categorical
    (('pet', 'age'), ('pet',))
    """
    kind = _kind(source)
    is_csv = kind is CSVSource
    table: Table = CSVFile(source, _LINES) if is_csv else ParquetFile(source)
    (target, *weighting), features = roles(source, table.names, target, weights)
    texts = texts_among(source, table, features, categorical)
    # Only as text tells 1 in a CSV file from 1.0, which is a value.
    if table.is_text(target) or _has_classes(
        kind(source, None, [target], categorical=[target] if is_csv else [])
    ):
        texts.append(target)
    return kind(source, target, features, weighting[0] if weighting else None, texts)


def stream_features(
    source: str, features: Sequence[str] | None = None, *, categorical: Collection[str] = ()
) -> FileSource:
    """Open a file that `read_features` would read as a whole.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("pet,age,weight\\ncat,3,4.1\\n")
    ...     file.flush()
    ...     stream_features(file.name, ["weight", "age"]).read(0, 1)[0]
    array([[4.1, 3. ]])
    """
    found = _kind(source)(source, None, features, categorical=tuple(categorical))
    if not len(found):
        raise ValueError(f"{source} has no examples, expected some rows")
    return found


def digest(source: str) -> str:
    """A hash by which the file is known again, whatever its name."""
    with Path(source).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kind(source: str) -> type[CSVSource] | type[ParquetSource]:
    """The source for this kind of file, if it exists and can be read."""
    kinds: dict[str, type[CSVSource] | type[ParquetSource]]
    kinds = {".csv": CSVSource, ".parquet": ParquetSource}
    if Path(source).suffix.lower() not in kinds:
        raise ValueError(
            f"--stream reads {' and '.join(kinds)} files, found {source}: leave it out"
        )
    return kinds[suffix_of(source)]


def _has_classes(targets: FileSource) -> bool:
    """Whether the only column of a source is text, or few whole numbers."""
    known: set[str] = set()
    for start, stop in pieces_of(targets):
        values = targets.read(start, stop)[0][:, 0]
        if values.dtype.kind == "f":
            return False
        known.update(map(str, np.unique(values)))
        known.discard("")  # is refused later, by its row
        if len(known) > MOST_CLASSES or not all(map(is_whole, known)):
            break
    if all(map(is_whole, known)):
        return len(known) <= MOST_CLASSES
    return not all(map(is_number, known))
