"""exp, expm1, log, sigmoid, softplus, tanh, erf, cosine and sine of a number: float32, float64.

They have the bits of ``kernels.cpu.elementary``: the same operations in the same order, each
rounded as written. What they rest on, and how exact they are, is said there.

Constants are combined with plain operators, which costs no code and is exact: powers of two are
multiplied with, and sums of integers have room.
"""

import math

import numpy as np

from ..coefficients import FLOAT32, FLOAT64, Constants
from .toolkit import (
    absolute,
    add,
    as_bits,
    by_dtype,
    copysign,
    div,
    fma,
    from_bits,
    function,
    maximum,
    minimum,
    mul,
    polynomial,
    select,
    splat,
    sub,
    to_float,
)


def _rounded(value):
    """To float32, as the CPU's kernels do; integers stay."""
    if isinstance(value, tuple):
        return tuple(map(_rounded, value))
    return np.float32(value) if isinstance(value, float) else value


constants = by_dtype(Constants(*map(_rounded, FLOAT32)), FLOAT64)


@function
def flush(x):
    """Zero in place of subnormal values, as on the CPU, which they slow down; NaN stays."""
    return select(absolute(x) < constants(x).smallest, 0.0, x)


@function
def _reduce(x, scale):
    """``r, n`` such that ``exp(x) = exp(r) * 2**(n - scale)``, with `r` within 0.35 of 0.

    Of the integer `n` only the lowest bits are right: as many as an exponent has, and one more.
    """
    c = constants(x)
    shifted = fma(x, c.log2e, c.magic + scale)
    n = sub(shifted, c.magic + scale)
    return fma(n, -c.ln2_low, fma(n, -c.ln2_high, x)), as_bits(shifted)


@function
def _exp_reduced(r):
    return fma(fma(polynomial(r, constants(r).exp), r, 1.0), r, 1.0)


@function
def _expm1_reduced(r):
    return fma(polynomial(r, constants(r).exp), mul(r, r), r)


@function
def exp(x):
    """``e**x``."""
    c = constants(x)
    r, n = _reduce(maximum(c.log_smallest, minimum(c.log_largest, x)), 2 * c.bias)
    # 2**n may overflow or underflow, its halves do not, and only the last product is rounded.
    half = n >> 1
    one, other = from_bits(half << c.mantissa, x), from_bits((n - half) << c.mantissa, x)
    return mul(mul(_exp_reduced(r), one), other)


@function
def expm1(x):
    """``e**x - 1``."""
    c = constants(x)
    r, n = _reduce(maximum(-c.log_one, minimum(c.log_largest, x)), c.bias - 1)
    power = from_bits(n << c.mantissa, x)  # half of what is wanted, which may overflow
    result = mul(2.0, fma(_expm1_reduced(r), power, sub(power, 0.5)))
    return select(absolute(x) < c.expm1_same, x, result)


@function
def sigmoid(x):
    """``1 / (1 + e**-x)``."""
    c = constants(x)
    r, n = _reduce(-maximum(c.log_smallest, minimum(c.log_one, x)), c.bias - 64)
    # Both sides of the fraction are multiplied by 2**-64, so that no power of two overflows.
    power = from_bits(n << c.mantissa, x)
    return div(2.0**-64, add(fma(_expm1_reduced(r), power, 2.0**-64), power))


@function
def tanh(x):
    """Hyperbolic tangent."""
    c = constants(x)
    a = minimum(c.tanh_one, absolute(x))
    # Above 0.55, a = u + n log(2) / 2, and with t = tanh(u) the addition theorem gives
    # 1 - tanh(a) = (2 - 2 t) / (2**n + 1 + t (2**n - 1)).
    near = a < splat(0.55, x)
    shifted = fma(a, 2.0 * c.log2e, c.magic + c.bias)
    n = sub(shifted, c.magic + c.bias)
    u = select(near, a, fma(n, -0.5 * c.ln2_high, a))
    square = mul(u, u)
    t = fma(polynomial(square, c.tanh), mul(square, u), u)
    power = from_bits(as_bits(shifted) << c.mantissa, x)
    far = sub(1.0, div(fma(t, -2.0, 2.0), fma(t, sub(power, 1.0), add(power, 1.0))))
    return copysign(select(near, t, far), x)


@function
def _log1p_reduced(f, k):
    """``log((1 + f) * 2**k)`` for `f` from -0.3 to 0.5."""
    c = constants(f)
    # log(1 + f) = 2 atanh(s) = f - f**2 / 2 + s (f**2 / 2 + s**2 P(s**2)), with s = f / (2 + f)
    s = div(f, add(2.0, f))
    square = mul(s, s)
    half_square = mul(mul(0.5, f), f)
    rest = fma(polynomial(square, c.log), square, half_square)
    correction = sub(half_square, fma(s, rest, mul(k, c.ln2_low)))
    return fma(k, c.ln2_high, sub(f, correction))


@function
def log(x):
    """Natural logarithm; NaN for negative numbers."""
    c = constants(x)
    tiny = x < c.smallest
    scaled = as_bits(select(tiny, mul(x, 2.0**64), x))
    k = (scaled - c.sqrt_half) >> c.mantissa
    f = sub(from_bits(scaled - (k << c.mantissa), x), 1.0)
    result = _log1p_reduced(f, sub(to_float(k, x), select(tiny, splat(64.0, x), 0.0)))
    result = select(x < math.inf, result, x)
    return select(x > 0.0, result, select(x == 0.0, splat(-math.inf, x), math.nan))


@function
def softplus(x):
    """``log(1 + e**x)``."""
    z = exp(-absolute(x))
    # Above 1.5, 1 + z is halved; 0.5 * z - 0.5 is exact.
    upper = z > 0.5
    f = select(upper, sub(mul(0.5, z), 0.5), z)
    k = select(upper, splat(1.0, x), 0.0)
    return add(maximum(0.0, x), _log1p_reduced(f, k))


@function
def erf(x):
    """Error function."""
    c = constants(x)
    a = minimum(c.erf_one, absolute(x))
    small = fma(polynomial(mul(a, a), c.erf), a, a)
    r, n = _reduce(polynomial(a, c.erfc), c.bias)
    large = sub(1.0, mul(_exp_reduced(r), from_bits(n << c.mantissa, x)))
    return copysign(select(a < c.erf_split, small, large), x)


@function
def cos_sin_of_turns(t):
    """``cos(2 pi t), sin(2 pi t)`` for `t` from -1/2 to 1/2."""
    c = constants(t)
    shifted = fma(t, 4.0, c.magic)
    r = fma(sub(shifted, c.magic), -0.25, t)  # from the nearest quarter: exact, at most 1/8
    square = mul(r, r)
    cosine = fma(polynomial(square, c.cos), square, 1.0)
    sine = fma(r, c.two_pi, mul(r, polynomial(square, c.sin)))
    n = as_bits(shifted)  # counts quarters
    even = (n & 1) == 0
    x, y = select(even, cosine, sine), select(even, sine, cosine)
    return select(((n + 1) & 2) == 0, x, -x), select((n & 2) == 0, y, -y)
