"""Where the order of operations is the CPU's, so are the bits: that is everywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_golden import record
from test_golden import GOLDEN
from training_runs import ALL, RUNS
from twin_problems import CASES, LOSSES, answers, assert_same

from fastbatch.clipping import PerExampleClip
from fastbatch.kernels import cpu, cuda
from fastbatch.layers import ACTIVATIONS
from fastbatch.verification import DROPOUT, DTYPES, Case

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@each_dtype
@pytest.mark.parametrize("name", CASES)
def test_all_that_can_be_asked_about_a_batch(name, dtype):
    plan, data = CASES[name].plan(dtype), CASES[name].data(dtype)
    assert_same(answers(cuda, plan, *data), answers(cpu, plan, *data))


@each_dtype
def test_numbers_that_become_tiny(dtype):
    """Of activations and deltas about the smallest normal number, some sink to zero."""
    case = Case("tiny", (6, 9, 5), ("identity", "identity"), "squared_error", 7)
    plan, (theta, X, y, weights) = case.plan(dtype), case.data(dtype)
    tiny = np.finfo(dtype).tiny
    theta[:54] *= tiny**0.5
    X *= tiny**0.5
    theta[63:108] *= tiny  # the weights of the second layer
    theta[54:63] = theta[108:] = 0  # the biases
    gradients = cpu.per_example_gradients(plan, theta, X, y)
    for tiny_too in (gradients[:, 54:63], gradients[:, 63:108]):  # deltas, and a times delta
        assert (tiny_too == 0).any()
        assert (tiny_too != 0).any()
    data = theta, X, y, weights
    assert_same(answers(cuda, plan, *data), answers(cpu, plan, *data))


@each_dtype
@pytest.mark.parametrize(("loss", "labels"), LOSSES)
def test_deltas_of_outputs_that_become_tiny(loss, labels, dtype):
    """Some sink to zero, weighed with the loss or after clipping."""
    case = Case("tiny deltas", (2, 3), ("identity",), loss, 9, labels)
    plan, (theta, X, y, weights) = case.plan(dtype), case.data(dtype)
    scale, clip = float(np.finfo(dtype).tiny), PerExampleClip(9.0)
    found, expected = (
        (
            kernels.value_and_gradient(plan, theta, X, y, weights, scale)[1],
            kernels.clipped_gradient(plan, theta, X, y, weights, scale, clip)[0],
        )
        for kernels in (cuda, cpu)
    )
    np.testing.assert_array_equal(found, expected)


@st.composite
def cases(draw):
    depth = draw(st.integers(1, 3))
    widths = draw(st.lists(st.integers(1, 40), min_size=depth + 1, max_size=depth + 1))
    activations = draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=depth, max_size=depth))
    loss, examples = draw(st.sampled_from(["huber", "cross_entropy"])), draw(st.integers(1, 12))
    name = f"{widths} {activations} {loss} x{examples}"
    return Case(name, tuple(widths), tuple(activations), loss, examples, draw(st.booleans()))


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(case=cases(), dtype=st.sampled_from(DTYPES))
def test_gradients_of_networks_of_any_shape(case, dtype):
    plan, (theta, X, y, weights) = case.plan(dtype), case.data(dtype)
    found, expected = (
        kernels.value_and_gradient(plan, theta, X, y, weights, 1.0) for kernels in (cuda, cpu)
    )
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])


@each_dtype
@pytest.mark.parametrize("examples", [128, 139, 300])
def test_sums_over_many_examples(examples, dtype):
    """Above 128 they are made block by block; with 139 it shows how the last three are added."""
    case = Case("blocks", (2, 5, 3), ("tanh", "identity"), "cross_entropy", examples)
    plan, (theta, X, y, weights) = case.plan(dtype), case.data(dtype)
    found, expected = (
        kernels.value_and_gradient(plan, theta, X, y, weights, 1.0) for kernels in (cuda, cpu)
    )
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])


SHORT = [
    name
    for name, run in RUNS.items()
    if run.case.suits("cuda")
    and not run.sparse
    and (
        DROPOUT in run.case.activations
        or run.case.plan("float32").size * run.case.examples * run.epochs < 300_000
    )
]


@each_dtype
@pytest.mark.parametrize("name", SHORT)
def test_trainings_end_as_recorded_of_the_cpu(name, dtype, monkeypatch):
    run = RUNS[name]
    start = type(run).start
    monkeypatch.setattr(type(run), "start", lambda self, dtype: start(self, dtype, cuda))
    assert record(run, dtype) == GOLDEN[f"{name}, {dtype}"]


def test_the_trainings_meet_much():
    runs = [RUNS[name] for name in SHORT]
    assert any(run.clip for run in runs)
    assert any(run.noise for run in runs)
    assert any(run.l2 for run in runs)
    assert any(DROPOUT in run.case.activations for run in runs)
    assert any(run.case.examples > 256 for run in runs)
    assert {run.sampler for run in runs} >= {"shuffle", "poisson"}
    assert len({run.optimizer.name for run in runs}) >= 5


@each_dtype
def test_what_is_monitored(dtype):
    run = RUNS["private"]
    assert run.monitor == ALL
    ours, theirs = (run.start(dtype, kernels) for kernels in (cuda, cpu))
    for training in ours, theirs:
        assert training.advance(np.full(3, 0.1)) == 3
    for name in (
        "loss_sum", "weight_sum", "variance_sum", "signal_sum", "step", "batch",
        "example_losses", "example_norms", "theta", "slots",
    ):  # fmt: skip
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
