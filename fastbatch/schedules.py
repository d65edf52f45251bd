"""Learning-rate schedules: functions of the step, as data.

`step` counts the steps done before, so the first rate is that of step 0. The rates are part of
the determinism contract, hence only arithmetic that rounds alike on every processor: NumPy's own
``cos`` and ``power`` take other code, and give other bits, where AVX-512 is at hand.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import factorial, pi, sqrt
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from fastbatch.constraints import STEPS, integer, real

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]
Rate = float | Callable[[int], float]

_SINE = [(-1) ** k / factorial(2 * k + 1) for k in range(12)]  # to x**23: 1e-19 at pi / 2
_LOG_2 = 0.6931471805599453
_ARTANH = [1 / (2 * k + 1) for k in range(12)]  # to x**23: 1e-19 at 3 - sqrt(8)
_EXP = [1 / factorial(k) for k in range(16)]  # to x**15: 1e-20 at log(2) / 2
_AHEAD = 4096


def _sine(x: Floats) -> Floats:
    """sin(x) for abs(x) <= pi / 2, by its Taylor series."""
    return _polynomial(_SINE, x * x) * x


def _log(x: Floats) -> Floats:
    """Natural logarithm of positive numbers: 2 artanh((m - 1) / (m + 1)) for m near 1."""
    m, exponent = np.frexp(x)
    small = m < sqrt(0.5)
    m, exponent = np.where(small, 2.0 * m, m), exponent - small
    quotient = (m - 1.0) / (m + 1.0)
    return 2.0 * quotient * _polynomial(_ARTANH, quotient * quotient) + exponent * _LOG_2


def _exp(x: Floats) -> Floats:
    """exp(x), by its Taylor series for the part of x beyond multiples of log(2)."""
    exponent = np.rint(np.clip(x / _LOG_2, -1100.0, 1100.0))  # beyond, it is 0 or infinite
    rest = np.clip(x - exponent * _LOG_2, -1.0, 1.0)
    with np.errstate(over="ignore"):
        return np.ldexp(_polynomial(_EXP, rest), exponent.astype(np.int32))


def _polynomial(coefficients: list[float], x: Floats) -> Floats:
    """Their sum times 1, x, x**2, ... by Horner's rule."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def _power(base: float, exponents: Steps) -> Floats:
    """``base ** exponents`` by squaring."""
    result = np.ones(exponents.shape)
    while exponents.any():
        result = np.where(exponents & 1, result * base, result)
        base, exponents = base * base, exponents >> 1
    return result


