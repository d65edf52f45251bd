"""exp, expm1, log, sigmoid, softplus, tanh, erf, cosine and sine of a vector: float32, float64.

All are branch-free and use only operations that IEEE 754 rounds in one way (fma, division,
shifts of the exponent), so their bits are the same on every processor.  Subnormal, infinite,
NaN and signed-zero arguments are right too.  The docstrings bound the error in units in the
last place (of float32 and of float64 where they differ), and tests/kernels/test_elementary.py
holds them to it.

The coefficients come from bench/fit_elementary.py.
"""

import math
from typing import NamedTuple

from numba import typeof, types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    models,
    register_model,
)

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


class _Constants(NamedTuple):
    """What differs between float32 and float64; each tuple is a polynomial, lowest power first."""

    mantissa: int  # bits stored
    bias: int  # of the exponent
    sqrt_half: int  # bits of sqrt(1/2)
    smallest: float  # normal number
    magic: float  # x + magic is rounded to an integer, found in its lowest bits
    log_smallest: float  # exp of this rounds to 0
    log_largest: float  # exp of this rounds to infinity
    expm1_same: float  # expm1(x) rounds to x below this
    log_one: float  # 1 + exp(-x) rounds to 1 above this
    tanh_one: float  # tanh rounds to 1 well below this
    erf_one: float  # as does erf
    erf_split: float
    log2e: float
    ln2_high: float
    ln2_low: float
    two_pi: float
    exp: tuple  # exp(r) = 1 + r + r**2 P(r)
    tanh: tuple  # tanh(u) = u + u**3 P(u**2)
    log: tuple  # log((1 + s) / (1 - s)) = 2 s + s**3 P(s**2)
    erf: tuple  # erf(x) = x + x P(x**2) below the split
    erfc: tuple  # erfc(x) = exp(P(x)) above
    cos: tuple  # cos(2 pi r) = 1 + r**2 P(r**2)
    sin: tuple  # sin(2 pi r) = r two_pi + r P(r**2)


_FLOAT32 = _Constants(
    mantissa=23,
    bias=127,
    sqrt_half=0x3F3504F3,
    smallest=2.0**-126,
    magic=1.5 * 2.0**23,
    log_smallest=-104.0,
    log_largest=89.0,
    expm1_same=2.0**-25,
    log_one=40.0,
    tanh_one=10.0,
    erf_one=4.0,
    erf_split=0.92,
    log2e=1.4426950216293335,
    ln2_high=0.6931471824645996,
    ln2_low=-1.9046542121259336e-09,
    two_pi=6.2831854820251465,
    exp=(  # error 0.072 * 2**-24
        0.4999999403953552,
        0.1666651964187622,
        0.04166839271783829,
        0.008368778973817825,
        0.0013814549893140793,
    ),
    tanh=(  # error 0.077 * 2**-24
        -0.33333319425582886,
        0.13332602381706238,
        -0.053853873163461685,
        0.021077826619148254,
        -0.0062825726345181465,
    ),
    log=(  # error 0.1 * 2**-24
        0.666669487953186,
        0.3995783030986786,
        0.3036046028137207,
    ),
    erf=(  # error 0.11 * 2**-24
        0.12837916612625122,
        -0.37612634897232056,
        0.11283703148365021,
        -0.026859797537326813,
        0.005201959516853094,
        -0.0008152622613124549,
        8.4098988736514e-05,
    ),
    erfc=(  # error 0.081 * 2**-24
        -0.00020710403623525053,
        -1.1276270151138306,
        -0.6372664570808411,
        -0.10385573655366898,
        0.022189460694789886,
        -0.00303361052647233,
        0.00019493811123538762,
    ),
    cos=(  # error 0.18 * 2**-24
        -19.739208221435547,
        64.93932342529297,
        -85.4432373046875,
        59.22924041748047,
    ),
    sin=(  # error 0.14 * 2**-24
        -1.9519892191510735e-07,
        -41.3416633605957,
        81.59235382080078,
        -75.39356994628906,
    ),
)

_FLOAT64 = _Constants(
    mantissa=52,
    bias=1023,
    sqrt_half=0x3FE6A09E667F3BCD,
    smallest=2.0**-1022,
    magic=1.5 * 2.0**52,
    log_smallest=-746.0,
    log_largest=710.0,
    expm1_same=2.0**-54,
    log_one=40.0,
    tanh_one=20.0,
    erf_one=6.0,
    erf_split=1.0,
    log2e=1.4426950408889634,
    ln2_high=0.6931471805599453,
    ln2_low=2.3190468138462996e-17,
    two_pi=6.283185307179586,
    exp=(  # error 0.087 * 2**-53
        0.5000000000000011,
        0.1666666666666641,
        0.04166666666652922,
        0.00833333333349567,
        0.0013888888943915554,
        0.00019841269504699776,
        2.4801492769869416e-05,
        2.7557587377704197e-06,
        2.7630376170463913e-07,
        2.499995927628747e-08,
    ),
    tanh=(  # error 0.23 * 2**-53
        -0.3333333333333235,
        0.1333333333317375,
        -0.05396825387837867,
        0.021869486026208147,
        -0.00886319515422751,
        0.0035917246635244057,
        -0.0014532401244313252,
        0.0005792032665452106,
        -0.0002104061822118218,
        5.109047694826081e-05,
    ),
    log=(  # error 0.0058 * 2**-53
        0.666666666666666,
        0.40000000000055946,
        0.2857142855600645,
        0.22222224276270505,
        0.18181667084876627,
        0.1539107253651682,
        0.13174260189892692,
        0.13838577105294878,
    ),
    erf=(  # error 0.12 * 2**-53
        0.1283791670955126,
        -0.3761263890318375,
        0.11283791670954885,
        -0.02686617064507786,
        0.005223977624828281,
        -0.0008548326981417184,
        0.00012055331132661878,
        -1.4925595765393182e-05,
        1.6461008373415438e-06,
        -1.635039516369231e-07,
        1.4660321912418048e-08,
        -1.1374930593017249e-09,
        5.960644740043202e-11,
    ),
    erfc=(  # error 0.11 * 2**-53
        -5.132562165414751e-07,
        -1.1283739915730513,
        -0.63664405570051,
        -0.10270228818053351,
        0.01898803901721076,
        0.0004135407115149384,
        -0.0019189499601250483,
        0.0007730466139699546,
        -0.0001365564578739356,
        -1.9522657813614893e-05,
        2.2532795551695024e-05,
        -8.578753615432111e-06,
        2.1147917528936234e-06,
        -3.6956361070398073e-07,
        4.593291512868327e-08,
        -3.889980684377009e-09,
        2.0203214434865696e-10,
        -4.865037709278472e-12,
    ),
    cos=(  # error 0.21 * 2**-53
        -19.739208802178716,
        64.93939402266798,
        -85.45681720652829,
        60.24464132938587,
        -26.426250927344554,
        7.9030915933321095,
        -1.6968348031238685,
    ),
    sin=(  # error 0.092 * 2**-53
        2.241109124930392e-16,
        -41.341702240399634,
        81.60524927594452,
        -76.70585970331635,
        42.05868490221136,
        -15.093797514540563,
        3.7807263806699396,
    ),
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
    """The `_Constants` for the width of the elements of the vector `x`."""
    table = _Table(_FLOAT32 if x.dtype.bitwidth == 32 else _FLOAT64)
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
