"""Predict with a trained model: labels and probabilities, or values, as CSV."""

import argparse
import contextlib
import csv
import sys
from pathlib import Path
from typing import TextIO

from fastbatch.datasets import BUNDLED, Preparation, read_features
from fastbatch.trainer import Trainer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", help="a file written by fastbatch train")
    parser.add_argument(
        "data",
        help="a .csv file whose header has the columns of the training data, an .npz file, or one "
        f"of {', '.join(BUNDLED)}",
    )
    parser.add_argument("--output", metavar="FILE", help="default: standard output")


def run(arguments: argparse.Namespace) -> int:
    """Write one line for each example."""
    trainer = Trainer.load(arguments.model)
    preparation = Preparation.from_json(trainer.extra)
    X = read_features(arguments.data, preparation.features)
    outputs = trainer.predict(preparation.inputs(X))
    with _writable(arguments.output) as file:
        writer = csv.writer(file, lineterminator="\n")
        if preparation.classes is None:
            writer.writerow(["prediction"])
            writer.writerows([value] for value in preparation.values(outputs).tolist())
        else:
            from scipy.special import softmax  # half of what every command would take to start

            writer.writerow(["prediction", *preparation.classes])
            for row in softmax(outputs.astype(float), axis=1):
                writer.writerow([preparation.classes[row.argmax()], *(f"{p:.6g}" for p in row)])
    return 0


def _writable(path: str | None) -> contextlib.AbstractContextManager[TextIO]:
    if path is None:
        return contextlib.nullcontext(sys.stdout)
    return Path(path).open("w", encoding="utf-8", newline="")
