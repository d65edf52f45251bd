"""Saving the trainer while it trains."""

from math import inf
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from fastbatch.callbacks.monitored import Monitored
from fastbatch.constraints import integer, real
from fastbatch.history import EpochRecord
from fastbatch.replacement import check_writable

if TYPE_CHECKING:
    from fastbatch.trainer import Trainer


class Checkpoint:
    """Save the trainer now and then, each time to the same file.

    After every epoch, unless something else is asked for. The file is replaced atomically: killed
    at any moment, a whole one is there.

    Parameters
    ----------
    path : str or path
    every : int, optional
        Save after each epoch whose number is a multiple of it.
    seconds : float, optional
        Save when so much time has passed since the last time, also amid an epoch.
    monitor : str, optional
        Save after an epoch that was better than all before by this: see `EarlyStopping`. A file
        that is there counts as the best of the epochs in ``trainer.history``; if none of these has
        that number, the next epoch replaces it.

    Raises
    ------
    ValueError
        If `monitor` is to be combined with the others. When called for validation results and fit
        has got no validation data.
    OSError
        Before the first step, if the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from fastbatch import Dense, Network, Trainer
    >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save = Checkpoint(f"{folder}/run.safetensors", every=2)
    ...     _ = Trainer(net).fit([[1.0]], [1.0], epochs=3, callbacks=[save])
    ...     Trainer.load(save.path).epoch
    2
    """

    def __init__(
        self,
        path: str | Path,
        every: int | None = None,
        *,
        seconds: float | None = None,
        monitor: str | None = None,
    ) -> None:
        self.path = path
        self._every = None if every is None else integer("every", every, 1)
        self._seconds = inf if seconds is None else real("seconds", seconds)
        self._monitored = None if monitor is None else Monitored(monitor)
        if monitor is not None and (every is not None or seconds is not None):
            raise ValueError(
                "the best and the latest are two files: give each a Checkpoint of its own, one "
                "with monitor, one with every or seconds"
            )
        if every is None and seconds is None and monitor is None:
            self._every = 1
        self._lowest: float | None = None
        self._saved = inf

    def before_steps(self, trainer: "Trainer") -> None:
        """Find out whether the file can be written, and start the clock if it does not run yet."""
        check_writable(self.path)
        self._saved = min(self._saved, perf_counter())

    def between_steps(self, trainer: "Trainer") -> None:
        """Save if it is time to."""
        if perf_counter() - self._saved >= self._seconds:
            self._save(trainer)

    def __call__(self, trainer: "Trainer", record: EpochRecord) -> None:
        """Save if this epoch is one of them."""
        if self._monitored is not None:
            if self._is_best(trainer, record, self._monitored):
                self._save(trainer)
        elif self._every is not None and record.epoch % self._every == 0:
            self._save(trainer)

    def _is_best(self, trainer: "Trainer", record: EpochRecord, monitored: Monitored) -> bool:
        value = monitored.expected(record, "Checkpoint")
        if self._lowest is None:
            self._lowest = inf
            if Path(self.path).exists():  # of a run that goes on
                known = [v for r in trainer.history[:-1] if (v := monitored.of(r)) is not None]
                self._lowest = min((v for v in known if v == v), default=inf)
        if not value < self._lowest:
            return False
        self._lowest = value
        return True

    def _save(self, trainer: "Trainer") -> None:
        trainer.save(self.path)
        self._saved = perf_counter()
