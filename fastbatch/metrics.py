"""Metrics: numbers by which a reader judges a network's outputs for data with known targets.

``trainer.fit(metrics=[...])`` takes them of the validation data after each epoch. Balanced
accuracy, top-K accuracy and AUC are scikit-learn's.

=====================  ============================================================  ======
name                   of the predictions                                            better
=====================  ============================================================  ======
accuracy               share of right answers                                        higher
top_K_accuracy         share with the right class among the K most probable ones,    higher
                       such as ``"top_3_accuracy"``
balanced_accuracy      mean over the classes of the share of right answers           higher
auc                    area under the ROC curve, each class against the rest         higher
log_loss               mean of -log(probability of the right class)                  lower
r2                     coefficient of determination                                  higher
mean_absolute_error                                                                  lower
mean_squared_error                                                                   lower
=====================  ============================================================  ======

Those down to `log_loss` are for the losses ``"cross_entropy"`` and ``"binary_cross_entropy"``; of
the latter, the mean over the outputs is taken. A target that is a probability counts as the answer
that it is nearest to. The others are for all other losses.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from math import nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbatch import arrays
from fastbatch.constraints import integer, one_of
from fastbatch.losses import LOSSES

Array = NDArray[Any]

TOP = re.compile(r"top_(\d+)_accuracy")


@dataclass(frozen=True)
class Metric:
    """A function of targets and predictions, as `_problems` or `_values` make them.

    Parameters
    ----------
    function : callable or None
        None for the loss's own metric, which is a function of the outputs.
    rises : bool
        Whether more is better.
    of_classes : bool
        Whether it takes labels and logarithms of probabilities rather than values.
    theirs : bool
        Whether it needs scikit-learn.
    """

    function: Callable[[Array, Array], float] | None
    rises: bool
    of_classes: bool
    theirs: bool = False


def evaluate(names: Iterable[str], loss: str, outputs: ArrayLike, y: ArrayLike) -> dict[str, float]:
    """Metrics of a network's outputs.

    Parameters
    ----------
    names : sequence of str
    loss : str
        The network's, which tells what its outputs mean.
    outputs : array_like, shape (N, K)
        As ``trainer.predict`` returns them.
    y : array_like, shape (N,) or (N, K)
        Targets, as for `fit`.

    Returns
    -------
    dict of str to float
        NaN where a metric has no value: outputs that are not finite, or, for `auc`, a class of
        which there is no example, or no other.

    Raises
    ------
    ValueError, TypeError
        If there is no such metric for the loss, or targets do not fit.
    ImportError
        If scikit-learn is needed and not installed (extra ``sklearn``).

    Examples
    --------
    >>> outputs = [[2.0, 0.0, 1.0], [0.0, 1.0, 2.0], [0.0, 2.0, 1.0], [0.0, 1.0, 2.0]]
    >>> evaluate(["accuracy", "top_2_accuracy"], "cross_entropy", outputs, [0, 1, 1, 0])
    {'accuracy': 0.5, 'top_2_accuracy': 0.75}
    >>> evaluate(["mean_absolute_error"], "squared_error", [[1.0], [2.0]], [1.0, 4.0])
    {'mean_absolute_error': 1.0}
    """
    outputs = arrays.numeric("outputs", outputs)
    names = check(names, loss, outputs.shape[1])
    dtype = np.result_type(outputs.dtype, np.float32).name
    y = arrays.targets("y", y, outputs.shape, dtype, LOSSES[loss], finite=False)
    return {name: _evaluate(find("metric", name), loss, outputs, y) for name in names}


def check(names: Iterable[str], loss: str, outputs: int) -> list[str]:
    """Return the names as a list if a network with this loss and so many outputs has such metrics.

    Examples
    --------
    >>> check(["acuracy"], "cross_entropy", 3)
    Traceback (most recent call last):
    ValueError: unknown metric 'acuracy': did you mean 'accuracy'? known are accuracy, ...
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"metrics must be a list of names, found {names!r}")
    names = list(names)
    for name in names:
        metric = find("metric", name)
        if metric.of_classes != (LOSSES[loss].metric_name == "accuracy"):
            fitting = [key for key in METRICS if METRICS[key].of_classes != metric.of_classes]
            raise ValueError(
                f"{name} is no metric of a network with loss {loss!r}: expected some of "
                f"{', '.join(fitting)}"
            )
        top = TOP.fullmatch(name)
        if top is not None:
            if loss != "cross_entropy":
                raise ValueError(f"{name} is a metric for loss 'cross_entropy', found {loss!r}")
            integer(f"K in {name}", int(top[1]), 2, outputs)
        if metric.theirs and find_spec("sklearn") is None:
            raise ImportError(f"{name} is scikit-learn's: pip install 'fastbatch[sklearn]'")
    return names


