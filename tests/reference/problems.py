"""Small networks with data for them, from width 1 and batch 1 upwards."""

from itertools import pairwise

import numpy as np

from fastbatch.kernels.plan import DenseOp, Plan

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
