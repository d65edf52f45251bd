"""Stopping in time."""

from math import inf
from time import perf_counter
from typing import TYPE_CHECKING

from fastbatch.constraints import real
from fastbatch.history import EpochRecord

if TYPE_CHECKING:
    from fastbatch.trainer import Trainer


class TimeLimit:
    """End each fit after so many seconds, between two steps.

    An epoch that is under way is finished by the next fit, to the same bits.

    Parameters
    ----------
    seconds : float
        From the first step on; validation and callbacks count.

    Raises
    ------
    ValueError, TypeError
        If `seconds` is negative, infinite or no number.

    Examples
    --------
    >>> from fastbatch import Dense, Network, Trainer
    >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
    >>> history = Trainer(net).fit([[1.0]], [1.0], epochs=10**9, callbacks=[TimeLimit(0.01)])
    >>> len(history) < 10**9
    True
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = real("seconds", seconds)
        self._end = inf

    def before_steps(self, trainer: "Trainer") -> None:
        """Start the clock."""
        self._end = perf_counter() + self._seconds

    def between_steps(self, trainer: "Trainer") -> bool:
        """Whether time is up."""
        return perf_counter() >= self._end

    def __call__(self, trainer: "Trainer", record: EpochRecord) -> bool:
        """Whether time is up."""
        return self.between_steps(trainer)
