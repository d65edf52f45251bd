"""Callbacks see each finished epoch, and what is between two steps, and may end training."""

import signal

import numpy as np
import pytest

import fastbatch as fb
from fastbatch import run


@pytest.fixture
def slices_of_one_step(monkeypatch):
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)


class Between:
    """Notes the steps at which it is asked, and answers True at one of them."""

    def __init__(self, stop_at=None):
        self.stop_at, self.seen = stop_at, []

    def between_steps(self, trainer):
        self.seen.append((trainer.epoch, trainer.step))
        return trainer.step == self.stop_at

    def __call__(self, trainer, record):
        return False


def test_a_callback_sees_the_trainer_at_the_end_of_each_epoch(classifier, classes):
    seen = []
    trainer = fb.Trainer(classifier, batch_size=16)
    callback = lambda trainer, record: seen.append((trainer.epoch, trainer.step, record))  # noqa: E731
    history = trainer.fit(*classes, epochs=2, callbacks=[callback])
    assert seen == [(1, 6, history[0]), (2, 12, history[1])]


def test_a_true_answer_ends_training_after_all_have_been_called(classifier, classes):
    seen = []
    trainer = fb.Trainer(classifier)
    callbacks = [lambda trainer, record: record.epoch == 2, lambda trainer, record: seen.append(1)]
    assert len(trainer.fit(*classes, epochs=9, callbacks=callbacks)) == 2
    assert len(seen) == 2
    assert len(trainer.fit(*classes)) == 1


def test_an_error_in_a_callback_leaves_the_trainer_between_two_epochs(classifier, classes):
    def fail(trainer, record):
        raise OSError("disk full")

    trainer, expected = fb.Trainer(classifier), fb.Trainer(classifier)
    with pytest.raises(OSError, match="disk full"):
        trainer.fit(*classes, epochs=5, callbacks=[fail])
    assert trainer.epoch == len(trainer.history) == 1
    trainer.fit(*classes)
    expected.fit(*classes, epochs=2)
    np.testing.assert_array_equal(trainer.theta, expected.theta)


def test_before_steps_is_called_once_for_each_fit_and_nothing_is_done_if_it_fails(
    classifier, classes
):
    class Before(Between):
        before = 0

        def before_steps(self, trainer):
            self.before += 1
            if trainer.epoch:
                raise OSError("disk full")

    callback, trainer = Before(), fb.Trainer(classifier)
    trainer.fit(*classes, epochs=3, callbacks=[callback])
    assert callback.before == 1
    with pytest.raises(OSError, match="disk full"):
        trainer.fit(*classes, callbacks=[callback])
    assert trainer.epoch == 3
    trainer.fit(*classes)  # it is not running any more


