"""What a network's outputs say: classes with their probabilities, or values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.datasets import Preparation
from fastbatch.network import Network

Array = NDArray[Any]
Columns = list[tuple[str, Array]]


def answers(network: Network, outputs: Array, preparation: Preparation | None) -> Columns:
    """Columns by their names, the prediction first, in the terms of the source if they are known.

    Without a preparation classes are numbers.
    """
    classes = preparation.classes if preparation else None
    if network.loss == "cross_entropy":
        return _classes(outputs, classes or [str(label) for label in range(network.outputs)])
    outputs = outputs.astype(np.float64)
    if network.loss == "binary_cross_entropy":
        if network.outputs == 1:
            return _classes(np.hstack([np.zeros_like(outputs), outputs]), classes or ["0", "1"])
        from scipy.special import expit

        outputs = expit(outputs)
    elif network.loss == "poisson":
        outputs = np.exp(outputs)
    if network.outputs == 1:
        return [("prediction", preparation.values(outputs) if preparation else outputs[:, 0])]
    return [(f"prediction_{k}", column) for k, column in enumerate(outputs.T)]


def _classes(outputs: Array, classes: Sequence[str]) -> Columns:
    """The most probable class and the probability of each, from logits."""
    from scipy.special import softmax  # half of what every command would take to start

    if len(classes) != outputs.shape[1]:
        raise ValueError(
            f"the model tells {outputs.shape[1]} classes apart, but its data had {len(classes)}: "
            "give its last layer as many units"
        )
    probabilities = softmax(outputs.astype(np.float64), axis=1)
    labels = np.array(classes, dtype=object)[probabilities.argmax(axis=1)]
    names = [f"probability_{name}" for name in classes]
    return [("prediction", labels), *zip(names, probabilities.T, strict=True)]
