"""A layer that draws a sample: its noise, its divergence, its gradients with the noise fixed."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from fastbatch.kernels import reference
from fastbatch.kernels.plan import DenseOp, GaussianSampleOp, Plan
from fastbatch.kernels.reference.gaussian_sample import divergence, noise
from fastbatch.kernels.reference.loss_functions import LOSSES
from fastbatch.optimizers import SGD

from .problems import variational


def only_a_sample(latent, **options):
    """A network whose first layer passes on what comes in, and whose second draws from it."""
    layers = DenseOp(2 * latent, 2 * latent, "identity"), GaussianSampleOp(2 * latent, latent)
    plan = Plan(layers, "squared_error", "float64", **options)
    return plan, np.append(np.eye(2 * latent).ravel(), np.zeros(2 * latent))


def test_a_sample_is_the_mean_and_the_deviation_times_the_noise():
    plan, theta = only_a_sample(2, draw=7)
    X = np.array([[1.0, 2.0, 0.0, np.log(4)], [3.0, 5.0, -np.log(4), 0.0]])
    eps = noise(plan, 1, np.arange(2), 0)
    expected = np.array([[1.0, 2.0], [3.0, 5.0]]) + np.array([[1.0, 2.0], [0.5, 1.0]]) * eps
    np.testing.assert_allclose(reference.outputs(plan, theta, X), expected, rtol=1e-15)


def test_its_divergence_joins_the_loss():
    plan, theta = only_a_sample(2)
    X = np.array([[3.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, np.log(2)]])
    y = reference.outputs(plan, theta, X)  # where the squared error is 0
    np.testing.assert_allclose(reference.losses(plan, theta, X, y), [5, 0.5 - np.log(2) / 2])


@pytest.mark.parametrize(("mean", "log_variance"), [(0, 0), (1.5, -2), (-0.3, 1), (0, -8)])
def test_the_divergence_is_that_of_kullback_and_leibler(mean, log_variance):
    q = norm(mean, np.exp(log_variance / 2))
    points = mean + q.std() * np.array([-12, 12])
    integral, _ = quad(lambda z: q.pdf(z) * (q.logpdf(z) - norm.logpdf(z)), *points)
    np.testing.assert_allclose(divergence(np.array([[mean, log_variance]])), integral, atol=1e-8)


def test_noise_differs_by_draw_step_row_column_and_layer():
    plan, _ = only_a_sample(40)
    plan = replace(plan, layers=plan.layers * 2)
    rows = np.arange(3)
    numbers = [
        noise(replace(plan, draw=draw), number, rows, step)
        for draw in (0, 1, 2**32, 2**63)
        for number in (1, 3)
        for step in (0, 1, 2**31)
    ]
    assert np.unique(np.abs(numbers)).size == 24 * 3 * 40
    np.testing.assert_array_equal(
        noise(replace(plan, first_row=2), 1, rows[:1], 0), noise(plan, 1, rows[2:], 0)
    )
    assert plan == replace(plan, draw=1, first_row=2)


def test_other_noise_than_that_of_the_parameters():
    plan, _ = only_a_sample(4)
    dense = Plan((DenseOp(4, 4, "identity"),), "squared_error", "float64")
    parameters = reference.gaussian_noise(dense, 0, 0).reshape(5, 4)
    assert not np.isin(noise(plan, 1, np.arange(5), 0), parameters).any()


@pytest.mark.parametrize("latent", [1, 2, 33])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_with_the_noise_held_fixed_equal_the_complex_step(loss, latent):
    plan, theta, X, y = variational(latent=latent, loss=loss)
    steps = 1e-30j * np.eye(plan.size)
    stepped = [reference.losses(plan, theta + step, X, y).imag / 1e-30 for step in steps]
    gradients = reference.per_example_gradients(plan, theta, X, y)
    np.testing.assert_allclose(gradients, np.transpose(stepped), rtol=1e-11, atol=1e-13)


def test_gradients_equal_central_differences():
    plan, theta, X, y = variational(loss="binary_cross_entropy")
    weights = np.array([1.0, 0.0, 2.0, 0.5, 1.0])

    def value(theta):
        return reference.value_and_gradient(plan, theta, X, y, weights, 0.3)[0]

    differences = [
        (value(theta + step) - value(theta - step)) / 2e-6 for step in 1e-6 * np.eye(plan.size)
    ]
    _, gradient = reference.value_and_gradient(plan, theta, X, y, weights, 0.3)
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-8)


def test_the_jacobian_is_that_of_the_outputs_alone():
    plan, theta, X, _ = variational()
    steps = 1e-30j * np.eye(plan.size)
    stepped = [reference.outputs(plan, theta + step, X).imag / 1e-30 for step in steps]
    jacobian = reference.output_jacobian(plan, theta, X)
    np.testing.assert_allclose(jacobian, np.moveaxis(stepped, 0, -1), rtol=1e-11, atol=1e-13)


def test_everything_is_made_from_the_same_gradients():
    plan, theta, X, y = variational()
    gradients = reference.per_example_gradients(plan, theta, X, y)
    weights = np.array([1.0, 0.0, 2.0, 0.5, 1.0])
    _, gradient = reference.value_and_gradient(plan, theta, X, y, weights, 0.3)
    np.testing.assert_allclose(gradient, 0.3 * weights @ gradients, rtol=1e-12, atol=1e-14)
    squares = reference.second_moments(plan, theta, X, y, weights, 0.3)
    np.testing.assert_allclose(squares, 0.3 * weights @ gradients**2, rtol=1e-12, atol=1e-14)
    norms = reference.gradient_norms(plan, theta, X, y)
    np.testing.assert_allclose(norms, np.linalg.norm(gradients, axis=1), rtol=1e-13)
    assert reference.gradient_norms(plan, theta, X, y, per_layer=True).shape == (5, 3)
    products = reference.inner_products(plan, theta, X, y, theta)
    np.testing.assert_allclose(products, gradients @ theta, rtol=1e-12)
    gram = reference.gradient_gram(plan, theta, X, y, X, y)
    np.testing.assert_allclose(gram, gradients @ gradients.T, rtol=1e-12, atol=1e-14)


def test_an_example_of_weight_zero_leaves_the_others_their_noise():
    plan, theta, X, y = variational()
    losses = reference.losses(plan, theta, X, y)
    value, _ = reference.value_and_gradient(plan, theta, X, y, np.array([0, 0, 0, 1.0, 0]), 1.0)
    assert value == losses[3]


def test_noise_in_training_is_that_of_the_row_and_of_the_step():
    plan, theta, X, y = variational()
    training = reference.Training(plan, SGD(), X, y, None, batch_size=2)
    expected = 0.0
    for step, rows in enumerate((np.array([0, 1]), np.array([2, 3]), np.array([4]))):
        training.theta = theta
        training.advance(np.array([1.0]))
        activations, _ = reference.network.forward(plan, theta, X[rows], rows, step)
        error = ((activations[-1] - y[rows]) ** 2).sum(axis=1) + divergence(activations[2])
        expected += error.sum()
        np.testing.assert_allclose(training.loss_sum, expected, rtol=1e-13)


def test_the_first_step_follows_the_gradient_of_the_same_draw():
    plan, theta, X, y = variational()
    plan = replace(plan, draw=2**64 - 1)
    training = reference.Training(plan, SGD(), X, y, None, batch_size=5)
    training.theta = theta
    training.advance(np.array([1.0]))
    _, gradient = reference.value_and_gradient(plan, theta, X, y, None, 0.2)
    np.testing.assert_array_equal(training.theta, theta - gradient)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_no_examples_nothing_is_drawn(dtype):
    plan, theta = only_a_sample(3)
    plan, theta = replace(plan, dtype=dtype), theta.astype(dtype)
    assert reference.outputs(plan, theta, np.empty((0, 6), dtype)).shape == (0, 3)
