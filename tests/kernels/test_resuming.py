"""A training that was interrupted goes on to the same bits."""

import numpy as np
import pytest
from training_runs import RUNS, train

from fastbatch.kernels import cpu
from fastbatch.samplers import sampling
from fastbatch.verification import DTYPES

each_run = pytest.mark.parametrize("name", RUNS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def state(training):
    counters = training.epoch, training.step, training.batch
    sums = training.loss_sum, training.weight_sum
    return counters, sums, training.theta, training.slots


def assert_same(one, other):
    assert state(one)[:2] == state(other)[:2]
    np.testing.assert_array_equal(one.theta, other.theta)
    np.testing.assert_array_equal(one.slots, other.slots)


def halfway(run, dtype):
    """A training in the middle of its second epoch."""
    training = run.start(dtype)
    train(training, 1, run.optimizer.lr)
    training.advance(np.full(training.batches // 2, run.optimizer.lr))
    return training


@each_dtype
@each_run
def test_a_training_goes_on_from_parameters_slots_and_counters(name, dtype):
    run = RUNS[name]
    original, resumed = halfway(run, dtype), run.start(dtype)
    for attribute in ("theta", "slots", "step", "epoch", "batch", "loss_sum", "weight_sum"):
        setattr(resumed, attribute, getattr(original, attribute))
    assert_same(resumed, original)
    assert train(resumed, 2, 0.01) == train(original, 2, 0.01)
    assert_same(resumed, original)


@each_dtype
@each_run
def test_a_training_goes_back_to_a_snapshot(name, dtype):
    run = RUNS[name]
    training, untouched = halfway(run, dtype), halfway(run, dtype)
    snapshot = training.snapshot()
    train(training, 2, 0.01)
    training.restore(snapshot)
    assert_same(training, untouched)
    train(training, 1, 0.01)
    training.restore(snapshot)  # once more: going on has not changed the snapshot
    assert train(training, 2, 0.01) == train(untouched, 2, 0.01)
    assert_same(training, untouched)


@each_run
def test_the_parts_that_can_be_read_are_copies(name):
    training = RUNS[name].start("float32")
    theta = training.theta
    training.theta[:] = 7
    training.slots[:] = 7
    np.testing.assert_array_equal(training.theta, theta)
    assert not training.slots.any()


@pytest.mark.parametrize("batch_size", [1, 4, 9, 10, 11, 1000])
def test_advance_stops_at_the_end_of_the_epoch(batch_size):
    run = RUNS["counts"]
    theta, X, y, _ = run.data("float64")
    X, y = X[:10], y[:10]
    training = cpu.Training(
        run.case.plan("float64"), run.optimizer, X, y, None, batch_size=batch_size
    )
    training.theta = theta
    assert training.batches == -(-10 // batch_size)
    assert training.advance(np.full(1000, 0.01)) == training.batches
    assert training.advance(np.full(3, 0.01)) == 0
    assert training.weight_sum == 10
    assert training.step == training.batch == training.batches


@pytest.mark.parametrize("batch_size", [7, 13, 1000])
def test_the_rows_of_an_epoch_are_those_of_the_permutation(batch_size):
    """The last batch is partial, or the only one is larger than the data."""
    run = RUNS["one layer"]
    plan = run.case.plan("float64")
    theta, X, y, _ = run.data("float64")
    options = sampling("shuffle", cpu, X, None, batch_size=batch_size, seed=11)
    training = cpu.Training(plan, run.optimizer, X, y, None, **options)
    training.theta = theta
    rows = cpu.permutation(len(X), 11, 0)
    for start in range(0, len(X), batch_size):
        batch = rows[start : start + batch_size]
        before, theta = training.loss_sum, training.theta
        training.advance(np.array([0.01]))
        expected = cpu.losses(plan, theta, X, y)[batch].sum()
        assert training.loss_sum - before == pytest.approx(expected, rel=1e-12)


@each_dtype
def test_training_stops_before_a_step_whose_loss_is_not_finite(dtype):
    run = RUNS["one layer"]
    training = run.start(dtype)
    leap = {"float32": 1e38, "float64": 1e300}[dtype]
    assert training.advance(np.array([0.01, leap, 0.01, 0.01])) < 4
    before = state(training)
    assert training.advance(np.array([0.01])) == 0
    assert state(training)[:2] == before[:2]
    np.testing.assert_array_equal(training.theta, before[2])
    np.testing.assert_array_equal(training.slots, before[3])
