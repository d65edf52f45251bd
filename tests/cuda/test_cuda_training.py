"""A training on the device stands at a step's boundary whenever the host looks."""

import numpy as np
import pytest
import test_rebinding

from fastbatch.clipping import PerExampleClip
from fastbatch.kernels import cpu, cuda
from fastbatch.kernels.cuda import session
from fastbatch.kernels.cuda.toolkit import to_device
from fastbatch.kernels.plan import Batches
from fastbatch.optimizers import SGD, Adam, RMSprop
from fastbatch.verification import DROPOUT, DTYPES, Case

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
CASE = Case("twin", (3, 6, 2), ("tanh", "identity"), "cross_entropy", 23)
MASKED = Case("masked", (3, 3, 6, 6, 2), (DROPOUT, "tanh", DROPOUT, "identity"), "huber", 23)


CENTERED = RMSprop(0.01, momentum=0.9, centered=True)  # with three state arrays


def start(optimizer=CENTERED, dtype="float32", kernels=cuda, case=CASE, **options):
    theta, X, y, weights = case.data(dtype)
    options = {"batch_size": 5, **options}
    training = kernels.Training(case.plan(dtype), optimizer, X, y, weights, **options)
    training.theta = theta
    return training


def state(training):
    counters = training.epoch, training.step, training.batch, training.batches
    sums = training.loss_sum, training.weight_sum
    return counters, sums, training.theta.tobytes(), training.slots.tobytes()


def epoch(training, most=2):
    while training.batch < training.batches:
        assert training.advance(np.full(most, 0.01))
    training.next_epoch()


@pytest.mark.parametrize("most", [1, 2, 100])
def test_bits_do_not_depend_on_how_many_steps_a_call_does(most):
    training, other = start(), start(kernels=cpu)
    for one in training, other:
        epoch(one, most)
        one.advance(np.array([0.02, 0.01]))
    assert state(training) == state(other)


def test_steps_end_with_the_epoch():
    training = start()
    assert training.batches == 5
    assert training.advance(np.full(9, 0.01)) == 5
    assert training.advance(np.full(9, 0.01)) == 0
    assert training.step == training.batch == 5


@each_dtype
def test_a_step_whose_loss_is_not_finite_is_not_taken_nor_any_after_it(dtype):
    case = Case("far", (3, 2), ("identity",), "squared_error", 20)
    theta, X, y, weights = case.data(dtype)
    leap = {"float32": 1e38, "float64": 1e300}[dtype]
    training = cuda.Training(case.plan(dtype), Adam(0.01), X, y, weights, batch_size=4)
    training.theta = theta
    assert training.advance(np.array([0.01, leap, leap, 0.01])) == 2
    before = state(training)
    assert training.advance(np.array([0.01])) == 0
    assert state(training) == before
    training.theta = theta
    assert training.advance(np.array([0.01])) == 1


def test_a_lost_device_does_not_hide_why(monkeypatch):
    """The first step of a call is counted if that can be; if not, the error stays."""

    def fail(*args):
        raise OSError("lost")

    training = start()
    sum_batch = training._session._sum_batch
    numbers = iter([sum_batch, fail, fail])
    monkeypatch.setattr(training._session, "_sum_batch", lambda *args: next(numbers)(*args))
    with pytest.raises(OSError, match="lost"):
        training.advance(np.full(2, 0.01))
    assert training.step == 1
    monkeypatch.setattr(training, "_count", lambda *args: 1 / 0)
    with pytest.raises(OSError, match="lost"):
        training.advance(np.full(2, 0.01))


def test_a_snapshot_brings_all_back():
    def sampler(training):  # which cannot be asked again later
        return Batches(np.roll(np.arange(23), training.step))

    training = start(sampler=sampler, monitor=("losses", "gradient_norms", "noise_scale"))
    training.advance(np.full(2, 0.01))
    snapshot, before = training.snapshot(), state(training)
    losses, norms = training.example_losses, training.example_norms
    epoch(training)
    training.advance(np.full(1, 0.01))
    after = state(training)
    training.restore(snapshot)
    assert state(training) == before
    np.testing.assert_array_equal(training.example_losses, losses)
    np.testing.assert_array_equal(training.example_norms, norms)
    assert np.isnan(losses).any()
    assert not np.isnan(losses).all()
    epoch(training)
    training.advance(np.full(1, 0.01))
    assert state(training) == after


@pytest.mark.parametrize("case", [CASE, MASKED])
def test_it_goes_on_from_parameters_slots_and_counters(case):
    training, resumed = start(case=case), start(case=case)
    training.advance(np.full(3, 0.01))
    for name in ("theta", "slots", "step", "epoch", "batch", "loss_sum", "weight_sum"):
        setattr(resumed, name, getattr(training, name))
    epoch(training)
    epoch(resumed)
    assert state(resumed) == state(training)


