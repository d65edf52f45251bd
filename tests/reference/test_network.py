"""Values, per-example gradients and their weighted sums."""

import numpy as np
import pytest

from fastbatch.kernels import reference
from fastbatch.kernels.plan import DenseOp, Plan
from fastbatch.kernels.reference.activations import ACTIVATIONS
from fastbatch.kernels.reference.loss_functions import LOSSES

from .problems import SHAPES, problem

every_shape = pytest.mark.parametrize(("examples", "widths"), SHAPES)


def test_one_weight_by_hand():
    plan = Plan((DenseOp(1, 1, "identity"),), "squared_error", "float64")
    theta, X, y = np.array([3.0, 1.0]), np.array([[2.0]]), np.array([[5.0]])
    assert reference.outputs(plan, theta, X) == 7
    assert reference.losses(plan, theta, X, y) == 4
    value, gradient = reference.value_and_gradient(plan, theta, X, y, None, 0.5)
    assert type(value) is float and value == 2
    np.testing.assert_array_equal(gradient, [4, 2])  # half of 2 (7 - 5) times (x, 1)


def test_two_layers_by_hand():
    # hidden units: relu(x0 + 2 x1 - 1), relu(-x0 + x1); output: 3 h0 + 4 h1 + 0.5
    plan = Plan((DenseOp(2, 2, "relu"), DenseOp(2, 1, "identity")), "squared_error", "float64")
    theta = np.array([1, -1, 2, 1, -1, 0, 3, 4, 0.5])
    X, y = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[5.5], [8.5]])
    # example 0: h = (2, 0), p = 6.5, delta 2; unit 1 is at 0 and sends nothing back
    # example 1: h = (1, 1), p = 7.5, delta -2
    np.testing.assert_array_equal(reference.outputs(plan, theta, X), [[6.5], [7.5]])
    np.testing.assert_array_equal(
        reference.per_example_gradients(plan, theta, X, y),
        [[6, 0, 6, 0, 6, 0, 4, 0, 2], [0, 0, -6, -8, -6, -8, -2, -2, -2]],
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
@every_shape
def test_per_example_gradients_equal_the_complex_step(examples, widths, activation, loss):
    plan, theta, X, y = problem(widths, examples, activation, loss)
    steps = 1e-30j * np.eye(plan.size)
    stepped = [reference.losses(plan, theta + step, X, y).imag / 1e-30 for step in steps]
    np.testing.assert_allclose(
        reference.per_example_gradients(plan, theta, X, y),
        np.transpose(stepped),
        rtol=1e-11,
        atol=1e-13,
    )


@every_shape
def test_value_and_gradient_equal_central_differences(examples, widths):
    plan, theta, X, y = problem(widths, examples, "gelu", "poisson")

    def value(theta):
        return reference.value_and_gradient(plan, theta, X, y, None, 0.3)[0]

    differences = [
        (value(theta + step) - value(theta - step)) / 2e-6 for step in 1e-6 * np.eye(plan.size)
    ]
    _, gradient = reference.value_and_gradient(plan, theta, X, y, None, 0.3)
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("loss", LOSSES)
@every_shape
def test_value_and_gradient_are_the_weighted_sums_of_losses_and_gradients(examples, widths, loss):
    plan, theta, X, y = problem(widths, examples, "silu", loss)
    weights = np.linspace(0, 2, examples) if examples > 1 else np.array([0.7])
    value, gradient = reference.value_and_gradient(plan, theta, X, y, weights, 0.25)
    losses = reference.losses(plan, theta, X, y)
    gradients = reference.per_example_gradients(plan, theta, X, y)
    np.testing.assert_allclose(value, 0.25 * weights @ losses, rtol=1e-14)
    np.testing.assert_allclose(gradient, 0.25 * weights @ gradients, rtol=1e-13, atol=1e-15)


def test_labels_train_as_probabilities_of_one():
    plan, theta, X, _ = problem((3, 5, 4), 6, loss="cross_entropy")
    labels = np.array([0, 3, 2, 2, 1, 0])
    value, gradient = reference.value_and_gradient(plan, theta, X, labels, None, 1.0)
    one_hot = reference.value_and_gradient(plan, theta, X, np.eye(4)[labels], None, 1.0)
    assert value == one_hot[0]
    np.testing.assert_array_equal(gradient, one_hot[1])


def test_weight_two_equals_a_duplicated_row():
    plan, theta, X, y = problem((3, 5, 2), 4)
    rows = [0, 1, 1, 2, 3]
    duplicated = reference.value_and_gradient(plan, theta, X[rows], y[rows], None, 0.2)
    weights = np.array([1.0, 2, 1, 1])
    weighted = reference.value_and_gradient(plan, theta, X, y, weights, 0.2)
    np.testing.assert_allclose(weighted[0], duplicated[0], rtol=1e-14)
    np.testing.assert_allclose(weighted[1], duplicated[1], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e308])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_row_of_weight_zero_contributes_nothing_whatever_it_holds(loss, poison):
    plan, theta, X, y = problem((3, 5, 2), 4, "softplus", loss)
    weights = np.array([1.0, 0, 0.5, 2])
    clean = reference.value_and_gradient(plan, theta, X, y, weights, 1.0)
    X[1], y[1] = poison, poison
    value, gradient = reference.value_and_gradient(plan, theta, X, y, weights, 1.0)
    assert value == clean[0]
    np.testing.assert_array_equal(gradient, clean[1])


def test_all_weights_zero_give_zero():
    plan, theta, X, y = problem((3, 5, 2), 4)
    value, gradient = reference.value_and_gradient(plan, theta, X, y, np.zeros(4), 1.0)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(plan.size))


@pytest.mark.parametrize("loss", LOSSES)
def test_no_examples_give_empty_answers(loss):
    plan, theta, X, y = problem((3, 5, 2), 0, loss=loss)
    assert reference.outputs(plan, theta, X).shape == (0, 2)
    assert reference.losses(plan, theta, X, y).shape == (0,)
    assert reference.per_example_gradients(plan, theta, X, y).shape == (0, plan.size)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_float32_is_near_float64_and_stays_float32(activation, loss):
    wide = problem((3, 5, 2), 4, activation, loss)
    plan, theta, X, y = problem((3, 5, 2), 4, activation, loss, dtype="float32")
    weights = np.array([1.0, 0.5, 2, 1])
    value, gradient = reference.value_and_gradient(
        plan, theta, X, y, weights.astype("float32"), np.float64(0.25)
    )
    assert gradient.dtype == np.float32
    for function in (reference.losses, reference.per_example_gradients):
        assert function(plan, theta, X, y).dtype == np.float32
    expected = reference.value_and_gradient(*wide, weights, 0.25)
    np.testing.assert_allclose(value, expected[0], rtol=1e-4)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_overflow_gives_no_warning(activation, loss):
    plan, theta, X, y = problem((3, 5, 2), 4, activation, loss)
    reference.value_and_gradient(plan, theta * 1e200, X * 1e200, y, None, 1.0)
    reference.per_example_gradients(plan, theta * 1e200, X * 1e200, y)


def test_arguments_are_left_alone():
    plan, theta, X, y = problem((3, 5, 2), 4)
    weights = np.array([1.0, 0, 0.5, 2])
    for array in (theta, X, y, weights):
        array.flags.writeable = False
    reference.value_and_gradient(plan, theta, X, y, weights, 1.0)
    reference.per_example_gradients(plan, theta, X, y)
