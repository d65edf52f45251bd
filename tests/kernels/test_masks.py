"""Masks in the kernels: those of the reference, to the bit, and what may not change them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_runs import RUNS, answers

from fastbatch.kernels import cpu, reference
from fastbatch.kernels.cpu import evaluation
from fastbatch.kernels.cpu.activations import NAMES
from fastbatch.kernels.plan import Batches, DenseOp, DropoutOp, Plan
from fastbatch.optimizers import SGD
from fastbatch.verification import DROPOUT, DTYPES, Case, case_errors

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
EDGES = [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200]


def identity(width, dtype, rate=0.5, **options):
    """A network that drops what comes in, passes on the rest, and drops of that."""
    layers = []
    for _ in range(2):
        layers += DropoutOp(width, rate), DenseOp(width, width, "identity")
    plan = Plan(tuple(layers), "squared_error", dtype, **{"dropping": True, **options})
    part = np.append(np.eye(width).ravel(), np.zeros(width))
    return plan, np.tile(part, 2).astype(dtype)


def without_dropout(plan):
    return replace(plan, layers=tuple(op for op in plan.layers if op.size))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    width=st.sampled_from(EDGES) | st.integers(1, 300),
    rate=st.floats(0, 1, exclude_max=True),
    draw=st.integers(0, 2**64 - 1),
    first_row=st.integers(0, 2**32 - 4),
    dtype=st.sampled_from(DTYPES),
)
def test_masks_of_any_width_are_those_of_the_reference(width, rate, draw, first_row, dtype):
    plan, theta = identity(width, dtype, rate, draw=draw, first_row=first_row)
    X = np.ones((3, width), dtype)
    found, expected = (kernels.outputs(plan, theta, X) for kernels in (cpu, reference))
    np.testing.assert_array_equal(found, expected)


@st.composite
def cases(draw):
    """Networks of any widths, with dropout before any of their layers."""
    sizes = st.integers(1, 17) | st.integers(1, 140)
    widths = draw(st.lists(sizes, min_size=2, max_size=4))
    with_dropout, activations = widths[:1], []
    for inputs, outputs in pairwise(widths):
        if draw(st.booleans()):
            with_dropout.append(inputs)
            activations.append(DROPOUT)
        with_dropout.append(outputs)
        activations.append(draw(st.sampled_from(NAMES)))
    loss = draw(st.sampled_from(tuple(reference.loss_functions.LOSSES)))
    examples = draw(sizes)
    name = f"{with_dropout} {activations} {loss} x{examples}"
    return Case(name, tuple(with_dropout), tuple(activations), loss, examples)


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(case=cases(), dtype=st.sampled_from(DTYPES))
def test_networks_that_drop_are_within_the_bounds(case, dtype):
    errors = list(case_errors(cpu, case, dtype))
    assert [(kernel, error) for kernel, error in errors if not error <= 1] == []


@each_dtype
@pytest.mark.parametrize("width", EDGES)
@pytest.mark.parametrize("examples", [5, 300])
def test_gradients_of_integers_are_exact(examples, width, dtype):
    """Half of all is dropped, and the rest doubled."""
    layers = (
        DropoutOp(width, 0.5),
        DenseOp(width, 20, "relu"),
        DropoutOp(20, 0.5),
        DenseOp(20, 3, "identity"),
    )
    rng = np.random.default_rng([width, examples])
    plan = Plan(layers, "squared_error", dtype, dropping=True)
    ones = rng.random(plan.size) < 2 / width
    theta = (rng.integers(-1, 2, plan.size) * ones).astype(dtype)
    X = rng.integers(-1, 2, (examples, width)).astype(dtype)
    y = rng.integers(-2, 3, (examples, 3)).astype(dtype)
    weights = rng.choice([0.0, 1.0, 2.0], examples).astype(dtype)
    value, gradient = cpu.value_and_gradient(plan, theta, X, y, weights, 0.5)
    true_value, true_gradient = reference.value_and_gradient(plan, theta, X, y, weights, 0.5)
    assert value == true_value
    np.testing.assert_array_equal(gradient, true_gradient)


@each_dtype
def test_a_rate_of_0_is_no_layer_at_all(dtype):
    case = Case("", (33, 33, 70, 70, 20), (DROPOUT, "silu", DROPOUT, "tanh"), "huber", 150)
    plan, (theta, X, y, weights) = case.plan(dtype), case.data(dtype)
    none = tuple(replace(op, rate=0.0) if not op.size else op for op in plan.layers)
    trained = []
    for other in replace(plan, layers=none), without_dropout(plan), replace(plan, dropping=False):
        training = cpu.Training(other, SGD(0.1, momentum=0.5), X, y, weights, batch_size=40)
        training.theta = theta
        training.advance(np.full(4, 0.1))
        trained.append([training.theta, *answers(other, theta, X, y, weights)])
    for found in trained[1:]:
        for one, expected in zip(found, trained[0], strict=True):
            np.testing.assert_array_equal(one, expected)


@each_dtype
def test_who_does_not_drop_compiles_nothing_for_it(dtype):
    for run in RUNS.values():
        drops = DROPOUT in run.case.activations
        assert bool(run.start(dtype)._session.job["drop"]) == drops


@each_dtype
def test_plans_that_differ_in_their_masks_do_not_share_them(dtype):
    (plan, theta), X = identity(40, dtype), np.ones((3, 40), dtype)
    plans = [replace(plan, draw=draw) for draw in (0, 5, 2**64 - 1)]
    plans.append(replace(plan, dropping=False))
    outputs = [cpu.outputs(plan, theta, X) for plan in plans * 2]
    for first, second in zip(outputs[:4], outputs[4:], strict=True):
        np.testing.assert_array_equal(first, second)
    assert np.unique(np.reshape(outputs[:3], (9, 40)), axis=0).shape == (9, 40)
    np.testing.assert_array_equal(outputs[3], X)


@each_dtype
def test_a_row_has_the_mask_of_its_number(dtype):
    (plan, theta), X = identity(40, dtype), np.ones((300, 40), dtype)
    whole = cpu.outputs(plan, theta, X)
    for start in (1, 150, 299):
        part = cpu.outputs(replace(plan, first_row=start), theta, X[start:])
        np.testing.assert_array_equal(part, whole[start:])


@each_dtype
def test_the_first_step_of_training_follows_the_gradient_of_the_same_draw(dtype):
    case = Case("", (5, 5, 20, 20, 6), (DROPOUT, "tanh", DROPOUT, "identity"), "huber", 40)
    theta, X, y, weights = case.data(dtype)
    plan = replace(case.plan(dtype), draw=2**63 + 1)
    training = cpu.Training(plan, SGD(1.0), X, y, weights, batch_size=40, scale=0.25)
    training.theta = theta
    training.advance(np.array([1.0]))
    value, gradient = cpu.value_and_gradient(plan, theta, X, y, weights, 0.25)
    np.testing.assert_array_equal(training.theta, theta - gradient)
    assert 0.25 * training.loss_sum == value


@each_dtype
@pytest.mark.parametrize("batch_size", [3, 200])
def test_each_step_of_training_masks_every_example_anew(batch_size, dtype):
    """Inputs are powers of two, so that an example's loss tells which of them were dropped."""
    plan, theta = identity(8, dtype)
    X = np.tile(2.0 ** np.arange(8), (600, 1)).astype(dtype)
    rows = np.random.default_rng(0).permutation(600)
    found = {cpu: [], reference: []}
    for kernels, losses in found.items():
        training = kernels.Training(
            plan, SGD(0.0), X, np.zeros((600, 8), dtype), None, batch_size=batch_size,
            monitor=["losses"], sampler=lambda training: Batches(rows=rows),
        )  # fmt: skip
        training.theta = theta
        for _ in range(2):
            training.advance(np.zeros(training.batches))
            losses.append(training.example_losses)
            training.next_epoch()
    np.testing.assert_array_equal(found[cpu], found[reference])
    first, second = found[cpu]
    assert (first != second).mean() > 0.5  # elements pass both masks with probability 1 / 4


