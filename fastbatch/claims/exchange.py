"""When a derivative may be taken inside an expectation, and what happens where it may not."""

from collections.abc import Callable, Iterator
from math import exp, log, pi, sqrt
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fastbatch import datasets
from fastbatch.claims.claim import CHANCE, Claim, Table, standard_errors
from fastbatch.layers import Dense
from fastbatch.network import Network

Array = NDArray[Any]
Draw = Callable[[Generator, int], Array]

DRAWS = 1 << 20
BATCHES = (64, 512, 4096)
STEPS = (1.0, 0.1, 0.01, 0.001)
FINITE = (np.arange(1000) + 0.5) / 1000  # a data set in (0, 1)


def exchange(heaviest: Draw = Generator.standard_cauchy) -> Claim:
    """Look at a kink, at heavy tails, and at a derivative without a bound."""
    left, right, ours = _at_the_kink()
    zeros, count = _zeros()
    laws: dict[str, Draw] = {
        "normal": Generator.standard_normal,
        "Pareto 1.5": lambda rng, size: 1 + rng.pareto(1.5, size),
        "Cauchy": heaviest,
    }
    gradients = {name: _gradients(draw, "squared_error") for name, draw in laws.items()}
    tails = [row for name in laws for row in _tails(name, gradients[name])]
    pareto = [off for name, _, off, *_ in tails if name.startswith("Pareto")]
    huber = _gradients(heaviest, "huber")
    settled = float(standard_errors(huber**2, 2 / pi))
    quotients = [(h, *_expectations(h)) for h in STEPS]
    return Claim(
        "Derivative and expectation may be exchanged for finite data, not for every distribution",
        "For finite data always, wherever the loss is differentiable at theta. With weights drawn "
        "from a continuous distribution, and a layer input that is not all 0, a kink is met with "
        "probability 0; there the slope 0 is taken. Heavy tails leave the gradient without a "
        "variance or a mean; without a bound on the derivative the exchange can fail.",
        (
            Table(
                "At the kink of relu: the loss (relu(w) + 1)^2 at w = 0",
                (
                    "slope from the left",
                    "from the right",
                    "taken",
                    "pre-activations of digits at 0",
                ),
                ((left, right, ours, f"{zeros} of {count:,}"),),
            ),
            Table(
                "Batches of gradients 2 (theta - y), at theta = 0, with y from three distributions",
                (
                    "y",
                    "batch size",
                    "half of the batches' means are off by at most",
                    "by theory",
                    "median of the variance in a batch",
                    f"share above twice that of {BATCHES[0]}",
                ),
                tuple(tails),
            ),
            Table(
                "The Huber loss bounds the gradient: of Cauchy data it has a variance",
                ("variance", "by theory", "difference in standard errors"),
                ((float((huber**2).mean()), 2 / pi, settled),),
            ),
            Table(
                "f(theta, x) = theta^3 / x^2 exp(-theta^2 / x), x uniform in (0, 1), has the "
                "derivative 0 by theta at 0, for every x",
                (
                    "h",
                    "E f(h, x) / h, integrated",
                    "by theory",
                    f"the same of {len(FINITE):,} examples",
                ),
                tuple(row[:4] for row in quotients),
            ),
        ),
        holds=left == ours == 0
        and right == 2
        and zeros == 0
        and all(_is_as_expected(row) for row in tails)
        # 64 times as many examples: by M^(-1/3) a fourth of the error, with a variance an eighth.
        and 2 < pareto[0] / pareto[-1] < 6
        and abs(settled) <= CHANCE
        and all(abs(found - theory) <= error for _, found, theory, _, error in quotients)
        and quotients[-1][3] < 0.01,
        draw=lambda figure: _draw(figure, gradients),
    )


def _at_the_kink() -> tuple[float, float, float]:
    """Of a loss: its slope on both sides of a pre-activation of 0, and the gradient there."""
    network = Network([Dense(1, "relu")], 1, "squared_error", "float64")
    X, y, h = [[1.0]], [-1.0], 2.0**-40

    def loss(weight: float) -> float:
        return float(network.losses([weight, 0.0], X, y)[0])

    gradient = network.value_and_grad([0.0, 0.0], X, y)[1]
    return (loss(0) - loss(-h)) / h, (loss(h) - loss(0)) / h, float(gradient[0])


