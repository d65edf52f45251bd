"""Optimizers as data: the hyper-parameters and how much state the backends keep for them.

The formulas are PyTorch's (torch.optim), so trajectories can be compared, and that of Langevin
dynamics; the backends hold them.
All parameters decay, biases included, and `step` t counts from 1 in what follows.
"""

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, fields
from math import inf
from typing import ClassVar

from fastbatch.constraints import flag, one_of, real
from fastbatch.schedules import Rate

# Every hyper-parameter means the same wherever it occurs, so it has one range.
_RANGES = {
    "momentum": (0.0, inf),
    "weight_decay": (0.0, inf),
    "eps": (0.0, inf),
    "lr_decay": (0.0, inf),
    "beta1": (0.0, 1.0),
    "beta2": (0.0, 1.0),
    "alpha": (0.0, 1.0),
    "prior_precision": (0.0, inf),
    "temperature": (0.0, inf),
}
_RATES = ("lr", "step_size")
_FLAGS = ("nesterov", "centered")


class Optimizer(ABC):
    """What all optimizers have: a `name`, a learning rate and a number of state arrays."""

    name: ClassVar[str]
    lr: Rate

    @property
    @abstractmethod
    def slots(self) -> int:
        """Number of state arrays of the size of theta."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # each subclass is a dataclass
            value = getattr(self, field.name)
            if field.name in _RATES and not callable(value):
                object.__setattr__(self, field.name, real(field.name, value))
            elif field.name in _RANGES:
                object.__setattr__(self, field.name, real(field.name, value, *_RANGES[field.name]))
            elif field.name in _FLAGS:
                flag(field.name, value)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's variant of it.

    ``g += weight_decay * theta; v = momentum * v + g; theta -= lr * v``, with ``v = g`` at the
    first step; Nesterov's variant takes ``g + momentum * v`` for the last ``v``. As
    ``torch.optim.SGD``; Sutskever et al. 2013, "On the importance of initialization and momentum".

    Parameters
    ----------
    lr : float or callable
        The learning rate, or a schedule: a function of the step.
    momentum, weight_decay : float
        Not negative.
    nesterov : bool
        Needs a positive momentum.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong kind, or Nesterov's variant has no
        momentum.

    Examples
    --------
    >>> SGD(0.1, momentum=0.9, nesterov=True).slots
    1
    """

    lr: Rate = 1e-2
    _: KW_ONLY
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    name: ClassVar[str] = "sgd"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=True needs a momentum, found 0: give momentum=0.9 or so")

    @property
    def slots(self) -> int:
        """1 with momentum, else 0."""
        return 1 if self.momentum else 0


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: steps of about `lr` in every parameter, whatever the scale of its gradient.

    ``g += weight_decay * theta; m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) *
    g**2; theta -= lr / (1 - beta1**t) * m / (sqrt(v) / sqrt(1 - beta2**t) + eps)``. As
    ``torch.optim.Adam``; Kingma & Ba 2015, "Adam", algorithm 1.

    Parameters
    ----------
    lr : float or callable
        The learning rate, or a schedule: a function of the step.
    beta1, beta2 : float
        Decay of the two means, in [0, 1).
    eps, weight_decay : float
        Not negative.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong kind.

    Examples
    --------
    >>> Adam(1e-3).beta2
    0.999
    """

    lr: Rate = 1e-3
    _: KW_ONLY
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    name: ClassVar[str] = "adam"

    @property
    def slots(self) -> int:
        """2, the means of the gradient and of its square."""
        return 2


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with the weight decay apart from the gradient.

    ``theta *= 1 - lr * weight_decay``, then `Adam` without decay. As ``torch.optim.AdamW``;
    Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2.

    Parameters
    ----------
    lr : float or callable
        The learning rate, or a schedule: a function of the step.
    beta1, beta2 : float
        Decay of the two means, in [0, 1).
    eps, weight_decay : float
        Not negative.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong kind.

    Examples
    --------
    >>> AdamW(1e-3).weight_decay
    0.01
    """

    lr: Rate = 1e-3
    _: KW_ONLY
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 1e-2

    name: ClassVar[str] = "adamw"

    @property
    def slots(self) -> int:
        """2, the means of the gradient and of its square."""
        return 2


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop: gradients divided by a running root mean square.

    ``g += weight_decay * theta; v = alpha * v + (1 - alpha) * g**2; u = g / (sqrt(v) + eps)``
    (centered: ``v - mean**2`` under the root, ``mean`` the running mean of ``g``); ``theta -= lr *
    u``, or with momentum ``b = momentum * b + u; theta -= lr * b``. As ``torch.optim.RMSprop``;
    Tieleman & Hinton 2012 (lecture 6.5), centered after Graves 2013, arXiv:1308.0850.

    Parameters
    ----------
    lr : float or callable
        The learning rate, or a schedule: a function of the step.
    alpha : float
        Decay of the means, in [0, 1).
    eps, momentum, weight_decay : float
        Not negative.
    centered : bool
        Whether the mean gradient is subtracted.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong kind.

    Examples
    --------
    >>> RMSprop(1e-3, momentum=0.9, centered=True).slots
    3
    """

    lr: Rate = 1e-2
    _: KW_ONLY
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    weight_decay: float = 0.0

    name: ClassVar[str] = "rmsprop"

    @property
    def slots(self) -> int:
        """The mean square, then the momentum buffer and the mean gradient where they are used."""
        return 1 + (1 if self.momentum else 0) + (1 if self.centered else 0)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad: gradients divided by the root of the sum of all squares so far.

    ``g += weight_decay * theta; s += g**2; theta -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) +
    eps)``. As ``torch.optim.Adagrad``; Duchi et al. 2011, "Adaptive subgradient methods".

    Parameters
    ----------
    lr : float or callable
        The learning rate, or a schedule: a function of the step.
    lr_decay, eps, weight_decay : float
        Not negative.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong kind.

    Examples
    --------
    >>> Adagrad(0.1).slots
    1
    """

    lr: Rate = 1e-2
    _: KW_ONLY
    lr_decay: float = 0.0
    eps: float = 1e-10
    weight_decay: float = 0.0

    name: ClassVar[str] = "adagrad"

    @property
    def slots(self) -> int:
        """1, the sum of squares."""
        return 1


