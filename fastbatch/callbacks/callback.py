"""What a callback is, and how those of one fit are called."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fastbatch.history import EpochRecord

if TYPE_CHECKING:
    from fastbatch.trainer import Trainer

Callback = Callable[["Trainer", EpochRecord], Any]


class Callbacks:
    """The callbacks of one fit. All of them are called before their answers are looked at.

    Raises
    ------
    TypeError
        If they are not a list of callables.
    """

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        if not isinstance(callbacks, Iterable):
            raise TypeError(f"callbacks must be a list of callables, found {callbacks!r}")
        self._callbacks = list(callbacks)
        for callback in self._callbacks:
            if not callable(callback):
                raise TypeError(f"a callback must be callable, found {callback!r}")
        self._before = _methods(self._callbacks, "before_steps")
        self._between = _methods(self._callbacks, "between_steps")

    @property
    def look_between_steps(self) -> bool:
        """Whether any of them wants to be called there."""
        return bool(self._between)

    def before_steps(self, trainer: "Trainer") -> None:
        """Let them get ready."""
        for method in self._before:
            method(trainer)

    def between_steps(self, trainer: "Trainer") -> bool:
        """Whether one of them ends fit amid an epoch."""
        answers = [method(trainer) for method in self._between]
        return any(answers)

    def after_epoch(self, trainer: "Trainer", record: EpochRecord) -> bool:
        """Whether one of them ends fit after this epoch."""
        answers = [callback(trainer, record) for callback in self._callbacks]
        return any(answers)


def _methods(callbacks: list[Callback], name: str) -> list[Callable[["Trainer"], Any]]:
    return [getattr(callback, name) for callback in callbacks if hasattr(callback, name)]