def test_data_in_parts_give_the_bits_of_the_whole():
    _, X, y, weights = CASE.data("float32")
    theta = CASE.data("float32")[0]
    whole = start(Adam(0.01))
    fed = cuda.Training(CASE.plan("float32"), Adam(0.01), X[:0], None, None, batch_size=5)
    fed.theta = theta
    assert fed.batches == fed.batch == 0
    for _ in range(2):
        for first in range(0, 23, 10):
            part = slice(first, first + 10)
            order = np.arange(len(X[part]))[::-1].copy()
            rows = [np.ascontiguousarray(array[part][order]) for array in (X, y, weights)]
            fed.rebind(*rows, order, first // 5)
            while fed.batch < fed.batches:
                fed.advance(np.full(3, 0.01))
        while whole.batch < whole.batches:
            whole.advance(np.full(9, 0.01))
        assert state(fed) == state(whole)
        fed.next_epoch()
        whole.next_epoch()


@pytest.mark.parametrize(
    ("claim", "of"),
    [
        (test_rebinding.test_it_goes_back_to_a_snapshot_of_an_earlier_part, ("bits", "float32")),
        (test_rebinding.test_it_goes_back_from_the_next_epoch_on_the_same_data, ()),
        (test_rebinding.test_it_goes_on_amid_a_part, ()),
        (test_rebinding.test_the_next_epoch_begins_with_the_first_batch_of_what_is_at_hand, ()),
    ],
)
def test_what_holds_on_the_cpu_of_data_in_parts(claim, of):
    claim(cuda, *of)


def test_data_are_let_go_of_before_the_next_ones_come(monkeypatch):
    training, (_, *data), held = start(), CASE.data("float32"), []

    def note(array):
        held.append(training._session.X)
        return to_device(array)

    monkeypatch.setattr(session, "to_device", note)
    training.rebind(*data)
    assert held[0] is None


def test_batches_may_be_empty_and_larger_than_planned():
    starts = np.array([0, 0, 13, 14, 14, 22])
    rows = np.arange(22)[::-1] % 23
    weights = np.linspace(0, 2, 23).astype("float32")

    def sampler(training):
        return Batches(rows.copy(), starts, weights, np.ones(23))

    options = {"sampler": sampler, "scale": "sum", "l2": 0.5}
    ours, theirs = (start(kernels=k, **options) for k in (cuda, cpu))
    for training in ours, theirs:
        assert training.advance(np.full(9, 0.01)) == 5
        np.testing.assert_array_equal(training.probabilities, np.ones(23))
    assert state(ours) == state(theirs)


@each_dtype
@pytest.mark.parametrize("case", [CASE, MASKED])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"monitor": ("losses", "gradient_norms")},
        {"clip": PerExampleClip(0.5, automatic=True)},
    ],
)
def test_rows_of_weight_0_count_for_nothing_whatever_they_hold(options, case, dtype):
    theta, X, y, weights = case.data(dtype)
    found = []
    for junk in (False, True):
        if junk:
            X[weights == 0], y[weights == 0] = np.nan, 2**40
        training = cuda.Training(
            case.plan(dtype), Adam(0.01), X, y, weights, batch_size=5, **options
        )
        training.theta = theta
        assert training.advance(np.full(9, 0.01)) == 5
        found.append(state(training))
    assert found[0] == found[1]
    assert (weights == 0).any()


def test_examples_on_the_device_are_used_where_they_lie():
    theta, X, y, weights = CASE.data("float32")
    plan, there = CASE.plan("float32"), to_device(X)
    expected = cuda.value_and_gradient(plan, theta, X, y, weights, 0.5)
    found = cuda.value_and_gradient(plan, theta, there, y, weights, 0.5)
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])
    training = cuda.Training(plan, SGD(0.01), there, y, weights, batch_size=5)
    training.theta = theta
    there.copy_to_device(2 * X)  # nothing was copied
    training.advance(np.full(9, 0.01))
    other = cuda.Training(plan, SGD(0.01), 2 * X, y, weights, batch_size=5)
    other.theta = theta
    other.advance(np.full(9, 0.01))
    assert state(training) == state(other)


@pytest.mark.parametrize("outputs", [5, 6, 7])
def test_padding_stays_zero(outputs):
    """One, two and three columns of it, in which there must be no noise, either."""
    case = Case("padded", (3, 6, 7, outputs), ("sigmoid", "silu", "identity"), "cross_entropy", 6)
    theta, X, y, weights = case.data("float32")
    training = cuda.Training(
        case.plan("float32"), Adam(0.01), X, y, weights, batch_size=3, noise=(0.1, 3), l2=0.5
    )
    training.theta = theta
    assert training.advance(np.full(2, 0.01)) == 2
    layout = training._session.layout
    theta = training._session.theta.copy_to_host()
    np.testing.assert_array_equal(theta, layout.pack(training.theta))
    slots = training._session.slots.copy_to_host().reshape(2, -1)
    for packed, slot in zip(slots, training.slots, strict=True):
        np.testing.assert_array_equal(packed, layout.pack(slot))


@each_dtype
def test_what_is_read_is_a_copy(dtype):
    training = start(dtype=dtype)
    theta = training.theta
    training.theta[:] = 7
    training.slots[:] = 7
    np.testing.assert_array_equal(training.theta, theta)
    assert not training.slots.any()
