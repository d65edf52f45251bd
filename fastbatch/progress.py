"""What `verbose` shows: bars over epochs and steps, and a line for each epoch in the log."""

import logging
import sys
from contextlib import nullcontext
from functools import cache
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from fastbatch.constraints import integer
from fastbatch.history import EpochRecord

LOG = logging.getLogger("fastbatch")

# A bar is drawn in some 100 us, so that drawing takes a thousandth of the time.
REDRAW_SECONDS = 0.1
# So long an epoch has a bar over its steps.
LONG_EPOCH_SECONDS = 2.0


class Progress:
    """Shows bars while it is entered, on terminals only, and writes lines into the log.

    Parameters
    ----------
    verbose : {0, 1, 2}
        Nothing, bars, or bars and lines.
    epoch, last_epoch : int
        How many epochs are done, and how many will be.
    """

    def __init__(self, verbose: int, epoch: int, last_epoch: int) -> None:
        verbose = integer("verbose", verbose, 0, 3)
        self._epoch, self._last_epoch = epoch, last_epoch
        self._logs = verbose == 2
        isatty = getattr(sys.stderr, "isatty", bool)  # there may be no such stream
        self._draws = verbose > 0 and isatty()
        self._epochs: Any = None  # a bar, like the next
        self._steps: Any = None
        self._epochs_are_long = False
        self._record: EpochRecord | None = None

    def __enter__(self) -> Self:
        if self._draws:
            options = {"initial": self._epoch, "total": self._last_epoch, "unit": "epoch"}
            self._epochs = _bar_class()(**options, dynamic_ncols=True)
            self._began = self._drawn = perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._epochs is not None:
            self._close_steps()
            self._draw_epochs()
            self._epochs.close()

    def advance(self, batch: int, batches: int | None) -> None:
        """Show that so many steps of an epoch are done, of so many if that is known."""
        if self._epochs is None:
            return
        now = perf_counter()
        if now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        self._epochs_are_long |= now - self._began > LONG_EPOCH_SECONDS
        if self._steps is not None:
            self._steps.n, self._steps.total = batch, batches
            self._steps.refresh()
        elif self._epochs_are_long:
            options = {"initial": batch, "total": batches, "unit": "step"}
            self._steps = _bar_class()(**options, dynamic_ncols=True, leave=False)

    def report(self, record: EpochRecord) -> None:
        """Show that an epoch is over, and how it was."""
        self._record = record
        if self._epochs is not None:
            self._close_steps()
            self._began = perf_counter()
            if self._began - self._drawn >= REDRAW_SECONDS:
                self._drawn = self._began
                self._draw_epochs()
        if self._logs and LOG.isEnabledFor(logging.INFO):
            # Bars make way for the line, should it go to the terminal.
            bars = self._epochs
            with nullcontext() if bars is None else bars.external_write_mode(sys.stderr):
                LOG.info(line(record, self._last_epoch))

    def _draw_epochs(self) -> None:
        if self._record is not None:
            self._epochs.n = self._record.epoch
            self._epochs.set_postfix_str(", ".join(_results(self._record)), refresh=False)
        self._epochs.refresh()

    def _close_steps(self) -> None:
        if self._steps is not None:
            self._steps.close()
            self._steps = None


@cache
def _bar_class() -> Any:
    from tqdm import tqdm  # half of the time of `import fastbatch`, and rarely needed

    class Bar(tqdm):
        monitor_interval = 0  # no thread that redraws: `Progress` does

    return Bar


def line(record: EpochRecord, last_epoch: int) -> str:
    """One epoch in words."""
    count = f"epoch {record.epoch:{len(str(last_epoch))}}/{last_epoch}"
    speed = f"{record.examples_per_second:,.0f} examples/s"
    return "  ".join([count, *_results(record), speed])


def _results(record: EpochRecord) -> list[str]:
    results = {"loss": record.loss}
    if record.validation_loss is not None and record.validation_metric is not None:
        results["validation loss"] = record.validation_loss
        results[record.metric_name] = record.validation_metric
    return [f"{name} {value:.4f}" for name, value in (results | (record.metrics or {})).items()]
