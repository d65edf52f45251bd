"""Averaging the errors before they are back-propagated is wrong: how much, and where it is not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch import datasets
from fastbatch.backends import Plan, load
from fastbatch.claims.claim import Claim, Table
from fastbatch.claims.linearity import angle
from fastbatch.layers import ACTIVATIONS, Dense
from fastbatch.network import Network
from fastbatch.optimizers import Adam
from fastbatch.rounding import Sweep
from fastbatch.trainer import Trainer
from fastbatch.verification import error_in_bounds

Array = NDArray[Any]
Averaging = Callable[[Plan, Array, Array, Array], Array]

BATCHES = 10  # over which angles and sizes are averaged
WIDTH = 32


@dataclass(frozen=True)
class Setting:
    """A network for the digits and the batches it gets; `spread` multiplies X - mean X."""

    depth: int = 2
    activation: str = "tanh"
    batch: int = 32
    spread: float = 1.0


USUAL = Setting()
SERIES: dict[str, tuple[Setting, ...]] = {
    "depth": tuple(replace(USUAL, depth=depth) for depth in (0, 1, 2, 4, 8)),
    "activation": tuple(replace(USUAL, activation=name) for name in ACTIVATIONS),
    "batch": tuple(replace(USUAL, batch=batch) for batch in (1, 2, 8, 32, 128, 512)),
    "spread": tuple(replace(USUAL, spread=spread) for spread in (0.0, 0.1, 0.3, 1.0, 3.0)),
}


def gradient_of_mean_error(plan: Plan, theta: Array, X: Array, y: Array) -> Array:
    """The wrong gradient: only the reference has it, and not among what all backends offer."""
    wrong: Array = load("reference").mean_error.gradient_of_mean_error(plan, theta, X, y)
    return wrong


def mean_error(averaged: Averaging = gradient_of_mean_error) -> Claim:
    """Measure the gradient of the mean error beside the true one, by angle and relative size."""
    found = {name: [_Comparison.of(s, averaged) for s in series] for name, series in SERIES.items()}
    slopes = tuple(_slopes())
    learnt = tuple(_learnt(averaged))
    headings = ("angle at first", "size at first", "angle after 5 epochs", "size after 5 epochs")
    comparisons = [comparison for column in found.values() for comparison in column]
    return Claim(
        "The gradient of the mean error is something else",
        "Averaging the errors of a batch first, and back-propagating one mean error through mean "
        "activations, gives a vector that points elsewhere. It is right for a single example, and "
        "where all inputs are equal.",
        (
            Table(
                "The mean of f' is not f' of the mean: pre-activations 3 and -1",
                ("activation", "mean of f'(z)", "f'(mean z)"),
                slopes,
            ),
            *(
                Table(
                    f"Digits, by {name}: angle to the gradient in degrees, size relative to it",
                    (name, *headings),
                    tuple((getattr(c.setting, name), *c.figures) for c in column),
                )
                for name, column in found.items()
            ),
            Table(
                "Ten epochs of gradient descent on the digits, in batches of 32",
                ("follows", "share of digits that it classifies rightly"),
                learnt,
            ),
        ),
        holds=all(comparison.is_as_claimed for comparison in comparisons)
        and all((mean != at_mean) == (name != "identity") for name, mean, at_mean in slopes)
        and learnt[0][1] > 0.95 > 0.8 > learnt[1][1],
        draw=lambda figure: _draw(figure, found),
    )


@dataclass(frozen=True)
class _Comparison:
    """Angle and size of the wrong gradient at first and after training, and how far it is off."""

    setting: Setting
    figures: tuple[float, ...]
    error: float  # the largest of all batches, in units of what rounding explains

    @classmethod
    def of(cls, setting: Setting, averaged: Averaging) -> "_Comparison":
        X, y = _digits(setting.spread)
        network = _network(setting.depth, setting.activation)
        order = np.random.default_rng(0).permutation(len(y))
        figures: list[float] = []
        error = 0.0
        for theta in _thetas(setting.depth, setting.activation, setting.spread):
            pairs = []
            for batch in range(BATCHES):
                rows = np.take(order, range(batch * 32, batch * 32 + setting.batch), mode="wrap")
                examples = theta, X[rows], y[rows]
                true, bound = Sweep(network.plan, *examples).gradient(None, 1 / len(rows))
                wrong = averaged(network.plan, *examples)
                # Both are computed in float64, and each may be off by as much.
                error = max(error, error_in_bounds(wrong, true, 2 * bound))
                size = float(np.linalg.norm(wrong) / np.linalg.norm(true))
                pairs.append((angle(wrong, true), size))
            figures += np.mean(pairs, axis=0).tolist()
        return cls(setting, tuple(figures), error)

    @property
    def is_as_claimed(self) -> bool:
        if self.setting.batch == 1 or self.setting.spread == 0:
            return self.error <= 1
        return min(self.figures[0], self.figures[2]) > 1  # degrees


@cache
def _digits(spread: float = 1.0) -> tuple[Array, Array]:
    data = datasets.read("digits")
    X = data.X / 16
    mean = X.mean(axis=0)
    return mean + spread * (X - mean), data.y


def _network(depth: int, activation: str) -> Network:
    hidden = [Dense(WIDTH, activation) for _ in range(depth)]
    return Network([*hidden, Dense(10)], 64, "cross_entropy", "float64")


@cache  # series meet in the usual setting, and batch sizes share one training
def _thetas(depth: int, activation: str, spread: float) -> tuple[Array, Array]:
    """Parameters at first, and after five epochs along the gradient."""
    trainer = Trainer(_network(depth, activation), Adam(1e-3), batch_size=32, seed=0)
    first = trainer.theta
    trainer.fit(*_digits(spread), epochs=5)
    return first, trainer.theta


def _slopes() -> Iterator[tuple[str, float, float]]:
    """Of each activation: f' averaged over two points, and at their mean."""
    for name, function in load("reference").activations.ACTIVATIONS.items():
        _, slopes = function(np.array([3.0, -1.0]))
        _, at_mean = function(np.array([1.0]))
        yield name, float(slopes.mean()), float(at_mean[0])


