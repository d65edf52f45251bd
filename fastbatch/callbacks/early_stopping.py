"""Stopping when nothing improves any more."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.callbacks.monitored import Monitored
from fastbatch.constraints import flag, integer, real
from fastbatch.history import EpochRecord

if TYPE_CHECKING:
    from fastbatch.trainer import Trainer


class EarlyStopping:
    """Stop when something has not improved for some epochs.

    Parameters
    ----------
    patience : int
        Stop after this many epochs in a row without improvement.
    min_delta : float
        What counts as an improvement is better by more than this.
    monitor : str
        ``"loss"`` or ``"validation_loss"``, which are to fall, ``"validation_metric"``, which is to
        rise, or a metric that fit takes, such as ``"auc"``.
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
    ValueError, TypeError
        If an option is out of range, unknown or of the wrong kind; when called for validation
        results and fit has got no validation data.

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
        self._monitored = Monitored(monitor)
        self._restore_best = flag("restore_best", restore_best)
        self.best: EpochRecord | None = None
        self.best_theta: NDArray[Any] | None = None
        self._lowest = np.inf
        self._waited = 0

    def __call__(self, trainer: "Trainer", record: EpochRecord) -> bool:
        """Look at a finished epoch and say whether to stop."""
        value = self._monitored.expected(record, "EarlyStopping")
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
