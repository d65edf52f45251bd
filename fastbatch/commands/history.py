"""Show the epochs of a run, and draw its learning curves."""

import argparse
from pathlib import Path
from typing import Any

from fastbatch import learning_curves, pictures
from fastbatch.callbacks import read_log
from fastbatch.commands import columns
from fastbatch.commands.options import LOGS
from fastbatch.commands.paths import check_file
from fastbatch.history import EpochRecord
from fastbatch.trainer import Trainer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    logs = " or ".join(LOGS)
    add = parser.add_argument
    add(
        "source", metavar="run", help=f"a model of fastbatch train or Trainer.save, or a {logs} log"
    )
    add("--plot", metavar="FILE", help="draw learning curves, .png or .svg")
    parser.epilog = """\
examples:
  fastbatch history model.safetensors
  fastbatch history log.csv --plot curves.png"""


def run(arguments: argparse.Namespace) -> int:
    """Print one line for each epoch, and draw what is asked for."""
    check_file("--plot", arguments.plot)
    if arguments.plot is not None:
        pictures.check(arguments.plot)
    is_log = Path(arguments.source).suffix.lower() in LOGS
    history = _of_log(arguments.source) if is_log else _of_model(arguments.source)
    if not history:
        raise ValueError(f"{arguments.source} has no finished epoch")
    rows = [_row(record) for record in history]
    header = list(dict.fromkeys(name for row in rows for name in row))
    columns.show(header, ([row.get(name) for name in header] for row in rows))
    if arguments.plot is not None:
        learning_curves.draw(history, arguments.plot)
        print(f"drawn to {arguments.plot}")
    return 0


def _of_log(path: str) -> list[EpochRecord]:
    try:
        return read_log(path)
    except ValueError:  # names Python's classes
        raise ValueError(
            f"{path} is not a log, expected what fastbatch train --log has written"
        ) from None


def _of_model(path: str) -> list[EpochRecord]:
    """Those of a model, which may be one for a GPU that is elsewhere: nothing is computed."""
    return Trainer.load(path, backend="cpu").history


def _row(record: EpochRecord) -> dict[str, Any]:
    """What there is to show of an epoch, by column."""
    row: dict[str, Any] = {"epoch": record.epoch, "step": record.step, "loss": record.loss}
    if record.validation_loss is not None:
        row["validation loss"] = record.validation_loss
        row[record.metric_name] = record.validation_metric
    row |= record.metrics or {}
    if record.noise_scale is not None:
        row["noise scale"] = record.noise_scale
    return row | {"seconds": record.seconds, "examples/s": record.examples_per_second}
