"""Optimizers: a parameter, its gradient and state in, parameter and state out.

Each update is ``name(theta, g, s0, s1, s2, k)`` with the state it has (the rest is passed on) and
the step's constants `k`, which `constants` works out in float64. The formulas are those of the
docstrings in ``fastbatch.optimizers``.
"""

from functools import cache

import numpy as np

from .elementary import flush
from .toolkit import add, div, fma, function, maximum, mul, sqrt

N_CONSTANTS = 8


@function
def sgd(theta, g, s0, s1, s2, k):
    """theta - lr (g + weight_decay theta)."""
    g = fma(theta, k[0], g)
    return fma(k[1], g, theta), s0, s1, s2


@function
def momentum(theta, g, s0, s1, s2, k):
    """Heavy ball (Polyak 1964) or Nesterov's look-ahead, as k[3], k[4] weigh g and the buffer."""
    g = fma(theta, k[0], g)
    s0 = fma(k[2], s0, g)
    return fma(k[1], fma(k[4], s0, mul(k[3], g)), theta), s0, s1, s2


@function
def adam(theta, g, s0, s1, s2, k):
    """Kingma & Ba (2015), algorithm 1."""
    g = fma(theta, k[0], g)
    s0 = fma(k[3], g, mul(k[2], s0))
    s1 = fma(mul(k[5], g), g, mul(k[4], s1))
    return fma(k[1], div(s0, fma(sqrt(s1), k[6], k[7])), theta), s0, s1, s2


@function
def adamw(theta, g, s0, s1, s2, k):
    """Loshchilov & Hutter (2019): decay apart from the gradient; k[0] is 1 - lr weight_decay."""
    s0 = fma(k[3], g, mul(k[2], s0))
    s1 = fma(mul(k[5], g), g, mul(k[4], s1))
    return fma(k[1], div(s0, fma(sqrt(s1), k[6], k[7])), mul(theta, k[0])), s0, s1, s2


def _rmsprop(has_momentum, centered):
    @function
    def rmsprop(theta, g, s0, s1, s2, k):
        g = fma(theta, k[0], g)
        s0 = fma(mul(k[3], g), g, mul(k[2], s0))
        variance = s0
        if centered:
            mean = fma(k[3], g, mul(k[2], s2 if has_momentum else s1))
            variance = maximum(fma(-mean, mean, s0), 0.0)
            if has_momentum:
                s2 = mean
            else:
                s1 = mean
        step = div(g, add(sqrt(variance), k[7]))
        if has_momentum:
            s1 = fma(k[4], s1, step)
            step = s1
        return fma(k[1], step, theta), s0, s1, s2

    return rmsprop


@function
def adagrad(theta, g, s0, s1, s2, k):
    """Duchi et al. (2011), diagonal."""
    g = fma(theta, k[0], g)
    s0 = fma(g, g, s0)
    return fma(k[1], div(g, add(sqrt(s0), k[7])), theta), s0, s1, s2


# (optimizer, number of state arrays, whether centered), and how it updates
_UPDATES = {
    ("sgd", 0, False): sgd,
    ("sgd", 1, False): momentum,
    ("adam", 2, False): adam,
    ("adamw", 2, False): adamw,
    ("rmsprop", 1, False): _rmsprop(has_momentum=False, centered=False),
    ("rmsprop", 2, False): _rmsprop(has_momentum=True, centered=False),
    ("rmsprop", 2, True): _rmsprop(has_momentum=False, centered=True),
    ("rmsprop", 3, True): _rmsprop(has_momentum=True, centered=True),
    ("adagrad", 1, False): adagrad,
    ("sgld", 0, False): sgd,
}
RULES = tuple(_UPDATES)


def rule_of(optimizer):
    """Number of the update that `optimizer`, a specification with name and slots, asks for."""
    return RULES.index((optimizer.name, optimizer.slots, getattr(optimizer, "centered", False)))


@cache
def update_of(rule):
    """The update by the rule of that number in RULES; no gradient or state is subnormal."""
    name = _UPDATES[RULES[rule]]

    @function
    def update(theta, g, s0, s1, s2, k):
        theta, s0, s1, s2 = name(theta, flush(g), s0, s1, s2, k)
        return theta, flush(s0), flush(s1), flush(s2)

    return update


def constants(optimizer, first_step, rates):
    """The constants of the updates, (steps, 8), of steps from `first_step` on at these rates."""
    rates = np.asarray(rates, np.float64)
    steps = first_step + np.arange(len(rates))
    k = np.zeros((len(rates), N_CONSTANTS))
    if optimizer.name == "sgld":
        k[:, 0], k[:, 1] = optimizer.prior_precision, -0.5 * rates
        return k
    k[:, 0], k[:, 1] = optimizer.weight_decay, -rates
    if optimizer.name == "sgd":
        nesterov = float(optimizer.nesterov)
        k[:, 2], k[:, 3] = optimizer.momentum, nesterov
        k[:, 4] = 1.0 - nesterov + nesterov * optimizer.momentum
    elif optimizer.name in ("adam", "adamw"):
        beta1, beta2 = optimizer.beta1, optimizer.beta2
        k[:, 1] = -rates / (1.0 - _powers(beta1, steps + 1))
        k[:, 2], k[:, 3], k[:, 4], k[:, 5] = beta1, 1.0 - beta1, beta2, 1.0 - beta2
        k[:, 6] = 1.0 / np.sqrt(1.0 - _powers(beta2, steps + 1))
        k[:, 7] = optimizer.eps
        if optimizer.name == "adamw":
            k[:, 0] = 1.0 - rates * optimizer.weight_decay
    elif optimizer.name == "rmsprop":
        k[:, 2], k[:, 3] = optimizer.alpha, 1.0 - optimizer.alpha
        k[:, 4], k[:, 7] = optimizer.momentum, optimizer.eps
    else:  # adagrad
        k[:, 1] = -rates / (1.0 + steps * optimizer.lr_decay)
        k[:, 7] = optimizer.eps
    return k


def _powers(base, exponents):
    """``base**n`` for each of them, by squaring as on the CPU, where no library's pow is used."""
    result = np.ones(len(exponents))
    while exponents.any():
        result = np.where(exponents & 1, result * base, result)
        base *= base
        exponents = exponents >> 1
    return result


def noise_deviations(optimizer, rates):
    """Standard deviations of what SGLD wants added to the gradient; 0 for steps of size 0."""
    rates = np.asarray(rates, np.float64)
    moving = rates > 0.0
    variances = np.zeros(len(rates))
    np.divide(optimizer.temperature, rates, out=variances, where=moving)
    return 2.0 * np.sqrt(variances)
