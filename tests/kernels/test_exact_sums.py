"""Small integers leave no room for rounding: kernels and reference agree to the last bit."""

from dataclasses import replace

import numpy as np
import pytest

from fastbatch.kernels import cpu, reference
from fastbatch.kernels.plan import DenseOp, Plan
from fastbatch.optimizers import SGD
from fastbatch.verification import DTYPES

WIDTHS = [1, 15, 16, 17, 63, 64, 65, 127, 130]
BATCHES = [1, 5, 6, 7, 33, 129, 300]
EXACT = 2**24  # float32 holds all integers up to here


def sparse_integers(rng, shape, ones):
    """Integers from -1 to 1, of which a row of the last but one axis has about so many ones."""
    chosen = rng.random(shape) < ones / shape[-2]
    return rng.choice([-1.0, 1.0], shape) * chosen


def integer_problem(widths, examples):
    """A network of relu and identity in float64, with all that `value_and_gradient` takes."""
    rng = np.random.default_rng([*widths, examples])
    activations = ["relu"] * (len(widths) - 2) + ["identity"]
    layers = tuple(map(DenseOp, widths[:-1], widths[1:], activations))
    parts = []
    for layer in layers:
        parts.append(sparse_integers(rng, layer.shapes["weight"], ones=1.2).ravel())
        parts.append(rng.integers(-1, 2, layer.outputs))
    X = sparse_integers(rng, (examples, widths[0]), ones=examples / 4)
    y = rng.integers(-2, 3, (examples, widths[-1])).astype(float)
    weights = rng.choice([0.0, 1.0, 2.0], examples)
    return Plan(layers, "squared_error", "float64"), np.concatenate(parts), X, y, weights


def largest_partial_sum(plan, theta, X, y, weights):
    """What no sum exceeds on its way, in any order: the result where every term is positive."""
    value, gradient = reference.value_and_gradient(plan, abs(theta), abs(X), -abs(y), weights, 1.0)
    return max(value, gradient.max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("examples", BATCHES)
@pytest.mark.parametrize("width", WIDTHS)
def test_sums_of_integers_are_exact(width, examples, dtype):
    for widths in ((width, 3), (5, width, 2), (width, 18, width)):
        exact, *problem = integer_problem(widths, examples)
        assert largest_partial_sum(exact, *problem) < EXACT
        theta, X, y, weights = (array.astype(dtype) for array in problem)
        plan = Plan(exact.layers, exact.loss, dtype)

        value, gradient = cpu.value_and_gradient(plan, theta, X, y, weights, 0.5)
        true_value, true_gradient = reference.value_and_gradient(exact, *problem, 0.5)
        assert value == true_value
        np.testing.assert_array_equal(gradient, true_gradient)
        for name, arguments in (
            ("outputs", (theta, X)),
            ("losses", (theta, X, y)),
            ("per_example_gradients", (theta, X[:40], y[:40])),
        ):
            found = getattr(cpu, name)(plan, *arguments)
            truth = getattr(reference, name)(exact, *(a.astype(float) for a in arguments))
            np.testing.assert_array_equal(found, truth, err_msg=f"{name} of {widths}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("examples", BATCHES)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_penalty_on_weights_of_integers_is_exact(width, examples, dtype):
    plan, *problem = integer_problem((width, 18, width), examples)
    found = {}
    for kernels, kind in ((cpu, dtype), (reference, "float64")):
        theta, X, y, weights = (array.astype(kind) for array in problem)
        training = kernels.Training(
            replace(plan, dtype=kind), SGD(), X, y, weights,
            batch_size=examples, scale=0.5, l2=6.0,
        )  # fmt: skip
        training.theta = theta
        training.advance(np.array([0.5]))
        found[kernels] = training.theta
    np.testing.assert_array_equal(found[cpu], found[reference])
