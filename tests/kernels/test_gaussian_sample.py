"""Samples drawn in the kernels: their noise, their divergence, and what may not change them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_noise import LARGEST, RELATIVE_ERROR

from fastbatch.kernels import cpu, reference
from fastbatch.kernels.plan import Batches, DenseOp, GaussianSampleOp, Plan
from fastbatch.optimizers import SGD
from fastbatch.verification import DTYPES, SAMPLE, Case, case_errors

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
EDGES = [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200]


def standard(latent, dtype, **noise):
    """A network whose samples are standard normal: the noise itself."""
    layers = DenseOp(1, 2 * latent, "identity"), GaussianSampleOp(2 * latent, latent)
    plan = Plan(layers, "squared_error", dtype, **noise)
    return plan, np.zeros(plan.size, dtype)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    latent=st.sampled_from(EDGES) | st.integers(1, 300),
    draw=st.integers(0, 2**64 - 1),
    first_row=st.integers(0, 2**32 - 4),
    dtype=st.sampled_from(DTYPES),
)
def test_noise_of_any_width_is_that_of_the_reference(latent, draw, first_row, dtype):
    plan, theta = standard(latent, dtype, draw=draw, first_row=first_row)
    X = np.ones((3, 1), dtype)
    found, expected = (kernels.outputs(plan, theta, X) for kernels in (cpu, reference))
    bound = (RELATIVE_ERROR + 0.5) * np.finfo(dtype).eps * LARGEST[dtype]
    assert np.abs(found - expected).max() <= bound


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(
    latents=st.lists(st.integers(1, 17) | st.sampled_from(EDGES[:-1]), min_size=1, max_size=2),
    others=st.lists(st.integers(1, 33), min_size=4, max_size=4),
    loss=st.sampled_from(tuple(reference.loss_functions.LOSSES)),
    examples=st.integers(1, 17) | st.integers(1, 140),
    dtype=st.sampled_from(DTYPES),
)
def test_networks_that_draw_are_within_the_bounds(latents, others, loss, examples, dtype):
    widths, activations = [others[0]], []
    for latent, hidden in zip(latents, others[1:], strict=False):
        widths += [2 * latent, latent, hidden]
        activations += ["silu", SAMPLE, "tanh"]
    widths, activations = [*widths, others[-1]], [*activations, "identity"]
    case = Case(f"{widths} {loss}", tuple(widths), tuple(activations), loss, examples)
    errors = list(case_errors(cpu, case, dtype))
    assert [(kernel, error) for kernel, error in errors if not error <= 1] == []


@each_dtype
@pytest.mark.parametrize("latent", EDGES)
def test_divergences_from_integers_are_exact(latent, dtype):
    """Variances are 1, and the decoder takes no notice of the samples."""
    layers = (
        DenseOp(1, 2 * latent, "identity"),
        GaussianSampleOp(2 * latent, latent),
        DenseOp(latent, 1, "identity"),
    )
    plan = Plan(layers, "squared_error", dtype)
    theta = np.zeros(plan.size, dtype)
    means = np.arange(latent) % 5 - 2.0
    theta[:latent] = means  # the weight of the means
    X, y = np.array([[1.0], [2.0], [-3.0]], dtype), np.zeros((3, 1), dtype)
    divergences = X[:, 0] ** 2 * (means @ means) / 2
    np.testing.assert_array_equal(cpu.losses(plan, theta, X, y), divergences)
    weights = np.array([1.0, 0.0, 2.0], dtype)
    value, gradient = cpu.value_and_gradient(plan, theta, X, y, weights, 0.5)
    assert value == 0.5 * weights @ divergences
    sums = 0.5 * weights @ X**2, 0.5 * weights @ X
    np.testing.assert_array_equal(gradient[:latent], sums[0] * means)
    np.testing.assert_array_equal(gradient[2 * latent : 3 * latent], sums[1] * means)
    assert not gradient[latent : 2 * latent].any() and not gradient[3 * latent :].any()


@each_dtype
def test_plans_that_differ_in_their_noise_do_not_share_it(dtype):
    (plan, theta), X = standard(20, dtype), np.ones((3, 1), dtype)
    draws = [0, 5, 2**64 - 1, 0, 5, 2**64 - 1]
    outputs = [cpu.outputs(replace(plan, draw=draw), theta, X) for draw in draws]
    for first, second in zip(outputs[:3], outputs[3:], strict=True):
        np.testing.assert_array_equal(first, second)
    assert np.unique(outputs[:3]).size == 3 * 3 * 20


@each_dtype
def test_a_row_has_the_noise_of_its_number(dtype):
    (plan, theta), X = standard(20, dtype), np.ones((300, 1), dtype)
    whole = cpu.outputs(plan, theta, X)
    for start in (1, 150, 299):
        part = cpu.outputs(replace(plan, first_row=start), theta, X[start:])
        np.testing.assert_array_equal(part, whole[start:])


@each_dtype
def test_the_first_step_of_training_follows_the_gradient_of_the_same_draw(dtype):
    case = Case("", (5, 20, 10, 6), ("tanh", SAMPLE, "identity"), "squared_error", 40)
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
def test_each_step_of_training_draws_anew_for_every_example(batch_size, dtype):
    (plan, theta), X = standard(1, dtype), np.ones((600, 1), dtype)
    rows = np.random.default_rng(0).permutation(600)
    found = {cpu: [], reference: []}  # eps**2, of noise that must not come again
    for kernels, losses in found.items():
        training = kernels.Training(
            plan, SGD(0.0), X, np.zeros((600, 1), dtype), None, batch_size=batch_size,
            monitor=["losses"], sampler=lambda training: Batches(rows=rows),
        )  # fmt: skip
        training.theta = theta
        for _ in range(2):
            training.advance(np.zeros(training.batches))
            losses.append(training.example_losses)
            training.next_epoch()
        assert np.unique(losses).size > 1190  # float32 may meet a square again
    bound = 4 * (RELATIVE_ERROR + 0.5) * np.finfo(dtype).eps
    np.testing.assert_allclose(found[cpu], found[reference], rtol=bound)


@each_dtype
def test_noise_does_not_depend_on_who_else_is_in_the_batch(dtype):
    case = Case("", (5, 20, 10, 6), ("tanh", SAMPLE, "identity"), "squared_error", 200)
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
def test_an_example_of_weight_zero_may_overflow(dtype):
    """Its log-variance is 2000, where that of the others is 0."""
    layers = DenseOp(1, 2, "identity"), GaussianSampleOp(2, 1), DenseOp(1, 1, "identity")
    plan = Plan(layers, "squared_error", dtype)
    theta = np.array([0, -2000, 1, 2000, 1, 0], dtype)
    X, y = np.array([[1], [0], [1]], dtype), np.ones((3, 1), dtype)
    weights = np.array([1, 0, 2], dtype)
    assert not np.isfinite(cpu.losses(plan, theta, X, y)).all()
    value, gradient = cpu.value_and_gradient(plan, theta, X, y, weights, 1.0)
    expected, expected_gradient = reference.value_and_gradient(plan, theta, X, y, weights, 1.0)
    assert np.isfinite(expected_gradient).all()
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-5)
