"""What is known of an epoch when it is over."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch.

    Parameters
    ----------
    epoch, step : int
        Epochs and steps done in all at its end.
    loss : float
        Weighted mean over its examples, each taken just before the step it was used in.
    validation_loss, validation_metric : float or None
        Means over the validation data at its end, None without such data.
    metric_name : str
        ``"accuracy"`` or ``"r2"``.
    seconds : float
        Time spent on training, validation and callbacks left out. Of an interrupted epoch: the
        part after the interruption, as for `examples_per_second`.
    examples_per_second : float

    Examples
    --------
    >>> from fastbatch import Dense, Network, Trainer
    >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
    >>> (record,) = Trainer(net, theta=[0, 0]).fit([[1.0], [2.0]], [1.0, 3.0])
    >>> record.epoch, record.step, record.loss, record.validation_loss
    (1, 1, 5.0, None)
    """

    epoch: int
    step: int
    loss: float
    validation_loss: float | None
    validation_metric: float | None
    metric_name: str
    seconds: float
    examples_per_second: float
