"""Ctrl-C, and what a job scheduler sends, as a callback that ends fit."""

import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from fastbatch.history import EpochRecord
    from fastbatch.trainer import Trainer


class StopSignals:
    """Holds SIGINT and SIGTERM back while it is entered; given to fit, it ends that instead.

    An exception would leave out callbacks of the last epoch, such as its line in a log. Who presses
    Ctrl-C again does not want to wait, and gets one: fit lets it through where nothing is half
    done. It knows SIGTERM not, which therefore never raises, however often a scheduler sends it.

    Attributes
    ----------
    received : bool
    """

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> Self:
        self._handlers = {}
        if threading.current_thread() is threading.main_thread():  # others get no signals
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def between_steps(self, trainer: "Trainer") -> bool:
        """Whether to stop amid an epoch."""
        return self.received

    def __call__(self, trainer: "Trainer", record: "EpochRecord") -> bool:
        """Whether to stop after an epoch."""
        return self.received

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = True
