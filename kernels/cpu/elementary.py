"""exp, expm1, log, sigmoid, softplus, tanh, erf, cosine and sine of a vector: float32, float64.

All are branch-free and use only operations that IEEE 754 rounds in one way (fma, division,
shifts of the exponent), so their bits are the same on every processor.  Subnormal, infinite,
NaN and signed-zero arguments are right too.  The docstrings bound the error in units in the
last place (of float32 and of float64 where they differ), and tests/kernels/test_elementary.py
holds them to it.
"""

import math

from numba import typeof, types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    models,
    register_model,
)

from ..coefficients import FLOAT32, FLOAT64
from .jit import jit
from .simd import (
    absolute,
    as_bits,
    copysign,
    fma,
    from_bits,
    maximum,
    minimum,
    polynomial,
    select,
    splat,
    to_float,
)


class _Table(types.Type):
    """The type of `constants(x)`: knows the values, so that an attribute costs no code."""

    def __init__(self, values):
        self.values = values
        super().__init__(f"Table({values.mantissa})")


register_model(_Table)(models.OpaqueModel)


@infer_getattr
class _TableAttribute(AttributeTemplate):
    key = _Table

    def generic_resolve(self, table, name):
        return typeof(getattr(table.values, name))


@lower_getattr_generic(_Table)
def _table_attribute(context, builder, table, instance, name):
    value = getattr(table.values, name)
    return context.get_constant_generic(builder, typeof(value), value)


@intrinsic
def constants(typingctx, x):
    """The `Constants` for the width of the elements of the vector `x`."""
    table = _Table(FLOAT32 if x.dtype.bitwidth == 32 else FLOAT64)
    return table(x), lambda context, builder, sig, args: context.get_dummy_value()


@jit
def _reduce(x, scale):
    """``r, n`` such that ``exp(x) = exp(r) * 2**(n - scale)``, with `r` within 0.35 of 0.

    Of the integers `n` only the lowest bits are right: as many as an exponent has, and one more.
    """
    c = constants(x)
    shifted = fma(x, c.log2e, c.magic + scale)
    n = shifted - (c.magic + scale)
    return fma(n, -c.ln2_low, fma(n, -c.ln2_high, x)), as_bits(shifted)


@jit
def _exp_reduced(r):
    return fma(fma(polynomial(r, constants(r).exp), r, 1.0), r, 1.0)


@jit
def _expm1_reduced(r):
    return fma(polynomial(r, constants(r).exp), r * r, r)


@jit
def exp(x):
    """``e**x``, within 1 ulp."""
    c = constants(x)
    r, n = _reduce(maximum(c.log_smallest, minimum(c.log_largest, x)), 2 * c.bias)
    # 2**n may overflow or underflow, its halves do not, and only the last product is rounded.
    half = n >> 1
    one, other = from_bits(half << c.mantissa), from_bits((n - half) << c.mantissa)
    return _exp_reduced(r) * one * other


@jit
def expm1(x):
    """``e**x - 1``, within 1.5 and 2.1 ulp."""
    c = constants(x)
    r, n = _reduce(maximum(-c.log_one, minimum(c.log_largest, x)), c.bias - 1)
    power = from_bits(n << c.mantissa)  # half of what is wanted, which may overflow
    result = 2.0 * fma(_expm1_reduced(r), power, power - 0.5)
    return select(absolute(x) < c.expm1_same, x, result)


@jit
def sigmoid(x):
    """``1 / (1 + e**-x)``, within 2 ulp, also where it is far below 1."""
    c = constants(x)
    r, n = _reduce(-maximum(c.log_smallest, minimum(c.log_one, x)), c.bias - 64)
    # Both sides of the fraction are multiplied by 2**-64, so that no power of two overflows.
    power = from_bits(n << c.mantissa)
    return 2.0**-64 / (fma(_expm1_reduced(r), power, 2.0**-64) + power)


@jit
def tanh(x):
    """Hyperbolic tangent, within 1.7 and 1.8 ulp."""
    c = constants(x)
    a = minimum(c.tanh_one, absolute(x))
    # Above 0.55, a = u + n log(2) / 2, and with t = tanh(u) the addition theorem gives
    # 1 - tanh(a) = (2 - 2 t) / (2**n + 1 + t (2**n - 1)).
    near = a < 0.55
    shifted = fma(a, 2.0 * c.log2e, c.magic + c.bias)
    u = select(near, a, fma(shifted - (c.magic + c.bias), -0.5 * c.ln2_high, a))
    square = u * u
    t = fma(polynomial(square, c.tanh), square * u, u)
    power = from_bits(as_bits(shifted) << c.mantissa)
    far = 1.0 - fma(t, -2.0, 2.0) / fma(t, power - 1.0, power + 1.0)
    return copysign(select(near, t, far), x)


@jit
def _log1p_reduced(f, k):
    """``log((1 + f) * 2**k)`` for `f` from -0.3 to 0.5."""
    c = constants(f)
    # log(1 + f) = 2 atanh(s) = f - f**2 / 2 + s (f**2 / 2 + s**2 P(s**2)), with s = f / (2 + f)
    s = f / (2.0 + f)
    square = s * s
    half_square = 0.5 * f * f
    rest = fma(polynomial(square, c.log), square, half_square)
    correction = half_square - fma(s, rest, k * c.ln2_low)
    return fma(k, c.ln2_high, f - correction)


@jit
def log(x):
    """Natural logarithm, within 1 ulp; NaN for negative numbers."""
    c = constants(x)
    tiny = x < c.smallest
    scaled = as_bits(select(tiny, x * 2.0**64, x))
    k = (scaled - c.sqrt_half) >> c.mantissa
    f = from_bits(scaled - (k << c.mantissa)) - 1.0
    result = _log1p_reduced(f, to_float(k) - select(tiny, splat(64.0, x), 0.0))
    result = select(x < math.inf, result, x)
    return select(x > 0.0, result, select(x == 0.0, splat(-math.inf, x), math.nan))


@jit
def softplus(x):
    """``log(1 + e**x)``, within 1.7 ulp, also where it is far below 1."""
    z = exp(-absolute(x))
    # Above 1.5, 1 + z is halved; 0.5 * z - 0.5 is exact.
    upper = z > 0.5
    f = select(upper, 0.5 * z - 0.5, z)
    k = select(upper, splat(1.0, x), 0.0)
    return maximum(0.0, x) + _log1p_reduced(f, k)


@jit
def erf(x):
    """Error function, within 1.2 ulp."""
    c = constants(x)
    a = minimum(c.erf_one, absolute(x))
    small = fma(polynomial(a * a, c.erf), a, a)
    r, n = _reduce(polynomial(a, c.erfc), c.bias)
    large = 1.0 - _exp_reduced(r) * from_bits(n << c.mantissa)
    return copysign(select(a < c.erf_split, small, large), x)


@jit
def cos_sin_of_turns(t):
    """``cos(2 pi t), sin(2 pi t)`` for `t` from -1/2 to 1/2, each within 1.1 ulp of itself."""
    c = constants(t)
    shifted = fma(t, 4.0, c.magic)
    r = fma(shifted - c.magic, -0.25, t)  # from the nearest quarter: exact, at most 1/8
    square = r * r
    cosine = fma(polynomial(square, c.cos), square, 1.0)
    sine = fma(r, c.two_pi, r * polynomial(square, c.sin))
    n = as_bits(shifted)  # counts quarters
    even = (n & 1) == 0
    x, y = select(even, cosine, sine), select(even, sine, cosine)
    return select(((n + 1) & 2) == 0, x, -x), select((n & 2) == 0, y, -y)
