"""Small networks with data for them, from width 1 and batch 1 upwards."""

from itertools import pairwise

import numpy as np

from fastbatch.kernels.plan import DenseOp, GaussianSampleOp, Plan

SHAPES = [  # examples, then widths from input to output
    (1, (1, 1)),
    (1, (3, 2)),
    (5, (1, 4, 1)),
    (4, (3, 5, 2, 3)),
]


def problem(widths, examples, activation="tanh", loss="squared_error", dtype="float64", seed=0):
    """A plan, theta, X and y; the last layer has the activation too."""
    rng = np.random.default_rng(seed)
    layers = tuple(DenseOp(a, b, activation) for a, b in pairwise(widths))
    plan = Plan(layers, loss, dtype)
    theta = rng.normal(size=plan.size).astype(dtype)
    X = rng.normal(size=(examples, plan.inputs)).astype(dtype)
    y = rng.uniform(size=(examples, plan.outputs)).astype(dtype)
    return plan, theta, X, y


def variational(inputs=3, latent=2, outputs=4, examples=5, loss="squared_error", dtype="float64"):
    """An encoder, a sample of so many numbers, a decoder; theta, X and y for them."""
    layers = (
        DenseOp(inputs, 5, "tanh"),
        DenseOp(5, 2 * latent, "identity"),
        GaussianSampleOp(2 * latent, latent),
        DenseOp(latent, outputs, "sigmoid" if loss == "squared_error" else "identity"),
    )
    plan = Plan(layers, loss, dtype)
    rng = np.random.default_rng(latent)
    theta = rng.normal(size=plan.size) / 2
    X, y = rng.normal(size=(examples, inputs)), rng.uniform(size=(examples, outputs))
    return plan, *(values.astype(dtype) for values in (theta, X, y))
