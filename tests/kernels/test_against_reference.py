"""Every kernel against the reference, within the bounds of rounding.

tests/test_verification.py does so in the cases of the table; here is what no table has.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch.kernels import cpu, reference
from fastbatch.kernels.cpu.activations import NAMES as ACTIVATIONS
from fastbatch.rounding import Sweep
from fastbatch.verification import CASES, DTYPES, Case, case_errors, error_in_bounds

LOSSES = tuple(reference.loss_functions.LOSSES)

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@st.composite
def cases(draw):
    depth, sizes = draw(st.integers(1, 4)), st.integers(1, 17) | st.integers(1, 140)
    widths = draw(st.lists(sizes, min_size=depth + 1, max_size=depth + 1))
    activations = draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=depth, max_size=depth))
    loss, examples = draw(st.sampled_from(LOSSES)), draw(sizes)
    name = f"{widths} {activations} {loss} x{examples}"
    return Case(name, tuple(widths), tuple(activations), loss, examples, draw(st.booleans()))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(case=cases(), dtype=st.sampled_from(DTYPES))
def test_networks_of_any_shape_are_within_the_bounds(case, dtype):
    errors = list(case_errors(cpu, case, dtype))
    assert [(kernel, error) for kernel, error in errors if not error <= 1] == []


@each_dtype
@pytest.mark.parametrize("inputs", [70_000, 140_000])
def test_examples_larger_than_the_cache_are_within_the_bounds(inputs, dtype):
    case = Case("large", (inputs, 1), ("identity",), "squared_error", 30)
    plan = case.plan(dtype)
    theta, X, y, _ = case.data(dtype)
    sweep = Sweep(plan, theta, X, y)
    assert error_in_bounds(cpu.outputs(plan, theta, X), *sweep.outputs()) <= 1
    _, gradient = cpu.value_and_gradient(plan, theta, X, y, None, 1.0)
    assert error_in_bounds(gradient, *sweep.gradient(None, 1.0)) <= 1


@each_dtype
def test_no_examples_give_empty_arrays(dtype):
    case = CASES["17-16-1 huber x7"]
    plan = case.plan(dtype)
    theta, X, y, _ = case.data(dtype)
    results = [
        (cpu.outputs(plan, theta, X[:0]), (0, 1)),
        (cpu.losses(plan, theta, X[:0], y[:0]), (0,)),
        (cpu.per_example_gradients(plan, theta, X[:0], y[:0]), (0, plan.size)),
    ]
    for array, shape in results:
        assert array.shape == shape
        assert array.dtype == dtype


@each_dtype
def test_arguments_are_never_written_to(dtype):
    case = CASES["31-33-17 cross_entropy of probabilities x33"]
    plan = case.plan(dtype)
    arrays = case.data(dtype)
    for array in arrays:
        array.flags.writeable = False
    copies = [array.copy() for array in arrays]
    theta, X, y, weights = arrays
    cpu.outputs(plan, theta, X)
    cpu.losses(plan, theta, X, y)
    cpu.value_and_gradient(plan, theta, X, y, weights, 1.0)
    cpu.per_example_gradients(plan, theta, X, y)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@each_dtype
def test_a_kept_session_gives_what_a_new_one_gives(dtype):
    """Calls in another order, on other data, leave nothing behind that a later one sees."""
    case = CASES["31-33-17 huber x33"]
    plan = case.plan(dtype)
    theta, X, y, weights = case.data(dtype)
    first = [
        cpu.losses(plan, theta, X, y),
        cpu.outputs(plan, theta, X),
        *cpu.value_and_gradient(plan, theta, X, y, weights, 0.5),
    ]
    cpu.per_example_gradients(plan, np.nan * theta, np.nan * X, y)
    cpu.value_and_gradient(plan, np.inf * theta, np.inf * X, y, None, 3.0)
    again = [
        cpu.losses(plan, theta, X, y),
        cpu.outputs(plan, theta, X),
        *cpu.value_and_gradient(plan, theta, X, y, weights, 0.5),
    ]
    for before, after in zip(first, again, strict=True):
        np.testing.assert_array_equal(before, after)


def test_parameters_that_were_changed_in_place_count():
    case = next(iter(CASES.values()))
    plan, (theta, X, y, _) = case.plan("float64"), case.data("float64")
    for _ in range(2):
        expected = reference.outputs(plan, theta, X)
        np.testing.assert_allclose(cpu.outputs(plan, theta, X), expected, rtol=1e-12)
        value, gradient = cpu.value_and_gradient(plan, theta, X, y, None, 1.0)
        expected, expected_gradient = reference.value_and_gradient(plan, theta, X, y, None, 1.0)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-12)
        theta *= 2
