"""What scikit-learn minimises, in terms of the library's own losses.

Of a batch: the weighted losses plus ``alpha / 2`` times the squared norm of the weights (not of the
biases), divided by the sum of the example weights. A squared error is halved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from fastbatch.network import Network

Array = NDArray[Any]


def joined(coefs: Sequence[Array], intercepts: Sequence[Array]) -> Array:
    """One vector of parameters, as a `Network` has it."""
    pairs = zip(coefs, intercepts, strict=True)
    return np.concatenate([np.ravel(part) for pair in pairs for part in pair])


def parted(network: Network, theta: Array) -> tuple[list[Array], list[Array]]:
    """Weights and biases by layer, as views: the way back from `joined`."""
    parts = list(network.unflatten(theta).values())
    return parts[::2], parts[1::2]


@dataclass(frozen=True)
class Data:
    """Examples X, targets y as a network takes them, and weights (N,) or None for 1 each."""

    X: Any  # a matrix, dense or sparse
    y: Array
    weights: Array | None = None

    def __len__(self) -> int:
        return int(self.X.shape[0])

    @property
    def total(self) -> float:
        """The sum of the weights."""
        return float(len(self) if self.weights is None else self.weights.sum(dtype=np.float64))


@dataclass(frozen=True)
class Objective:
    """A network and its penalty."""

    network: Network
    alpha: float

    @property
    def factor(self) -> float:
        """What one of the library's losses is in scikit-learn's."""
        return 0.5 if self.network.loss == "squared_error" else 1.0

    @property
    def l2(self) -> float:
        """The penalty as `Trainer` takes it."""
        return self.alpha / self.factor

    def penalty(self, theta: Array) -> float:
        """``alpha / 2 * |weights|**2``."""
        weights, _ = parted(self.network, theta)
        # A product by BLAS would leave its threads spinning, on the cores of the next steps.
        with np.errstate(over="ignore"):  # where training diverges, its losses say so
            return self.alpha / 2 * float(sum(np.square(part).sum() for part in weights))

    def reported(self, loss: Any) -> Any:
        """Losses as scikit-learn states them, means over numbers predicted, but for `offsets`."""
        outputs = self.network.outputs if self.network.loss == "squared_error" else 1
        return self.factor * loss / outputs

    def offsets(self, y: Array) -> Array:
        """What scikit-learn's loss of each example has more, whatever is predicted, (N,)."""
        if self.network.loss != "poisson":
            return np.zeros(len(y))
        deviances: Array = (xlogy(y, y) - y).sum(axis=1)
        return deviances

    def offset(self, data: Data) -> float:
        """Their weighted mean."""
        return float(np.average(self.offsets(data.y), weights=data.weights))

    def value_and_grad(self, theta: Array, data: Data) -> tuple[float, Array]:
        """The objective over all examples, and its gradient."""
        value, gradient = self.network.value_and_grad(
            theta, data.X, data.y, data.weights, scale=self.factor / data.total, check_finite=False
        )
        if self.alpha:
            parts, _ = parted(self.network, theta)
            slopes, _ = parted(self.network, gradient)
            for part, slope in zip(parts, slopes, strict=True):
                slope += self.alpha / data.total * part
            value += self.penalty(theta) / data.total
        return value, gradient
