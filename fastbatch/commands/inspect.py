"""Rank examples by the norm of their gradient, or by their loss, at a model's parameters."""

import argparse
import csv
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fastbatch import datasets
from fastbatch.commands import pictures
from fastbatch.commands.examination import COLUMNS, Examination
from fastbatch.constraints import integer
from fastbatch.datasets import Dataset, Preparation
from fastbatch.trainer import Trainer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("model", help="a file written by fastbatch train")
    add("data", help="as for fastbatch train")
    add("--target", metavar="NAME", help="as for fastbatch train")
    add("--by", choices=("norm", "loss"), default="norm", help="what ranks them (default: norm)")
    add("--top", type=int, default=20, metavar="COUNT", help="how many are shown (default: 20)")
    add("--output", metavar="FILE", help="where to write the whole ranking as CSV")
    add(
        "--plot",
        metavar="PREFIX",
        help="draw PREFIX-norms.png and, if the training monitored it, PREFIX-noise-scale.png",
    )
    parser.epilog = (
        "Rows are counted from 1, the header left out. What is not finite ranks first. The loss of "
        "a regression is that of the standardised target."
    )


def run(arguments: argparse.Namespace) -> int:
    """Report on all examples, and show, write and draw what is asked for."""
    integer("--top", arguments.top, 0)
    for option in ("output", "plot"):
        path = getattr(arguments, option)
        if path is not None and not Path(path).parent.is_dir():
            raise ValueError(f"--{option} {path}: no such folder, expected an existing one")
    if arguments.plot is not None:
        pictures.need_matplotlib()
    trainer = Trainer.load(arguments.model)
    preparation = Preparation.from_json(trainer.extra)
    data = _as_trained(datasets.read(arguments.data, arguments.target), preparation, arguments.data)

    found = Examination.of(trainer, preparation, data)
    by = {"norm": "norms", "loss": "losses"}[arguments.by]
    for name, fact in found.report():
        print(f"{name:16}{fact}")
    if arguments.top:
        _show(islice(found.ranking(by), arguments.top))
    if arguments.output is not None:
        with Path(arguments.output).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(found.ranking(by))
        print(f"saved to {arguments.output}")
    if arguments.plot is not None:
        for path in pictures.draw(arguments.plot, found.norms, trainer):
            print(f"drawn to {path}")
    return 0


def _as_trained(data: Dataset, preparation: Preparation, source: str) -> Dataset:
    """The features that the model was trained on, in their order, and targets as it has them."""
    missing = [name for name in preparation.features if name not in data.features]
    if missing:
        raise ValueError(
            f"{source} has no feature {missing[0]!r} beside the target: "
            f"the model was trained on {len(preparation.features)} features"
        )
    X = data.X[:, [data.features.index(name) for name in preparation.features]]
    return Dataset(
        X, _targets(data, preparation, source), preparation.features, preparation.classes
    )


def _targets(data: Dataset, preparation: Preparation, source: str) -> Any:
    """The targets as numbers of the model's classes, or as values if it has none."""
    found, known = data.classes, preparation.classes
    if known is None:
        if found is None:
            return data.y
        try:  # few whole numbers look like classes
            return np.array(found, np.float64)[data.y]
        except ValueError:
            raise ValueError(
                f"{source}: the model predicts values, found classes such as {found[0]!r}"
            ) from None
    if found is None:
        raise ValueError(f"{source}: the model predicts classes, found values such as {data.y[0]}")
    unknown = [name for name in found if name not in known]
    if unknown:
        raise ValueError(
            f"{source}: the model does not know the class {unknown[0]!r}, only {', '.join(known)}"
        )
    return np.array([known.index(name) for name in found])[data.y]


def _show(ranking: Iterable[tuple[Any, ...]]) -> None:
    """Print rows of the ranking below one another."""
    rows = [COLUMNS, *(tuple(map(_text, row)) for row in ranking)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))


def _text(entry: Any) -> str:
    return f"{entry:.6g}" if isinstance(entry, np.floating) else str(entry)
