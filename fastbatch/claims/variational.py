"""The lower bound of a variational autoencoder, estimated from mini-batches and single draws."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.claims.claim import CHANCE, Claim, Table, standard_errors
from fastbatch.layers import Dense, GaussianSample, Layer
from fastbatch.network import Network

Array = NDArray[Any]
Estimate = Callable[[Network, Array, Array], tuple[float, Array]]

EXAMPLES, LATENT = 12, 2
BATCH_SIZES = 1, 4, 12
PASSES = 500  # over the data, for each batch size
STEP = 1e-5  # of central differences
ROUNDING = 1e-9  # of slopes of 100 by differences of values of 150: some 150 * 1e-16 / STEP / 100


def scaled_sum(network: Network, theta: Array, batch: Array) -> tuple[float, Array]:
    """Minus the bound of all examples, from a batch: N / M times its sum; and the gradient."""
    return network.value_and_grad(theta, batch, batch, scale=EXAMPLES / len(batch))


def exact(network: Network, theta: Array, X: Array) -> float:
    """Minus the bound of all examples, with the noise integrated out.

    The decoder is linear, so ``|W z + b - x|**2`` is, in expectation, that of the mean of z, and
    the variance of each element of z times the squared norm of its row of W.
    """
    p = network.unflatten(theta)
    mean, log_variance = np.split(X @ p["0.weight"] + p["0.bias"], 2, axis=1)
    variance, decoder = np.exp(log_variance), p["2.weight"]
    errors = np.sum((mean @ decoder + p["2.bias"] - X) ** 2)
    spread = np.sum(variance @ (decoder**2).sum(axis=1))
    return float(errors + spread + np.sum(mean**2 + variance - log_variance - 1) / 2)


def differences(function: Callable[[Array], float], theta: Array) -> Array:
    """The gradient of a function, by central differences."""
    steps = STEP * np.eye(theta.size)
    return np.array([(function(theta + e) - function(theta - e)) / (2 * STEP) for e in steps])


def estimates(
    estimate: Estimate, network: Network, theta: Array, X: Array, batch_size: int
) -> Array:
    """Means of value and gradient over each of so many passes over the data, (passes, 1 + P)."""
    rng = np.random.default_rng(batch_size)
    passes = []
    for draw in range(PASSES):
        batches = rng.permutation(X).reshape(-1, batch_size, X.shape[1])
        found = [
            estimate(network.with_draw(len(batches) * draw + i), theta, batch)
            for i, batch in enumerate(batches)
        ]
        passes.append(np.mean([[value, *gradient] for value, gradient in found], axis=0))
    return np.array(passes)


def variational(estimate: Estimate = scaled_sum) -> Claim:
    """Compare estimates of the bound with what it is, for an autoencoder of linear layers."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(EXAMPLES, 2)) @ rng.normal(size=(2, 3))
    layers: list[Layer] = [Dense(2 * LATENT), GaussianSample(LATENT), Dense(3)]
    network = Network(layers, 3, "squared_error", "float64")
    theta = rng.normal(size=network.n_parameters) / 2

    _, gradient = estimate(network, theta, X)
    slopes = differences(lambda t: estimate(network, t, X)[0], theta)
    error = abs(gradient - slopes).max() / abs(slopes).max()

    truth = np.append(exact(network, theta, X), differences(lambda t: exact(network, t, X), theta))
    rows, found = [], {}
    for batch_size in BATCH_SIZES:
        passes = found[batch_size] = estimates(estimate, network, theta, X, batch_size)
        scores = standard_errors(passes, truth)
        rows.append((batch_size, passes[:, 0].mean(), truth[0], scores[0], abs(scores[1:]).max()))
    return Claim(
        "Variational autoencoders: a scaled sum over a batch, with noise, is right on average",
        "N / M times the sum over a batch, each example with a sample of its own, estimates the "
        "lower bound of all examples and its gradient without bias; with the noise held fixed, the "
        "gradient is that of the estimate.",
        (
            Table(
                f"Minus the bound of {EXAMPLES} examples, mean of {PASSES} passes",
                (
                    "batch size",
                    "found",
                    "exact",
                    "difference in standard errors",
                    "largest in the gradient",
                ),
                tuple(rows),
            ),
            Table(
                "The gradient beside central differences, the noise held fixed",
                ("largest difference", "at most"),
                ((error, ROUNDING),),
            ),
        ),
        holds=bool(error <= ROUNDING and all(abs(z) <= CHANCE for row in rows for z in row[3:])),
        draw=lambda figure: _draw(figure, found, truth[0]),
    )


def _draw(figure: Any, found: dict[int, Array], truth: float) -> None:
    """How estimates scatter about the truth."""
    ax = figure.subplots()
    values = [passes[:, 0] for passes in found.values()]
    ax.hist(values, bins=30, histtype="step", label=[f"batches of {size}" for size in found])
    ax.axvline(truth, color="black", label="exact")
    ax.set_xlabel("minus the bound, mean of a pass over the data")
    ax.set_ylabel("passes")
    ax.legend()
