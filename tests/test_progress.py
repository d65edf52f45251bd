"""What is shown: bars on a terminal only, lines in the log, and nothing unless asked."""

import logging
import os
import re
import sys
import threading
from contextlib import nullcontext, redirect_stderr

import numpy as np
import pytest

import fastbatch as fb
from fastbatch import progress, run
from fastbatch.history import EpochRecord

pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")


def fit(net, data, terminal=None, **options):
    trainer = fb.Trainer(net, fb.Adam(0.01), batch_size=16, seed=2)
    with terminal or nullcontext():
        trainer.fit(*data, **options)
    return trainer


class Terminal:
    """A pseudo-terminal, in the place of standard error while it is entered."""

    def __init__(self):
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 150))
        os.set_blocking(self._ours, False)
        self._file = os.fdopen(theirs, "w", encoding="utf-8")
        self._bytes = b""

    def __enter__(self):
        self._redirection = redirect_stderr(self._file)
        self._redirection.__enter__()

    def __exit__(self, *error):
        self._redirection.__exit__(*error)

    def text(self):
        """All that was written so far."""
        self._file.flush()
        while True:
            try:
                self._bytes += os.read(self._ours, 1 << 16)
            except BlockingIOError:
                return self._bytes.decode()

    def screen(self):
        """The lines that a reader sees in the end."""
        lines, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[A|[\r\n]|[^\x1b\r\n]+", self.text()):
            if part == "\x1b[A":
                row -= 1
            elif part == "\r":
                column = 0
            elif part == "\n":
                row += 1
                lines += [""] * (row == len(lines))
            else:
                old = lines[row].ljust(column)
                lines[row] = old[:column] + part + old[column + len(part) :]
                column += len(part)
        return [line.rstrip() for line in lines]

    def close(self):
        self._file.close()
        os.close(self._ours)


@pytest.fixture
def terminal():
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.fixture
def drawing_always(monkeypatch):
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.0)
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)


