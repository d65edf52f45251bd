"""Small integers leave no room for rounding: kernels and reference agree to the last bit."""

import numpy as np
import pytest
from integer_networks import EXACT, integer_problem

from fastbatch.kernels import cpu, reference
from fastbatch.optimizers import SGD
from fastbatch.verification import DTYPES

WIDTHS = [1, 15, 16, 17, 63, 64, 65, 127, 130]
BATCHES = [1, 5, 6, 7, 33, 129, 300]


def largest_partial_sum(plan, theta, X, y, weights):
    """What no sum exceeds on its way, in any order: the result where every term is positive."""
    value, gradient = reference.value_and_gradient(plan, abs(theta), abs(X), -abs(y), weights, 1.0)
    return max(value, gradient.max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("examples", BATCHES)
@pytest.mark.parametrize("width", WIDTHS)
def test_sums_of_integers_are_exact(width, examples, dtype):
    for widths in ((width, 3), (5, width, 2), (width, 18, width)):
        exact, *problem = integer_problem(widths, examples, "float64")
        assert largest_partial_sum(exact, *problem) < EXACT
        plan, theta, X, y, weights = integer_problem(widths, examples, dtype)

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
    found = []
    for kernels, kind in ((cpu, dtype), (reference, "float64")):
        plan, theta, X, y, weights = integer_problem((width, 18, width), examples, kind)
        options = {"batch_size": examples, "scale": 0.5, "l2": 6.0}
        training = kernels.Training(plan, SGD(), X, y, weights, **options)
        training.theta = theta
        training.advance(np.array([0.5]))
        found.append(training.theta)
    np.testing.assert_array_equal(*found)
