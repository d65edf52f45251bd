"""The gradient of the mean error: what it is, and where it equals the gradient."""

import numpy as np
import pytest

from fastbatch.kernels import cpu, reference
from fastbatch.kernels.plan import DenseOp, Plan
from fastbatch.kernels.reference.activations import ACTIVATIONS
from fastbatch.kernels.reference.loss_functions import LOSSES
from fastbatch.kernels.reference.mean_error import gradient_of_mean_error

from .problems import SHAPES, problem


def by_definition(plan, theta, X, y):
    """Element by element, from activations, pre-activations and errors averaged one by one."""
    examples, layers, start = range(len(X)), [], 0
    a = [list(x) for x in X]
    for layer in plan.layers:
        n, m = layer.inputs, layer.outputs
        weight = theta[start : start + n * m].reshape(n, m)
        bias = theta[start + n * m : start + (n + 1) * m]
        start += (n + 1) * m
        z = [[sum(a[i][j] * weight[j, k] for j in range(n)) + bias[k] for k in range(m)]
             for i in examples]  # fmt: skip
        mean_a = [sum(a[i][j] for i in examples) / len(X) for j in range(n)]
        mean_z = [sum(z[i][k] for i in examples) / len(X) for k in range(m)]
        layers.append((mean_a, mean_z, weight, layer.activation))
        a = [ACTIVATIONS[layer.activation](np.array(z[i]))[0].tolist() for i in examples]
    error = LOSSES[plan.loss](np.array(a), y)[1].sum(axis=0) / len(X)
    parts = []
    for mean_a, mean_z, weight, activation in reversed(layers):
        delta = error * ACTIVATIONS[activation](np.array(mean_z))[1]
        parts.insert(0, np.array([[x * d for d in delta] for x in mean_a]).ravel())
        parts.insert(1, delta)
        error = np.array([sum(row[k] * delta[k] for k in range(len(delta))) for row in weight])
    return np.concatenate(parts)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "gelu", "relu"])
@pytest.mark.parametrize(("examples", "widths"), SHAPES)
def test_means_are_multiplied(examples, widths, activation):
    plan, theta, X, y = problem(widths, examples, activation)
    expected = by_definition(plan, theta, X, y)
    # Sums of at most 5 terms in 6 products one after the other; nothing here is above 50.
    found = gradient_of_mean_error(plan, theta, X, y)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=50 * 30 * 2.0**-53)


@pytest.mark.parametrize("loss", LOSSES)
def test_of_a_single_example_it_is_the_gradient(loss):
    plan, theta, X, y = problem((3, 4, 2), 1, "tanh", loss)
    _, gradient = reference.value_and_gradient(plan, theta, X, y, None, 1.0)
    np.testing.assert_array_equal(gradient_of_mean_error(plan, theta, X, y), gradient)


def integers(rng, *shape):
    return rng.integers(-3, 4, shape).astype(float)


def test_of_equal_inputs_it_is_the_gradient():
    rng = np.random.default_rng(0)
    plan = Plan((DenseOp(3, 4, "relu"), DenseOp(4, 2, "identity")), "squared_error", "float64")
    theta, X, y = (
        integers(rng, plan.size),
        np.repeat(integers(rng, 1, 3), 8, 0),
        integers(rng, 8, 2),
    )
    _, gradient = reference.value_and_gradient(plan, theta, X, y, None, 1 / 8)
    assert gradient.any()
    np.testing.assert_array_equal(gradient_of_mean_error(plan, theta, X, y), gradient)


def test_it_drops_the_covariance_of_a_linear_model():
    rng = np.random.default_rng(1)
    plan = Plan((DenseOp(3, 2, "identity"),), "squared_error", "float64")
    theta, X, y = integers(rng, plan.size), integers(rng, 16, 3), integers(rng, 16, 2)
    _, gradient = reference.value_and_gradient(plan, theta, X, y, None, 1 / 16)
    error = 2 * (reference.outputs(plan, theta, X) - y)
    covariance = (X - X.mean(axis=0)).T @ (error - error.mean(axis=0)) / 16
    difference = gradient - gradient_of_mean_error(plan, theta, X, y)
    assert covariance.all()
    np.testing.assert_array_equal(difference, [*covariance.ravel(), 0, 0])


def test_no_backend_offers_it():
    for backend in (reference, cpu):
        assert "gradient_of_mean_error" not in backend.__all__
    assert not hasattr(cpu, "mean_error")