def test_between_steps_is_called_at_the_start_of_each_slice(
    classifier, classes, slices_of_one_step
):
    callback = Between()
    fb.Trainer(classifier, batch_size=16).fit(*classes, epochs=2, callbacks=[callback])
    assert callback.seen == [(step // 6, step) for step in range(12)]


def test_short_epochs_are_not_cut_for_it(classifier, classes, monkeypatch):
    monkeypatch.setattr(run, "SLICE_SECONDS", 9.0)
    callback = Between()
    fb.Trainer(classifier, batch_size=16).fit(*classes, epochs=5, callbacks=[callback])
    assert callback.seen[-1] == (4, 24)


@pytest.mark.parametrize("stop_at", [0, 1, 6, 8, 11])
def test_a_true_answer_between_steps_ends_training_there_and_it_goes_on_to_the_same_bits(
    classifier, classes, slices_of_one_step, stop_at
):
    trainer, expected = (fb.Trainer(classifier, batch_size=16, seed=3) for _ in range(2))
    expected.fit(*classes, epochs=3, validation=classes)
    records = trainer.fit(*classes, epochs=3, validation=classes, callbacks=[Between(stop_at)])
    assert (trainer.step, trainer.epoch, len(records)) == (stop_at, stop_at // 6, stop_at // 6)
    trainer.fit(*classes, epochs=3 - trainer.epoch, validation=classes)
    np.testing.assert_array_equal(trainer.theta, expected.theta)
    for one, other in zip(trainer.history, expected.history, strict=True):
        assert (one.step, one.loss, one.validation_loss) == (
            other.step,
            other.loss,
            other.validation_loss,
        )


@pytest.mark.parametrize("stop_at", [0, 1, 6, 8, 11])
def test_training_on_batches_is_ended_between_steps_too(
    classifier, classes, slices_of_one_step, stop_at
):
    X, y = classes
    batches = [(X[start : start + 16], y[start : start + 16]) for start in range(0, 90, 16)]
    trainer, expected = (fb.Trainer(classifier, batch_size=16) for _ in range(2))
    expected.fit(batches=batches, epochs=2)
    trainer.fit(batches=batches, epochs=2, callbacks=[Between(stop_at)])
    assert (trainer.step, trainer.epoch) == (stop_at, stop_at // 6)
    trainer.fit(batches=batches, epochs=2 - trainer.epoch)
    np.testing.assert_array_equal(trainer.theta, expected.theta)
    assert [r.loss for r in trainer.history] == [r.loss for r in expected.history]


def test_all_are_asked_between_steps_before_one_ends_training(
    classifier, classes, slices_of_one_step
):
    first, second = Between(stop_at=2), Between()
    fb.Trainer(classifier, batch_size=16).fit(*classes, callbacks=[first, second])
    assert first.seen == second.seen == [(0, 0), (0, 1), (0, 2)]


def test_a_stop_reports_parameters_that_have_left_the_finite_numbers(classes, slices_of_one_step):
    net = fb.Network([fb.Dense(1)], 1, "squared_error", backend="reference")
    trainer = fb.Trainer(net, fb.SGD(1e38), batch_size=1, theta=[1, 1])
    with pytest.raises(fb.DivergenceError):
        trainer.fit(np.full((3, 1), 1e3), np.zeros(3), callbacks=[Between(stop_at=1)])
    assert np.isfinite(trainer.theta).all()


def test_an_error_between_steps_leaves_the_trainer_there(classifier, classes, slices_of_one_step):
    class Failing(Between):
        def between_steps(self, trainer):
            if trainer.step == 8:
                raise OSError("disk full")

    trainer, expected = (fb.Trainer(classifier, batch_size=16) for _ in range(2))
    with pytest.raises(OSError, match="disk full"):
        trainer.fit(*classes, epochs=3, callbacks=[Failing()])
    assert (trainer.epoch, trainer.step) == (1, 8)
    trainer.fit(*classes, epochs=2)
    expected.fit(*classes, epochs=3)
    np.testing.assert_array_equal(trainer.theta, expected.theta)


def test_between_steps_is_interrupted_at_once(classifier, classes, slices_of_one_step):
    class Interrupted(Between):
        def between_steps(self, trainer):
            if trainer.step == 2:
                signal.raise_signal(signal.SIGINT)
                raise AssertionError("a callback is interrupted at once")

    trainer = fb.Trainer(classifier, batch_size=16)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*classes, callbacks=[Interrupted()])
    assert trainer.step == 2


def test_parameters_may_be_changed_between_steps(slices_of_one_step):
    class Reset(Between):
        def between_steps(self, trainer):
            if trainer.step == 2:
                trainer.theta = [5.0, 5.0]

    net = fb.Network([fb.Dense(1)], 1, "squared_error", backend="reference")
    trainer = fb.Trainer(net, fb.SGD(0.0), batch_size=1, theta=[0, 0])
    (record,) = trainer.fit(np.zeros((4, 1)), np.zeros(4), callbacks=[Reset()])
    assert record.loss == (0 + 0 + 25 + 25) / 4


def test_the_seconds_of_an_epoch_leave_callbacks_out(classifier, classes, monkeypatch):
    from fastbatch.trainer import epochs as module

    times = iter(np.arange(1e3))
    monkeypatch.setattr(module, "perf_counter", lambda: next(times))
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)

    class Slow(Between):
        def between_steps(self, trainer):
            for _ in range(50):
                next(times)

    (record,) = fb.Trainer(classifier, batch_size=16).fit(*classes, callbacks=[Slow()])
    assert record.seconds == 6  # one for each slice
