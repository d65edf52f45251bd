"""Callbacks see each finished epoch and may end training."""

import numpy as np
import pytest

import fastbatch as fb
from fastbatch.history import EpochRecord


def record(epoch, validation_loss=None, validation_metric=None, loss=0.0):
    return EpochRecord(epoch, epoch, loss, validation_loss, validation_metric, "r2", 1.0, 1.0)


class Stand:
    """A trainer as far as EarlyStopping looks at it."""

    theta = None


def stopped_at(stop, values, name="validation_loss"):
    """The epoch at which it stops, and the trainer with theta as it is then."""
    trainer = Stand()
    for epoch, value in enumerate(values, start=1):
        trainer.theta = epoch
        if stop(trainer, record(epoch, **{name: value})):
            return epoch, trainer
    return None, trainer


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


def test_early_stopping_waits_for_its_patience_and_restores_the_best():
    stop = fb.EarlyStopping(patience=3)
    epoch, trainer = stopped_at(stop, [5.0, 3.0, 4.0, 3.0, 3.5, 1.0])
    assert epoch == 5
    assert trainer.theta == stop.best_theta == 2
    assert stop.best.epoch == 2


def test_early_stopping_may_leave_the_last_parameters():
    stop = fb.EarlyStopping(patience=1, restore_best=False)
    epoch, trainer = stopped_at(stop, [1.0, 2.0])
    assert epoch == trainer.theta == 2
    assert stop.best_theta is None and stop.best.epoch == 1


def test_an_improvement_must_exceed_min_delta():
    values = [10.0, 9.6, 9.2, 8.8]
    assert stopped_at(fb.EarlyStopping(patience=2, min_delta=0.5), values)[0] is None
    assert stopped_at(fb.EarlyStopping(patience=2, min_delta=2.0), values)[0] == 3


def test_a_metric_is_to_rise_and_a_loss_is_to_fall():
    rising = [0.1, 0.2, 0.3, 0.4]
    metric = fb.EarlyStopping(patience=2, monitor="validation_metric")
    assert stopped_at(metric, rising, "validation_metric")[0] is None
    loss = fb.EarlyStopping(patience=2, monitor="loss")
    assert stopped_at(loss, rising, "loss")[0] == 3


def test_nan_is_no_improvement():
    assert stopped_at(fb.EarlyStopping(patience=2), [np.nan, np.nan, 1.0])[0] == 2


def test_a_stopped_run_has_its_patience_again():
    stop = fb.EarlyStopping(patience=2)
    assert stopped_at(stop, [1.0, 2.0, 2.0])[0] == 3
    assert stopped_at(stop, [2.0, 2.0])[0] == 2


def test_early_stopping_asks_for_validation_data(classifier, classes):
    with pytest.raises(ValueError, match=r"give fit validation=\(X, y\)"):
        fb.Trainer(classifier).fit(*classes, callbacks=[fb.EarlyStopping()])


def test_early_stopping_ends_a_real_run_at_its_best(classifier, classes):
    X, y = classes
    stop = fb.EarlyStopping(patience=3)
    trainer = fb.Trainer(classifier, fb.Adam(0.1), batch_size=16)
    trainer.fit(X[:30], y[:30], epochs=500, validation=(X[30:], y[30:]), callbacks=[stop])
    losses = [record.validation_loss for record in trainer.history]
    assert len(losses) < 500 and np.argmin(losses) == len(losses) - 4
    np.testing.assert_allclose(
        classifier.losses(trainer.theta, X[30:], y[30:]).mean(), min(losses), rtol=1e-6
    )


def test_checkpoints_are_written_every_so_many_epochs(classifier, classes, tmp_path):
    path = tmp_path / "run.safetensors"
    trainer = fb.Trainer(classifier)
    trainer.fit(*classes, callbacks=[fb.Checkpoint(path, every=2)])
    assert not path.exists()
    trainer.fit(*classes, epochs=2, callbacks=[fb.Checkpoint(path, every=2)])
    assert fb.Trainer.load(path).epoch == 2
