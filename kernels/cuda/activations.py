"""Activation functions: each maps ``z`` to the pair of its value and its derivative."""

from . import elementary
from .toolkit import add, function, mul, select, splat, sub

_SQRT_HALF = 0.5**0.5
_INV_SQRT_2PI = 0.3989422804014327


@function
def identity(z):
    """z."""
    return z, splat(1.0, z)


@function
def relu(z):
    """max(z, 0); NaN passes, and the derivative at 0 is 0."""
    return select(z < 0.0, 0.0, z), select(z > 0.0, splat(1.0, z), 0.0)


@function
def leaky_relu(z):
    """z above 0, 0.01 z below."""
    slope = select(z > 0.0, splat(1.0, z), 0.01)
    return mul(z, slope), slope


@function
def sigmoid(z):
    """1 / (1 + exp(-z))."""
    a = elementary.sigmoid(z)
    return a, mul(a, sub(1.0, a))


@function
def tanh(z):
    """Hyperbolic tangent."""
    a = elementary.tanh(z)
    return a, sub(1.0, mul(a, a))


@function
def softplus(z):
    """log(1 + exp(z))."""
    return elementary.softplus(z), elementary.sigmoid(z)


@function
def gelu(z):
    """z times the normal distribution function (Hendrycks & Gimpel 2016), exact, by erf."""
    cdf = mul(0.5, add(1.0, elementary.erf(mul(z, _SQRT_HALF))))
    density = mul(_INV_SQRT_2PI, elementary.exp(mul(-0.5, mul(z, z))))
    return mul(z, cdf), add(cdf, mul(z, density))


@function
def silu(z):
    """z sigmoid(z)."""
    s = elementary.sigmoid(z)
    return mul(z, s), mul(s, add(1.0, mul(z, sub(1.0, s))))


@function
def elu(z):
    """z above 0, exp(z) - 1 below (Clevert et al. 2016)."""
    below = elementary.expm1(select(z < 0.0, z, 0.0))
    return select(z < 0.0, below, z), select(z > 0.0, splat(1.0, z), add(below, 1.0))


NAMES = (
    "identity", "relu", "leaky_relu", "sigmoid", "tanh", "softplus", "gelu", "silu", "elu",
)  # fmt: skip


@function
def activate(number, z):
    """The activation of that number in NAMES, and its derivative."""
    if number == 0:
        return identity(z)
    if number == 1:
        return relu(z)
    if number == 2:
        return leaky_relu(z)
    if number == 3:
        return sigmoid(z)
    if number == 4:
        return tanh(z)
    if number == 5:
        return softplus(z)
    if number == 6:
        return gelu(z)
    if number == 7:
        return silu(z)
    return elu(z)
