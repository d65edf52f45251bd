"""A time limit ends each fit between two steps."""

from itertools import count

import numpy as np
import pytest

import fastbatch as fb
from fastbatch import run
from fastbatch.callbacks import time_limit


def test_each_fit_ends_in_time_and_the_epoch_goes_on(classifier, classes, monkeypatch):
    clock = count()  # each look at it takes a second
    monkeypatch.setattr(time_limit, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)
    trainer, expected = (fb.Trainer(classifier, batch_size=16) for _ in range(2))
    limit = fb.TimeLimit(5)
    assert trainer.fit(*classes, epochs=9, callbacks=[limit]) == []
    assert trainer.step == 4  # the fifth look, before the fifth step
    # Four steps more: the look after the epoch counts too.
    assert len(trainer.fit(*classes, epochs=9, callbacks=[limit])) == 1
    assert trainer.step == 7
    trainer.fit(*classes)
    expected.fit(*classes, epochs=2)
    np.testing.assert_array_equal(trainer.theta, expected.theta)


def test_no_epoch_begins_when_time_is_up(classifier, classes, monkeypatch):
    times = iter([0.0, 0.0, 10.0])  # before the steps, at the start of the epoch, and after it
    monkeypatch.setattr(time_limit, "perf_counter", lambda: next(times))
    monkeypatch.setattr(run, "SLICE_SECONDS", 9.0)
    trainer = fb.Trainer(classifier, batch_size=90)
    assert len(trainer.fit(*classes, epochs=9, callbacks=[fb.TimeLimit(10)])) == 1


def test_a_limit_is_a_number_of_seconds():
    with pytest.raises(ValueError, match="seconds must be a finite number"):
        fb.TimeLimit(-1.0)
