"""Kernels touch nothing but their own memory, and of that only what they have written."""

import signal
import sys
import threading

import numpy as np
import pytest
from processes import output_of, python
from training_runs import RUNS, all_bits, train, use_all_threads

from fastbatch.kernels.cpu import evaluation, session
from fastbatch.verification import DTYPES

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="guard pages are made by mprotect")


@on_linux
@pytest.mark.slow
def test_kernels_touch_no_memory_beyond_their_arrays():
    output_of("guarded.py", "all")


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("side", ["before", "behind"])
def test_touching_a_guard_is_fatal(side):
    assert python("guarded.py", side).returncode == -signal.SIGSEGV


def test_what_stood_in_memory_before_is_never_read(monkeypatch):
    """All that one step does not hand to the next is filled with NaN beforehand."""
    use_all_threads(monkeypatch.setattr)
    expected = all_bits()
    original = session.Session.__init__

    def poisoned(self, *arguments, **options):
        original(self, *arguments, **options)
        self.arena[self.job["gradient"] :] = np.nan

    monkeypatch.setattr(session.Session, "__init__", poisoned)
    monkeypatch.setattr(evaluation, "_kept", threading.local())
    assert all_bits() == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RUNS)
def test_padding_stays_zero_and_transposed_copies_stay_true(name, dtype):
    run = RUNS[name]
    training = run.start(dtype)
    train(training, 1, run.optimizer.lr)
    used = training._session
    arena = np.zeros_like(used.arena)
    used.layout.pack_transposed(training.theta, arena)
    for number, slot in enumerate([training.theta, *training.slots]):
        start = used.job["theta"] if number == 0 else used.job["slots"]
        start += max(number - 1, 0) * used.layout.parameters
        used.layout.pack(slot, arena[start : start + used.layout.parameters])
    both = slice(used.job["theta"], used.job["gradient"])
    np.testing.assert_array_equal(used.arena[both], arena[both])
    zeros, ones = used.job["zeros"], used.job["ones"]
    assert not used.arena[zeros:ones].any()
    assert (used.arena[ones : used.job["max_norms"]] == 1).all()
