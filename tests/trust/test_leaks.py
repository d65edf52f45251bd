"""What has been trained leaves nothing behind: no memory, no descriptors, no threads."""

import contextlib
import gc
import os
import signal
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

import fastbatch as fb
from fastbatch import run
from fastbatch.data import ArraySource, Stream

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is in use")


def resident():
    """Bytes of memory in use."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def assert_no_more_is_open(before):
    """Less may be: what tests before have left comes to its end.

    A thread that was joined may be listed by the system for a moment yet.
    """
    for _ in range(100):
        now = open_things()
        if all(n <= then for n, then in zip(now, before, strict=True)):
            return
        time.sleep(0.02)
    pytest.fail(f"found {now}, expected at most {before}")


def open_things():
    """Descriptors, threads of Python, threads of the system."""
    entries = (sum(1 for _ in Path("/proc/self", kind).iterdir()) for kind in ("fd", "task"))
    return *entries, threading.active_count()


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["cpu"], indirect=True)
def test_memory_is_flat_over_ten_thousand_epochs(classifier, classes, monkeypatch):
    monkeypatch.setattr(run, "SNAPSHOT_SECONDS", 0.01)  # rates are kept until the next snapshot
    trainer, used = fb.Trainer(classifier, batch_size=45, monitor=["gradient_norms"]), {}
    epochs = 10_000

    def look(trainer, record):
        trainer.history.clear()  # which is kept for the user, some 300 bytes an epoch
        if record.epoch in (epochs // 5, epochs):
            used[record.epoch] = resident()

    trainer.fit(*classes, epochs=epochs, validation=classes, callbacks=[look])
    # An object of 64 bytes left by each epoch would show.
    assert used[epochs] - used[epochs // 5] < 64 * (epochs - epochs // 5)


@on_linux
@pytest.mark.slow
def test_a_thousand_fits_leave_nothing_open(classifier, classes, tmp_path):
    X, y = classes
    fits = 1_000 if classifier.backend == "cpu" else 200

    def work(number):
        trainer = fb.Trainer(classifier, batch_size=45, seed=number)
        trainer.fit(X, y, validation=(X, y))
        trainer.predict(X)
        if number % 20 == 0:
            trainer.save(tmp_path / "run")
            fb.Trainer.load(tmp_path / "run")
            with pytest.raises(fb.CheckpointError):
                fb.Trainer.load(Path(__file__))

    for number in range(fits // 5):
        work(number)
    used, is_open = resident(), open_things()
    for number in range(fits):
        work(number)
    assert_no_more_is_open(is_open)
    assert resident() - used < 256 * fits


def fail(trainer, record):
    raise OSError("disk full")


def interrupt(trainer, record):
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("lr", "callbacks", "error"),
    [
        (0.1, [], None),
        (0.1, [fail], OSError),
        (0.1, [interrupt], KeyboardInterrupt),
        (1e30, [], fb.DivergenceError),
    ],
)
def test_a_fit_lets_go_of_its_data_however_it_ends(backend, classes, lr, callbacks, error):
    net = fb.Network([fb.Dense(1)], 4, "squared_error", backend=backend)
    trainer = fb.Trainer(net, fb.SGD(lr))
    X, y = classes
    X, y = X.copy(), y.astype(np.float32)
    kept = weakref.ref(X), weakref.ref(y)
    try:
        trainer.fit(X, y, epochs=9, callbacks=callbacks)
        assert error is None
    except (OSError, KeyboardInterrupt, fb.DivergenceError) as found:
        assert isinstance(found, error)
    trainer.predict(X)
    del X, y
    gc.collect()
    assert [each() for each in kept] == [None, None]


@on_linux
@pytest.mark.parametrize("callbacks", [[], [fail], [interrupt]])
def test_streams_leave_nothing_open_however_a_fit_ends(classifier, classes, callbacks):
    def work():
        stream = Stream(ArraySource(*classes), 16, block_size=16, buffer_size=32)
        with contextlib.suppress(OSError, KeyboardInterrupt):
            fb.Trainer(classifier).fit(batches=stream, callbacks=callbacks)

    work()
    is_open = open_things()
    for _ in range(30):
        work()
    assert_no_more_is_open(is_open)