@dataclass(frozen=True)
class SGLD(Optimizer):
    """Stochastic gradient Langevin dynamics: samples of the posterior, by steps with noise.

    ``theta += step_size / 2 * (-prior_precision * theta - N / n * sum_i w_i g_i) + sqrt(step_size *
    temperature) * xi``, where the g_i are the gradients of the n examples of a batch, out of N, and
    xi is standard normal: Welling & Teh 2011, "Bayesian learning via stochastic gradient Langevin
    dynamics", eq. 4. The smaller the steps, the more is theta after many of them a draw from the
    density ``exp(-(prior_precision / 2 * |theta|**2 + sum_i w_i loss_i) / temperature)``.

    So the loss is a negative log-likelihood: ``"squared_error"`` that of Gaussian noise of variance
    1/2, and of variance v with ``sample_weight = 1 / (2 v)``. `Trainer.sample` collects the draws.

    Parameters
    ----------
    step_size : float or callable
        Or a schedule, such as `PowerDecay`. Stable below ``4 / (prior_precision + the largest
        curvature of the summed loss)``.
    prior_precision : float
        Of a Gaussian prior of mean 0, over all parameters, biases too.
    temperature : float
        1 samples from the posterior, less from a narrower distribution, 0 only descends.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong kind.

    Examples
    --------
    >>> SGLD(1e-4, prior_precision=10.0).temperature
    1.0
    """

    step_size: Rate = 1e-4
    _: KW_ONLY
    prior_precision: float = 1.0
    temperature: float = 1.0

    name: ClassVar[str] = "sgld"

    @property
    def lr(self) -> Rate:  # type: ignore[override]  # the others are as read-only as this
        """The step size, by the name that it has in the other optimizers."""
        return self.step_size

    @property
    def slots(self) -> int:
        """0."""
        return 0


OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.name: kind for kind in (SGD, Adam, AdamW, RMSprop, Adagrad, SGLD)
}


def as_optimizer(optimizer: Optimizer | str) -> Optimizer:
    """Return the optimizer, or the one of that name with its usual hyper-parameters."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str):
        return OPTIMIZERS[one_of("optimizer", optimizer, OPTIMIZERS)]()
    raise TypeError(
        f"optimizer must be one of fastbatch's, such as Adam(1e-3), or a name, "
        f"found {type(optimizer).__name__}"
    )
