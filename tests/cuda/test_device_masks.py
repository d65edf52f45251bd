"""What is dropped on the device is what the CPU drops, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_masks import identity

from fastbatch.clipping import PerExampleClip
from fastbatch.kernels import cpu, cuda
from fastbatch.kernels.cuda.activations import NAMES
from fastbatch.kernels.cuda.layout import Layout
from fastbatch.optimizers import Adam
from fastbatch.verification import DROPOUT, DTYPES, Case

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(
    width=st.sampled_from([1, 31, 32, 33, 65]) | st.integers(1, 70),
    rate=st.floats(0, 1, exclude_max=True),
    draw=st.integers(0, 2**64 - 1),
    first_row=st.integers(0, 2**32 - 4),
    dtype=st.sampled_from(DTYPES),
)
def test_masks_of_any_width_are_those_of_the_cpu(width, rate, draw, first_row, dtype):
    plan, theta = identity(width, dtype, rate, draw=draw, first_row=first_row)
    X = np.ones((3, width), dtype)
    found, expected = (kernels.outputs(plan, theta, X) for kernels in (cuda, cpu))
    np.testing.assert_array_equal(found, expected)


@each_dtype
def test_plans_that_differ_in_their_masks_do_not_share_them(dtype):
    (plan, theta), X = identity(20, dtype), np.ones((3, 20), dtype)
    plans = [replace(plan, draw=draw) for draw in (0, 2**64 - 1)]
    plans += [replace(plan, first_row=1), replace(plan, dropping=False)]
    for other in plans * 2:
        found, expected = (kernels.outputs(other, theta, X) for kernels in (cuda, cpu))
        np.testing.assert_array_equal(found, expected)


@each_dtype
def test_what_is_dropped_counts_as_0_even_if_it_has_overflowed(dtype):
    plan, theta = identity(8, dtype)
    theta[: 8 * 8] *= np.finfo(dtype).max  # doubled, it is infinite
    X = np.ones((20, 8), dtype)
    found, expected = (kernels.outputs(plan, theta, X) for kernels in (cuda, cpu))
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(found).any() and not np.isnan(found).all()


@each_dtype
def test_steps_by_blocks_mask_every_example_anew(dtype):
    widths, activations = (4, 4, 9, 9, 3), (DROPOUT, "silu", DROPOUT, "identity")
    case = Case("by blocks", widths, activations, "huber", 300)
    plan, (theta, X, y, weights) = replace(case.plan(dtype), draw=2**63 + 1), case.data(dtype)
    found = []
    for kernels in (cuda, cpu):
        training = kernels.Training(
            plan, Adam(0.01), X, y, weights, batch_size=150, clip=PerExampleClip(0.5),
            noise=(0.1, 5), monitor=("losses", "gradient_norms", "noise_scale"),
        )  # fmt: skip
        training.theta = theta
        assert training.advance(np.full(2, 0.01)) == 2
        found.append([training.theta, training.slots, training.example_losses])
        found[-1] += [training.example_norms, [training.loss_sum, training.variance_sum]]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@each_dtype
@pytest.mark.parametrize("change", [{"dropping": False}, {"rate": 0.0}])
def test_who_does_not_drop_has_the_kernels_of_who_has_no_such_layers(change, dtype):
    plan, _ = identity(5, dtype, **change)
    ours = Layout(plan, NAMES)
    theirs = Layout(replace(plan, layers=plan.parametric), NAMES)
    assert not ours.drops and not ours.drops_examples
    np.testing.assert_array_equal(ours.layers, theirs.layers)
