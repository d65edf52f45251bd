"""What a step of a trainer follows, for each sampler: right on average, as noisy as theory says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch import datasets
from fastbatch.claims.claim import Claim, Table
from fastbatch.layers import Dense
from fastbatch.network import Network
from fastbatch.optimizers import SGD
from fastbatch.rounding import Sweep
from fastbatch.trainer import Trainer
from fastbatch.verification import error_in_bounds

Array = NDArray[Any]
Step = Callable[..., Array]  # of sampler, batch size, seed and which step of the epoch

EXAMPLES, SIZES, REPEATS = 128, (1, 16, 64), 1000
DIRECTIONS = 10  # of the parameters, along which means are compared
CHANCE = 4.5  # standard errors; of 100 figures one is beyond in 1,500 runs, and the seeds are fixed

NETWORK = Network([Dense(8, "tanh"), Dense(10)], 64, "cross_entropy", "float64")


def samplers(factor: float = 1.0) -> Claim:
    """Take single steps of trainers by every sampler, times `factor`, on digits.

    Examples
    --------
    >>> samplers().holds
    True
    """
    data = datasets.read("digits")
    X, y = data.X[:EXAMPLES] / 16, data.y[:EXAMPLES]
    theta = NETWORK.init(seed=0)

    def step(sampler: str, size: int, seed: int = 0, index: int = 0) -> Array:
        trainer = Trainer(
            NETWORK, SGD(_Only(index)), batch_size=size, seed=seed, sampler=sampler, theta=theta
        )
        trainer.fit(X, y, check_finite=False)
        return factor * (theta - trainer.theta)

    epochs = tuple(_epochs(step, theta, X, y))
    first = tuple(_first_steps(step, theta, X, y))
    return Claim(
        "Every sampler of the trainer has its right scale",
        "Sequential and shuffled batches of an epoch average to the gradient of all examples; "
        "shuffled, drawn with replacement, and Poisson batches are each right on average, with the "
        "variance that theory gives them.",
        (
            Table(
                f"All steps of an epoch of {EXAMPLES} digits: error of their mean, where 1 is all "
                "that rounding explains",
                ("sampler", "batch size M", "error"),
                epochs,
            ),
            Table(
                f"The first step of {REPEATS:,} trainings; errors are in standard errors, at most "
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
    """A learning rate of 1 at one step and of 0 at all others: what that step follows is seen."""

    step: int

    def __call__(self, step: int) -> float:
        return float(step == self.step)


def _epochs(step: Step, theta: Array, X: Array, y: Array) -> Iterator[tuple[str, int, float]]:
    """Of the samplers that take every example once: the error of the mean of an epoch's steps."""
    full, bound = Sweep(NETWORK.plan, theta, X, y).gradient(None, 1 / EXAMPLES)
    of_steps = np.finfo(float).eps * (1 + abs(theta))  # of taking one, and of undoing it
    for sampler in ("sequential", "shuffle"):
        for size in SIZES:
            steps = [step(sampler, size, index=index) for index in range(EXAMPLES // size)]
            error = error_in_bounds(np.mean(steps, axis=0), full, 2 * (bound + of_steps))
            yield sampler, size, error


def _first_steps(
    step: Step, theta: Array, X: Array, y: Array
) -> Iterator[tuple[str, int, float, float, float, float]]:
    """Of the random samplers: how far the mean of many first steps is off, and their variance."""
    each = NETWORK.per_example_gradients(theta, X, y)
    full, S, second = each.mean(axis=0), each.var(axis=0).sum(), (each**2).mean(axis=0).sum()
    directions = np.random.default_rng(0).normal(size=(len(theta), DIRECTIONS))
    for sampler in ("shuffle", "replacement", "poisson"):
        for size in SIZES:
            steps = np.array([step(sampler, size, seed) for seed in range(REPEATS)])
            means = _standard_errors((steps - full) @ directions)
            squares = ((steps - full) ** 2).sum(axis=1)
            theory = {
                "shuffle": S / size * (EXAMPLES - size) / (EXAMPLES - 1),
                "replacement": S / size,
                "poisson": second / size * (EXAMPLES - size) / EXAMPLES,
            }[sampler]
            variance = float(_standard_errors(squares - theory))
            yield sampler, size, float(abs(means).max()), float(squares.mean()), theory, variance


def _standard_errors(differences: Array) -> Array:
    """How many standard errors the mean of rows, whose expectation is 0, is off."""
    error = differences.std(axis=0, ddof=1) / sqrt(len(differences))
    return np.asarray(differences.mean(axis=0) / error)
