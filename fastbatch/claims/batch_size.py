"""Online, mini-batch and full-batch training are one method with three batch sizes."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch import datasets
from fastbatch.claims.claim import CHANCE, Claim, Table
from fastbatch.layers import Dense
from fastbatch.network import Network
from fastbatch.optimizers import SGD
from fastbatch.trainer import Trainer

Array = NDArray[Any]

DIGITS, SIZES, EPOCHS = 1024, (1, 32, 1024), 10
RATE = 2.0**-5  # a power of two, so that a product with it is not rounded
NUMBERS, NUMBER_SIZES, SAMPLES = 256, (1, 16, 256), 4000


def batch_size(sampler: str = "replacement") -> Claim:
    """Train with batches of one, some and all; the noise is that of batches by `sampler`."""
    data = datasets.read("digits")
    X, y = data.X[:DIGITS] / 16, data.y[:DIGITS]
    network = Network([Dense(16, "tanh"), Dense(10)], 64, "cross_entropy", "float64")
    losses, trained = {}, []
    for size in SIZES:
        trainer = Trainer(
            network, SGD(RATE), batch_size=size, sampler="sequential", theta=network.init(0)
        )
        path = [network.init(0), *_thetas(trainer, X, y, EPOCHS)]
        losses[size] = [network.value_and_grad(theta, X, y)[0] for theta in path]
        by_hand = _by_hand(network, X, y, size)
        differing = int(np.count_nonzero(by_hand != trainer.theta))
        trained.append((size, trainer.step, *losses[size][:: EPOCHS // 2], differing))

    noise, paths = _noise(sampler)
    return Claim(
        "Online, mini-batch and full batch are one code path",
        "Batches of one example, of some and of all run through the same step. Smaller ones make "
        "more steps of an epoch, and pay with noise: the variance of a batch's gradient is in "
        "proportion to 1 / M.",
        (
            Table(
                f"{EPOCHS} epochs of {DIGITS} digits by the same learning rate, 2^-5",
                (
                    "batch size",
                    "steps",
                    "loss at first",
                    f"after {EPOCHS // 2} epochs",
                    f"after {EPOCHS}",
                    "numbers that differ from a loop over value_and_grad",
                ),
                tuple(trained),
            ),
            Table(
                f"The mean of {NUMBERS} numbers, whose variance is V, learnt by SGD: variance "
                "around it in the long run",
                ("batch size M", "variance", "a / (2 - a) V / M", "difference in standard errors"),
                noise,
            ),
        ),
        holds=all(row[-1] == 0 for row in trained) and all(abs(row[-1]) <= CHANCE for row in noise),
        draw=lambda figure: _draw(figure, losses, paths),
    )


def _thetas(trainer: Trainer, X: Array, y: Array, epochs: int) -> list[Array]:
    """Parameters after each of so many epochs."""
    thetas: list[Array] = []
    trainer.fit(X, y, epochs=epochs, callbacks=[lambda t, _: thetas.append(t.theta)])
    return thetas


def _by_hand(network: Network, X: Array, y: Array, size: int) -> Array:
    """The same training in plain NumPy."""
    theta = network.init(0)
    for _ in range(EPOCHS):
        for first in range(0, len(X), size):
            rows = slice(first, first + size)
            theta -= RATE * network.value_and_grad(theta, X[rows], y[rows])[1]
    return theta


def _noise(sampler: str) -> tuple[tuple[tuple[Any, ...], ...], dict[int, Array]]:
    """Of each batch size: the variance of what SGD has learnt, by theory too; and the path.

    A step takes theta to ``(1 - a) theta + a m`` with the mean m of a batch and ``a = 2 lr``. The
    variance v that this leaves unchanged is ``(1 - a)**2 v + a**2 V / M = a / (2 - a) V / M``,
    where V is the variance of the numbers.
    """
    network = Network([Dense(1)], 1, "squared_error", "float64")
    y = np.random.default_rng(0).normal(size=NUMBERS)
    X, a = np.zeros((NUMBERS, 1)), 0.25
    rows, paths = [], {}
    for size in NUMBER_SIZES:
        trainer = Trainer(
            network, SGD(a / 2), batch_size=size, sampler=sampler, theta=[0, y.mean()]
        )
        trainer.fit(X, y, epochs=100)  # forgets where it began
        paths[size] = np.array(_thetas(trainer, X, y, SAMPLES))[:, 1] - y.mean()
        squares = paths[size] ** 2
        theory = a / (2 - a) * y.var() / size
        # After an epoch, (1 - a)**(N / M) of a deviation is left; squares are as much less like
        # each other. They vary by 2 v**2, those of Gaussian numbers.
        left = (1 - a) ** (2 * NUMBERS / size)
        error = theory * sqrt(2 / SAMPLES * (1 + left) / (1 - left))
        rows.append((size, squares.mean(), theory, (squares.mean() - theory) / error))
    return tuple(rows), paths


def _draw(figure: Any, losses: dict[int, list[float]], paths: dict[int, Array]) -> None:
    """The loss over the epochs, and the noise in the long run."""
    left, right = figure.subplots(1, 2)
    for size, values in losses.items():
        left.semilogy(values, "o-", markersize=4, label=f"batches of {size:,}")
    left.set_title("mean loss on digits", fontsize="medium")
    for size, path in paths.items():
        right.plot(path[:100], label=f"batches of {size:,}")
    right.set_title("a learnt mean, less the true one", fontsize="medium")
    right.margins(y=0.2)  # for the legend
    for ax in (left, right):
        ax.set_xlabel("epochs")
        ax.legend()
