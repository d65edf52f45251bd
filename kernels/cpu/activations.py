"""Activation functions: each maps ``z`` to the pair of its value and its derivative."""

from . import elementary
from .dense import flush
from .jit import jit
from .memory import load, store
from .simd import Pointer, lanes, select, splat
from .subroutine import Subroutine

_SQRT_HALF = 0.5**0.5
_INV_SQRT_2PI = 0.3989422804014327


@jit
def identity(z):
    """z."""
    return z, splat(1.0, z)


@jit
def relu(z):
    """max(z, 0); NaN passes, and the derivative at 0 is 0."""
    return select(z < 0.0, 0.0, z), select(z > 0.0, splat(1.0, z), 0.0)


@jit
def leaky_relu(z):
    """z above 0, 0.01 z below."""
    slope = select(z > 0.0, splat(1.0, z), 0.01)
    return z * slope, slope


@jit
def sigmoid(z):
    """1 / (1 + exp(-z))."""
    a = elementary.sigmoid(z)
    return a, a * (1.0 - a)


@jit
def tanh(z):
    """Hyperbolic tangent."""
    a = elementary.tanh(z)
    return a, 1.0 - a * a


@jit
def softplus(z):
    """log(1 + exp(z))."""
    return elementary.softplus(z), elementary.sigmoid(z)


@jit
def gelu(z):
    """z times the normal distribution function (Hendrycks & Gimpel 2016), exact, by erf."""
    cdf = 0.5 * (1.0 + elementary.erf(z * _SQRT_HALF))
    density = _INV_SQRT_2PI * elementary.exp(-0.5 * (z * z))
    return z * cdf, cdf + z * density


@jit
def silu(z):
    """z sigmoid(z)."""
    s = elementary.sigmoid(z)
    return z * s, s * (1.0 + z * (1.0 - s))


@jit
def elu(z):
    """z above 0, exp(z) - 1 below (Clevert et al. 2016)."""
    below = elementary.expm1(select(z < 0.0, z, 0.0))
    return select(z < 0.0, below, z), select(z > 0.0, splat(1.0, z), below + 1.0)


NAMES = (
    "identity", "relu", "leaky_relu", "sigmoid", "tanh", "softplus", "gelu", "silu", "elu",
)  # fmt: skip


def _over_rows(function):
    @jit
    def apply(a, derivative, stride, rows, vectors):
        for r in range(rows):
            for v in range(vectors):
                place = r * stride + v * lanes(a)
                value, slope = function(load(a + place))
                store(a + place, flush(value))
                store(derivative + place, slope)

    return apply


_identity, _relu, _leaky_relu, _sigmoid, _tanh, _softplus, _gelu, _silu, _elu = (
    _over_rows(globals()[name]) for name in NAMES
)


@Subroutine
def activate(number: int, a: Pointer, derivative: Pointer, stride: int, rows: int, vectors: int):
    """Replace z at `a` by the activation of that number in NAMES; leave its derivative, too."""
    if number == 0:
        _identity(a, derivative, stride, rows, vectors)
    elif number == 1:
        _relu(a, derivative, stride, rows, vectors)
    elif number == 2:
        _leaky_relu(a, derivative, stride, rows, vectors)
    elif number == 3:
        _sigmoid(a, derivative, stride, rows, vectors)
    elif number == 4:
        _tanh(a, derivative, stride, rows, vectors)
    elif number == 5:
        _softplus(a, derivative, stride, rows, vectors)
    elif number == 6:
        _gelu(a, derivative, stride, rows, vectors)
    elif number == 7:
        _silu(a, derivative, stride, rows, vectors)
    else:
        _elu(a, derivative, stride, rows, vectors)
