"""Drives a backend's training in slices, with a way back from divergence."""

from time import perf_counter
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastbatch.data.stream import Part
from fastbatch.schedules import Rate, Rates

# Between two slices Ctrl-C is answered. 0.2 s are promised, but a slice may take many times as
# long as the last one if another program starts; one more slice costs 3 us.
SLICE_SECONDS = 0.01
# After divergence at most so much is done again; more where copying the parameters takes long.
SNAPSHOT_SECONDS = 1.0
_SNAPSHOTS_SHARE = 0.01  # of the time
# So much of streamed data is kept for that: to train on it takes far longer than a snapshot.
KEPT_BYTES = 1 << 24


class DivergenceError(ArithmeticError):
    """Training has left the finite numbers; the last good parameters are kept.

    Parameters
    ----------
    step : int
        The step whose loss, or whose parameters to begin with, were not finite; steps count from
        0. The trainer stands one step before, where the loss was still finite, or at its
        beginning if the first step failed.

    Examples
    --------
    >>> from fastbatch import SGD, Dense, Network, Trainer
    >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
    >>> trainer = Trainer(net, SGD(1e30), theta=[1, 0])
    >>> trainer.fit([[1.0]], [0.0], epochs=9)
    Traceback (most recent call last):
    fastbatch.run.DivergenceError: training diverged: the loss of step 1 is not finite. ...
    >>> trainer.theta, trainer.step
    (array([1., 0.], dtype=float32), 0)
    """

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(
            f"training diverged: the loss of step {step} is not finite. The parameters of step "
            f"{max(step - 1, 0)} are kept in trainer.theta. Try a lower learning rate, a warm-up, "
            "or inputs and targets scaled to about 1"
        )

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return type(self), (self.step,)


class Run:
    """One call of fit: a backend's `Training` and the learning rates of its steps.

    All counters live in the training; what is here may be lost at any time.
    """

    def __init__(self, training: Any, lr: Rate) -> None:
        self._training = training
        self._rates = Rates(lr)
        self._count = 1  # steps in a slice
        # The way back: a snapshot which at least one good step has followed, and since then rates
        # of steps, and parts of streamed data with their epochs.
        self._good = training.snapshot()
        self._since: list[NDArray[np.float64] | tuple[int, Part]] = []
        self._bytes = 0  # of those data
        self._newer: Any = None  # a snapshot that waits for its good step
        self._older = 0  # of what was done since the other one, how much before it
        self._seconds = 0.0  # of training since the last snapshot
        self._between = SNAPSHOT_SECONDS

    @property
    def epoch_is_over(self) -> bool:
        """Whether no step is left in this epoch, or in the part of it that is at hand."""
        return bool(self._training.batch >= self._training.batches)

    def rebind(self, part: Part) -> None:
        """Go on with other data."""
        self._training.rebind(*part)
        self._since.append((self._training.epoch, part))
        self._bytes += part.nbytes
        if self._bytes > KEPT_BYTES:
            self.mark()

    def advance(self, most: int) -> int:
        """Do one slice of the epoch, of so many steps at most, and return how many they were.

        Raises
        ------
        DivergenceError
            If a loss is not finite.
        """
        training = self._training
        count = min(self._count, training.batches - training.batch, most)
        rates = self._rates(training.step, count)
        start = perf_counter()
        done: int = training.advance(rates)
        seconds = perf_counter() - start
        if done and self._newer is not None:
            self._good, self._newer = self._newer, None
            del self._since[: self._older]
        self._since.append(rates[:done])
        if done < count:
            self.go_back()
        # Grow carefully: the first steps may be slow, or another process may have been.
        fitting = int(SLICE_SECONDS * done / (seconds + 1e-9))
        self._count = max(1, min(fitting, 8 * self._count))
        self._seconds += seconds
        if self._seconds > self._between:
            self.mark()
        return done

    def mark(self) -> None:
        """Take a snapshot: also when something but the steps has changed the parameters."""
        start = perf_counter()
        self._newer, self._older = self._training.snapshot(), len(self._since)
        self._between = max(SNAPSHOT_SECONDS, (perf_counter() - start) / _SNAPSHOTS_SHARE)
        self._seconds, self._bytes = 0.0, 0

    def check_parameters(self) -> None:
        """Raise DivergenceError if the last step has left parameters that are not finite."""
        if not self._training.is_finite():
            self.go_back()

    def go_back(self) -> NoReturn:
        """Return to the step before this one, which has failed, and raise DivergenceError."""
        training = self._training
        step = training.step
        training.restore(self._good)
        for entry in self._since:
            if training.step >= step - 1:
                break
            if isinstance(entry, tuple):
                epoch, part = entry
                if training.epoch < epoch:
                    training.next_epoch()
                training.rebind(*part)
            elif not self._repeat(entry[: step - 1 - training.step]):
                break  # the data have been changed meanwhile: this is as far as it goes
        raise DivergenceError(step)

    def _repeat(self, rates: NDArray[np.float64]) -> bool:
        """Do steps again; whether all could be done."""
        training = self._training
        while len(rates):
            if self.epoch_is_over:
                training.next_epoch()
            done = training.advance(rates)
            if not done:
                return False
            rates = rates[done:]
        return True
