"""What ``fastbatch train`` trains on: a data set in memory, or a file that is streamed."""

import argparse
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from fastbatch import datasets
from fastbatch.commands import kept
from fastbatch.data import PreparedSource, Stream, hold_out
from fastbatch.datasets import Preparation
from fastbatch.trainer import Trainer

Array = NDArray[Any]

# Numbers held out of what is streamed at most, 32 MiB: a share of it might not fit into memory.
MOST_HELD_OUT = 1 << 22


@dataclass(frozen=True)
class Examples:
    """Prepared examples, some of them held out.

    Attributes
    ----------
    count : int
        Of all of them.
    digest : str
        By which they are known again.
    preparation : Preparation
    training : dict
        What `Trainer.fit` takes of the others.
    held_out : pair of ndarray
    """

    count: int
    digest: str
    preparation: Preparation
    training: dict[str, Any]
    held_out: tuple[Array, Array]


def in_memory(chosen: argparse.Namespace, trainer: Trainer | None) -> Examples:
    """Read a data set as a whole; a trainer that goes on must have had the same."""
    data = datasets.read(
        chosen.data,
        chosen.target,
        weights=chosen.weight_column,
        categorical=chosen.categorical,
        gaps=chosen.impute,
    )
    digest = data.digest()
    preparation = _known(chosen, trainer, digest)
    training, held_out = datasets.split(data, chosen.validation, chosen.seed, chosen.backend)
    if preparation is None:
        preparation = Preparation.of(training, chosen.impute)
    return Examples(
        len(data.y),
        digest,
        preparation,
        {
            "X": preparation.inputs(training.X),
            "y": preparation.targets(training.y),
            "sample_weight": training.weights,
        },
        (preparation.inputs(held_out.X), preparation.targets(held_out.y)),
    )


def streamed(chosen: argparse.Namespace, trainer: Trainer | None) -> Examples:
    """Open a file that is read by blocks, as `in_memory` reads it."""
    source = datasets.stream(
        chosen.data,
        chosen.target,
        weights=chosen.weight_column,
        categorical=chosen.categorical,
    )
    held_out = datasets.count_held_out(len(source), chosen.validation)
    digest = datasets.digest(chosen.data)
    prepared = PreparedSource(source, _known(chosen, trainer, digest), impute=chosen.impute)
    preparation = prepared.preparation
    if preparation.classes is not None and len(preparation.classes) < 2:
        raise ValueError(
            f"{chosen.data}: all targets are {preparation.classes[0]}, expected several classes"
        )
    held_out = min(held_out, max(1, MOST_HELD_OUT // preparation.width))
    others, validation = hold_out(prepared, held_out, seed=chosen.seed)
    shuffle = chosen.sampler == "shuffle"
    stream = Stream(others, chosen.batch_size, seed=chosen.seed, shuffle=shuffle)
    return Examples(len(source), digest, preparation, {"batches": stream}, validation)


def _known(chosen: argparse.Namespace, trainer: Trainer | None, digest: str) -> Preparation | None:
    """How a trainer that goes on has these data prepared; it must have had the same."""
    if trainer is None:
        return None
    if kept.found(trainer).get("data") != digest:
        raise ValueError(
            f"{chosen.data} is not what {chosen.output} was trained on so far: give the same data, "
            "or train anew without --resume"
        )
    return kept.preparation(trainer)
