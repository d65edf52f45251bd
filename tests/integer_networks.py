"""Networks and data of small integers: no sum of their products is rounded, in float32 either."""

import numpy as np

from fastbatch.backends import DenseOp, Plan

EXACT = 2**24  # float32 holds all integers up to here


def _mostly_zeros(rng, shape, others):
    """Of each column, about so many entries are 1 or -1."""
    return rng.choice([-1.0, 1.0], shape) * (rng.random(shape) < others / shape[-2])


def integer_problem(widths, examples, dtype):
    """A network of relu and identity; theta, X, y and weights for it."""
    rng = np.random.default_rng([*widths, examples])
    activations = ["relu"] * (len(widths) - 2) + ["identity"]
    layers = tuple(map(DenseOp, widths[:-1], widths[1:], activations))
    parts = []
    for layer in layers:
        parts.append(_mostly_zeros(rng, layer.shapes["weight"], 1.2).ravel())
        parts.append(rng.integers(-1, 2, layer.outputs))
    X = _mostly_zeros(rng, (examples, widths[0]), examples / 4)
    y = rng.integers(-1, 2, (examples, widths[-1]))
    weights = rng.choice([0.0, 1.0, 2.0], examples)
    arrays = (array.astype(dtype) for array in (np.concatenate(parts), X, y, weights))
    return Plan(layers, "squared_error", dtype), *arrays
