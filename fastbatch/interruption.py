"""Ctrl-C at a moment of our choosing: between two steps, and never in the midst of one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self


class Interrupts:
    """Holds SIGINT back while it is entered, until `deliver` or `released`.

    Python may raise KeyboardInterrupt between any two of its instructions, so also after a kernel
    has moved the parameters and before the counters have followed. Whatever handler was there
    before does the rest. Signals only ever reach the main thread; in others nothing is done.
    """

    def __init__(self) -> None:
        self._held = True
        self._pending: tuple[int, FrameType | None] | None = None

    def __enter__(self) -> Self:
        handler = signal.getsignal(signal.SIGINT)
        self._handler = handler if callable(handler) else None
        if threading.current_thread() is not threading.main_thread():
            self._handler = None
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
        self.deliver()

    def deliver(self) -> None:
        """Let the former handler see what came in; usually it raises KeyboardInterrupt."""
        if self._pending is not None and self._handler is not None:
            arguments, self._pending = self._pending, None
            self._handler(*arguments)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Interrupt at once inside of this block."""
        self._held = False
        try:
            self.deliver()
            yield
        finally:
            self._held = True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._pending = number, frame
        if not self._held:
            self.deliver()
