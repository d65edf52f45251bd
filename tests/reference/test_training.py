"""Training runs: what a step does, where an epoch ends, and resuming to the same bits."""

import numpy as np
import pytest

from fastbatch.kernels import reference
from fastbatch.kernels.plan import Batches
from fastbatch.kernels.reference.optimizers import update
from fastbatch.kernels.reference.training import STATE
from fastbatch.optimizers import SGD, Adam

from .problems import problem

ADAM, PLAIN = Adam(weight_decay=0.01), SGD()


def shuffle(training):
    """A sampler."""
    return Batches(reference.permutation(len(training._X), 7, training.epoch))


def start(
    optimizer=ADAM, *, examples=11, weights=None, sampler=shuffle, dtype="float64", **options
):
    """A training run of batches of 4, and its problem."""
    plan, theta, X, y = problem((3, 5, 2), examples, dtype=dtype)
    training = reference.Training(
        plan, optimizer, X, y, weights, batch_size=4, sampler=sampler, **options
    )
    training.theta = theta
    return training, (plan, theta, X, y)


def state(training):
    return {name: getattr(training, name) for name in STATE}


def assert_same_state(one, other):
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.mark.parametrize("sampler", [shuffle, None])
@pytest.mark.parametrize("optimizer", [PLAIN, ADAM], ids=["sgd", "adam"])
def test_an_epoch_is_the_loop_anybody_would_write(optimizer, sampler):
    weights = np.linspace(0.5, 1.5, 11)
    training, (plan, theta, X, y) = start(optimizer, weights=weights, sampler=sampler)
    training.epoch, training.step = 3, 9
    rates = np.array([0.1, 0.2, 0.3])
    assert training.advance(rates) == 3

    order = reference.permutation(11, 7, 3) if sampler else np.arange(11)
    batches = order[:4], order[4:8], order[8:]
    slots, loss_sum = np.zeros((optimizer.slots, plan.size)), 0.0
    for step, lr, rows in zip((9, 10, 11), rates, batches, strict=True):
        w = weights[rows]
        loss_sum += w @ reference.losses(plan, theta, X[rows], y[rows])
        gradients = reference.per_example_gradients(plan, theta, X[rows], y[rows])
        update(theta, slots, (w @ gradients) / w.sum(), optimizer, lr, step)
    np.testing.assert_allclose(training.theta, theta, rtol=1e-12)
    np.testing.assert_allclose(training.slots, slots, rtol=1e-12)
    assert training.loss_sum == pytest.approx(loss_sum, rel=1e-12)
    assert training.weight_sum == pytest.approx(weights.sum(), rel=1e-12)


@pytest.mark.parametrize(("examples", "batches"), [(1, 1), (4, 1), (5, 2), (8, 2), (11, 3)])
def test_advance_ends_with_the_epoch_and_its_partial_batch(examples, batches):
    training, _ = start(examples=examples)
    assert training.batches == batches
    assert training.advance(np.full(100, 0.01)) == batches
    assert (training.step, training.epoch, training.batch) == (batches, 0, batches)
    assert training.weight_sum == examples
    assert training.advance(np.full(100, 0.01)) == 0
    training.next_epoch()
    assert (training.step, training.epoch, training.batch) == (batches, 1, 0)
    assert (training.loss_sum, training.weight_sum) == (0.0, 0.0)
    assert training.advance(np.full(1, 0.01)) == 1


def test_many_short_advances_equal_one_long_one():
    one, _ = start()
    other, _ = start()
    one.advance(np.array([0.1, 0.2, 0.3]))
    for lr in (0.1, 0.2, 0.3):
        other.advance(np.array([lr]))
    assert_same_state(state(one), state(other))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_resumed_from_a_snapshot_is_the_uninterrupted_one(dtype):
    rates = np.full(2, 0.05)
    training, _ = start(dtype=dtype)
    training.advance(rates)
    training.advance(rates)
    training.next_epoch()
    training.advance(rates)
    snapshot, seen = training.snapshot(), state(training)
    training.advance(rates)
    training.next_epoch()
    training.advance(rates)
    uninterrupted = state(training)

    training.restore(snapshot)
    assert_same_state(state(training), seen)
    resumed, _ = start(dtype=dtype)
    for name, value in seen.items():  # as from a checkpoint, through the attributes
        setattr(resumed, name, value)
    for run in (training, resumed):
        run.advance(rates)
        run.next_epoch()
        run.advance(rates)
        assert_same_state(state(run), uninterrupted)


def test_arrays_are_read_as_copies():
    training, _ = start(monitor=["losses", "gradient_norms"])
    training.advance(np.array([0.1]))
    before = state(training)
    for name in "theta", "slots", "example_losses", "example_norms":
        getattr(training, name)[:] = 7
    assert_same_state(state(training), before)


