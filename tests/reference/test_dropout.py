"""Dropout: its masks, and what it does to outputs and gradients with the mask held fixed."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from fastbatch.kernels import reference
from fastbatch.kernels.plan import DenseOp, DropoutOp, GaussianSampleOp, Plan
from fastbatch.kernels.reference.dropout import forward, mask, mask_words
from fastbatch.kernels.reference.loss_functions import LOSSES
from fastbatch.optimizers import SGD

CHANCE = 4.5  # standard errors

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def identity(width, rate, dtype="float64", **options):
    """A network that drops what comes in, and passes on the rest."""
    layers = DropoutOp(width, rate), DenseOp(width, width, "identity")
    plan = Plan(layers, "squared_error", dtype, **{"dropping": True, **options})
    return plan, np.append(np.eye(width).ravel(), np.zeros(width)).astype(dtype)


def problem(loss="squared_error", dtype="float64"):
    """Dropout wherever it may stand, a sample among it, with theta, X and y."""
    layers = (
        DropoutOp(3, 0.25),
        DenseOp(3, 6, "tanh"),
        DropoutOp(6, 0.5),
        DenseOp(6, 4, "identity"),
        GaussianSampleOp(4, 2),
        DropoutOp(2, 0.3),
        DenseOp(2, 4, "identity"),
    )
    plan = Plan(layers, loss, dtype, draw=5, dropping=True)
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(5, 3)), rng.uniform(size=(5, 4))
    return plan, *(a.astype(dtype) for a in (rng.normal(size=plan.size), X, y))


@each_dtype
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.999])
def test_elements_are_0_or_scaled(rate, dtype):
    plan, theta = identity(50, rate, dtype)
    X = np.random.default_rng(0).normal(size=(40, 50)).astype(dtype)
    outputs = reference.outputs(plan, theta, X)
    kept = outputs != 0
    np.testing.assert_allclose(outputs, kept * X / (1 - rate), rtol=1e-6)
    assert kept.all() == (rate == 0)


@each_dtype
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_masks_drop_at_that_rate_each_element_for_itself(rate, dtype):
    plan, _ = identity(300, rate, dtype)
    found = mask(plan, 0, np.arange(2000), step=3)
    dropped = found == 0
    deviation = np.sqrt(rate * (1 - rate))
    assert abs(dropped.mean() - rate) < CHANCE * deviation / np.sqrt(dropped.size)
    assert abs(found.mean() - 1) < CHANCE * deviation / (1 - rate) / np.sqrt(dropped.size)
    for axis in (0, 1):  # rates of columns and rows scatter as those of independent elements do
        z = (dropped.mean(axis) - rate) / deviation * np.sqrt(dropped.shape[axis])
        assert abs((z**2).mean() - 1) < CHANCE * np.sqrt(2 / z.size)
    neighbours = [(dropped[1:], dropped[:-1]), (dropped[:, 1:], dropped[:, :-1])]
    for one, other in neighbours:
        both = (one & other).mean()
        error = rate * np.sqrt(1 - rate**2) / np.sqrt(one.size)
        assert abs(both - rate**2) < 2 * CHANCE * error  # terms share elements


@each_dtype
def test_words_are_uniform_and_never_the_same_ones(dtype):
    numbers = [
        mask_words(np.arange(3), 70, draw, step, np.dtype(dtype), group)
        for draw in (0, 1, 2**32, 2**63)
        for step in (0, 1, 2**31)
        for group in (0, 1 << 16)
    ]
    words = np.ravel(numbers)
    assert np.unique(words).size > words.size - 5  # of 2**32 some may come twice
    assert kstest(words / 2**32, "uniform").pvalue > 1e-5


@each_dtype
def test_a_row_has_the_mask_of_its_number(dtype):
    plan, _ = identity(70, 0.5, dtype)
    whole = mask(plan, 0, np.arange(9), 0)
    np.testing.assert_array_equal(mask(replace(plan, first_row=4), 0, np.arange(5), 0), whole[4:])
    np.testing.assert_array_equal(mask(plan, 0, np.array([8, 2, 8]), 0), whole[[8, 2, 8]])


@each_dtype
def test_wider_masks_begin_like_narrow_ones(dtype):
    wide, narrow = (mask(identity(w, 0.5, dtype)[0], 0, np.arange(4), 0) for w in (100, 33))
    np.testing.assert_array_equal(wide[:, :33], narrow)


def test_the_rate_is_that_of_the_words_that_drop():
    layer = DropoutOp(1, 0.3)
    assert abs(layer.dropped / 2**32 - 0.3) <= 2**-33
    assert layer.scale * (1 - layer.dropped / 2**32) == pytest.approx(1, rel=1e-15)
    assert DropoutOp(1, 0.5).scale == 2 and DropoutOp(1, 0.0).scale == 1
    assert np.isfinite(DropoutOp(1, 1 - 2**-53).scale)


def test_what_is_dropped_counts_as_0_whatever_it_was():
    a, factors = np.array([[np.inf, np.nan, 3.0]]), np.array([[0.0, 0.0, 2.0]])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(forward(a, factors), [[0, 0, 6]])


@each_dtype
def test_a_plan_that_does_not_drop_is_one_without_the_layers(dtype):
    plan, theta = identity(9, 0.5, dtype)
    X = np.random.default_rng(0).normal(size=(5, 9)).astype(dtype)
    without = reference.outputs(replace(plan, layers=plan.layers[1:]), theta, X)
    silent = reference.outputs(replace(plan, dropping=False), theta, X)
    np.testing.assert_array_equal(silent, without)
    assert (reference.outputs(plan, theta, X) != without).any()


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_with_the_mask_held_fixed_equal_the_complex_step(loss):
    plan, theta, X, y = problem(loss)
    steps = 1e-30j * np.eye(plan.size)
    stepped = [reference.losses(plan, theta + step, X, y).imag / 1e-30 for step in steps]
    gradients = reference.per_example_gradients(plan, theta, X, y)
    np.testing.assert_allclose(gradients, np.transpose(stepped), rtol=1e-11, atol=1e-13)


def test_the_jacobian_is_that_of_the_outputs():
    plan, theta, X, _ = problem()
    steps = 1e-30j * np.eye(plan.size)
    stepped = [reference.outputs(plan, theta + step, X).imag / 1e-30 for step in steps]
    jacobian = reference.output_jacobian(plan, theta, X)
    np.testing.assert_allclose(jacobian, np.moveaxis(stepped, 0, -1), rtol=1e-11, atol=1e-13)


def test_an_example_of_weight_zero_leaves_the_others_their_masks():
    plan, theta, X, y = problem()
    losses = reference.losses(plan, theta, X, y)
    value, _ = reference.value_and_gradient(plan, theta, X, y, np.array([0, 0, 0, 1.0, 0]), 1.0)
    assert value == losses[3]


def test_masks_in_training_are_those_of_the_row_and_of_the_step():
    plan, theta, X, y = problem()
    training = reference.Training(plan, SGD(), X, y, None, batch_size=2)
    expected = 0.0
    for step, rows in enumerate((np.array([0, 1]), np.array([2, 3]), np.array([4]))):
        training.theta = theta
        training.advance(np.array([1.0]))
        losses, _ = reference.network.backpropagate(plan, theta, X[rows], y[rows], rows, step)
        expected += losses.sum()
        np.testing.assert_allclose(training.loss_sum, expected, rtol=1e-13)
