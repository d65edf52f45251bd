"""`fit(batches=...)`: streams and iterables give what arrays give, and fail in words."""

import signal
import threading

import numpy as np
import pytest

import fastbatch as fb
from fastbatch import run
from fastbatch.data import ArraySource, Stream

BATCH, EPOCHS, BATCHES = 16, 3, 6  # 90 examples


def arrays_of(classes):
    X, y = classes
    return X, y, np.tile(np.array([1.0, 0.5, 2.0], np.float32), 30)


def stream_of(classes, **options):
    options = {"seed": 4, "block_size": 7, "buffer_size": 2 * BATCH} | options
    return Stream(ArraySource(*classes), BATCH, **options)


def batches_of(X, y, weights=None):
    """A list of batches as the arrays stand."""
    columns = [column for column in (X, y, weights) if column is not None]
    return [
        tuple(column[start : start + BATCH] for column in columns)
        for start in range(0, len(X), BATCH)
    ]


def refilled(X, y):
    """Batches that all come in the same two arrays, as those of a careless reader."""
    a, b = np.empty_like(X[:BATCH]), np.empty_like(y[:BATCH])
    for start in range(0, len(X), BATCH):
        n = len(X[start : start + BATCH])
        a[:n], b[:n] = X[start : start + BATCH], y[start : start + BATCH]
        yield a[:n], b[:n]
        a[...], b[...] = np.nan, -1


def trainer_for(net, lr=0.01, **options):
    return fb.Trainer(net, fb.Adam(lr), batch_size=BATCH, seed=2, **options)


def assert_same(one, other):
    np.testing.assert_array_equal(one.theta, other.theta)
    assert (one.step, one.epoch, len(one.history)) == (other.step, other.epoch, len(other.history))
    for a, b in zip(one.history, other.history, strict=True):
        assert (a.epoch, a.step, a.loss, a.noise_scale) == (b.epoch, b.step, b.loss, b.noise_scale)
        assert (a.validation_loss, a.validation_metric) == (b.validation_loss, b.validation_metric)


def assert_no_thread_is_left():
    assert not [thread for thread in threading.enumerate() if "prefetch" in thread.name]


