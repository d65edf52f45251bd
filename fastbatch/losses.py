"""The losses: which targets each takes, and the metric by which a reader judges the outputs."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def class_accuracy(outputs: Array, y: Array) -> float:
    """Share of examples whose largest logit is at the label, or at the most probable class."""
    labels = y if y.ndim == 1 else y.argmax(axis=1)
    return float(np.mean(outputs.argmax(axis=1) == labels))


def binary_accuracy(outputs: Array, y: Array) -> float:
    """Share of answers in which logit and target are on the same side."""
    return float(np.mean((outputs > 0) == (y > 0.5)))


def r2(predictions: Array, y: Array) -> float:
    """Coefficient of determination, averaged over the outputs.

    As scikit-learn's ``r2_score``: a constant target gives 1 if it is met exactly, else 0.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        residual = np.square(predictions - y, dtype=np.float64).sum(axis=0)
        total = np.square(y - y.mean(axis=0, dtype=np.float64)).sum(axis=0)
        scores = np.where(total > 0, 1.0 - residual / total, np.where(residual > 0, 0.0, 1.0))
    return float(scores.mean())


def rate_r2(outputs: Array, y: Array) -> float:
    """`r2` of the rates, where the outputs are their logarithms."""
    with np.errstate(over="ignore"):
        return r2(np.exp(outputs), y)


@dataclass(frozen=True)
class Loss:
    """Targets are numbers in [low, high], with `labels` also class labels; metric of outputs."""

    metric_name: str
    metric: Callable[[Array, Array], float]
    low: float = -inf
    high: float = inf
    labels: bool = False


LOSSES = {
    "squared_error": Loss("r2", r2),
    "absolute_error": Loss("r2", r2),
    "huber": Loss("r2", r2),
    "cross_entropy": Loss("accuracy", class_accuracy, low=0.0, high=1.0, labels=True),
    "binary_cross_entropy": Loss("accuracy", binary_accuracy, low=0.0, high=1.0),
    "poisson": Loss("r2", rate_r2, low=0.0),
}