def test_batches_say_which_rows_and_with_which_weights():
    weights = np.linspace(0, 2, 11)
    rows, starts = np.array([3, 3, 0, 7, 1, 2, 10]), np.array([0, 3, 3, 7])
    batches = Batches(rows, starts, weights)
    training, (plan, theta, X, y) = start(PLAIN, sampler=lambda training: batches, scale=0.3)
    assert training.advance(np.full(3, 0.1)) == 3
    loss_sum = 0.0
    for part in rows[:3], rows[3:]:
        gradients = reference.per_example_gradients(plan, theta, X[part], y[part])
        loss_sum += weights[part] @ reference.losses(plan, theta, X[part], y[part])
        theta = theta - 0.1 * 0.3 * weights[part] @ gradients
    np.testing.assert_allclose(training.theta, theta, rtol=1e-12)
    assert training.loss_sum == pytest.approx(loss_sum, rel=1e-12)
    assert training.weight_sum == pytest.approx(weights[rows].sum(), rel=1e-12)


def test_the_sampler_is_asked_once_an_epoch_and_not_again_after_going_back():
    asked = []

    def sampler(training):
        asked.append((training.epoch, training.batch, training.probabilities))
        return shuffle(training)._replace(probabilities=np.full(11, training.epoch + 1.0))

    training, _ = start(sampler=sampler)
    assert training.probabilities is None
    training.advance(np.array([0.1]))
    amid = training.snapshot()
    training.advance(np.array([0.1, 0.1]))
    training.next_epoch()
    assert training.probabilities is None
    training.advance(np.array([0.1]))
    np.testing.assert_array_equal(training.probabilities, np.full(11, 2.0))
    training.restore(amid)
    np.testing.assert_array_equal(training.probabilities, np.full(11, 1.0))
    training.advance(np.array([0.1]))
    assert asked == [(0, 0, None), (1, 0, None)]

    resumed, _ = start(sampler=sampler)
    for name, value in state(training).items():
        setattr(resumed, name, value)
    resumed.advance(np.array([0.1]))
    epoch, batch, probabilities = asked[-1]
    assert (epoch, batch) == (0, 2)
    np.testing.assert_array_equal(probabilities, np.full(11, 1.0))


def test_a_step_that_is_not_taken_leaves_no_trace():
    training, (*_, y) = start(monitor=["losses", "gradient_norms", "noise_scale"])
    y[:] = np.nan
    before = state(training)
    assert training.advance(np.array([0.1])) == 0
    assert_same_state(state(training), before)


def test_a_diverging_run_stops_before_the_update():
    plan, theta, X, y = problem((3, 2), 11, "identity")
    training = reference.Training(plan, PLAIN, X, y, None, batch_size=4, sampler=shuffle)
    training.theta = theta
    assert training.advance(np.array([1e200, 0.1, 0.1])) == 1  # the next batch's loss is infinite
    kept = state(training)
    assert (kept["step"], kept["batch"], kept["weight_sum"]) == (1, 1, 4.0)
    assert np.isfinite(kept["theta"]).all() and np.isfinite(kept["loss_sum"])
    assert training.advance(np.array([0.1])) == 0
    assert_same_state(state(training), kept)


def test_rows_of_weight_zero_are_as_good_as_absent():
    weights = np.ones(11)
    weights[[2, 6, 7]] = 0
    clean, _ = start(weights=weights)
    poisoned, (_, _, X, y) = start(weights=weights)
    X[[2, 6, 7]], y[[2, 6, 7]] = np.nan, np.inf
    for training in (clean, poisoned):
        assert training.advance(np.full(3, 0.1)) == 3
    assert_same_state(state(clean), state(poisoned))
    assert clean.weight_sum == 8


def test_a_batch_without_weight_has_gradient_zero():
    training, (_, theta, _, _) = start(PLAIN, weights=np.zeros(11))
    assert training.advance(np.full(3, 0.1)) == 3
    np.testing.assert_array_equal(training.theta, theta)
    assert (training.loss_sum, training.weight_sum) == (0.0, 0.0)


def test_epochs_are_shuffled_differently():
    training, _ = start()
    sums = []
    for _ in range(3):
        training.theta = np.ones_like(training.theta)
        training.advance(np.array([0.0]))
        sums.append(training.loss_sum)
        training.next_epoch()
    assert len(set(sums)) == 3


def test_training_learns_a_linear_map():
    rng = np.random.default_rng(0)
    plan, _, X, _ = problem((3, 2), 60, "identity")
    theta = rng.normal(size=plan.size)
    y = reference.outputs(plan, theta, X)
    training = reference.Training(plan, PLAIN, X, y, None, batch_size=16, sampler=shuffle)
    for _ in range(60):
        training.advance(np.full(4, 0.1))
        training.next_epoch()
    np.testing.assert_allclose(training.theta, theta, atol=1e-4)