FEEDS = {
    "stream": lambda X, y, w: Stream(ArraySource(X, y, w), BATCH, shuffle=False, buffer_size=40),
    "list": batches_of,
    "lists in a list": lambda X, y, w: [list(batch) for batch in batches_of(X, y, w)],
    "function": lambda X, y, w: lambda: iter(batches_of(X, y, w)),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("feed", FEEDS)
def test_batches_in_order_give_the_bits_of_the_sequential_sampler(
    classifier, classes, feed, weighted
):
    X, y, weights = arrays_of(classes)
    weights = weights if weighted else None
    options = {"clip": fb.PerExampleClip(0.5), "monitor": ["noise_scale"]}
    known, fed = (trainer_for(classifier, sampler="sequential", **options) for _ in range(2))
    known.fit(X, y, sample_weight=weights, epochs=EPOCHS, validation=classes)
    records = fed.fit(batches=FEEDS[feed](X, y, weights), epochs=EPOCHS, validation=classes)
    assert_same(fed, known)
    assert [record.epoch for record in records] == [1, 2, 3]
    for record in records:
        assert record.examples_per_second * record.seconds == pytest.approx(90)
    assert_no_thread_is_left()


@pytest.mark.parametrize("dtype", ["float64", ">f4", "float16"])
def test_blocks_are_converted_as_arrays_are(classifier, classes, dtype):
    X, y = classes
    known, fed = (trainer_for(classifier, sampler="sequential") for _ in range(2))
    known.fit(X.astype(dtype), y)
    fed.fit(batches=stream_of((X.astype(dtype), y), shuffle=False))
    assert_same(fed, known)


def test_a_shuffled_stream_is_its_own_list_of_batches(classifier, classes):
    stream = stream_of(classes)
    known, fed = trainer_for(classifier), trainer_for(classifier)
    for epoch in range(EPOCHS):
        known.fit(batches=[(X, y) for X, y, _ in stream.batches(epoch)])
    fed.fit(batches=stream, epochs=EPOCHS)
    assert_same(fed, known)


def test_a_stream_brings_its_own_batch_size(classifier, classes):
    trainer = fb.Trainer(classifier, batch_size=5)
    (record,) = trainer.fit(batches=stream_of(classes))
    assert record.step == BATCHES


def test_arrays_that_are_filled_again_are_no_matter(classifier, classes):
    known, fed = trainer_for(classifier), trainer_for(classifier)
    known.fit(batches=batches_of(*classes))
    fed.fit(batches=refilled(*classes))
    assert_same(fed, known)


def test_a_batch_may_be_smaller_and_weigh_nothing(classifier, classes):
    X, y = classes
    batches = [(X[:3], y[:3]), (X[3:16], y[3:16], np.zeros(13)), (X[16:17], y[16:17])]
    (record,) = trainer_for(classifier).fit(batches=batches)
    assert record.step == 3 and np.isfinite(record.loss)


def test_data_held_as_lists_and_epochs_of_other_lengths(classifier, classes):
    X, y = classes
    trainer, lengths = trainer_for(classifier), iter([2, 5])
    trainer.fit(batches=lambda: batches_of(X.tolist(), y.tolist())[: next(lengths)], epochs=2)
    assert [record.step for record in trainer.history] == [2, 7]


def interrupting(step):
    """A schedule during whose evaluation Ctrl-C arrives, while step `step` is being prepared."""

    def lr(at):
        if at == step and armed:
            armed.clear()
            signal.raise_signal(signal.SIGINT)
        return 0.01

    armed = [True]
    return lr


AGAIN = {"stream": stream_of, "function": lambda classes: lambda: refilled(*classes)}


@pytest.mark.parametrize("feed", AGAIN)
@pytest.mark.parametrize("step", [0, 1, 2, 5, 6, 9, 17])
@pytest.mark.parametrize("slice_seconds", [0.0, 9.0])
def test_interrupted_it_goes_on_to_the_same_bits(
    classifier, classes, monkeypatch, tmp_path, feed, step, slice_seconds
):
    monkeypatch.setattr(run, "SLICE_SECONDS", slice_seconds)
    feed = AGAIN[feed](classes)
    known, trainer = trainer_for(classifier), trainer_for(classifier, interrupting(step))
    known.fit(batches=feed, epochs=EPOCHS, validation=classes)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(batches=feed, epochs=EPOCHS, validation=classes)
    assert_no_thread_is_left()
    assert trainer.step > step
    trainer.save(tmp_path / "amid")
    for one in trainer, fb.Trainer.load(tmp_path / "amid", optimizer=fb.Adam(0.01)):
        one.fit(batches=feed, epochs=EPOCHS - one.epoch, validation=classes)
        assert_same(one, known)


class StopAt:
    """A callback that stops before step `step`, once."""

    def __init__(self, step):
        self.step = step

    def __call__(self, trainer, record):
        return False

    def between_steps(self, trainer):
        return trainer.step == self.step


def test_a_callback_stops_a_stream_between_steps(classifier, classes, monkeypatch):
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)
    known, trainer = trainer_for(classifier), trainer_for(classifier)
    known.fit(batches=stream_of(classes), epochs=2)
    assert trainer.fit(batches=stream_of(classes), epochs=2, callbacks=[StopAt(3)]) == []
    assert trainer.step == 3
    assert_no_thread_is_left()
    trainer.fit(batches=stream_of(classes), epochs=2)
    assert_same(trainer, known)


@pytest.mark.parametrize("step", [0, 1, 2, 5, 6, 7, 14])
@pytest.mark.parametrize(("kept", "between"), [(0, 1.0), (1 << 24, 1.0), (1 << 24, 0.0)])
@pytest.mark.parametrize("slice_seconds", [0.0, 9.0])
@pytest.mark.parametrize("feed", ["stream", "function"])
def test_divergence_leaves_what_it_leaves_with_arrays(
    classifier, classes, monkeypatch, feed, slice_seconds, kept, between, step
):
    """Going back over several parts needs the data of each again."""
    monkeypatch.setattr(run, "SLICE_SECONDS", slice_seconds)
    monkeypatch.setattr(run, "KEPT_BYTES", kept)
    monkeypatch.setattr(run, "SNAPSHOT_SECONDS", between)
    monkeypatch.setattr(run, "_SNAPSHOTS_SHARE", 1e9 if between == 0.0 else 0.01)
    feeds = {
        "stream": stream_of(classes, shuffle=False),
        "function": lambda: refilled(*classes),
    }

    def lr(at):
        return 1e38 if at == step else 0.01

    known, fed = (trainer_for(classifier, lr, sampler="sequential") for _ in range(2))
    with pytest.raises(fb.DivergenceError) as expected:
        known.fit(*classes, epochs=EPOCHS)
    with pytest.raises(fb.DivergenceError) as found:
        fed.fit(batches=feeds[feed], epochs=EPOCHS)
    assert found.value.step == expected.value.step
    np.testing.assert_array_equal(fed.theta, known.theta)
    assert fed.step == known.step
    # At the end of an epoch it may have been closed already, or not yet.
    assert fed.epoch == len(fed.history) <= known.epoch + 1
    assert_no_thread_is_left()


