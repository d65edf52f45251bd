"""What ``fastbatch inspect`` finds: loss and gradient norm of each example, and a summary."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, inf, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.commands.answers import answers
from fastbatch.datasets import Dataset, Preparation
from fastbatch.gradient_statistics import noise_scale
from fastbatch.trainer import Trainer

Array = NDArray[Any]

COLUMNS = ("row", "label", "prediction", "loss", "norm")
QUANTILES = {"smallest": 0, "25 %": 0.25, "50 %": 0.5, "75 %": 0.75, "99 %": 0.99, "largest": 1}

# Features that are prepared in one go: 32 MiB.
BLOCK = 1 << 22


@dataclass(frozen=True)
class Examination:
    """N examples at a model's parameters.

    Attributes
    ----------
    labels, predictions : ndarray, shape (N,)
        Names of classes, or values in the units of the source.
    losses, norms : ndarray, shape (N,)
        Each example's loss, and the norm of its gradient.
    noise_scale : float
        Of all these gradients, as in `EpochRecord`.
    """

    labels: Array
    predictions: Array
    losses: Array
    norms: Array
    noise_scale: float

    @classmethod
    def of(cls, trainer: Trainer, preparation: Preparation, data: Dataset) -> "Examination":
        """Look at all examples, block by block; `data` has the model's features and classes."""
        network, theta = trainer.network, trainer.theta
        gradient = np.zeros(network.n_parameters)  # the sum of all, in float64
        parts: list[tuple[Array, Array, Array]] = []
        rows = max(1, BLOCK // network.inputs)
        for start in range(0, len(data.y), rows):
            block = slice(start, start + rows)
            X, y = network.check_examples(
                preparation.inputs(data.X[block]),
                preparation.targets(data.y[block]),
                names=(f"X[{start}:]", f"y[{start}:]"),
            )
            outputs = network.predict(theta, X, check_finite=False)
            losses = network.losses(theta, X, y, check_finite=False)
            norms = network.gradient_norms(theta, X, y, check_finite=False)
            gradient += network.value_and_grad(theta, X, y, reduction="sum", check_finite=False)[1]
            _, predictions = answers(network, outputs, preparation)[0]
            if predictions.dtype.kind == "f":
                predictions = predictions.astype(outputs.dtype)  # has no more digits
            parts.append((predictions, losses, norms))
        predictions, losses, norms = map(np.concatenate, zip(*parts, strict=True))
        names = preparation.classes
        labels = data.y if names is None else np.array(names, dtype=object)[data.y]
        return cls(labels, predictions, losses, norms, _noise_scale(gradient, norms))

    def report(self) -> Iterator[tuple[str, str]]:
        """Name and text of each fact about all of them."""
        count, norms = len(self.norms), self.norms.astype(np.float64)
        with np.errstate(invalid="ignore"):  # of norms that are infinite
            quantiles = np.quantile(norms, list(QUANTILES.values()))
            squares = np.sort(norms**2)
            few, total = ceil(count / 100), squares.sum()
            share = squares[-few:].sum() / total if total else nan
        texts = (f"{name} {value:.4g}" for name, value in zip(QUANTILES, quantiles, strict=True))
        yield "examples", f"{count:,}"
        yield "mean loss", f"{self.losses.mean(dtype=np.float64):.4g}"
        yield "gradient norms", ", ".join(texts)
        yield "largest 1 %", f"{few:,} examples have {share:.1%} of the sum of squared norms"
        hidden = ": noise hides the mean gradient" if self.noise_scale == inf else ""
        yield "noise scale", f"{self.noise_scale:,.4g} examples in a batch{hidden}"

    def ranking(self, by: str) -> Iterator[tuple[Any, ...]]:
        """The `COLUMNS` of each example, the largest norm or loss first."""
        values = np.nan_to_num(getattr(self, by), nan=np.inf, posinf=np.inf)
        columns = self.labels, self.predictions, self.losses, self.norms
        for index in np.argsort(-values, kind="stable"):
            yield index + 1, *(column[index] for column in columns)


def _noise_scale(gradient: Array, norms: Array) -> float:
    """From the sum of all gradients and the norm of each."""
    count = len(norms)
    if count == 1:
        return nan
    mean_square = float(np.mean(norms.astype(np.float64) ** 2))
    squared_mean = float(np.sum((gradient / count) ** 2))
    variance = (mean_square - squared_mean) * count / (count - 1)
    return noise_scale(variance, squared_mean - variance / count)