def test_fit_is_silent_unless_asked(classifier, classes, terminal, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    fit(classifier, classes, terminal, validation=classes)
    assert terminal.text() == "" and capfd.readouterr() == ("", "") and not caplog.records


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_no_bar_is_written_into_a_file(classifier, classes, capfd, verbose):
    fit(classifier, classes, epochs=3, validation=classes, verbose=verbose)
    assert capfd.readouterr() == ("", "")


def test_without_standard_error_there_is_no_bar(classifier, classes, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    fit(classifier, classes, verbose=1)


def test_a_terminal_shows_a_bar_over_the_epochs_with_the_last_results(
    classifier, classes, terminal
):
    trainer = fit(classifier, classes, terminal, epochs=2)
    with terminal:
        trainer.fit(*classes, epochs=3, validation=classes, metrics=["auc"], verbose=1)
    last = trainer.history[-1]
    *_, bar, end = terminal.screen()
    assert "| 5/5 [" in bar and bar.startswith("100%")
    assert (
        f"loss {last.loss:.4f}, validation loss {last.validation_loss:.4f}, "
        f"accuracy {last.validation_metric:.4f}, auc {last.metrics['auc']:.4f}]" in bar
    )
    assert end == ""


def test_the_bar_says_how_far_a_run_came_that_ended_early(classifier, classes, terminal):
    fit(
        classifier, classes, terminal, epochs=9, verbose=1, callbacks=[lambda trainer, record: True]
    )
    assert "| 1/9 [" in terminal.screen()[-2]


def test_epochs_are_drawn_as_they_end(classifier, classes, terminal, drawing_always):
    seen = []
    look = lambda trainer, record: seen.append(f"| {record.epoch}/3 [" in terminal.text())  # noqa: E731
    fit(classifier, classes, terminal, epochs=3, verbose=1, callbacks=[look])
    assert seen == [True] * 3


def test_bars_are_drawn_ten_times_a_second_at_most(classifier, classes, terminal, monkeypatch):
    now = [0.0]

    def perf_counter():
        now[0] += 0.01
        return now[0]

    monkeypatch.setattr(progress, "perf_counter", perf_counter)
    fit(classifier, classes, terminal, epochs=200, verbose=1)
    drawn = terminal.text().count("\r")
    assert 10 < drawn <= now[0] / progress.REDRAW_SECONDS + 4


def test_a_long_epoch_has_a_bar_over_its_steps_which_is_gone_in_the_end(
    classifier, classes, terminal, drawing_always, monkeypatch
):
    monkeypatch.setattr(progress, "LONG_EPOCH_SECONDS", 0.0)
    fit(classifier, classes, terminal, epochs=2, verbose=1)
    text = terminal.text()
    assert [text.count(f"| {step}/6 [") for step in (2, 6)] == [2, 2]
    assert "step/s" in text and not any("/6 [" in line for line in terminal.screen())


def test_a_short_epoch_has_no_bar_over_its_steps(classifier, classes, terminal, drawing_always):
    fit(classifier, classes, terminal, epochs=2, verbose=1)
    assert "/6 [" not in terminal.text()


def test_a_bar_is_closed_by_an_error(classifier, classes, terminal):
    def fail(trainer, record):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fit(classifier, classes, terminal, epochs=3, verbose=1, callbacks=[fail])
    assert "| 1/3 [" in terminal.screen()[-2] and terminal.screen()[-1] == ""


def test_bars_leave_no_thread_behind(classifier, classes, terminal):
    threads = set(threading.enumerate())
    fit(classifier, classes, terminal, verbose=1)
    assert set(threading.enumerate()) <= threads


def test_the_same_bits_with_and_without_a_bar(classifier, classes, terminal, drawing_always):
    shown = fit(classifier, classes, terminal, epochs=3, verbose=2)
    np.testing.assert_array_equal(shown.theta, fit(classifier, classes, terminal, epochs=3).theta)


def test_the_log_has_a_line_for_each_epoch(classifier, classes, caplog):
    caplog.set_level(logging.INFO, "fastbatch")
    trainer = fit(classifier, classes, epochs=10, verbose=2)
    trainer.fit(*classes, validation=classes, metrics=["auc"], verbose=2)
    assert {(r.name, r.levelname) for r in caplog.records} == {("fastbatch", "INFO")}
    first, *_, before, last = caplog.messages
    assert first.startswith(f"epoch  1/10  loss {trainer.history[0].loss:.4f}  ")
    assert before.startswith("epoch 10/10  ") and before.endswith(" examples/s")
    record = trainer.history[-1]
    assert (
        f"epoch 11/11  loss {record.loss:.4f}  validation loss {record.validation_loss:.4f}  "
        f"accuracy {record.validation_metric:.4f}  auc {record.metrics['auc']:.4f}  " in last
    )


@pytest.mark.parametrize("verbose", [0, 1])
def test_a_bar_alone_logs_nothing(classifier, classes, caplog, verbose):
    caplog.set_level(logging.INFO, "fastbatch")
    fit(classifier, classes, verbose=verbose)
    assert not caplog.records


def test_lines_stand_above_the_bar(classifier, classes, terminal, monkeypatch):
    with terminal:
        handler = logging.StreamHandler(sys.stderr)
    monkeypatch.setattr(progress.LOG, "handlers", [handler])
    monkeypatch.setattr(progress.LOG, "level", logging.INFO)
    monkeypatch.setattr(progress.LOG, "_cache", {})
    fit(classifier, classes, terminal, epochs=3, verbose=2)
    *lines, bar, end = [line.strip() for line in terminal.screen()]
    assert [line.partition("  ")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all(line.endswith("examples/s") for line in lines)
    assert "| 3/3 [" in bar and end == ""


def test_sampling_shows_and_logs_its_epochs(classes, terminal, caplog):
    caplog.set_level(logging.INFO, "fastbatch")
    net = fb.Network([fb.Dense(3)], 4, "cross_entropy", backend="reference")
    trainer = fb.Trainer(net, fb.SGLD(1e-4), batch_size=30)
    with terminal:
        trainer.sample(*classes, 2, thinning=3, verbose=2)
    assert caplog.messages[-1].startswith("epoch 2/2  loss")
    assert "| 2/2 [" in terminal.screen()[-2]


@pytest.mark.parametrize(
    ("verbose", "error"), [(3, ValueError), (-1, ValueError), (True, TypeError), ("1", TypeError)]
)
def test_verbose_is_0_1_or_2(classifier, classes, verbose, error):
    with pytest.raises(error, match="verbose must be an integer"):
        fit(classifier, classes, verbose=verbose)


def test_a_line_has_what_is_known_of_an_epoch():
    record = EpochRecord(7, 70, 0.5, None, None, "r2", 1.0, 12345.6)
    assert progress.line(record, 100) == "epoch   7/100  loss 0.5000  12,346 examples/s"
