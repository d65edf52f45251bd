"""The elementary functions against exact values, over the whole range of both element types."""

import functools
import hashlib
import math

import mpmath
import numba
import numpy as np
import pytest
import scipy.special
from processes import is_x86, output_of

from fastbatch.kernels.cpu import elementary
from fastbatch.kernels.cpu.memory import load_first, pointer_to, store_first
from fastbatch.kernels.cpu.simd import lanes

# Largest errors in units in the last place, as the docstrings state them.
BOUNDS = {
    "exp": {"float32": 1.0, "float64": 1.0},
    "expm1": {"float32": 1.5, "float64": 2.1},
    "log": {"float32": 1.0, "float64": 1.0},
    "sigmoid": {"float32": 2.0, "float64": 2.0},
    "softplus": {"float32": 1.7, "float64": 1.7},
    "tanh": {"float32": 1.7, "float64": 1.8},
    "erf": {"float32": 1.2, "float64": 1.2},
    "cos_of_turns": {"float32": 1.1, "float64": 1.1},
    "sin_of_turns": {"float32": 1.1, "float64": 1.1},
}
NAMES = list(BOUNDS)

# Right to a few units of float64, which is nothing in units of float32.
IN_FLOAT64 = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "sigmoid": scipy.special.expit,
    "softplus": lambda x: np.logaddexp(0.0, x),
    "tanh": np.tanh,
    "erf": scipy.special.erf,
    "cos_of_turns": lambda x: scipy.special.cosdg(360.0 * x),
    "sin_of_turns": lambda x: scipy.special.sindg(360.0 * x),
}
EXACT = {
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "tanh": mpmath.tanh,
    "erf": mpmath.erf,
    "cos_of_turns": lambda x: mpmath.cospi(2 * x),
    "sin_of_turns": lambda x: mpmath.sinpi(2 * x),
}

each_name = pytest.mark.parametrize("name", NAMES)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@numba.njit
def cos_of_turns(t):
    return elementary.cos_sin_of_turns(t)[0]


@numba.njit
def sin_of_turns(t):
    return elementary.cos_sin_of_turns(t)[1]


PARTS = {"cos_of_turns": cos_of_turns, "sin_of_turns": sin_of_turns}


@functools.cache
def on_arrays(name):
    """The elementary function `name` as a function of arrays."""
    function = PARTS.get(name) or getattr(elementary, name)

    @numba.njit
    def loop(out, x):
        to, source = pointer_to(out), pointer_to(x)
        for i in range(0, x.size, lanes(source)):
            count = min(lanes(source), x.size - i)
            store_first(to + i, function(load_first(source + i, count)), count)

    def apply(x):
        out = np.empty_like(x)
        loop(out, x)
        return out

    return apply


def near_the_origin(dtype, count):
    """Even samples of intervals that together cover where the functions change their form."""
    ends = [0.01, 0.5, 1.0, 2.5, 7.0, 40.0, 110.0, 750.0]
    return np.concatenate([np.linspace(-end, end, count) for end in ends]).astype(dtype)


def in_domain(name, x):
    if name in PARTS:
        return x[np.abs(x) <= 0.5]
    return x[x > 0] if name == "log" else x


def every_magnitude(dtype, count):
    """Positive and negative numbers from zero through subnormal to the largest."""
    integer = {"float32": np.int32, "float64": np.int64}[dtype]
    infinity = np.array(np.inf, dtype).view(integer)
    positive = np.linspace(0, infinity, count, endpoint=False).astype(integer).view(dtype)
    return np.concatenate([positive, -positive])


@each_name
def test_float32_error_stays_within_the_bound_over_the_whole_range(name):
    patterns = np.arange(0, 2**32, 4099).astype(np.uint32).view(np.float32)
    x = np.concatenate([patterns[np.isfinite(patterns)], near_the_origin("float32", 100_001)])
    x = in_domain(name, x)
    with np.errstate(over="ignore", under="ignore"):
        exact = IN_FLOAT64[name](x.astype(np.float64))
        rounded = exact.astype(np.float32)
    found = on_arrays(name)(x)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(found[~finite], rounded[~finite])
    ulp = np.spacing(np.abs(rounded[finite])).astype(np.float64)
    error = np.abs(found[finite].astype(np.float64) - exact[finite]) / ulp
    assert error.max() <= BOUNDS[name]["float32"], x[finite][error.argmax()]


