"""Sum or mean: what the learning rate has to do with the batch size."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch import datasets
from fastbatch.claims.claim import Claim, Table
from fastbatch.layers import Dense
from fastbatch.network import Network
from fastbatch.optimizers import SGD
from fastbatch.trainer import Trainer

Array = NDArray[Any]

RATE = 2.0**-10  # under the sum; powers of two, so that multiplying by them rounds nothing
SIZES = (1, 8, 64, 512)
EXAMPLES, EPOCHS = 1024, 4


def sum_or_mean(factor: float = 1.0) -> Claim:
    """Compare trainings by sum and by mean, whose rates differ by the batch size times `factor`."""
    data = datasets.read("digits")
    X, y = data.X[:EXAMPLES] / 16, data.y[:EXAMPLES]
    network = Network([Dense(16, "tanh"), Dense(10)], 64, "cross_entropy", "float64")
    start = network.init(seed=0)
    losses: dict[tuple[str, int], list[float]] = {}
    rows = []
    for size in SIZES:
        by_sum = list(_by_sum(network, start, X, y, size))
        paths = {
            "sum": by_sum,
            "mean": list(_by_mean(network, start, X, y, size, RATE * size * factor)),
            "same": list(_by_mean(network, start, X, y, size, RATE)),
        }
        for name, path in paths.items():
            losses[name, size] = [network.value_and_grad(theta, X, y)[0] for theta in path]
        differing = sum(
            np.count_nonzero(a != b) for a, b in zip(by_sum, paths["mean"], strict=True)
        )
        first = [
            float(np.linalg.norm(network.value_and_grad(start, X[:size], y[:size], None, kind)[1]))
            for kind in ("sum", "mean")
        ]
        rows.append(
            (size, *(RATE * length for length in first), differing, losses["sum", size][-1])
        )
    return Claim(
        "Under the sum the learning rate scales with the batch, under the mean it does not",
        "A sum of B gradients is B times their mean, so the rate lr under the sum and the rate "
        "lr B under the mean give the same trajectory, here to the last bit.",
        (
            Table(
                f"{EPOCHS} epochs of {EXAMPLES} digits",
                (
                    "batch size B",
                    "first step, sum",
                    "first step, mean, same rate",
                    "numbers that differ: sum at lr, mean at lr B",
                    "loss in the end",
                ),
                tuple(rows),
            ),
        ),
        holds=all(row[3] == 0 for row in rows),
        draw=lambda figure: _draw(figure, losses),
    )


def _by_sum(network: Network, theta: Array, X: Array, y: Array, size: int) -> Iterator[Array]:
    """Parameters after each epoch, each step along the sum of its batch's gradients."""
    theta = theta.copy()
    yield theta.copy()
    for _ in range(EPOCHS):
        for first in range(0, len(X), size):
            rows = slice(first, first + size)
            theta -= RATE * network.value_and_grad(theta, X[rows], y[rows], None, "sum")[1]
        yield theta.copy()


def _by_mean(
    network: Network, theta: Array, X: Array, y: Array, size: int, lr: float
) -> Iterator[Array]:
    """The same by a trainer, whose steps are along the mean."""
    trainer = Trainer(network, SGD(lr), batch_size=size, sampler="sequential", theta=theta)
    yield trainer.theta
    for _ in range(EPOCHS):
        trainer.fit(X, y)
        yield trainer.theta


def _draw(figure: Any, losses: dict[tuple[str, int], list[float]]) -> None:
    """The loss over the epochs, of each batch size, at scaled rates and at the same rate."""
    axes = figure.subplots(1, 2, sharey=True)
    titles = {"sum": "sum at lr (lines), mean at lr B (dots)", "same": "mean at lr"}
    for ax, (kind, title) in zip(axes, titles.items(), strict=True):
        for index, size in enumerate(SIZES):
            ax.plot(losses[kind, size], color=f"C{index}", label=f"B = {size}")
            if kind == "sum":
                ax.plot(losses["mean", size], "o", color=f"C{index}", markersize=5)
        ax.set_title(title, fontsize="medium")
        ax.set_xlabel("epochs")
        ax.set_xticks(range(EPOCHS + 1))
    axes[0].set_ylabel("mean loss")
    axes[1].legend()
