"""In a linear model the mean error drops the covariance of error and input."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.backends import load
from fastbatch.claims.claim import Claim, Table
from fastbatch.claims.mean_error import Averaging, gradient_of_mean_error
from fastbatch.layers import Dense
from fastbatch.network import Network
from fastbatch.verification import error_in_bounds

Array = NDArray[Any]

U = float(np.finfo(np.float64).eps) / 2


def covariance(averaged: Averaging = gradient_of_mean_error) -> Claim:
    """Find what the mean error drops where a single layer has no other layer to pass it on to."""
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
