"""What is known of an epoch when it is over."""

from dataclasses import dataclass
from math import nan
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.constraints import integer

FiveNumbers = tuple[float, float, float, float, float]


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
    noise_scale : float or None
        The gradient noise scale ``tr(Sigma) / |G|**2``, both estimated from the spread of gradients
        within each batch and summed over its steps: the batch size up to which larger batches pay
        (McCandlish et al. 2018, "An empirical model of large-batch training"). Infinite where noise
        hides the mean gradient G, NaN if no batch had two examples; biased where a function draws
        the batches. None unless monitored.
    gradient_norms : tuple of five floats, or None
        Minimum, quartiles and maximum of the norms of the examples' gradients, each of when the
        example was last in a batch, before clipping. None unless monitored.
    metrics : dict of str to float, or None
        By name, those that `fit` was asked for, of the validation data at its end.

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
    noise_scale: float | None = None
    gradient_norms: FiveNumbers | None = None
    metrics: dict[str, float] | None = None

    def __post_init__(self) -> None:
        if self.gradient_norms is not None:  # a list, in a checkpoint
            object.__setattr__(self, "gradient_norms", tuple(self.gradient_norms))


def checked(record: EpochRecord) -> EpochRecord:
    """Return a record that comes from a file, if its numbers are numbers."""
    integer("epoch", record.epoch, 0)
    integer("step", record.step, 0)
    norms, metrics = record.gradient_norms, record.metrics
    found = [record.validation_loss, record.validation_metric, record.noise_scale]
    found += [*(norms or ()), *(metrics.values() if metrics else ())]
    numbers = [value for value in found if value is not None]
    for value in (record.loss, record.seconds, record.examples_per_second, *numbers):
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"expected numbers in the history, found {value!r}")
    if not isinstance(record.metric_name, str) or (norms is not None and len(norms) != 5):
        raise ValueError(f"the history has no records, but {record}")
    return record


@np.errstate(invalid="ignore")  # of norms that are infinite
def five_numbers(values: NDArray[Any]) -> FiveNumbers:
    """Minimum, quartiles and maximum of what is not NaN.

    Examples
    --------
    >>> five_numbers(np.array([5.0, np.nan, 1.0, 2.0]))
    (1.0, 1.5, 2.0, 3.5, 5.0)
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return (nan,) * 5
    low, first, median, third, high = np.quantile(known, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return low, first, median, third, high
