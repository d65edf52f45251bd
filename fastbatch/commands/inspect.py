"""Rank examples by the norm of their gradient, or by their loss, at a model's parameters."""

import argparse
import csv
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from fastbatch import datasets
from fastbatch.backends import BACKENDS
from fastbatch.commands import columns, kept, pictures
from fastbatch.commands.examination import COLUMNS, Examination
from fastbatch.commands.paths import check_apart, check_file
from fastbatch.constraints import integer
from fastbatch.datasets import Dataset, Preparation
from fastbatch.pictures import need_matplotlib
from fastbatch.replacement import replacement
from fastbatch.trainer import Trainer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("model", help="a file written by fastbatch train, or by Trainer.save with a 'preparation'")
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
    add("--backend", choices=BACKENDS, help="who computes (default: who did in training)")
    parser.epilog = """\
examples:
  fastbatch inspect model.safetensors flowers.csv --target species --top 10
  fastbatch inspect model.safetensors digits --by loss --output ranking.csv --plot digits

Rows are counted from 1, the header left out. What is not finite ranks first. The loss of a
regression is that of the standardised target."""


def run(arguments: argparse.Namespace) -> int:
    """Report on all examples, and show, write and draw what is asked for."""
    integer("--top", arguments.top, 0)
    check_file("--output", arguments.output)
    check_file("--plot", arguments.plot)
    read = {"the model": arguments.model, "the data": arguments.data}
    check_apart(read, {"--output": arguments.output})
    if arguments.plot is not None:
        need_matplotlib()
    trainer = Trainer.load(arguments.model, backend=arguments.backend)
    preparation = kept.preparation(trainer)
    data = _as_trained(arguments.data, arguments.target, preparation)

    found = Examination.of(trainer, preparation, data)
    by = {"norm": "norms", "loss": "losses"}[arguments.by]
    for name, fact in found.report():
        print(f"{name:16}{fact}")
    if arguments.top:
        columns.show(COLUMNS, islice(found.ranking(by), arguments.top))
    if arguments.output is not None:
        with (
            replacement(arguments.output) as beside,
            beside.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(found.ranking(by))
        print(f"saved to {arguments.output}")
    if arguments.plot is not None:
        for path in pictures.draw(arguments.plot, found.norms, trainer):
            print(f"drawn to {path}")
    return 0


def _as_trained(source: str, target: str | None, preparation: Preparation) -> Dataset:
    """The features that the model was trained on, in their order, and targets as it has them."""
    data = datasets.read(
        source,
        target,
        features=preparation.features,
        categorical=preparation.texts,
        gaps=preparation.gaps,
    )
    return replace(data, y=_targets(data, preparation, source), classes=preparation.classes)


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
