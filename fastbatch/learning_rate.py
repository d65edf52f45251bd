"""The learning-rate finder: a range test, after Smith 2017."""

from dataclasses import dataclass
from math import ceil, isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbatch.constraints import integer, real
from fastbatch.pictures import picture
from fastbatch.run import DivergenceError

if TYPE_CHECKING:
    from fastbatch.trainer import Trainer

Floats = NDArray[np.float64]

_WIDTH = 0.02  # of the bell by which losses are averaged, in all steps
_EXPLODED = 4.0  # times the lowest loss so far
_LOOKS = 200  # at most, for whether it has: each smooths all losses anew


@dataclass(frozen=True, eq=False)
class RangeTest:
    """What `find_learning_rate` has found.

    Attributes
    ----------
    lr : ndarray, shape (S,)
        The learning rate of each step, until the loss exploded.
    losses : ndarray, shape (S,)
        The mean loss of its batch, before the step.
    smoothed : ndarray, shape (S,)
        The same, averaged with their neighbours.
    """

    lr: Floats
    losses: Floats
    smoothed: Floats

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the smoothed loss was lowest, or the first if that is more.

        There the loss fell fast, and it is well below where it began to rise. If the curve falls
        until its end, look at higher rates too.

        Examples
        --------
        >>> losses = np.array([3.0, 2.0, 1.0, 4.0])
        >>> RangeTest(np.array([0.001, 0.01, 0.1, 1.0]), losses, losses).suggestion
        0.01
        """
        return float(max(self.lr[np.argmin(self.smoothed)] / 10, self.lr[0]))

    def plot(self, path: str | Path) -> None:
        """Draw loss against rate, with the suggestion.

        Parameters
        ----------
        path : str or path
            A PNG or SVG file.

        Raises
        ------
        ValueError
            If the file is to be of another kind.
        ImportError
            If matplotlib is not installed (extra ``plot``).
        """
        with picture(path) as figure:
            ax = figure.subplots()
            ax.plot(self.lr, self.losses, ".", color="C0", alpha=0.3, label="batches")
            ax.plot(self.lr, self.smoothed, color="C0", label="smoothed")
            label = f"suggestion {self.suggestion:.2g}"
            ax.axvline(self.suggestion, color="C1", linestyle="--", label=label)
            ax.set_xscale("log")
            bottom = min(0.0, 1.05 * self.smoothed.min())  # logs of probabilities may be negative
            ax.set_ylim(bottom, 1.1 * max(_limit(self.smoothed), self.smoothed[0]))
            ax.set_xlabel("learning rate")
            ax.set_ylabel("loss")
            ax.legend()


def find_learning_rate(
    trainer: "Trainer",
    X: ArrayLike,
    y: ArrayLike,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    sample_weight: ArrayLike | None = None,
    check_finite: bool = True,
) -> RangeTest:
    """Take some steps at rates that grow exponentially, and see at which the loss falls.

    The trainer itself stays as it is. Smith 2017, "Cyclical learning
    rates for training neural networks", section 3.3.

    Parameters
    ----------
    trainer : Trainer
    X, y, sample_weight, check_finite
        As for `fit`.
    low, high : float
        The rate of the first and of the last step.
    steps : int
        Fewer are taken if the loss explodes: averaged, it is four times as high as it was.

    Returns
    -------
    RangeTest

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit, or the trainer has `noise`.
    DivergenceError
        If already the first loss is not finite.

    Examples
    --------
    >>> from fastbatch import SGD, Dense, Network, Trainer
    >>> net = Network([Dense(1)], 1, "squared_error", backend="reference")
    >>> X = np.linspace(-1, 1, 640).reshape(-1, 1)
    >>> found = find_learning_rate(Trainer(net, SGD(), theta=[0, 0]), X, 3 * X)
    >>> 0.05 < found.suggestion < 0.2
    True
    """
    low = real("low", low, np.finfo(np.float64).tiny)
    high = real("high", high, np.nextafter(low, np.inf))
    rates = np.geomspace(low, high, integer("steps", steps, 2))
    width, every = _WIDTH * len(rates), ceil(len(rates) / _LOOKS)
    trainer._check_idle()
    if trainer.noise is not None:
        raise ValueError(
            "the finder's steps would spend privacy that privacy_spent does not count: find the "
            "rate by a trainer without noise, on data that are not private"
        )
    training = trainer._training(*trainer._check_data(X, y, sample_weight, check_finite))
    lr: list[float] = []
    losses: list[float] = []
    for rate in rates.tolist():
        loss = _next_loss(training, rate)
        if loss is None:
            break
        if isnan(loss):
            continue
        lr.append(rate)
        losses.append(loss)
        if len(losses) % every == 0:
            smoothed = _smooth(losses, width)
            if smoothed[-1] > _limit(smoothed):
                break
    if not losses:
        raise DivergenceError(training.step)
    return RangeTest(np.array(lr), np.array(losses), _smooth(losses, width))


def _limit(smoothed: NDArray[np.float64]) -> float:
    """The loss at which it has exploded: some times the least, or as far above a negative one."""
    least = smoothed.min()
    scale = least if least > 0 else max(-least, smoothed[0] - least)
    return float(least + (_EXPLODED - 1) * scale)


def _next_loss(training: Any, lr: float) -> float | None:
    """Take a step and return the mean loss of its batch: None if not finite, NaN if it is empty."""
    if training.batch == training.batches:
        training.next_epoch()
    loss_sum, weight_sum = training.loss_sum, training.weight_sum
    if not training.advance(np.array([lr])):
        return None
    weight = training.weight_sum - weight_sum
    return float((training.loss_sum - loss_sum) / weight) if weight else nan


def _smooth(losses: list[float], width: float) -> Floats:
    """Means over the neighbours of each, weighted by a bell curve with this standard deviation."""
    from scipy.ndimage import gaussian_filter1d

    smoothed: Floats = gaussian_filter1d(np.array(losses), width)
    return smoothed