class Failing(ArraySource):
    """A disk that fails when it is read for the third time."""

    reads = 0

    def read(self, start, stop):
        self.reads += 1
        if self.reads == 4:  # the stream has looked at the first row
            raise OSError("the disk is gone")
        return super().read(start, stop)


def test_an_error_of_the_reading_thread_ends_fit(classifier, classes):
    stream = Stream(Failing(*classes), BATCH, shuffle=False, buffer_size=BATCH)
    trainer = trainer_for(classifier)
    with pytest.raises(OSError, match="the disk is gone"):
        trainer.fit(batches=stream, epochs=2)
    assert_no_thread_is_left()
    assert trainer.step == 2  # and may go on
    trainer.fit(batches=stream)
    assert trainer.step == BATCHES and trainer.epoch == 1


def test_a_stream_is_read_in_another_thread_and_ahead(classifier, classes):
    readers = []

    class Watched(ArraySource):
        def read(self, start, stop):
            readers.append(threading.current_thread())
            return super().read(start, stop)

    stream = Stream(Watched(*classes), BATCH)
    readers.clear()
    trainer_for(classifier).fit(batches=stream)
    assert readers and threading.main_thread() not in readers


def test_an_iterable_is_passed_over_in_the_thread_of_fit(classifier, classes):
    threads = set()

    def batches():
        for batch in batches_of(*classes):
            threads.add(threading.current_thread())
            yield batch

    trainer_for(classifier).fit(batches=batches, epochs=2)
    assert threads == {threading.main_thread()}


@pytest.mark.parametrize("of_a_function", [True, False])
def test_a_function_s_iterator_is_closed_and_a_user_s_own_is_not(
    classifier, classes, of_a_function
):
    batches = (batch for batch in batches_of(*classes))
    feed = (lambda: batches) if of_a_function else batches
    assert trainer_for(classifier).fit(batches=feed, callbacks=[StopAt(3)]) == []
    assert (next(batches, None) is None) == of_a_function


BAD_FEEDS = [
    (3, TypeError, "batches must be a Stream, an iterable of pairs .* found int"),
    (np.zeros((2, 4)), TypeError, "batches must be .* found ndarray"),
    ((np.zeros((2, 4)), [0, 1]), TypeError, "batches must be .* found tuple"),
    ([], ValueError, "batches has given none for epoch 1"),
    (lambda: 3, TypeError, "not iterable"),
    ([np.zeros((2, 4))], TypeError, r"batch 1 of epoch 1 must be a pair \(X, y\) .* found ndarray"),
    ([([[0.0] * 4],)], TypeError, "batch 1 of epoch 1 must be a pair .* found tuple of 1"),
    ([([[0.0] * 3], [0])], ValueError, r"batch 1 of epoch 1: X must have shape \(N, 4\), found"),
    ([([[0.0] * 4], [7])], ValueError, r"batch 1 of epoch 1: y\[0\] is 7, expected labels"),
    ([([[np.nan] * 4], [0])], ValueError, r"batch 1 of epoch 1: X\[0, 0\] is nan"),
    ([(["a"], [0])], TypeError, "batch 1 of epoch 1: X must hold real numbers"),
    ([(np.empty((0, 4)), [])], ValueError, "batch 1 of epoch 1: X has no examples"),
    ([([[0.0] * 4], [0], [-1])], ValueError, r"batch 1 of epoch 1: sample_weight\[0\] is -1"),
    (
        [(np.zeros((17, 4)), np.zeros(17))],
        ValueError,
        "batch 1 of epoch 1 has 17 examples, .* give it batch_size=17 or more",
    ),
]


@pytest.mark.parametrize(("feed", "error", "message"), BAD_FEEDS)
def test_bad_batches_are_refused(classifier, feed, error, message):
    trainer = trainer_for(classifier)
    with pytest.raises(error, match=message):
        trainer.fit(batches=feed)
    assert trainer.step == 0


