"""TensorBoard's files of events have the numbers of each epoch."""

import gc
import struct
import sys
import threading

import numpy as np
import pytest
from stand_in import Trainer, record
from tensorboardX.proto.event_pb2 import Event, SessionLog

import fastbatch as fb
from fastbatch.callbacks import tensorboard


def events(path):
    """What a file holds: records of a length, its checksum, the content and its checksum."""
    content = path.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def scalars(path):
    return [
        (event.step, {value.tag: value.simple_value for value in event.summary.value})
        for event in events(path)
        if event.HasField("summary")
    ]


def test_each_epoch_is_an_event_with_its_numbers(classifier, classes, tmp_path):
    trainer = fb.Trainer(classifier)
    history = trainer.fit(
        *classes,
        epochs=3,
        validation=classes,
        metrics=["auc"],
        callbacks=[fb.TensorBoardLog(tmp_path / "runs" / "first")],
    )
    (path,) = (tmp_path / "runs" / "first").iterdir()
    found = scalars(path)
    assert [step for step, _ in found] == [1, 2, 3]
    for (_, values), one in zip(found, history, strict=True):
        assert values == {
            "loss": np.float32(one.loss),
            "validation_loss": np.float32(one.validation_loss),
            "validation_accuracy": np.float32(one.validation_metric),
            "seconds": np.float32(one.seconds),
            "examples_per_second": np.float32(one.examples_per_second),
            "auc": np.float32(one.metrics["auc"]),
        }


def test_what_is_not_known_is_left_out(tmp_path):
    log, trainer = fb.TensorBoardLog(tmp_path), Trainer()
    trainer.epoch = 0
    log.before_steps(trainer)
    log(trainer, record(1))
    del log
    (path,) = tmp_path.iterdir()
    assert scalars(path) == [(1, {"loss": 0.0, "seconds": 1.0, "examples_per_second": 1.0})]


def test_a_run_that_goes_on_hides_what_it_does_again_and_replaces_no_file(
    classifier, classes, tmp_path
):
    trainer = fb.Trainer(classifier)
    for _ in range(3):  # within a second
        trainer.fit(*classes, callbacks=[fb.TensorBoardLog(tmp_path)])
    starts = [
        event.step
        for path in tmp_path.iterdir()
        for event in events(path)
        if event.session_log.status == SessionLog.START
    ]
    assert sorted(starts) == [1, 2, 3]


def test_the_file_is_up_to_date_about_every_second_without_a_thread(tmp_path, monkeypatch):
    threads, now, seen = threading.active_count(), [0.0], []
    monkeypatch.setattr(tensorboard.time, "perf_counter", lambda: now[0])
    log, trainer = fb.TensorBoardLog(tmp_path), Trainer()
    trainer.epoch = 0
    log.before_steps(trainer)
    for epoch, now[0] in enumerate([0.5, 1.0, 1.5, 2.0], start=1):
        log(trainer, record(epoch))
        (path,) = tmp_path.iterdir()
        seen.append(len(scalars(path)))
    assert seen == [0, 2, 2, 4]
    assert threading.active_count() <= threads


def test_the_file_is_complete_when_the_log_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "FLUSH_SECONDS", 1e9)
    log, trainer = fb.TensorBoardLog(tmp_path), Trainer()
    trainer.epoch = 0
    log.before_steps(trainer)
    for epoch in (1, 2, 3):
        log(trainer, record(epoch))
    del log
    gc.collect()
    (path,) = tmp_path.iterdir()
    assert len(scalars(path)) == 3


def test_a_missing_writer_is_one_sentence_that_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbatch\[tensorboard\]'"):
        fb.TensorBoardLog(tmp_path)
