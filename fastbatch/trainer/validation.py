"""What validation data say of the parameters after an epoch."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch import arrays, backends, metrics
from fastbatch.losses import LOSSES
from fastbatch.network import Network

Array = NDArray[Any]

# Products and sums in one call of a kernel, some 20 ms: none hears Ctrl-C.
EVALUATION = 1 << 30


@dataclass(frozen=True, eq=False)
class Validation:
    """Examples, their targets, and the names of metrics."""

    network: Network
    X: Array
    y: Array
    names: list[str]

    def judge(self, theta: Array) -> dict[str, Any]:
        """What the record of an epoch has of them: loss, metric, and those by name."""
        kernels, network = backends.load(self.network.backend), self.network
        rows = max(1, EVALUATION // network.plan.products(self.X))
        losses, outputs = [], []
        for start in range(0, len(self.X), rows):
            part, plan = slice(start, start + rows), replace(network.plan, first_row=start)
            losses.append(kernels.losses(plan, theta, self.X[part], self.y[part]))
            outputs.append(kernels.outputs(plan, theta, self.X[part]))
        predicted, by_name = np.concatenate(outputs), None
        if self.names:
            by_name = metrics.evaluate(self.names, network.loss, predicted, self.y)
        return {
            "validation_loss": float(np.concatenate(losses).mean(dtype=np.float64)),
            "validation_metric": LOSSES[network.loss].metric(predicted, self.y),
            "metrics": by_name,
        }


def check_validation(
    network: Network, data: Any, names: Iterable[str], check_finite: bool
) -> Validation | None:
    """Return the data that `fit` was given, if any, and the metrics; refuse what does not fit."""
    names = metrics.check(names, network.loss, network.outputs)
    if data is None:
        if names:
            raise ValueError("metrics are those of validation data: give fit validation=(X, y)")
        return None
    if not isinstance(data, tuple | list) or len(data) != 2:
        cure = ": give source.read(0, len(source))[:2]" if hasattr(data, "read") else ""
        raise TypeError(
            "validation must be a pair of examples and targets, validation=(X, y), "
            f"found {type(data).__name__}{cure}"
        )
    called = ("validation X", "validation y")
    X, y = network.check_examples(*data, names=called, check_finite=check_finite)
    arrays.not_empty(X)
    return Validation(network, X, y, names)
