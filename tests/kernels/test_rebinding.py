"""A training that gets its data in parts does what it would do on all of them at once."""

import numpy as np
import pytest
from training_runs import RUNS

from fastbatch.kernels import cpu, reference
from fastbatch.verification import DROPOUT, DTYPES, SAMPLE

# Noise and masks within a network depend on an example's row in the data at hand.
NAMES = [name for name, run in RUNS.items() if not {SAMPLE, DROPOUT} & set(run.case.activations)]
each_run = pytest.mark.parametrize("name", NAMES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
BATCHES = 2  # in a part


def start(kernels, run, dtype, X, y, weights):
    theta, *_ = run.data(dtype)
    training = kernels.Training(
        run.case.plan(dtype),
        run.optimizer,
        X,
        y,
        weights,
        batch_size=run.batch_size,
        clip=run.clip,
        noise=run.noise,
        monitor=set(run.monitor) & {"noise_scale"},
    )
    training.theta = theta
    return training


def on_nothing(kernels, run, dtype):
    """As a trainer begins, before it has seen whether rows are sparse."""
    nothing = np.empty((0, run.case.plan(dtype).inputs), dtype)
    return start(kernels, run, dtype, nothing, None, None)


def parts(run, dtype):
    """What `rebind` takes: so many whole batches each, and the rest."""
    _, X, y, weights = run.data(dtype)
    rows = BATCHES * run.batch_size
    for start in range(0, len(X), rows):
        part = slice(start, start + rows)
        order = None  # or any order of the rows, so that it has to be heeded
        Xp, yp, wp = X[part], y[part], None if weights is None else weights[part]
        if start == 0 and not run.sparse:
            order = np.arange(len(Xp))[::-1].copy()
            Xp, yp = Xp[order].copy(), yp[order].copy()
            wp = None if wp is None else wp[order].copy()
        yield Xp, yp, wp, order, start // run.batch_size


def finish(training):
    while training.batch < training.batches:
        assert training.advance(np.full(3, 1e-3))


def state(training):
    counters = training.epoch, training.step, training.batch, training.batches
    sums = training.loss_sum, training.weight_sum, training.variance_sum, training.signal_sum
    return counters, sums, training.theta.tobytes(), training.slots.tobytes()


@each_dtype
@each_run
@pytest.mark.parametrize("kernels", [cpu, reference], ids=["cpu", "reference"])
def test_parts_give_the_bits_of_the_whole(kernels, name, dtype):
    run = RUNS[name]
    _, *data = run.data(dtype)
    whole, fed = start(kernels, run, dtype, *data), on_nothing(kernels, run, dtype)
    assert fed.batches == fed.batch == 0
    for _ in range(2):
        finish(whole)
        for part in parts(run, dtype):
            fed.rebind(*part)
            finish(fed)
        assert state(fed) == state(whole)
        whole.next_epoch()
        fed.next_epoch()


@each_dtype
@pytest.mark.parametrize("name", ["classes", "blocks", "bits", "posterior by blocks"])
@pytest.mark.parametrize("kernels", [cpu, reference], ids=["cpu", "reference"])
def test_it_goes_back_to_a_snapshot_of_an_earlier_part(kernels, name, dtype):
    run = RUNS[name]
    first, second, *_ = parts(run, dtype)
    training = on_nothing(kernels, run, dtype)
    training.rebind(*first)
    training.advance(np.full(1, 1e-3))
    snapshot, before = training.snapshot(), state(training)
    finish(training)
    after = state(training)
    training.rebind(*second)
    finish(training)
    training.restore(snapshot)
    assert state(training) == before
    finish(training)
    assert state(training) == after


@each_dtype
@pytest.mark.parametrize("name", ["sparse", "sparse blocks"])
def test_parts_may_be_sparse_and_dense_by_turns(name, dtype):
    """Each kind has a session of its own, which begins where the one before ended."""
    run = RUNS[name]
    _, *data = run.data(dtype)
    whole, fed = start(cpu, run, dtype, *data), on_nothing(cpu, run, dtype)
    finish(whole)
    for number, (X, *rest) in enumerate(parts(run, dtype)):
        is_sparse = number % 2 == 0
        if not is_sparse:
            X = reference.sparse.examples(X).toarray()
            snapshot, before = fed.snapshot(), state(fed)
        fed.rebind(X, *rest)
        assert fed._session.layout.sparse == is_sparse
        finish(fed)
    assert state(fed) == state(whole)
    fed.restore(snapshot)
    assert state(fed) == before


@pytest.mark.parametrize("kernels", [cpu, reference], ids=["cpu", "reference"])
def test_it_goes_back_from_the_next_epoch_on_the_same_data(kernels):
    run = RUNS["classes"]
    *_, last = parts(run, "float32")
    training = on_nothing(kernels, run, "float32")
    training.batch = last[-1]
    training.rebind(*last)
    snapshot, before = training.snapshot(), state(training)
    finish(training)
    after = state(training)
    training.next_epoch()
    training.restore(snapshot)
    assert state(training) == before
    finish(training)
    assert state(training) == after


@pytest.mark.parametrize("kernels", [cpu, reference], ids=["cpu", "reference"])
def test_it_goes_on_amid_a_part(kernels):
    run = RUNS["classes"]
    _, second, *_ = parts(run, "float32")
    training, resumed = (on_nothing(kernels, run, "float32") for _ in range(2))
    for one in training, resumed:
        one.batch = BATCHES
        one.rebind(*second)
    training.advance(np.full(1, 1e-3))
    for attribute in ("theta", "slots", "step", "batch", "loss_sum", "weight_sum"):
        setattr(resumed, attribute, getattr(training, attribute))
    finish(training)
    finish(resumed)
    assert state(resumed) == state(training)
    assert resumed.batch == resumed.batches == 2 * BATCHES


@pytest.mark.parametrize("kernels", [cpu, reference], ids=["cpu", "reference"])
def test_the_next_epoch_begins_with_the_first_batch_of_what_is_at_hand(kernels):
    run = RUNS["classes"]
    *_, last = parts(run, "float32")
    training = on_nothing(kernels, run, "float32")
    training.batch = last[-1]
    training.rebind(*last)
    finish(training)
    training.next_epoch()
    assert training.batch == 0
    assert training.batches == -(-len(last[0]) // run.batch_size)
