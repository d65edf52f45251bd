"""Rows of weight 0 count for nothing, and what becomes tiny becomes zero."""

import numpy as np
import pytest

from fastbatch.kernels import cpu, reference
from fastbatch.optimizers import SGD, Adam
from fastbatch.verification import CASES, DTYPES, OPTIMIZERS, Case

each_dtype = pytest.mark.parametrize("dtype", DTYPES)

LOSSES = {
    f"{case.loss}{' of probabilities' * (not case.labels)}{' in blocks' * (examples > 128)}": Case(
        "rows", (9, 18, 5), ("softplus", "identity"), case.loss, examples, case.labels
    )
    for case in CASES.values()
    for examples in (40, 300)
}


def junk_in_place_of_weightless_rows(X, y, weights):
    """Copies with NaN and infinities, and labels of no class, where the weight is 0."""
    X, y = X.copy(), y.copy()
    out = np.flatnonzero(weights == 0)
    assert len(out) > 3
    X[out[::2]], X[out[1::2]] = np.nan, -np.inf
    y[out] = 2**62 if y.dtype == np.int64 else np.inf
    return X, y


@each_dtype
@pytest.mark.parametrize("name", LOSSES)
def test_a_row_of_weight_0_contributes_nothing_whatever_it_holds(name, dtype):
    case = LOSSES[name]
    plan = case.plan(dtype)
    theta, X, y, weights = case.data(dtype)
    expected = cpu.value_and_gradient(plan, theta, X, y, weights, 0.7)
    junk = junk_in_place_of_weightless_rows(X, y, weights)
    found = cpu.value_and_gradient(plan, theta, *junk, weights, 0.7)
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])


@each_dtype
@pytest.mark.parametrize("name", [name for name in LOSSES if "blocks" not in name])
def test_rows_of_weight_0_may_as_well_be_missing(name, dtype):
    case = LOSSES[name]
    plan = case.plan(dtype)
    theta, X, y, weights = case.data(dtype)
    _, found = cpu.value_and_gradient(plan, theta, X, y, weights, 0.7)
    there = weights != 0
    _, expected = cpu.value_and_gradient(plan, theta, X[there], y[there], weights[there], 0.7)
    np.testing.assert_array_equal(found, expected)


@each_dtype
@pytest.mark.parametrize("name", LOSSES)
def test_training_never_looks_at_rows_of_weight_0(name, dtype):
    case = LOSSES[name]
    theta, X, y, weights = case.data(dtype)
    weights[:7] = 0  # the first batch of the small case has no other rows
    results = []
    for data in ((X, y), junk_in_place_of_weightless_rows(X, y, weights)):
        batch_size = 7 if case.examples == 40 else 200
        training = cpu.Training(case.plan(dtype), Adam(0.01), *data, weights, batch_size=batch_size)
        training.theta = theta
        assert training.advance(np.full(100, 0.01)) == training.batches
        results.append((training.loss_sum, training.weight_sum, training.theta, training.slots))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert np.isfinite(results[0][2]).all()


@each_dtype
def test_a_batch_without_weight_leaves_parameters_alone(dtype):
    case = LOSSES["squared_error"]
    theta, X, y, _ = case.data(dtype)
    training = cpu.Training(case.plan(dtype), SGD(), X, y, np.zeros(len(X), dtype), batch_size=40)
    training.theta = theta
    assert training.advance(np.ones(1)) == 1
    assert (training.loss_sum, training.weight_sum) == (0, 0)
    np.testing.assert_array_equal(training.theta, theta)


@each_dtype
@pytest.mark.parametrize("bias", ["large", np.inf, np.nan])
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_that_are_not_finite_are_told(name, bias, dtype):
    """A line search that has gone too far must see it, and not what an earlier call has left."""
    case = LOSSES[name]
    plan = case.plan(dtype)
    theta, X, y, weights = case.data(dtype)
    cpu.value_and_gradient(plan, theta, X, y, weights, 1.0)
    # The square of what is large here is infinite, its derivative is not.
    theta[-1] = 10 * np.sqrt(np.finfo(dtype).max) if bias == "large" else bias
    value, gradient = cpu.value_and_gradient(plan, theta, X, y, weights, 1.0)
    true_value, true_gradient = reference.value_and_gradient(plan, theta, X, y, weights, 1.0)
    np.testing.assert_allclose(value, true_value, rtol=1e-4)
    np.testing.assert_allclose(gradient, true_gradient, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(
        np.isfinite(cpu.losses(plan, theta, X, y)), np.isfinite(reference.losses(plan, theta, X, y))
    )


def subnormal(array):
    return (array != 0) & (abs(array) < np.finfo(array.dtype).tiny)


@each_dtype
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_an_optimizer_sinks_to_zero_and_not_to_subnormals(name, dtype):
    """There is no gradient any more, so the means fade away."""
    tiny = float(np.finfo(dtype).tiny)
    plan = Case("line", (17, 20), ("identity",), "squared_error", 2).plan(dtype)
    X = np.zeros((2, 17), dtype)
    y = np.zeros((2, 20), dtype)
    training = cpu.Training(plan, OPTIMIZERS[name], X, y, None, batch_size=2)
    slots = np.tile(np.geomspace(tiny, 1e6 * tiny, plan.size), (OPTIMIZERS[name].slots, 1))
    training.slots = np.maximum(slots, tiny)
    for _ in range(300):
        training.advance(np.array([0.0]))
        assert not subnormal(training.slots).any()
        training.next_epoch()
    if "adagrad" not in name:  # its sum of squares never sinks
        assert (training.slots == 0).any(axis=1).all()


@each_dtype
def test_tiny_gradients_become_zero_and_not_subnormal(dtype):
    """A gradient is the product of deltas and activations, here about the smallest normal."""
    tiny = float(np.finfo(dtype).tiny)
    plan = Case("line", (20, 3), ("identity",), "squared_error", 1).plan(dtype)
    theta = np.zeros(plan.size, dtype)
    X = np.geomspace(tiny, 1e4 * tiny, 20)[None].astype(dtype)
    y = np.full((1, 3), 0.01, dtype)
    training = cpu.Training(plan, SGD(momentum=0.5), X, y, None, batch_size=1)
    training.theta = theta
    training.advance(np.array([0.0]))
    found = training.slots[0, : 20 * 3].reshape(20, 3)
    assert not subnormal(found).any()
    assert (found[:5] == 0).all()
    assert (found[15:] != 0).all()
