"""The CUDA backend against the reference, within the bounds of rounding."""

import numpy as np
import pytest

from fastbatch.kernels import cuda
from fastbatch.kernels.cuda import finite
from fastbatch.kernels.cuda.toolkit import to_device
from fastbatch.verification import (
    CASES,
    DTYPES,
    OPTIMIZERS,
    case_errors,
    optimizer_error,
    training_errors,
)

each_dtype = pytest.mark.parametrize("dtype", DTYPES)

# The others would take the simulator hours; `fastbatch verify --backend cuda` has them all.
SMALL = [
    case
    for case in CASES.values()
    if case.suits("cuda") and case.plan("float32").size * case.examples < 3000
]


def beyond(errors):
    return [(name, error) for name, error in errors if not error <= 1]


@each_dtype
@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_all_that_can_be_asked_is_within_the_bounds(case, dtype):
    assert beyond(case_errors(cuda, case, dtype)) == []


@each_dtype
def test_training_on_small_integers_is_exact(dtype):
    """Which rows, which weights, which scale, clipped by how much: nothing is rounded."""
    assert beyond(training_errors(cuda, dtype)) == []


@each_dtype
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_within_the_bounds(name, dtype):
    assert optimizer_error(cuda, OPTIMIZERS[name], 1000, dtype) <= 1


@each_dtype
def test_no_examples_give_empty_arrays(dtype):
    case = CASES["3-15-2 absolute_error x5"]
    plan, (theta, X, y, _) = case.plan(dtype), case.data(dtype)
    results = [
        (cuda.outputs(plan, theta, X[:0]), (0, 2)),
        (cuda.losses(plan, theta, X[:0], y[:0]), (0,)),
        (cuda.gradient_norms(plan, theta, X[:0], y[:0], per_layer=True), (0, 2)),
        (cuda.per_example_gradients(plan, theta, X[:0], y[:0]), (0, plan.size)),
        (cuda.gradient_gram(plan, theta, X[:0], y[:0], X, y), (0, 5)),
    ]
    for array, shape in results:
        assert array.shape == shape
        assert array.dtype == dtype
    value, gradient = cuda.value_and_gradient(plan, theta, X[:0], y[:0], None, 1.0)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(plan.size, dtype))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_found(value):
    case = CASES["3-15-2 absolute_error x5"]
    plan, (theta, X, _, _) = case.plan("float32"), case.data("float32")
    X[-1, -1] = value
    with pytest.raises(FloatingPointError, match="X is not finite"):
        cuda.outputs(plan, theta, X, check=True)
    assert cuda.outputs(plan, theta, X).shape == (5, 2)


def test_more_numbers_than_threads_are_looked_at(monkeypatch):
    monkeypatch.setattr(finite, "_BLOCKS", 1)
    values = np.zeros(2 * finite.THREADS + 1, np.float32)
    assert cuda.all_finite(to_device(values))
    values[-1] = np.nan
    assert not cuda.all_finite(to_device(values))
