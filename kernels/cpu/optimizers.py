"""Optimizers: vectors of parameters, gradient and state in, vectors out.

Each update is ``name(theta, g, s0, s1, s2, k)`` with the state arrays it has (the others are
ignored) and the step's constants `k`, which `constants` works out once a step in float64.  The
formulas are those of the docstrings in ``fastbatch.optimizers``.
"""

import math

from .dense import flush
from .jit import jit
from .memory import load, store
from .simd import Pointer, fma, lanes, maximum, splat, sqrt
from .subroutine import Subroutine

N_CONSTANTS = 8


@jit
def sgd(theta, g, s0, s1, s2, k):
    """theta - lr (g + weight_decay theta)."""
    g = fma(theta, k[0], g)
    return fma(k[1], g, theta), s0, s1, s2


@jit
def momentum(theta, g, s0, s1, s2, k):
    """Heavy ball (Polyak 1964) or Nesterov's look-ahead, as k[3], k[4] weigh g and the buffer."""
    g = fma(theta, k[0], g)
    s0 = fma(k[2], s0, g)
    return fma(k[1], fma(k[4], s0, k[3] * g), theta), s0, s1, s2


@jit
def adam(theta, g, s0, s1, s2, k):
    """Kingma & Ba (2015), algorithm 1."""
    g = fma(theta, k[0], g)
    s0 = fma(k[3], g, k[2] * s0)
    s1 = fma(k[5] * g, g, k[4] * s1)
    return fma(k[1], s0 / fma(sqrt(s1), k[6], k[7]), theta), s0, s1, s2


@jit
def adamw(theta, g, s0, s1, s2, k):
    """Loshchilov & Hutter (2019): decay apart from the gradient; k[0] is 1 - lr weight_decay."""
    s0 = fma(k[3], g, k[2] * s0)
    s1 = fma(k[5] * g, g, k[4] * s1)
    return fma(k[1], s0 / fma(sqrt(s1), k[6], k[7]), theta * k[0]), s0, s1, s2


def _rmsprop(has_momentum, centered):
    @jit
    def rmsprop(theta, g, s0, s1, s2, k):
        g = fma(theta, k[0], g)
        s0 = fma(k[3] * g, g, k[2] * s0)
        variance = s0
        if centered:
            mean = fma(k[3], g, k[2] * (s2 if has_momentum else s1))
            variance = maximum(fma(-mean, mean, s0), 0.0)
            if has_momentum:
                s2 = mean
            else:
                s1 = mean
        step = g / (sqrt(variance) + k[7])
        if has_momentum:
            s1 = fma(k[4], s1, step)
            step = s1
        return fma(k[1], step, theta), s0, s1, s2

    return rmsprop


@jit
def adagrad(theta, g, s0, s1, s2, k):
    """Duchi et al. (2011), diagonal."""
    g = fma(theta, k[0], g)
    s0 = fma(g, g, s0)
    return fma(k[1], g / (sqrt(s0) + k[7]), theta), s0, s1, s2


@jit
def _power(base, n):
    """``base**n`` by squaring: the same bits everywhere, unlike a library's pow."""
    result = 1.0
    while n > 0:
        if n & 1:
            result *= base
        base *= base
        n >>= 1
    return result


@jit
def _sgd_constants(k, job, lr):
    k[0], k[1] = job.weight_decay, -lr
    k[2], k[3], k[4] = job.momentum, job.nesterov, 1.0 - job.nesterov + job.nesterov * job.momentum


@jit
def _sgld_constants(k, job, step_size):
    k[0], k[1] = job.prior_precision, -0.5 * step_size


@jit
def noise_deviation(job, step_size):
    """Standard deviation of what SGLD wants added to the gradient; 0 for a step of size 0."""
    return 2.0 * math.sqrt(job.temperature / step_size) if step_size > 0.0 else 0.0


@jit
def _adam_constants(k, job, lr):
    first, second = 1.0 - _power(job.beta1, job.step + 1), 1.0 - _power(job.beta2, job.step + 1)
    k[0], k[1] = job.weight_decay, -lr / first
    k[2], k[3], k[4], k[5] = job.beta1, 1.0 - job.beta1, job.beta2, 1.0 - job.beta2
    k[6], k[7] = 1.0 / math.sqrt(second), job.eps


@jit
def _adamw_constants(k, job, lr):
    _adam_constants(k, job, lr)
    k[0] = 1.0 - lr * job.weight_decay


@jit
def _rmsprop_constants(k, job, lr):
    k[0], k[1], k[2], k[3] = job.weight_decay, -lr, job.alpha, 1.0 - job.alpha
    k[4], k[7] = job.momentum, job.eps


