"""Averaging the errors before they are back-propagated is wrong: how much, and where it is not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
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
U = float(np.finfo(np.float64).eps) / 2


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
    module = import_module(".mean_error", load("reference").__name__)
    wrong: Array = module.gradient_of_mean_error(plan, theta, X, y)
    return wrong


def mean_error(averaged: Averaging = gradient_of_mean_error) -> Claim:
    """Measure the gradient of the mean error beside the true one, by angle and relative size.

    Examples
    --------
    >>> mean_error().holds
    True
    """
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
                ("follows", "share of digits it knows"),
                learnt,
            ),
        ),
        holds=all(comparison.is_as_claimed for comparison in comparisons)
        and all((mean != at_mean) == (name != "identity") for name, mean, at_mean in slopes),
        draw=lambda figure: _draw(figure, found),
    )


def covariance(averaged: Averaging = gradient_of_mean_error) -> Claim:
    """Find what the mean error drops where a single layer has no other layer to pass it on to.

    Examples
    --------
    >>> covariance().holds
    True
    """
    rows = tuple(_dropped(averaged))
    return Claim(
        "In a linear model the mean error drops the covariance of error and input",
        "For linear, logistic and softmax regression the gradient of the mean error is right for "
        "the bias. For the weights it is right only where error and input do not vary together, as "
        "where all inputs are equal; else it drops their covariance.",
        (
            Table(
                "What is dropped, of 256 examples; errors are in units of what rounding explains",
                (
                    "regression",
                    "inputs",
                    "error of the bias",
                    "length of the weights' error",
                    "of their gradient",
                    "error less covariance",
                ),
                rows,
            ),
        ),
        holds=all(
            bias <= 1 and rest <= 1 and (dropped > 0) == (inputs == "different")
            for _, inputs, bias, dropped, _, rest in rows
        ),
    )


@dataclass(frozen=True)
class _Comparison:
    """Angle and size of the wrong gradient at first and after training, and how far it is off."""

    setting: Setting
    figures: tuple[float, ...]
    error: float  # the least of all batches' worst, in units of what rounding explains
    worst: float  # the largest

    @classmethod
    def of(cls, setting: Setting, averaged: Averaging) -> "_Comparison":
        X, y = _digits(setting.spread)
        network = _network(setting)
        trainer = Trainer(network, Adam(1e-3), batch_size=32, seed=0)
        order = np.random.default_rng(0).permutation(len(y))
        figures: list[float] = []
        errors = []
        for epochs in (0, 5):
            if epochs:
                trainer.fit(X, y, epochs=epochs)
            pairs = []
            for batch in range(BATCHES):
                rows = np.take(order, range(batch * 32, batch * 32 + setting.batch), mode="wrap")
                examples = trainer.theta, X[rows], y[rows]
                true, bound = Sweep(network.plan, *examples).gradient(None, 1 / len(rows))
                wrong = averaged(network.plan, *examples)
                # Both are computed in float64, and each may be off by as much.
                errors.append(error_in_bounds(wrong, true, 2 * bound))
                size = float(np.linalg.norm(wrong) / np.linalg.norm(true))
                pairs.append((angle(wrong, true), size))
            figures += np.mean(pairs, axis=0).tolist()
        return cls(setting, tuple(figures), min(errors), max(errors))

    @property
    def is_as_claimed(self) -> bool:
        if self.setting.batch == 1 or self.setting.spread == 0:
            return self.worst <= 1
        return self.error > 1


@cache
def _digits(spread: float = 1.0) -> tuple[Array, Array]:
    data = datasets.read("digits")
    X = data.X / 16
    mean = X.mean(axis=0)
    return mean + spread * (X - mean), data.y


def _network(setting: Setting) -> Network:
    hidden = [Dense(WIDTH, setting.activation) for _ in range(setting.depth)]
    return Network([*hidden, Dense(10)], 64, "cross_entropy", "float64")


def _slopes() -> Iterator[tuple[str, float, float]]:
    """Of each activation: f' averaged over two points, and at their mean."""
    for name, function in load("reference").activations.ACTIVATIONS.items():
        _, slopes = function(np.array([3.0, -1.0]))
        _, at_mean = function(np.array([1.0]))
        yield name, float(slopes.mean()), float(at_mean[0])


def _learnt(averaged: Averaging) -> Iterator[tuple[str, str]]:
    """What is known after ten epochs of following the one and the other."""
    (X, y), network = _digits(), _network(USUAL)

    def true(plan: Plan, theta: Array, X: Array, y: Array) -> Array:
        return network.value_and_grad(theta, X, y)[1]

    for name, gradient in (("the gradient", true), ("the mean error", averaged)):
        rng, theta = np.random.default_rng(0), network.init(seed=0)
        for _ in range(10):
            for rows in np.array_split(rng.permutation(len(y)), len(y) // 32):
                theta -= 0.1 * gradient(network.plan, theta, X[rows], y[rows])
        right = (network.predict(theta, X).argmax(axis=1) == y).mean()
        yield name, f"{right:.1%}"


def _dropped(averaged: Averaging) -> Iterator[tuple[str, str, float, float, float, float]]:
    """Of each regression: the errors of bias and weights, and of what the covariance explains."""
    rng, examples, inputs = np.random.default_rng(0), 256, 5
    for name, loss, outputs in (
        ("linear", "squared_error", 1),
        ("logistic", "binary_cross_entropy", 1),
        ("softmax", "cross_entropy", 3),
    ):
        network = Network([Dense(outputs)], inputs, loss, "float64", "reference")
        theta = rng.normal(size=network.n_parameters)
        varied = rng.normal(size=(examples, inputs))
        y = rng.integers(0, 2, (examples, outputs)).astype(float)
        if loss == "cross_entropy":
            y = rng.integers(0, outputs, examples)
        for kind, X in (("different", varied), ("equal", np.tile(varied[:1], (examples, 1)))):
            _, e = load("reference").loss_functions.LOSSES[loss](network.predict(theta, X), y)
            true = network.unflatten(network.value_and_grad(theta, X, y)[1])
            wrong = network.unflatten(averaged(network.plan, theta, X, y))
            mean_x, mean_e = X.mean(axis=0), e.mean(axis=0)
            covariance = (X - mean_x).T @ (e - mean_e) / examples
            # The errors e are the same numbers in all of these: what differs are sums of products.
            sizes = (abs(X) + abs(mean_x)).T @ (abs(e) + abs(mean_e)) / examples
            roundings = 2 * (examples + 4) * U  # of a sum of so many products, at worst
            weight = true["0.weight"] - wrong["0.weight"]
            bias_bound = roundings * abs(e).mean(axis=0)
            yield (
                name,
                kind,
                error_in_bounds(wrong["0.bias"], true["0.bias"], bias_bound),
                _beyond(weight, roundings * sizes),
                float(np.linalg.norm(true["0.weight"])),
                error_in_bounds(weight, covariance, 2 * roundings * sizes),
            )


def _beyond(error: Array, bound: Array) -> float:
    """The length of an error, 0 if rounding explains it."""
    return float(np.linalg.norm(error)) if (abs(error) > bound).any() else 0.0


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
            ax.tick_params("x", rotation=60)
    figure.axes[0].legend(frameon=False)
    figure.suptitle("Angle between the gradient and that of the mean error")