@each_dtype
def test_masks_do_not_depend_on_who_else_is_in_the_batch(dtype):
    case = Case("", (5, 5, 20, 20, 6), (DROPOUT, "tanh", DROPOUT, "identity"), "huber", 200)
    plan, (theta, X, y, _) = case.plan(dtype), case.data(dtype)
    rows = np.array([7, 190, 7, 3])
    training = cpu.Training(
        plan, SGD(1.0), X, y, None, batch_size=4, sampler=lambda training: Batches(rows=rows)
    )
    training.theta = theta
    training.advance(np.array([0.0]))
    losses = cpu.losses(plan, theta, X, y)
    np.testing.assert_allclose(training.loss_sum, losses[rows].sum(dtype=float), rtol=1e-15)


@each_dtype
def test_gram_matrices_of_blocks_have_the_masks_of_the_whole(dtype, monkeypatch):
    plan, theta = identity(3, dtype)
    rng = np.random.default_rng(1)
    X, y = (rng.integers(-2, 3, (20, 3)).astype(dtype) for _ in range(2))
    monkeypatch.setattr(evaluation, "_KEPT_ELEMENTS", 100)  # a few at a time
    G = cpu.per_example_gradients(plan, theta, X, y)
    np.testing.assert_array_equal(
        cpu.gradient_gram(plan, theta, X, y, X[:13], y[:13]), G @ G[:13].T
    )
    J = cpu.output_jacobian(plan, theta, X)
    found = cpu.tangent_kernel(plan, theta, X, X[:13])
    np.testing.assert_array_equal(found, np.einsum("akp,blp->abkl", J, J[:13]))


@each_dtype
@pytest.mark.parametrize("batch_size", [40, 300])
def test_rows_of_weight_0_may_hold_anything(batch_size, dtype):
    case = Case("", (9, 9, 18, 18, 5), (DROPOUT, "softplus", DROPOUT, "identity"), "huber", 300)
    plan, (theta, X, y, weights) = case.plan(dtype), case.data(dtype)
    out, results = weights == 0, []
    for junk in (0.0, np.nan, np.inf):
        X[out], y[out] = junk, junk
        training = cpu.Training(plan, SGD(0.1), X, y, weights, batch_size=batch_size)
        training.theta = theta
        assert training.advance(np.full(99, 0.1)) == training.batches
        results.append(training.theta)
    assert np.isfinite(results[0]).all()
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


@each_dtype
def test_what_is_dropped_counts_as_0_even_if_it_has_overflowed(dtype):
    plan, theta = identity(8, dtype)
    theta[: 8 * 8] *= np.finfo(dtype).max  # doubled, it is infinite
    X = np.ones((40, 8), dtype)
    found, expected = (
        np.isnan(kernels.outputs(plan, theta, X)).any(axis=1) for kernels in (cpu, reference)
    )
    np.testing.assert_array_equal(found, expected)
    assert found.any() and not found.all()
