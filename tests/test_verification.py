"""The bounds are wide enough for rounding, and too narrow for anything else."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest

from fastbatch import Adam, backends, verification
from fastbatch.verification import (
    CASES,
    CELLS,
    DROPOUT,
    DTYPES,
    OPTIMIZERS,
    SAMPLE,
    Case,
    error_in_bounds,
)

REFERENCE = backends.load("reference")
CASE = CASES["65-63-66-64-5 cross_entropy x20"]


@functools.cache
def checks(backend):
    """All checks, made once for all tests."""
    return list(verification.checks(backend))


def reference_but(**functions):
    """The reference with some functions replaced."""
    face = {name: getattr(REFERENCE, name) for name in REFERENCE.__all__}
    return SimpleNamespace(**face | functions)


def errors(kernels, case=CASE, dtype="float32"):
    """The worst error of each function."""
    worst = {}
    for kernel, error in verification.case_errors(kernels, case, dtype):
        worst[kernel] = max(error, worst.get(kernel, 0.0))
    return worst


def test_every_kernel_is_within_its_bound(backend):
    kernels = {(check.kernel, check.dtype) for check in checks(backend)}
    assert len(kernels) == 2 + 2 * 19  # random numbers, and all else in two dtypes
    assert [check for check in checks(backend) if not check.error <= 1] == []


def test_rounding_comes_within_a_factor_of_20_of_the_bounds():
    in_float32 = [check for check in checks("reference") if check.dtype == "float32"]
    for kernel in {check.kernel for check in in_float32} - {"training"}:
        assert max(check.error for check in in_float32 if check.kernel == kernel) > 0.05, kernel


@pytest.mark.parametrize("name", CELLS)
def test_the_measured_cells_are_within_the_bounds_of_their_sizes(name):
    cell = CELLS[name]
    few = Case(cell.name, cell.widths, cell.activations, cell.loss, examples=3)
    assert max(errors(REFERENCE, few).values()) < 1


def test_an_input_left_out_is_found():
    def outputs(plan, theta, X):
        X = X.copy()
        X[:, -1] = 0
        return REFERENCE.outputs(plan, theta, X)

    assert errors(reference_but(outputs=outputs))["outputs"] > 100


def test_an_example_left_out_of_the_gradient_is_found():
    def value_and_gradient(plan, theta, X, y, weights, scale):
        weights = np.ones(len(X), plan.dtype) if weights is None else weights
        return REFERENCE.value_and_gradient(plan, theta, X[1:], y[1:], weights[1:], scale)

    worst = errors(reference_but(value_and_gradient=value_and_gradient))
    assert worst["value"] > 100
    assert worst["gradient"] > 100


def test_a_wrong_last_digit_of_a_parameter_is_found():
    def outputs(plan, theta, X):
        return REFERENCE.outputs(plan, theta * (1 + 64 * np.finfo(plan.dtype).eps), X)

    case = CASES["17-16-1 squared_error x7"]
    assert errors(reference_but(outputs=outputs), case)["outputs"] > 1


def test_arithmetic_in_lower_precision_is_found():
    def losses(plan, theta, X, y):
        return REFERENCE.losses(plan, theta.astype("float32"), X.astype("float32"), y)

    assert errors(reference_but(losses=losses), dtype="float64")["losses"] > 1e5


def test_other_random_numbers_are_found():
    def permutation(count, seed, epoch):
        return REFERENCE.permutation(count, seed, epoch)[::-1]

    kernels = reference_but(permutation=permutation)
    found = [check for check in verification.random_errors(kernels) if check.error]
    assert {check.kernel for check in found} == {"permutation"}


def test_another_batch_order_is_found():
    class Training(REFERENCE.Training):
        def _batch(self):
            rows, weights = super()._batch()
            return rows[:1], weights[:1]

    found = dict(verification.training_errors(reference_but(Training=Training), "float32"))
    assert all(error > 100 for error in found.values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_of_another_length_is_found(name):
    class Training(REFERENCE.Training):
        def advance(self, learning_rates):
            return super().advance(learning_rates * (1 + 1e-4))

    kernels = reference_but(Training=Training)
    assert verification.optimizer_error(kernels, OPTIMIZERS[name], 0, "float32") > 1


def test_a_forgotten_bias_correction_is_found():
    class Training(REFERENCE.Training):
        def advance(self, learning_rates):
            self.step += 10_000
            return super().advance(learning_rates)

    kernels = reference_but(Training=Training)
    assert verification.optimizer_error(kernels, Adam(0.01), 0, "float32") > 100


@pytest.mark.parametrize(
    ("computed", "error"),
    [
        ([1.0, 2.0], 0.0),
        ([1.0, 2.5], 0.5),
        ([1.1, 2.0], np.inf),
        ([1.0, np.nan], np.inf),
        ([1], np.inf),
    ],
)
def test_errors_are_in_units_of_the_bound(computed, error):
    assert error_in_bounds(computed, [1.0, 2.0], [0.0, 1.0]) == error


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_case_always_has_the_same_data(dtype):
    for one, other in zip(CASE.data(dtype), CASE.data(dtype), strict=True):
        assert np.array_equal(one, other)


def test_the_table_covers_what_is_awkward():
    widths = {width for case in CASES.values() for width in case.widths}
    assert {1, 15, 16, 17, 63, 64, 65} <= widths
    assert {1, 2} <= {case.examples for case in CASES.values()}
    activations = {name for case in CASES.values() for name in case.activations}
    assert activations == {*REFERENCE.activations.ACTIVATIONS, SAMPLE, DROPOUT}
    assert {case.loss for case in CASES.values()} == set(REFERENCE.loss_functions.LOSSES)
