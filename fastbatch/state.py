"""Where training stands between two calls of fit, and in a checkpoint."""

from dataclasses import dataclass, fields
from math import inf
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastbatch import samplers
from fastbatch.constraints import STEPS, integer, real

Array = NDArray[Any]

_PER_EXAMPLE = ("example_losses", "example_norms", "probabilities")


@dataclass
class State:
    """What changes in training; a backend's `Training` has attributes of the same names."""

    theta: Array  # (P,)
    slots: Array  # (optimizer.slots, P)
    step: int = 0
    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    variance_sum: float = 0.0
    signal_sum: float = 0.0
    example_losses: Array | None = None  # (N,), like the next two
    example_norms: Array | None = None
    probabilities: Array | None = None

    @classmethod
    def of(cls, training: Any) -> Self:
        """The state of a training, copied and not checked: no error may come before another."""
        return cls(**{field.name: getattr(training, field.name) for field in fields(cls)})

    def put_into(self, training: Any, examples: int) -> None:
        """Let a training on so many examples go on from here."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _PER_EXAMPLE and (value is None or len(value) != examples):
                continue  # these were other examples, or nobody looked at them
            setattr(training, field.name, value)

    def check(self, dtype: str, examples: int) -> None:
        """Refuse what comes from a file, unless a training on so many examples could be here."""
        for name in "step", "epoch", "batch":
            setattr(self, name, integer(name, getattr(self, name), 0, STEPS))
        self.loss_sum = real("loss_sum", self.loss_sum, -inf)
        self.weight_sum = real("weight_sum", self.weight_sum)
        for name in "variance_sum", "signal_sum":  # squares of gradients may have overflowed
            setattr(self, name, float(getattr(self, name)))
        if self.theta.dtype != dtype:
            raise ValueError(f"theta has dtype {self.theta.dtype}, expected {dtype}")
        if np.isnan(self.slots).any():  # while squares of gradients may have become infinite
            raise ValueError("slots hold NaN")
        for name in _PER_EXAMPLE:
            value = getattr(self, name)
            expected = (examples,), np.dtype("float64" if name == "probabilities" else dtype)
            if value is not None and (value.shape, value.dtype) != expected:
                raise ValueError(
                    f"{name} has shape {value.shape} and dtype {value.dtype}, expected {expected}"
                )
        if self.probabilities is not None:
            samplers.check_weights("probabilities", self.probabilities, examples)

    def split(self) -> tuple[dict[str, Array], dict[str, int | float]]:
        """The arrays that are there, and the numbers."""
        values = vars(self)
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        numbers = {name: v for name, v in values.items() if isinstance(v, int | float)}
        return arrays, numbers