@each_name
def test_float64_error_stays_within_the_bound_over_the_whole_range(name):
    x = np.concatenate([every_magnitude("float64", 600), near_the_origin("float64", 401)])
    x = in_domain(name, x)
    found = on_arrays(name)(x)
    with mpmath.workprec(150):
        for at, value in zip(x.tolist(), found.tolist(), strict=True):
            exact = EXACT[name](mpmath.mpf(at))
            rounded = float(exact)
            if math.isinf(rounded):
                assert value == rounded, at
            else:
                error = abs(value - exact) / math.ulp(rounded)
                assert error <= BOUNDS[name]["float64"], at


INF, NAN = math.inf, math.nan
SPECIAL = [  # arguments, then what each function makes of them
    ("x", [-INF, -1e30, -0.0, 0.0, 1e30, INF, NAN]),
    ("exp", [0.0, 0.0, 1.0, 1.0, INF, INF, NAN]),
    ("expm1", [-1.0, -1.0, -0.0, 0.0, INF, INF, NAN]),
    ("log", [NAN, NAN, -INF, -INF, math.log(1e30), INF, NAN]),
    ("sigmoid", [0.0, 0.0, 0.5, 0.5, 1.0, 1.0, NAN]),
    ("softplus", [0.0, 0.0, math.log(2), math.log(2), 1e30, INF, NAN]),
    ("tanh", [-1.0, -1.0, -0.0, 0.0, 1.0, 1.0, NAN]),
    ("erf", [-1.0, -1.0, -0.0, 0.0, 1.0, 1.0, NAN]),
]


@each_dtype
@pytest.mark.parametrize(("name", "expected"), SPECIAL[1:])
def test_special_arguments(name, expected, dtype):
    found = on_arrays(name)(np.array(SPECIAL[0][1], dtype))
    expected = np.array(expected, dtype)
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(expected)[numbers])


@each_dtype
def test_subnormal_numbers_are_kept(dtype):
    smallest = np.finfo(dtype).smallest_subnormal
    tiny = smallest * np.array([1, 2, 3, 1001, -1, -5], dtype)
    for name in ("expm1", "tanh"):
        np.testing.assert_array_equal(on_arrays(name)(tiny), tiny)
    np.testing.assert_array_equal(on_arrays("erf")(tiny), scipy.special.erf(tiny))
    at = np.log(smallest)
    for name in ("exp", "sigmoid", "softplus"):
        found = on_arrays(name)(np.array([at, at - 1], dtype))
        np.testing.assert_array_equal(found, np.array([smallest, 0.0], dtype))


@each_dtype
@pytest.mark.parametrize("name", ["tanh", "erf", "sin_of_turns"])
def test_odd_functions_are_exactly_odd(name, dtype):
    x = in_domain(name, near_the_origin(dtype, 999))
    np.testing.assert_array_equal(on_arrays(name)(-x), -on_arrays(name)(x))


@each_name
def test_a_lane_does_not_depend_on_its_neighbours(name):
    x = near_the_origin("float32", 101)
    together = on_arrays(name)(x)
    alone = np.concatenate([on_arrays(name)(x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_array_equal(together, alone)


def digest():
    """Hash of the bits of all functions in both types."""
    found = hashlib.sha256()
    for dtype in ("float32", "float64"):
        x = np.concatenate([near_the_origin(dtype, 999), every_magnitude(dtype, 999)])
        for name in NAMES:
            y = on_arrays(name)(x)
            y[np.isnan(y)] = np.nan  # the sign and payload of NaN are nobody's business
            found.update(y.tobytes())
    return found.hexdigest()


@pytest.mark.slow
@pytest.mark.skipif(not is_x86(), reason="needs x86-64")
def test_bits_do_not_depend_on_the_processor():
    """The least that there is has no fused multiply-add; test_warmup.py has a Haswell."""
    code = "import test_elementary; print(test_elementary.digest())"
    assert output_of("-c", code, NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="").strip() == digest()
