"""Predict with a trained model: labels and probabilities, or values."""

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from numpy.typing import NDArray

from fastbatch.backends import BACKENDS
from fastbatch.commands import kept
from fastbatch.commands.answers import Columns, answers
from fastbatch.commands.paths import check_apart, check_file
from fastbatch.data import PreparedSource, Source
from fastbatch.data.source import located
from fastbatch.datasets import BUNDLED, SUFFIXES, Preparation, read_features, stream_features
from fastbatch.replacement import replacement
from fastbatch.trainer import Trainer

_BLOCK = 1 << 20  # inputs that are prepared in one go: 8 MiB


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", help="a file written by fastbatch train, or by Trainer.save")
    suffixes = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
    parser.add_argument(
        "data",
        help=f"a {suffixes} file, or one of {', '.join(BUNDLED)}, with the columns of the training "
        "data, or as many as there are inputs if the model does not name them",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="CSV or Parquet (default: CSV to standard output)"
    )
    parser.add_argument(
        "--backend", choices=BACKENDS, help="who computes (default: who did in training)"
    )
    parser.add_argument(
        "--stream",
        action="store_true",
        help="read and write by blocks: for a .csv or .parquet file larger than memory",
    )
    parser.epilog = """\
examples:
  fastbatch predict model.safetensors digits
  fastbatch predict model.safetensors new_flowers.csv --output species.parquet
  fastbatch predict model.safetensors clicks.parquet --stream --output prices.parquet"""


def run(arguments: argparse.Namespace) -> int:
    """Write one line for each example."""
    path = arguments.output
    check_file("--output", path, (".csv", ".parquet"))
    check_apart({"the model": arguments.model, "the data": arguments.data}, {"--output": path})
    to_parquet = path is not None and Path(path).suffix.lower() == ".parquet"
    if to_parquet and find_spec("pyarrow") is None:
        raise ImportError("Parquet files are written by pyarrow: pip install 'fastbatch[data]'")
    trainer = Trainer.load(arguments.model, backend=arguments.backend)
    preparation = None if kept.stated(trainer) is None else kept.preparation(trainer)
    blocks = (_streamed if arguments.stream else _whole)(trainer, preparation, arguments.data)
    if path is None:
        _write_csv(sys.stdout, blocks)
    else:
        with replacement(path) as beside:
            if to_parquet:
                _write_parquet(beside, blocks)
            else:
                with beside.open("w", encoding="utf-8", newline="") as file:
                    _write_csv(file, blocks)
    return 0


def _whole(trainer: Trainer, preparation: Preparation | None, data: str) -> Iterator[Columns]:
    """The answer of a data set that is read as a whole."""
    if preparation is None:
        X = read_features(data)
        _check_columns(data, X.shape[1], trainer)
    else:
        texts, gaps = preparation.texts, preparation.gaps
        X = read_features(data, preparation.features, categorical=texts, gaps=gaps)
        X = preparation.inputs(X)
    return iter([answers(trainer.network, trainer.predict(X), preparation)])


def _streamed(trainer: Trainer, preparation: Preparation | None, data: str) -> Iterator[Columns]:
    """The answer of a file, which is opened at once and then read by blocks."""
    if preparation is None:
        found = stream_features(data)
        _check_columns(data, len(found.features), trainer)
        return _by_blocks(trainer, None, found)
    found = stream_features(data, preparation.features, categorical=preparation.texts)
    return _by_blocks(trainer, preparation, PreparedSource(found, preparation))


def _by_blocks(
    trainer: Trainer, preparation: Preparation | None, source: Source
) -> Iterator[Columns]:
    rows = max(1, _BLOCK // trainer.network.inputs)
    for start in range(0, len(source), rows):
        stop = min(start + rows, len(source))
        X, _, _ = source.read(start, stop)
        with located(f"rows {start} to {stop} of the source"):
            outputs = trainer.predict(X)
        yield answers(trainer.network, outputs, preparation)


def _check_columns(data: str, columns: int, trainer: Trainer) -> None:
    """Refuse data of another width for a model that says nothing of data."""
    inputs = trainer.network.inputs
    if columns != inputs:
        raise ValueError(
            f"{data} has {columns} columns, but the network has {inputs} inputs: give "
            "it the columns that it was trained on, and no others"
        )


def _write_csv(file: TextIO, blocks: Iterator[Columns]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    first = next(blocks)
    writer.writerow([name for name, _ in first])
    for columns in chain([first], blocks):
        writer.writerows(zip(*(_texts(column) for _, column in columns), strict=True))


def _texts(column: NDArray[Any]) -> Iterable[str]:
    """Names as they are, and as many digits of numbers as tell those of float32 apart."""
    return column if column.dtype == object else (f"{value:.9g}" for value in column.tolist())


def _write_parquet(path: Path, blocks: Iterator[Columns]) -> None:
    import pyarrow
    from pyarrow import parquet

    tables = (
        pyarrow.table([values for _, values in columns], names=[name for name, _ in columns])
        for columns in blocks
    )
    first = next(tables)
    with parquet.ParquetWriter(path, first.schema) as writer:
        for table in chain([first], tables):
            writer.write_table(table)
