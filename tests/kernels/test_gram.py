"""Gram matrices that are made in pieces: of integers, so that all sums are exact."""

import numpy as np
import pytest

from fastbatch.kernels import cpu
from fastbatch.kernels.cpu import dense, evaluation, gram
from fastbatch.kernels.plan import DenseOp, Plan


def problem(inputs, examples, outputs=70):
    """A linear network on integers."""
    plan = Plan((DenseOp(inputs, outputs, "identity"),), "squared_error", "float64")
    rng = np.random.default_rng(inputs)
    theta, X, y = (
        rng.integers(-2, 3, size=shape).astype(float)
        for shape in (plan.size, (examples, inputs), (examples, outputs))
    )
    return plan, theta, X, y


def check(plan, theta, X, y, few):
    G = cpu.per_example_gradients(plan, theta, X, y)
    found = cpu.gradient_gram(plan, theta, X, y, X[:few], y[:few])
    np.testing.assert_array_equal(found, G @ G[:few].T)


@pytest.mark.parametrize("beyond", [0, 1, 40])
def test_more_inputs_than_terms_of_one_product(beyond):
    check(*problem(2 * dense.TERMS + beyond, 35), 3)


@pytest.mark.parametrize("examples", [gram.ROWS, gram.ROWS + 1, 2 * gram.ROWS + 5])
def test_more_rows_than_a_unit_has(examples):
    check(*problem(3, examples), 65)


def test_more_outputs_than_are_kept_at_once(monkeypatch):
    monkeypatch.setattr(evaluation, "_KEPT_ELEMENTS", 100)  # ten at a time, but three outputs each
    plan, theta, X, _ = problem(3, 20, outputs=3)
    J = cpu.output_jacobian(plan, theta, X)
    found = cpu.tangent_kernel(plan, theta, X, X[:13])
    np.testing.assert_array_equal(found, np.einsum("akp,blp->abkl", J, J[:13]))


def test_more_examples_than_are_kept_at_once(monkeypatch):
    monkeypatch.setattr(evaluation, "_KEPT_ELEMENTS", 1000)  # six at a time
    check(*problem(3, 20), 13)
