"""What a step of a trainer follows, for each sampler: right on average, as noisy as theory says."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch import datasets
from fastbatch.claims.claim import CHANCE, Claim, Table, standard_errors
from fastbatch.history import EpochRecord
from fastbatch.layers import Dense
from fastbatch.network import Network
from fastbatch.optimizers import SGD
from fastbatch.rounding import Sweep
from fastbatch.trainer import Trainer
from fastbatch.verification import error_in_bounds

Array = NDArray[Any]

EXAMPLES, SIZES, REPEATS = 128, (1, 16, 64), 2000
DIRECTIONS = 10  # of the parameters, along which means are compared

NETWORK = Network([Dense(8, "tanh"), Dense(10)], 64, "cross_entropy", "float64")


def samplers(factor: float = 1.0) -> Claim:
    """Look at single steps of trainers by every sampler, times `factor`, on digits."""
    epochs = tuple(_epochs(factor))
    first = tuple(_first_steps(factor))
    return Claim(
        "Every sampler of the trainer has its right scale",
        "At one theta, sequential batches of one size average over an epoch to the gradient of all "
        "examples, and so do shuffled ones. Batches that are shuffled, drawn with replacement, or "
        "Poisson are each right on average at a given theta, with the variance that theory gives "
        "them.",
        (
            Table(
                f"All steps of an epoch of {EXAMPLES} digits, at one theta: error of their mean, "
                "where 1 is all that rounding explains",
                ("sampler", "batch size M", "error"),
                epochs,
            ),
            Table(
                f"The first step of {REPEATS:,} epochs; errors are in standard errors, at most "
                f"{CHANCE:g}",
                (
                    "sampler",
                    "batch size M",
                    "error of the mean",
                    "variance",
                    "by theory",
                    "error of the variance",
                ),
                first,
            ),
        ),
        holds=all(error <= 1 for *_, error in epochs)
        and all(max(mean, abs(variance)) <= CHANCE for _, _, mean, _, _, variance in first),
    )


@dataclass(frozen=True)
class _Only:
    """A learning rate of 1 at one step of each epoch, and of 0 at all others."""

    index: int
    steps: int  # of an epoch

    def __call__(self, step: int) -> float:
        return float(step % self.steps == self.index)


@cache
def _digits() -> tuple[Array, Array]:
    data = datasets.read("digits")
    return data.X[:EXAMPLES] / 16, data.y[:EXAMPLES]


@cache
def _followed(sampler: str, size: int, epochs: int, index: int = 0) -> Array:
    """What a trainer follows in one step of each epoch, always from the same theta, (epochs, P)."""
    theta = NETWORK.init(seed=0)
    found: list[Array] = []

    def note(trainer: Trainer, record: EpochRecord) -> None:
        found.append(theta - trainer.theta)
        trainer.theta = theta

    optimizer = SGD(_Only(index, EXAMPLES // size))
    trainer = Trainer(NETWORK, optimizer, batch_size=size, seed=0, sampler=sampler, theta=theta)
    trainer.fit(*_digits(), epochs=epochs, callbacks=[note], check_finite=False)
    return np.array(found)


def _epochs(factor: float) -> Iterator[tuple[str, int, float]]:
    """Of the samplers that take every example once: the error of the mean of an epoch's steps."""
    theta = NETWORK.init(seed=0)
    full, bound = Sweep(NETWORK.plan, theta, *_digits()).gradient(None, 1 / EXAMPLES)
    of_steps = np.finfo(float).eps * (1 + abs(theta))  # of taking one, and of undoing it
    for sampler in ("sequential", "shuffle"):
        for size in SIZES:
            steps = [_followed(sampler, size, 1, index)[0] for index in range(EXAMPLES // size)]
            mean = factor * np.mean(steps, axis=0)
            yield sampler, size, error_in_bounds(mean, full, 2 * (bound + of_steps))


def _first_steps(factor: float) -> Iterator[tuple[str, int, float, float, float, float]]:
    """Of the random samplers: how far the mean of many first steps is off, and their variance."""
    each = NETWORK.per_example_gradients(NETWORK.init(seed=0), *_digits())
    full, S, second = each.mean(axis=0), each.var(axis=0).sum(), (each**2).mean(axis=0).sum()
    directions = np.random.default_rng(0).normal(size=(each.shape[1], DIRECTIONS))
    for sampler in ("shuffle", "replacement", "poisson"):
        for size in SIZES:
            off = factor * _followed(sampler, size, REPEATS) - full
            means = standard_errors(off @ directions, 0)
            squares = (off**2).sum(axis=1)
            theory = {
                "shuffle": S / size * (EXAMPLES - size) / (EXAMPLES - 1),
                "replacement": S / size,
                "poisson": second / size * (EXAMPLES - size) / EXAMPLES,
            }[sampler]
            error = float(standard_errors(squares, theory))
            yield sampler, size, float(abs(means).max()), float(squares.mean()), theory, error
