"""How the gradient of each example is clipped before they are summed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import hypot, inf, sqrt

from fastbatch.constraints import flag, real


@dataclass(frozen=True)
class PerExampleClip:
    """The gradient of each example is cut to at most some norm, so that none counts for too much.

    A gradient g longer than C becomes ``g C / |g|``, others stay as they are. As in Abadi et al.
    2016, "Deep learning with differential privacy", section 3.1.

    Parameters
    ----------
    max_norm : float or sequence of float
        The largest norm C. With `per_layer`, a bound for each layer, or one for the whole, of which
        each of L layers gets ``C / sqrt(L)``.
    per_layer : bool
        Whether each layer's part of the gradient is clipped by its own norm.
    automatic : bool
        Whether every gradient becomes ``g C / (|g| + gamma)``, the long and the short, so that C
        only scales the learning rate: AUTO-S of Bu et al. 2022, "Automatic clipping: differentially
        private deep learning made easier and stronger".
    gamma : float
        How short gradients are to stay short. Only `automatic` looks at it.

    Raises
    ------
    ValueError, TypeError
        If a norm or `gamma` is not positive and finite, or there are several norms but not
        `per_layer`.

    Examples
    --------
    >>> PerExampleClip(2.0).bounds(layers=4)
    (2.0,)
    >>> PerExampleClip(2.0, per_layer=True).bounds(layers=4)
    (1.0, 1.0, 1.0, 1.0)
    >>> PerExampleClip([3, 4], per_layer=True).sensitivity(layers=2)
    5.0
    """

    max_norm: float | Sequence[float] = 1.0
    per_layer: bool = False
    automatic: bool = False
    gamma: float = 0.01

    def __post_init__(self) -> None:
        flag("per_layer", self.per_layer)
        flag("automatic", self.automatic)
        object.__setattr__(self, "gamma", _positive("gamma", self.gamma))
        norms = self.max_norm
        if not isinstance(norms, Iterable) or isinstance(norms, str):
            object.__setattr__(self, "max_norm", _positive("max_norm", norms))
            return
        if not self.per_layer:
            raise ValueError(
                f"max_norm must be one number, found {norms!r}: several bounds need per_layer=True"
            )
        each = (_positive(f"max_norm[{index}]", norm) for index, norm in enumerate(norms))
        object.__setattr__(self, "max_norm", tuple(each))

    def bounds(self, layers: int) -> tuple[float, ...]:
        """The largest norm of a clipped gradient, or of each layer's part if `per_layer`.

        Raises
        ------
        ValueError
            If `max_norm` has bounds, but not as many as there are layers.
        """
        if isinstance(self.max_norm, float):
            return (self.max_norm / sqrt(layers),) * layers if self.per_layer else (self.max_norm,)
        if len(self.max_norm) != layers:
            raise ValueError(
                f"max_norm must be one number or have a bound for each of the {layers} layers "
                f"with parameters, found {len(self.max_norm)}"
            )
        return tuple(self.max_norm)

    def sensitivity(self, layers: int) -> float:
        """The largest norm that a clipped gradient can have."""
        return hypot(*self.bounds(layers))


def _positive(name: str, value: object) -> float:
    """Return `value` as a positive, finite float."""
    number = real(name, value, -inf)
    if number <= 0:
        raise ValueError(f"{name} must be positive, found {value}")
    return number
