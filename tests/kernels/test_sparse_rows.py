"""A sparse X gives what the same X gives with its zeros, to the last bit."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from training_runs import ALL, answers, sparse, train

from fastbatch.clipping import PerExampleClip
from fastbatch.kernels import cpu, reference
from fastbatch.kernels.cpu import evaluation, session
from fastbatch.kernels.plan import DropoutOp, SparseRows
from fastbatch.optimizers import SGD, Adam
from fastbatch.samplers import sampling
from fastbatch.verification import DTYPES, Case

LOSSES = tuple(reference.loss_functions.LOSSES)
TREATED = {"clip": PerExampleClip(0.3), "noise": (0.1, 5), "monitor": ALL}

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def thinned(X, density, seed=0):
    """A copy that has so much of its numbers, and none in some rows and columns."""
    rng = np.random.default_rng(seed)
    X = np.where(rng.random(X.shape) < density, X, 0).astype(X.dtype)
    X[rng.random(len(X)) < 0.2] = 0
    X[:, rng.random(X.shape[1]) < 0.2] = 0
    return X


def learned(plan, theta, X, y, weights, batch_size, **options):
    """What two epochs leave behind."""
    draws = sampling("replacement", cpu, X, weights, batch_size=batch_size, seed=1)
    training = cpu.Training(plan, Adam(0.01), X, y, weights, **draws, **options)
    training.theta = theta
    losses = train(training, 2, 0.01)
    recorded = training.example_losses, training.example_norms
    sums = training.variance_sum, training.signal_sum
    return [training.theta, training.slots, losses, sums, *(x for x in recorded if x is not None)]


def assert_the_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@st.composite
def cases(draw):
    few, many = st.integers(1, 12), st.integers(1, 140)
    is_wide = draw(st.booleans())  # more than a unit of the parameters sweep
    inputs = draw(st.integers(1000, 1300) if is_wide else many)
    widths = inputs, *draw(st.lists(few if is_wide else many, min_size=1, max_size=3))
    activations = ("silu",) * (len(widths) - 2) + ("identity",)
    loss, examples = draw(st.sampled_from(LOSSES)), draw(st.integers(1, 40 if is_wide else 200))
    return Case(f"{widths} {loss} x{examples}", widths, activations, loss, examples)


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(
    case=cases(),
    dtype=st.sampled_from(DTYPES),
    columns=st.sampled_from([np.int32, np.int64]),
    density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    weighted=st.booleans(),
    treated=st.booleans(),
)
@example(Case("one", (1, 1), ("identity",), "huber", 1), "float32", np.int32, 0.0, False, True)
def test_bits_are_those_of_the_dense_one(case, dtype, columns, density, weighted, treated):
    plan, (theta, X, y, weights) = case.plan(dtype), case.data(dtype)
    X = thinned(X, density)
    rows = sparse(X, columns)
    weights = weights if weighted else None
    assert_the_same(answers(plan, theta, rows, y, weights), answers(plan, theta, X, y, weights))
    if weighted and not weights.any():
        return  # there is nothing to draw from
    for batch_size in (1 + case.examples // 3, case.examples):
        options = weights, batch_size
        found, expected = (
            learned(plan, theta, x, y, *options, **(TREATED if treated else {})) for x in (rows, X)
        )
        assert_the_same(found, expected)


@each_dtype
def test_zeros_may_be_there(dtype):
    case = Case("zeros", (70, 20, 3), ("relu", "identity"), "cross_entropy", 30)
    plan, (theta, X, y, weights) = case.plan(dtype), case.data(dtype)
    rows = sparse(X)
    X = thinned(X, 0.3)
    rows = replace(rows, data=X.ravel())  # all of them, row by row
    assert (rows.data == 0).any()
    assert_the_same(answers(plan, theta, rows, y, weights), answers(plan, theta, X, y, weights))


@each_dtype
@pytest.mark.parametrize("options", [{}, TREATED])
def test_batches_may_be_larger_than_what_is_kept_between_the_sweeps(options, dtype, monkeypatch):
    case = Case("many", (150, 120, 2), ("tanh", "identity"), "squared_error", 1100)
    monkeypatch.setattr("fastbatch.kernels.plan.BLOCKED_PARAMETERS", 0)  # no blocks
    monkeypatch.setattr(session, "_CHUNK_ELEMENTS", 1)
    plan, (theta, X, y, weights) = case.plan(dtype), case.data(dtype)
    X = thinned(X, 0.1)
    assert_the_same(
        learned(plan, theta, sparse(X), y, weights, 1050, **options),
        learned(plan, theta, X, y, weights, 1050, **options),
    )


@each_dtype
@pytest.mark.parametrize("examples", [40, 300])
def test_a_row_of_weight_0_contributes_nothing_whatever_it_holds(examples, dtype):
    case = Case("rows", (9, 18, 5), ("softplus", "identity"), "cross_entropy", examples)
    plan, (theta, X, y, weights) = case.plan(dtype), case.data(dtype)
    junk = X.copy()
    junk[weights == 0] = np.nan
    assert np.isnan(junk).any()
    assert_the_same(
        cpu.value_and_gradient(plan, theta, sparse(junk), y, weights, 0.7),
        cpu.value_and_gradient(plan, theta, X, y, weights, 0.7),
    )
    clip = PerExampleClip(0.5)
    assert_the_same(
        cpu.clipped_gradient(plan, theta, sparse(junk), y, weights, 0.7, clip),
        cpu.clipped_gradient(plan, theta, X, y, weights, 0.7, clip),
    )


@each_dtype
def test_a_row_of_the_weight_that_meets_no_number_is_updated_too(dtype):
    """Adam goes on by what it remembers."""
    case = Case("memory", (5, 3), ("identity",), "squared_error", 2)
    plan, (theta, _, y, _) = case.plan(dtype), case.data(dtype)
    X = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]], dtype)  # one column each step
    training = cpu.Training(plan, Adam(0.1), sparse(X), y, None, batch_size=1)
    training.theta = theta
    assert training.advance(np.full(1, 0.1)) == 1
    after_one = training.theta
    assert training.advance(np.full(1, 0.1)) == 1
    assert (training.theta[:3] != after_one[:3]).all()
    np.testing.assert_array_equal(training.theta[6:15], theta[6:15])  # nothing to remember


def test_no_place_is_reserved_for_zeros():
    """A workspace has room for 512 examples at least, whose zeros would take 0.2 GB."""
    examples, inputs = 1000, 100_000
    case = Case("wide", (inputs, 2, 1), ("relu", "identity"), "squared_error", examples)
    plan = case.plan("float32")
    columns = np.arange(examples, dtype=np.int32) * 7
    X = SparseRows(np.ones(examples, np.float32), columns, np.arange(examples + 1), inputs)
    y = np.zeros((examples, 1), np.float32)
    options = {"batch_size": examples, "clip": TREATED["clip"]}
    training = cpu.Training(plan, SGD(0.1), X, y, None, **options)
    fed = cpu.Training(plan, SGD(0.1), np.empty((0, inputs), "float32"), None, None, **options)
    fed.rebind(X, y, None)
    layers = DropoutOp(inputs, 0.5), *plan.layers
    not_dropping = replace(plan, layers=layers, dropping=False)
    evaluating = [evaluation._session(each, X) for each in (plan, not_dropping)]
    for used in training._session, fed._session, *evaluating:
        parameters_and_gradient = 2 * used.layout.parameters
        assert len(used.arena) < parameters_and_gradient + 1e6


def test_what_is_not_finite_is_found_in_the_row_where_it_is(monkeypatch):
    monkeypatch.setattr(evaluation, "_kept", threading.local())
    case = Case("rows", (9, 5), ("identity",), "squared_error", 300)
    plan, (theta, X, _, _) = case.plan("float32"), case.data("float32")
    rows = sparse(thinned(X, 0.5))
    rows.data[-1] = np.inf
    with pytest.raises(FloatingPointError):
        cpu.outputs(plan, theta, rows, check=True)
    cpu.outputs(plan, theta, rows[: int(np.searchsorted(rows.indptr, len(rows.data))) - 1], True)


def test_no_examples_give_empty_arrays():
    case = Case("none", (9, 5, 2), ("relu", "identity"), "squared_error", 3)
    plan, (theta, X, y, _) = case.plan("float32"), case.data("float32")
    nothing = sparse(X)[:0], y[:0]
    assert cpu.outputs(plan, theta, nothing[0]).shape == (0, 2)
    assert cpu.losses(plan, theta, *nothing).shape == (0,)
    assert cpu.gradient_norms(plan, theta, *nothing).shape == (0,)
    assert cpu.gradient_gram(plan, theta, *nothing, *nothing).shape == (0, 0)
    assert not cpu.clipped_gradient(plan, theta, *nothing, None, 1.0, TREATED["clip"])[0].any()
