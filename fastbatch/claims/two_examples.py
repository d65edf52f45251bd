"""Two examples that pull in opposite directions: the gradients cancel, the losses do not."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.claims.claim import Claim, Table
from fastbatch.layers import Dense
from fastbatch.network import Network
from fastbatch.optimizers import SGD
from fastbatch.trainer import Trainer

Array = NDArray[Any]
Step = Callable[[Network, Array, float], Array]

X, Y = np.array([[1.0], [1.0]]), np.array([2.0, 4.0])
BEST = np.array([3.0, 0.0])  # weight and bias, of 3 x: the mean of the two targets
RATE, STEPS = 0.125, 8


def along_the_gradient(network: Network, theta: Array, lr: float) -> Array:
    """A step of training, on both examples."""
    trainer = Trainer(network, SGD(lr), batch_size=2, theta=theta)
    trainer.fit(X, Y)
    return trainer.theta


def along_the_loss(network: Network, theta: Array, lr: float) -> Array:
    """What is left of it if the averaged loss is taken for what a parameter has to change by."""
    loss, _ = network.value_and_grad(theta, X, Y)
    return np.asarray(theta - lr * loss * np.array([1.0, 0.0]))


def two_examples(step: Step = along_the_gradient) -> Claim:
    """Train a line at its optimum, where losses are 1 and gradients cancel."""
    network = Network([Dense(1)], 1, "squared_error", "float64")
    each = network.losses(BEST, X, Y), network.per_example_gradients(BEST, X, Y)
    loss, gradient = network.value_and_grad(BEST, X, Y)

    followed: dict[str, list[Array]] = {}
    for name, move in (("gradient", step), ("loss", along_the_loss)):
        path = [BEST]
        for _ in range(STEPS):
            path.append(move(network, path[-1], RATE))
        followed[name] = path
    means = {
        name: [network.value_and_grad(theta, X, Y)[0] for theta in path]
        for name, path in followed.items()
    }
    stays = all((theta == BEST).all() for theta in followed["gradient"])
    rises = all(np.diff(means["loss"]) > 0)
    return Claim(
        "Two examples: the losses average to 1, the gradients to 0",
        "The best line for the data 1 -> 2 and 1 -> 4 is 3 x, with a mean squared error of 1. "
        "The mean gradient is 0 there and the model stays; a step along the mean loss of 1 leaves "
        "the optimum.",
        (
            Table(
                "At the weight 3",
                ("example", "loss", "derivative by the weight"),
                (
                    ("1 -> 2", each[0][0], each[1][0, 0]),
                    ("1 -> 4", each[0][1], each[1][1, 0]),
                    ("mean", loss, gradient[0]),
                ),
            ),
            Table(
                f"Steps of learning rate {RATE:g} from there: weight and mean loss",
                ("step", "along the gradient", "loss", "along the loss", "loss"),
                tuple(
                    (
                        index,
                        *(
                            part
                            for name in means
                            for part in (followed[name][index][0], means[name][index])
                        ),
                    )
                    for index in range(STEPS + 1)
                ),
            ),
        ),
        holds=bool(
            each[0].tolist() == [1, 1]
            and each[1][:, 0].tolist() == [2, -2]
            and loss == 1
            and not gradient.any()
            and stays
            and rises
        ),
        draw=lambda figure: _draw(figure, network, [theta[0] for theta in followed["loss"]]),
    )


def _draw(figure: Any, network: Network, path: list[float]) -> None:
    """The two losses and their mean by the weight, and the way that the loss leads."""
    ax = figure.subplots()
    weights = np.linspace(1.8, 4.2, 49)
    losses = np.array([network.losses([weight, 0], X, Y) for weight in weights])
    ax.plot(weights, losses[:, 0], "--", color="C0", label="loss of 1 → 2")
    ax.plot(weights, losses[:, 1], "--", color="C2", label="loss of 1 → 4")
    ax.plot(weights, losses.mean(axis=1), color="black", label="mean loss")
    ax.plot([3], [1], "o", color="black", markersize=8, label="the gradient's steps: they stay")
    shown = np.array([weight for weight in path if weight >= weights[0]])
    ax.plot(shown, (shown - 3) ** 2 + 1, "v:", color="C1", label="steps along the mean loss")
    ax.set_xlabel("weight")
    ax.set_ylabel("squared error")
    ax.legend()
