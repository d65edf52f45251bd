"""Callbacks: called with the trainer and the record after each epoch; a true answer stops fit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.constraints import flag, integer, one_of, real
from fastbatch.history import EpochRecord

if TYPE_CHECKING:
    from fastbatch.trainer import Trainer

Callback = Callable[["Trainer", EpochRecord], Any]

_SIGNS = {"loss": 1.0, "validation_loss": 1.0, "validation_metric": -1.0}  # what is minimised


class EarlyStopping:
    """Stop when something has not improved for some epochs.

    Parameters
    ----------
    patience : int
        Stop after this many epochs in a row without improvement.
    min_delta : float
        What counts as an improvement is better by more than this.
    monitor : {"validation_loss", "validation_metric", "loss"}
        Losses are to fall, the metric is to rise.
    restore_best : bool
        Whether stopping sets ``trainer.theta`` to the parameters at the end of the best epoch.

    Attributes
    ----------
    best : EpochRecord or None
        The best epoch so far.
    best_theta : ndarray or None
        Its parameters, if `restore_best`: also at hand if the epochs ran out before it stopped.

    Raises
    ------
    ValueError
        When called for validation results and fit has got no validation data.

    Examples
    --------
    >>> from fastbatch import Dense, Network, Trainer
    >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
    >>> X, y = np.arange(8.0).reshape(-1, 1), np.arange(8.0)
    >>> stop = EarlyStopping(patience=2, min_delta=1e-3)
    >>> history = Trainer(net).fit(X, y, epochs=10_000, validation=(X, y), callbacks=[stop])
    >>> len(history) - stop.best.epoch
    2
    """

    def __init__(
        self,
        patience: int = 10,
        min_delta: float = 0.0,
        monitor: str = "validation_loss",
        restore_best: bool = True,
    ) -> None:
        self._patience = integer("patience", patience, 1)
        self._min_delta = real("min_delta", min_delta)
        self._monitor = one_of("monitor", monitor, _SIGNS)
        self._restore_best = flag("restore_best", restore_best)
        self.best: EpochRecord | None = None
        self.best_theta: NDArray[Any] | None = None
        self._lowest = np.inf
        self._waited = 0

    def __call__(self, trainer: "Trainer", record: EpochRecord) -> bool:
        """Look at a finished epoch and say whether to stop."""
        value = getattr(record, self._monitor)
        if value is None:
            raise ValueError(
                f"EarlyStopping watches {self._monitor}, but there is no validation data: "
                "give fit validation=(X, y), or watch monitor='loss'"
            )
        value *= _SIGNS[self._monitor]
        if value < self._lowest - self._min_delta:
            self._lowest, self._waited, self.best = value, 0, record
            if self._restore_best:
                self.best_theta = trainer.theta
            return False
        self._waited += 1
        if self._waited < self._patience:
            return False
        if self.best_theta is not None:
            trainer.theta = self.best_theta
        self._waited = 0  # the next fit has as much patience
        return True


@dataclass(frozen=True)
class Checkpoint:
    """Save the trainer every so many epochs, each time to the same file.

    Parameters
    ----------
    path : str or path
        The file is replaced atomically: killed at any moment, a whole one is there.
    every : int
        Epochs from one save to the next.

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

    path: str | Path
    every: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", integer("every", self.every, 1))

    def __call__(self, trainer: "Trainer", record: EpochRecord) -> None:
        """Save if this epoch is one of them."""
        if record.epoch % self.every == 0:
            trainer.save(self.path)
