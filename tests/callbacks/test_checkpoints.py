"""Checkpoints are saved every so many epochs or seconds, or when an epoch was the best so far."""

from itertools import count

import numpy as np
import pytest
from stand_in import Trainer, record

import fastbatch as fb
from fastbatch import run
from fastbatch.callbacks import checkpoints


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def saved(save, values, trainer=None):
    """The epochs after which it saves, when they have these validation losses."""
    trainer = trainer or Trainer()
    for value in values:
        save(trainer, trainer.close(value))
    return trainer.saved


def test_checkpoints_are_written_every_so_many_epochs(classifier, classes, path):
    trainer = fb.Trainer(classifier)
    trainer.fit(*classes, callbacks=[fb.Checkpoint(path, every=2)])
    assert not path.exists()
    trainer.fit(*classes, epochs=2, callbacks=[fb.Checkpoint(path, every=2)])
    assert fb.Trainer.load(path).epoch == 2


def test_every_epoch_is_saved_unless_something_else_is_asked_for(path):
    assert saved(fb.Checkpoint(path), [1.0, 2.0]) == [1, 2]
    assert saved(fb.Checkpoint(path, seconds=60), [1.0, 2.0]) == []


def test_the_best_epoch_so_far_is_saved(path):
    save = fb.Checkpoint(path, monitor="validation_loss")
    assert saved(save, [np.nan, 5.0, 6.0, 5.0, np.nan, 4.0]) == [2, 6]


def test_the_best_by_a_metric_that_is_to_rise_is_saved(path):
    trainer, save = Trainer(), fb.Checkpoint(path, monitor="auc")
    for auc in (0.5, 0.4, 0.6):
        save(trainer, trainer.close(metrics={"auc": auc}))
    assert trainer.saved == [1, 3]


def test_the_best_of_a_run_that_goes_on_is_not_replaced_by_worse(path):
    history = [record(1, np.nan), record(2, 3.0), record(3)]
    assert saved(fb.Checkpoint(path, monitor="validation_loss"), [4.0], Trainer(history)) == [4]
    resumed = Trainer(history)  # the file is there now
    assert saved(fb.Checkpoint(path, monitor="validation_loss"), [4.0, 2.0], resumed) == [5]


def test_a_new_run_replaces_the_best_of_another(path):
    path.touch()
    assert saved(fb.Checkpoint(path, monitor="validation_loss"), [4.0]) == [1]


def test_after_so_many_seconds_it_saves_amid_an_epoch_and_that_goes_on_to_the_same_bits(
    classifier, classes, path, monkeypatch
):
    clock = count()  # each look at it takes a second
    monkeypatch.setattr(checkpoints, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)
    trainer = fb.Trainer(classifier, batch_size=16)
    trainer.fit(*classes, epochs=2, callbacks=[fb.Checkpoint(path, seconds=9)])
    loaded = fb.Trainer.load(path)
    assert (loaded.epoch, loaded.step) == (1, 8)  # the ninth look, before the ninth step
    loaded.fit(*classes)
    np.testing.assert_array_equal(loaded.theta, trainer.theta)
    assert [record.loss for record in loaded.history] == [record.loss for record in trainer.history]


def test_seconds_count_from_the_last_save(path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints, "perf_counter", lambda: now[0])
    trainer, save = Trainer(), fb.Checkpoint(path, seconds=10)
    save.before_steps(trainer)
    for now[0] in (9, 10, 19, 20, 29, 40):
        trainer.theta = now[0]
        save.between_steps(trainer)
    assert trainer.saved == [10, 20, 40]


def test_the_clock_goes_on_from_fit_to_fit(path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints, "perf_counter", lambda: now[0])
    trainer, save = Trainer(), fb.Checkpoint(path, seconds=10)
    for now[0] in range(0, 30, 3):  # the starts of fits of one second
        save.before_steps(trainer)
        now[0] += 1
        trainer.theta = now[0]
        save.between_steps(trainer)
    assert trainer.saved == [10, 22]


def test_epochs_and_seconds_go_together(path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints, "perf_counter", lambda: now[0])
    trainer, save = Trainer(), fb.Checkpoint(path, 2, seconds=10)
    save.before_steps(trainer)
    assert saved(save, [1.0, 1.0], trainer) == [2]
    now[0] = 10
    save.between_steps(trainer)
    assert trainer.saved == [2, 2]


def test_the_best_goes_with_nothing_else():
    for options in ({"every": 1}, {"seconds": 1.0}):
        with pytest.raises(ValueError, match="the best and the latest are two files"):
            fb.Checkpoint("x", monitor="loss", **options)


def test_what_cannot_be_written_is_found_out_before_the_first_step(classifier, classes, tmp_path):
    trainer = fb.Trainer(classifier)
    with pytest.raises(OSError, match="missing"):
        trainer.fit(*classes, callbacks=[fb.Checkpoint(tmp_path / "missing" / "run.safetensors")])
    assert trainer.step == 0