def _zeros() -> tuple[int, int]:
    """How many pre-activations of a first layer are exactly 0, and of how many."""
    X = datasets.read("digits").X / 16
    layer = Network([Dense(64)], 64, "squared_error")
    z = layer.predict(layer.init(seed=0), X)
    return int(np.count_nonzero(z == 0)), z.size


def _gradients(draw: Draw, loss: str) -> Array:
    """Those of a constant, theta = 0, as it is fitted to numbers that `draw` gives."""
    network = Network([Dense(1)], 1, loss, "float64")
    y = draw(np.random.default_rng(0), DRAWS)
    return network.per_example_gradients([0.0, 0.0], np.zeros((DRAWS, 1)), y)[:, 1]


def _tails(name: str, gradients: Array) -> Iterator[tuple[str, int, float, Any, float, float]]:
    """Of each batch size: how far means are off, and what becomes of the variance."""
    centre = -2 * 3.0 if name.startswith("Pareto") else 0.0  # the mean of Pareto a is a / (a - 1)
    usual = None
    for size in BATCHES:
        batches = gradients.reshape(-1, size)
        off = float(np.median(abs(batches.mean(axis=1) - centre)))
        # Sums of normal and of Cauchy numbers are such numbers again, with known quartiles.
        theory = {"normal": 2 * 0.67449 / sqrt(size), "Cauchy": 2.0}.get(name, "-")
        variances = batches.var(axis=1)
        usual = np.median(variances) if usual is None else usual
        share = float((variances > 2 * usual).mean())
        yield name, size, off, theory, float(np.median(variances)), share


def _is_as_expected(row: tuple[str, int, float, Any, float, float]) -> bool:
    """Whether quartiles are those of theory, and the variance settles only if it is finite."""
    name, size, off, theory, _, share = row
    batches = DRAWS // size
    if theory != "-":
        # The standard error of a median is 1 / (2 density sqrt(n)); of |y|, density times quartile
        # is 0.43 for the normal distribution and 1 / pi for Cauchy's.
        density = 0.4287 if name == "normal" else 1 / pi
        if abs(off / theory - 1) > CHANCE / (2 * density * sqrt(batches)):
            return False
    if size < BATCHES[-1]:
        return True
    # In the end hardly any batch has twice the variance that is usual, or most of them have.
    error = CHANCE * 0.5 / sqrt(batches)
    return share < 0.5 - error if name == "normal" else share > 0.5 + error


def _expectations(h: float) -> tuple[float, float, float, float]:
    """Of f(h, x) / h: the integral, what it should be, the mean of few, and the integral's error.

    ``h exp(-h**2 / x)`` has the derivative f(h, x) by x, so the integral is ``exp(-h**2)``: near 1,
    while the derivative of f by theta is 0 at theta = 0, for every x.
    """
    from scipy.integrate import quad  # too slow to import for a command that does not need it

    # With x = exp(-s) the peak, at x near h**2, is broad.
    integral, error = quad(
        lambda s: h * h * exp(s - h * h * exp(s)), 0, 2 * log(1 / h) + 4, epsabs=1e-12, epsrel=1e-12
    )
    error += exp(-h * h * exp(2 * log(1 / h) + 4)) + 1e-15  # beyond, and of rounding
    return integral, exp(-h * h), float(_quotients(h).mean()), error


def _quotients(h: float) -> Array:
    """f(h, x) / h of each x of a finite data set."""
    return np.asarray(h * h / FINITE**2 * np.exp(-h * h / FINITE))


def _draw(figure: Any, gradients: dict[str, Array]) -> None:
    """Running means of gradients, and the two limits of the counterexample."""
    left, right = figure.subplots(1, 2)
    counts = np.unique(np.geomspace(10, DRAWS, 200).astype(int))
    for name, of_law in gradients.items():
        means = np.cumsum(of_law)[counts - 1] / counts
        left.plot(counts, means, label=name)
    left.set_xscale("log")
    left.set_ylim(-14, 14)
    left.set_xlabel("examples")
    left.set_title("mean of the gradients so far", fontsize="medium")
    left.legend(loc="upper right")
    steps = np.geomspace(1e-4, 1, 41)
    right.plot(steps, np.exp(-(steps**2)), label="all x in (0, 1)")
    few = [_quotients(h).mean() for h in steps]
    right.plot(steps, few, "--", label=f"{len(FINITE):,} examples")
    right.set_xscale("log")
    right.set_xlabel("h")
    right.set_title("mean of f(h, x) / h", fontsize="medium")
    right.legend()