class Schedule(ABC):
    """A learning rate for each step; call it with one step or with an array of them."""

    @overload
    def __call__(self, step: int) -> float: ...
    @overload
    def __call__(self, step: Steps) -> Floats: ...
    def __call__(self, step: Any) -> Any:
        """Learning rate at `step`, a float for an int and an array for an array."""
        rates = self._rates(np.atleast_1d(np.asarray(step, dtype=np.int64)))
        return rates if np.ndim(step) else float(rates[0])

    @abstractmethod
    def _rates(self, steps: Steps) -> Floats: ...

    def _check(self, **ranges: tuple[float, float]) -> None:
        for name, (low, high) in ranges.items():
            object.__setattr__(self, name, real(name, getattr(self, name), low, high))


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate always; a plain number in the place of a schedule means the same.

    Parameters
    ----------
    lr : float
        Not negative.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind.

    Examples
    --------
    >>> Constant(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        self._check(lr=(0.0, np.inf))

    def _rates(self, steps: Steps) -> Floats:
        return np.full(steps.shape, self.lr)


@dataclass(frozen=True)
class StepDecay(Schedule):
    """``lr * factor ** (step // every)``, as PyTorch's ``StepLR``, counted in steps.

    Parameters
    ----------
    lr : float
        The rate at the beginning.
    every : int
        Steps between two changes.
    factor : float
        What the rate is multiplied by at each.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind.

    Examples
    --------
    >>> schedule = StepDecay(1.0, every=2, factor=0.5)
    >>> [schedule(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        self._check(lr=(0.0, np.inf), factor=(0.0, np.inf))
        object.__setattr__(self, "every", integer("every", self.every, 1, STEPS))

    def _rates(self, steps: Steps) -> Floats:
        return self.lr * _power(self.factor, steps // self.every)


@dataclass(frozen=True)
class Exponential(Schedule):
    """``lr * decay ** step``, as PyTorch's ``ExponentialLR``, counted in steps.

    Parameters
    ----------
    lr : float
        The rate at the beginning.
    decay : float
        What the rate is multiplied by at each step; usually a little less than 1.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind.

    Examples
    --------
    >>> Exponential(1.0, decay=0.5)(3)
    0.125
    """

    lr: float
    decay: float

    def __post_init__(self) -> None:
        self._check(lr=(0.0, np.inf), decay=(0.0, np.inf))

    def _rates(self, steps: Steps) -> Floats:
        return self.lr * _power(self.decay, steps)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from `lr` down to `final` in `steps` steps, then `final`.

    ``final + (lr - final) * (1 + cos(pi * step / steps)) / 2``: Loshchilov & Hutter 2017, "SGDR",
    eq. 5, without restarts; PyTorch's ``CosineAnnealingLR``.

    Parameters
    ----------
    lr : float
        The rate at the beginning.
    steps : int
        Length of the descent.
    final : float
        The rate from then on.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind.

    Examples
    --------
    >>> schedule = Cosine(1.0, steps=4)
    >>> [round(schedule(step), 4) for step in range(6)]
    [1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]
    """

    lr: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        self._check(lr=(0.0, np.inf), final=(0.0, np.inf))
        object.__setattr__(self, "steps", integer("steps", self.steps, 1, STEPS))

    def _rates(self, steps: Steps) -> Floats:
        progress = np.minimum(steps, self.steps) / self.steps
        cosine = _sine(pi * (0.5 - progress))
        return self.final + (self.lr - self.final) * (0.5 * (1.0 + cosine))


@dataclass(frozen=True)
class PowerDecay(Schedule):
    """``a * (b + step) ** -gamma``, the step sizes of Langevin dynamics.

    Welling & Teh 2011, "Bayesian learning via stochastic gradient Langevin dynamics": with gamma in
    (1/2, 1] the sizes have an infinite sum and a finite sum of squares, as convergence wants.
    Samples of shorter steps lie closer together: `PosteriorSamples.mean` says how to weigh them.

    Parameters
    ----------
    a : float
        Not negative.
    b : float
        Steps after which the decay sets in; positive.
    gamma : float
        Not negative.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind.

    Examples
    --------
    >>> schedule = PowerDecay(a=0.5, b=1, gamma=1)
    >>> [schedule(step) for step in (0, 1, 3)]
    [0.5, 0.25, 0.125]
    """

    a: float
    b: float = 1.0
    gamma: float = 0.55

    def __post_init__(self) -> None:
        self._check(a=(0.0, np.inf), b=(0.0, np.inf), gamma=(0.0, np.inf))
        if not self.b:
            raise ValueError("b must be positive, found 0: the first step would be infinite")

    def _rates(self, steps: Steps) -> Floats:
        return self.a * _exp(-self.gamma * _log(self.b + steps.astype(np.float64)))


@dataclass(frozen=True)
class LinearWarmup(Schedule):
    """A rise over `steps` steps, from ``after(0) / steps`` to ``after(0)``, and then `after`.

    Parameters
    ----------
    steps : int
        Length of the rise.
    after : float or schedule
        What follows; a schedule's own step 0 is the first step after the rise.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind.

    Examples
    --------
    >>> schedule = LinearWarmup(4, after=Exponential(1.0, decay=0.5))
    >>> [schedule(step) for step in range(7)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.25]
    """

    steps: int
    after: float | Schedule

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", integer("steps", self.steps, 1, STEPS))
        if not isinstance(self.after, Schedule):
            self._check(after=(0.0, np.inf))

    def _rates(self, steps: Steps) -> Floats:
        after = self.after if isinstance(self.after, Schedule) else Constant(self.after)
        rise = (np.minimum(steps, self.steps - 1) + 1) / self.steps
        return rise * after(np.maximum(steps - self.steps, 0))


SCHEDULES = (Constant, StepDecay, Exponential, Cosine, PowerDecay, LinearWarmup)


class Rates:
    """The learning rates of consecutive steps as kernels take them.

    A schedule of this module is evaluated thousands of steps ahead, since NumPy costs the same
    for one step as for many; any other callable is asked for one step at a time, as they come.
    """

    def __init__(self, lr: Rate) -> None:
        self._schedule = lr if callable(lr) else Constant(lr)
        self._first, self._rates = 0, np.empty(0)

    def __call__(self, step: int, count: int) -> Floats:
        """The rates of `count` steps from `step` on."""
        start = step - self._first
        if not 0 <= start <= len(self._rates) - count:
            self._first, start = step, 0
            ahead = max(count, _AHEAD) if isinstance(self._schedule, Schedule) else count
            self._rates = self._evaluate(step, ahead)
        return self._rates[start : start + count]

    def _evaluate(self, step: int, count: int) -> Floats:
        if isinstance(self._schedule, Schedule):
            rates = self._schedule(np.arange(step, step + count))
        else:
            steps = range(step, step + count)
            rates = np.array([self._schedule(step) for step in steps], dtype=np.float64)
        good = np.isfinite(rates) & (rates >= 0)
        if not good.all():
            index = int(good.argmin())
            raise ValueError(
                f"the learning rate of step {step + index} is {rates[index]}: "
                "a schedule must give finite rates that are not negative"
            )
        return rates