def find(kind: str, name: str, others: Iterable[str] = ()) -> Metric:
    """Return the metric of this name; messages list it as `kind`, after the `others`."""
    top = TOP.fullmatch(name) if isinstance(name, str) else None
    if top is None:
        name = one_of(kind, name, [*others, *METRICS, "top_K_accuracy"])
        if name not in METRICS:
            raise ValueError(f"{kind} {name!r}: give a number for K, such as top_3_accuracy")
        return METRICS[name]
    k = int(top[1])
    return Metric(partial(_top_k_accuracy, k), rises=True, of_classes=True, theirs=True)


@np.errstate(over="ignore", invalid="ignore")
def _evaluate(metric: Metric, loss: str, outputs: Array, y: Array) -> float:
    if metric.function is None:
        return LOSSES[loss].metric(outputs, y)
    pairs = _problems(loss, outputs, y) if metric.of_classes else [_values(loss, outputs, y)]
    if not all(np.isfinite(array).all() for pair in pairs for array in pair):
        return nan
    return float(np.mean([metric.function(*pair) for pair in pairs]))


def _values(loss: str, outputs: Array, y: Array) -> tuple[Array, Array]:
    """Targets and predictions, (N, K) both."""
    outputs = outputs.astype(np.float64)
    if loss == "poisson":
        outputs = np.exp(outputs)
    return y.astype(np.float64), outputs


def _problems(loss: str, outputs: Array, y: Array) -> list[tuple[Array, Array]]:
    """Labels (N,) and log-probabilities of the classes (N, C), for each question that is asked.

    Logarithms, since probabilities that are nearly 0 or 1 all look alike.
    """
    from scipy.special import log_expit, log_softmax

    outputs = outputs.astype(np.float64)
    if loss == "cross_entropy":
        return [(y if y.ndim == 1 else y.argmax(axis=1), log_softmax(outputs, axis=1))]
    return [
        ((answers > 0.5).astype(np.int64), np.column_stack([log_expit(-logits), log_expit(logits)]))
        for answers, logits in zip(y.T, outputs.T, strict=True)
    ]


def _balanced_accuracy(labels: Array, log_p: Array) -> float:
    from sklearn.metrics import recall_score  # balanced_accuracy_score warns of unknown classes

    guesses = log_p.argmax(axis=1)
    return float(recall_score(labels, guesses, labels=np.unique(labels), average="macro"))


def _top_k_accuracy(k: int, labels: Array, log_p: Array) -> float:
    from sklearn.metrics import top_k_accuracy_score

    return float(top_k_accuracy_score(labels, log_p, k=k, labels=np.arange(log_p.shape[1])))


def _auc(labels: Array, log_p: Array) -> float:
    from sklearn.metrics import roc_auc_score

    classes = np.arange(log_p.shape[1])
    if not np.isin(classes, labels).all():
        return nan
    return float(np.mean([roc_auc_score(labels == k, log_p[:, k]) for k in classes]))


def _log_loss(labels: Array, log_p: Array) -> float:
    return float(-log_p[np.arange(len(labels)), labels].mean())


def _mean_absolute_error(y: Array, predictions: Array) -> float:
    return float(abs(y - predictions).mean())


def _mean_squared_error(y: Array, predictions: Array) -> float:
    return float(np.square(y - predictions).mean())


METRICS = {
    "accuracy": Metric(None, rises=True, of_classes=True),
    "balanced_accuracy": Metric(_balanced_accuracy, rises=True, of_classes=True, theirs=True),
    "auc": Metric(_auc, rises=True, of_classes=True, theirs=True),
    "log_loss": Metric(_log_loss, rises=False, of_classes=True),
    "r2": Metric(None, rises=True, of_classes=False),
    "mean_absolute_error": Metric(_mean_absolute_error, rises=False, of_classes=False),
    "mean_squared_error": Metric(_mean_squared_error, rises=False, of_classes=False),
}