def test_a_bad_batch_leaves_training_before_it(classifier, classes):
    X, y = classes
    good = batches_of(X, y)
    trainer, known = trainer_for(classifier), trainer_for(classifier)
    with pytest.raises(ValueError, match=r"batch 3 of epoch 1: y\[0\] is 3"):
        trainer.fit(batches=[*good[:2], (X[:1], [3])])
    assert (trainer.step, trainer.epoch) == (2, 0)
    trainer.fit(batches=good)
    known.fit(batches=good)
    assert_same(trainer, known)


def test_a_bad_row_of_a_source_is_named(classifier, classes):
    X, y = classes
    X = X.copy()
    X[40, 2] = np.nan
    stream = Stream(ArraySource(X, y), BATCH, block_size=10)
    with pytest.raises(ValueError, match=r"rows 40 to 50 of the source: X\[0, 2\] is nan"):
        trainer_for(classifier).fit(batches=stream)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, TypeError, "fit takes X, y .* or batches in place of them, found neither"),
        ({"X": [[0.0] * 4], "batches": []}, TypeError, "found both"),
        ({"y": [0], "batches": []}, TypeError, "found both"),
        ({"sample_weight": [0], "batches": []}, TypeError, "found both"),
        ({"X": [[0.0] * 4]}, TypeError, "y must hold real numbers"),
        ({"batches": iter([]), "epochs": 2}, ValueError, r"an iterator .* found epochs=2: give a"),
    ],
)
def test_what_fit_takes_together(classifier, options, error, message):
    trainer = trainer_for(classifier)
    with pytest.raises(error, match=message):
        trainer.fit(**options)
    assert trainer.step == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "replacement"}, "sampler 'replacement' draws from all examples"),
        ({"sampler": "poisson"}, "sampler 'poisson' draws from all examples"),
        ({"sampler": lambda losses, norms: losses}, "draws from all examples"),
        ({"sampler": fb.Order(lambda N, epoch: np.arange(N))}, "draws from all examples"),
        ({"monitor": ["noise_scale", "losses"]}, r"monitor=\['losses'\] keeps a number for each"),
        ({"monitor": ["gradient_norms"]}, "keeps a number for each of N examples"),
        ({"optimizer": fb.SGLD(0.1)}, "SGLD multiplies by the number N of all examples"),
    ],
)
def test_what_needs_all_examples_is_refused(classifier, classes, options, message):
    trainer = fb.Trainer(classifier, batch_size=BATCH, **options)
    with pytest.raises(ValueError, match=message):
        trainer.fit(batches=stream_of(classes))
    assert trainer.step == 0


def test_an_interrupted_epoch_wants_the_same_kind_of_data(classifier, classes, monkeypatch):
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)
    trainer = trainer_for(classifier, interrupting(1))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(batches=stream_of(classes))
    with pytest.raises(
        ValueError, match=r"interrupted amid a stream of batches .* found 90 examples"
    ):
        trainer.fit(*classes)
    with pytest.raises(ValueError, match=r"interrupted after 2 batches, but .* only 1: give the"):
        trainer.fit(batches=batches_of(*classes)[:1])
    trainer.fit(batches=stream_of(classes))
    assert (trainer.epoch, trainer.step) == (1, BATCHES)

    trainer = trainer_for(classifier, interrupting(1))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*classes)
    with pytest.raises(ValueError, match=r"interrupted amid 90 examples .* found a stream of"):
        trainer.fit(batches=stream_of(classes))
    trainer.fit(*classes)
    assert (trainer.epoch, trainer.step) == (1, BATCHES)


def test_arrays_and_batches_may_take_turns(classifier, classes):
    trainer = trainer_for(classifier)
    trainer.fit(*classes)
    trainer.fit(batches=stream_of(classes), epochs=2)
    trainer.fit(*classes)
    assert (trainer.epoch, trainer.step) == (4, 4 * BATCHES)


@pytest.mark.parametrize("layer", [fb.GaussianSample(2), fb.Dropout(0.5)])
def test_a_network_that_draws_trains_to_the_same_bits_again(backend, classes, layer, monkeypatch):
    """What it draws depends on a row's place in the part at hand, also when an epoch goes on."""
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)
    net = fb.Network([fb.Dense(4), layer, fb.Dense(3)], 4, "cross_entropy", backend=backend)
    known, trainer = trainer_for(net), trainer_for(net, interrupting(2))
    known.fit(batches=stream_of(classes), epochs=2)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(batches=stream_of(classes), epochs=2)
    trainer.fit(batches=stream_of(classes), epochs=2)
    assert_same(trainer, known)