@jit
def _adagrad_constants(k, job, lr):
    k[0], k[1] = job.weight_decay, -lr / (1.0 + job.step * job.lr_decay)
    k[7] = job.eps


def _over_rows(function, slots):
    """Apply an update with so many state arrays to `rows` x `vectors`, rows `stride` apart."""

    @jit
    def apply(theta, g, slot, slot_size, stride, rows, vectors, constants):
        n = lanes(theta)
        k = (
            splat(constants[0], theta), splat(constants[1], theta),
            splat(constants[2], theta), splat(constants[3], theta),
            splat(constants[4], theta), splat(constants[5], theta),
            splat(constants[6], theta), splat(constants[7], theta),
        )  # fmt: skip
        for r in range(rows):
            for v in range(vectors):
                here = r * stride + v * n
                x = load(theta + here)
                s0 = load(slot + here) if slots > 0 else x
                s1 = load(slot + (here + slot_size)) if slots > 1 else x
                s2 = load(slot + (here + 2 * slot_size)) if slots > 2 else x
                x, s0, s1, s2 = function(x, flush(load(g + here)), s0, s1, s2, k)
                store(theta + here, x)
                if slots > 0:
                    store(slot + here, flush(s0))
                if slots > 1:
                    store(slot + (here + slot_size), flush(s1))
                if slots > 2:
                    store(slot + (here + 2 * slot_size), flush(s2))

    return apply


# (optimizer, number of state arrays, whether centered)
RULES = (
    ("sgd", 0, False),
    ("sgd", 1, False),
    ("adam", 2, False),
    ("adamw", 2, False),
    ("rmsprop", 1, False),
    ("rmsprop", 2, False),
    ("rmsprop", 2, True),
    ("rmsprop", 3, True),
    ("adagrad", 1, False),
    ("sgld", 0, False),
)
SGLD = len(RULES) - 1

_sgd, _momentum = _over_rows(sgd, 0), _over_rows(momentum, 1)
_adam, _adamw = _over_rows(adam, 2), _over_rows(adamw, 2)
_rmsprop_plain = _over_rows(_rmsprop(has_momentum=False, centered=False), 1)
_rmsprop_momentum = _over_rows(_rmsprop(has_momentum=True, centered=False), 2)
_rmsprop_centered = _over_rows(_rmsprop(has_momentum=False, centered=True), 2)
_rmsprop_centered_momentum = _over_rows(_rmsprop(has_momentum=True, centered=True), 3)
_adagrad = _over_rows(adagrad, 1)


def rule_of(optimizer):
    """Number of the update that `optimizer`, a specification with name and slots, asks for."""
    return RULES.index((optimizer.name, optimizer.slots, getattr(optimizer, "centered", False)))


@jit
def work_out_constants(k, job, lr):
    """Put the constants of this step's update at `k`."""
    if job.rule <= 1:
        _sgd_constants(k, job, lr)
    elif job.rule == 2:
        _adam_constants(k, job, lr)
    elif job.rule == 3:
        _adamw_constants(k, job, lr)
    elif job.rule <= 7:
        _rmsprop_constants(k, job, lr)
    elif job.rule == SGLD:
        _sgld_constants(k, job, lr)
    else:
        _adagrad_constants(k, job, lr)


@Subroutine
def update(
    rule: int, theta: Pointer, g: Pointer, slot: Pointer, slot_size: int, stride: int,
    rows: int, vectors: int, k: Pointer,
):  # fmt: skip
    """Update `rows` x `vectors` of theta and state by the rule of that number in RULES."""
    if rule == 0 or rule == SGLD:
        _sgd(theta, g, slot, slot_size, stride, rows, vectors, k)
    elif rule == 1:
        _momentum(theta, g, slot, slot_size, stride, rows, vectors, k)
    elif rule == 2:
        _adam(theta, g, slot, slot_size, stride, rows, vectors, k)
    elif rule == 3:
        _adamw(theta, g, slot, slot_size, stride, rows, vectors, k)
    elif rule == 4:
        _rmsprop_plain(theta, g, slot, slot_size, stride, rows, vectors, k)
    elif rule == 5:
        _rmsprop_momentum(theta, g, slot, slot_size, stride, rows, vectors, k)
    elif rule == 6:
        _rmsprop_centered(theta, g, slot, slot_size, stride, rows, vectors, k)
    elif rule == 7:
        _rmsprop_centered_momentum(theta, g, slot, slot_size, stride, rows, vectors, k)
    else:
        _adagrad(theta, g, slot, slot_size, stride, rows, vectors, k)
