"""The mean of the examples' gradients is the gradient of their mean loss."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.backends import load
from fastbatch.claims.claim import Claim, Table
from fastbatch.layers import ACTIVATIONS, Dense, GaussianSample, Layer
from fastbatch.losses import LOSSES
from fastbatch.network import Network
from fastbatch.rounding import Sweep
from fastbatch.verification import error_in_bounds

Array = NDArray[Any]
Gradient = Callable[[Network, Array, Array, Array], Array]

EXAMPLES = 32  # a power of two: dividing by it rounds nothing
INPUTS, WIDTHS = 4, ((2,), (17, 3), (6, 5, 3))
DTYPES = ("float32", "float64")
EXACT = [("squared_error", "relu"), ("absolute_error", "relu"), ("huber", "relu")]

# Its square is 0 in float64, so that only the part linear in the step is left.
STEP = 2.0**-600


def of_mean_loss(network: Network, theta: Array, X: Array, y: Array) -> Array:
    """The gradient as a step of training computes it."""
    return network.value_and_grad(theta, X, y)[1]


def linearity(gradient: Gradient = of_mean_loss) -> Claim:
    """Compare the mean of the gradients, `gradient`, and the mean loss differentiated by itself."""
    exact = tuple(
        (f"{loss}, {activation}", *_differing(loss, activation, gradient))
        for loss, activation in EXACT
    )
    rounded = tuple(_worst(loss, dtype, gradient) for loss in LOSSES for dtype in DTYPES)
    confused = tuple(_two_derivatives())
    return Claim(
        "The mean of the gradients is the gradient of the mean loss",
        "Each example goes forward, has a loss and a gradient, and the gradients are averaged. "
        "That is the gradient of the averaged loss, since differentiation is linear in the "
        "function and every term is taken at the same theta. That inputs differ does not matter.",
        (
            Table(
                "Whole numbers and halves, where nothing is rounded: elements of the gradient that "
                "differ from the derivative of the mean loss",
                ("loss and activation", "mean of gradients", "as training computes it"),
                exact,
            ),
            Table(
                f"{len(WIDTHS)} shapes by {len(ACTIVATIONS)} activations, and a network with a "
                "GaussianSample: the largest error, where 1 is all that rounding explains",
                ("loss", "dtype", "mean of gradients", "as training computes it"),
                rounded,
            ),
            Table(
                "What gets confused: a derivative by theta, the same in all terms, and one by x",
                (
                    "derivative",
                    "length of the mean over the x_i",
                    "of that of the mean loss, or at the mean x",
                    "angle between them in degrees",
                ),
                confused,
            ),
        ),
        holds=all(count == 0 for _, *counts in exact for count in counts)
        and all(error <= 1 for _, _, *errors in rounded for error in errors)
        and confused[0][-1] < 1e-6
        and confused[1][-1] > 1,
    )


def _differing(loss: str, activation: str, gradient: Gradient) -> Iterator[int]:
    """How many elements of each way's gradient are not those of the mean loss, in integers."""
    counts = dict.fromkeys((_mean_of_gradients, gradient), 0)
    for network in _networks(loss, activation, "float64"):
        rng = np.random.default_rng(0)
        theta = rng.integers(-2, 3, network.n_parameters).astype(float)
        X = rng.integers(-3, 4, (EXAMPLES, INPUTS)).astype(float)
        y = rng.integers(-5, 6, (EXAMPLES, network.outputs)) + 0.5  # so that no error is at a kink
        truth = _derivative(network, theta, X, y)
        for way in counts:
            counts[way] += int(np.count_nonzero(way(network, theta, X, y) != truth))
    yield from counts.values()


def _worst(loss: str, dtype: str, gradient: Gradient) -> tuple[str, str, float, float]:
    """Loss, dtype, and the largest error of each way over all networks, in units of its bound."""
    worst = dict.fromkeys((_mean_of_gradients, gradient), 0.0)
    dense = chain(*(_networks(loss, name, dtype) for name in ACTIVATIONS))
    for network in chain(dense, [_sampling(loss, dtype)]):
        rng = np.random.default_rng(1)
        theta = network.init(seed=0) + rng.normal(0, 0.1, network.n_parameters).astype(dtype)
        X = rng.normal(size=(EXAMPLES, INPUTS)).astype(dtype)
        y = rng.integers(0, 2, (EXAMPLES, network.outputs)).astype(dtype)
        if loss == "cross_entropy":
            y = rng.integers(0, network.outputs, EXAMPLES)
        truth = _derivative(network, theta, X, y)
        _, bound = Sweep(network.plan, theta, X, y).gradient(None, 1 / EXAMPLES)
        for way, error in worst.items():
            here = error_in_bounds(way(network, theta, X, y), truth, bound)
            worst[way] = max(error, here)
    return loss, dtype, worst[_mean_of_gradients], worst[gradient]


def _two_derivatives() -> Iterator[tuple[str, float, float, float]]:
    """The two derivatives of a loss, averaged over the examples and taken of or at a mean."""
    *_, network = _networks("squared_error", "tanh", "float64")
    rng = np.random.default_rng(2)
    theta = network.init(seed=0)
    X, y = rng.normal(size=(EXAMPLES, INPUTS)), np.ones((EXAMPLES, network.outputs))
    by_theta = _mean_of_gradients(network, theta, X, y), _derivative(network, theta, X, y)
    at_mean = X.mean(axis=0, keepdims=True)
    by_x = (
        _by_input(network, theta, X, y).mean(axis=0),
        _by_input(network, theta, at_mean, y[:1])[0],
    )
    for name, pair in (("by theta", by_theta), ("by x", by_x)):
        ours, theirs = (float(np.linalg.norm(part)) for part in pair)
        yield name, ours, theirs, angle(*pair)


def angle(a: Array, b: Array) -> float:
    """The angle between two vectors in degrees, accurate near 0 too (Kahan's formula).

    Examples
    --------
    >>> angle(np.array([1.0, 0.0]), np.array([1.0, 1.0]))
    45.0
    """
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return float(np.degrees(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))))


def _networks(loss: str, activation: str, dtype: str) -> Iterator[Network]:
    for *hidden, last in WIDTHS:
        layers = [*(Dense(units, activation) for units in hidden), Dense(last)]
        yield Network(layers, INPUTS, loss, dtype)


def _sampling(loss: str, dtype: str) -> Network:
    layers: list[Layer] = [Dense(5, "tanh"), Dense(4), GaussianSample(2), Dense(3)]
    return Network(layers, INPUTS, loss, dtype)


def _mean_of_gradients(network: Network, theta: Array, X: Array, y: Array) -> Array:
    gradients = network.per_example_gradients(theta, X, y)
    return np.asarray(gradients.mean(axis=0, dtype=np.float64))


def _derivative(network: Network, theta: Array, X: Array, y: Array) -> Array:
    """The gradient of the mean loss with no gradient of an example in it: by complex steps.

    ``f(theta + ih) = f(theta) + ih f'(theta) + O(h**2)``, so that the imaginary part over h is the
    derivative, with no difference taken (Squire & Trapp 1998).
    """
    steps = theta + 1j * STEP * np.eye(len(theta))
    losses = load("reference").losses
    return np.array([losses(network.plan, step, X, y).mean().imag / STEP for step in steps])


def _by_input(network: Network, theta: Array, X: Array, y: Array) -> Array:
    """The derivative of each example's loss by its input, (N, inputs), likewise."""
    losses = load("reference").losses
    steps = 1j * STEP * np.eye(INPUTS)
    return np.stack([losses(network.plan, theta, X + s, y).imag / STEP for s in steps], axis=1)