def _learnt(averaged: Averaging) -> Iterator[tuple[str, float]]:
    """How many digits are classified rightly after ten epochs along the one and the other."""
    (X, y), network = _digits(), _network(USUAL.depth, USUAL.activation)

    def true(plan: Plan, theta: Array, X: Array, y: Array) -> Array:
        return network.value_and_grad(theta, X, y)[1]

    for name, gradient in (("the gradient", true), ("the mean error", averaged)):
        rng, theta = np.random.default_rng(0), network.init(seed=0)
        for _ in range(10):
            for rows in np.array_split(rng.permutation(len(y)), len(y) // 32):
                theta -= 0.1 * gradient(network.plan, theta, X[rows], y[rows])
        yield name, float((network.predict(theta, X).argmax(axis=1) == y).mean())


def _draw(figure: Any, found: dict[str, list[_Comparison]]) -> None:
    """Angles by depth, activation, batch and spread."""
    for ax, (name, column) in zip(figure.subplots(2, 2).flat, found.items(), strict=True):
        values = [str(getattr(comparison.setting, name)) for comparison in column]
        for index, (label, style) in enumerate((("at first", "o-"), ("after five epochs", "s--"))):
            angles = [comparison.figures[2 * index] for comparison in column]
            ax.plot(values, angles, style, color=f"C{index}", markersize=4, label=label)
        ax.set_ylim(-3, 90)
        ax.set_xlabel({"batch": "batch size", "depth": "hidden layers"}.get(name, name))
        ax.set_ylabel("degrees")
        if name == "activation":
            ax.set_xticks(values, values, rotation=45, ha="right", rotation_mode="anchor")
    figure.axes[0].legend()
    figure.suptitle("Angle between the gradient and that of the mean error")
