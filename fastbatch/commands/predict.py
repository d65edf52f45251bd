"""Predict with a trained model: labels and probabilities, or values."""

import argparse
import csv
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

from numpy.typing import NDArray

from fastbatch.backends import BACKENDS
from fastbatch.commands import kept
from fastbatch.commands.answers import Columns, answers
from fastbatch.commands.paths import check_apart, check_file
from fastbatch.datasets import BUNDLED, SUFFIXES, read_features
from fastbatch.replacement import replacement
from fastbatch.trainer import Trainer


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
    parser.epilog = """\
examples:
  fastbatch predict model.safetensors digits
  fastbatch predict model.safetensors new_flowers.csv --output species.parquet"""


def run(arguments: argparse.Namespace) -> int:
    """Write one line for each example."""
    path = arguments.output
    check_file("--output", path, (".csv", ".parquet"))
    check_apart({"the model": arguments.model, "the data": arguments.data}, {"--output": path})
    to_parquet = path is not None and Path(path).suffix.lower() == ".parquet"
    if to_parquet and find_spec("pyarrow") is None:
        raise ImportError("Parquet files are written by pyarrow: pip install 'fastbatch[data]'")
    trainer = Trainer.load(arguments.model, backend=arguments.backend)
    columns = _answers(trainer, arguments.data)
    if path is None:
        _write_csv(sys.stdout, columns)
    else:
        with replacement(path) as beside:
            if to_parquet:
                _write_parquet(beside, columns)
            else:
                with beside.open("w", encoding="utf-8", newline="") as file:
                    _write_csv(file, columns)
    return 0


def _answers(trainer: Trainer, source: str) -> Columns:
    """The columns of the answer."""
    if kept.stated(trainer) is None:
        X, preparation = _raw(trainer, source), None
    else:
        preparation = kept.preparation(trainer)
        X = preparation.inputs(
            read_features(
                source, preparation.features, categorical=preparation.texts, gaps=preparation.gaps
            )
        )
    return answers(trainer.network, trainer.predict(X), preparation)


def _raw(trainer: Trainer, source: str) -> NDArray[Any]:
    """The inputs of a model that says nothing of data."""
    X, inputs = read_features(source), trainer.network.inputs
    if X.shape[1] != inputs:
        raise ValueError(
            f"{source} has {X.shape[1]} columns, but the network has {inputs} inputs: give "
            "it the columns that it was trained on, and no others"
        )
    return X


def _write_csv(file: TextIO, columns: Columns) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([name for name, _ in columns])
    writer.writerows(zip(*(_texts(column) for _, column in columns), strict=True))


def _texts(column: NDArray[Any]) -> Iterable[str]:
    """Names as they are, and as many digits of numbers as tell those of float32 apart."""
    return column if column.dtype == object else (f"{value:.9g}" for value in column.tolist())


def _write_parquet(path: Path, columns: Columns) -> None:
    import pyarrow
    from pyarrow import parquet

    names, arrays = zip(*columns, strict=True)
    parquet.write_table(pyarrow.table(list(map(pyarrow.array, arrays)), names=names), path)
