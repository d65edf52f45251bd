"""What `intrinsics` offers compiled code, for the simulator: the same bits from NumPy's scalars.

Integers are Python's, of any length; whoever needs the low bits alone takes them.
"""

import ctypes
import ctypes.util
import functools
import sys

import numpy as np
from numba import cuda as _cuda
from numba.cuda.simulator.kernel import _get_kernel_context

_LIBM = ctypes.CDLL(ctypes.util.find_library("m"))
_FMA32, _FMA64 = _LIBM.fmaf, _LIBM.fma
_FMA32.argtypes, _FMA32.restype = [ctypes.c_float] * 3, ctypes.c_float
_FMA64.argtypes, _FMA64.restype = [ctypes.c_double] * 3, ctypes.c_double


class _Cuda:
    """``cuda`` within kernels is the kernel that runs, and outside Numba's own module."""

    def __getattr__(self, name):
        return getattr(_get_kernel_context() or _cuda, name)


cuda = _Cuda()


def kernel(function=None, *, threads=None):
    """Make a function one that is launched; blocks have no more than so many `threads`."""
    if function is None:
        return functools.partial(kernel, threads=threads)

    @functools.wraps(function)
    def run(*args):
        with np.errstate(all="ignore"):  # a device does not tell of overflow, either
            function(*args)

    return _cuda.jit(run)


def function(function):
    """Make a function one that kernels call."""
    return function


# --- arithmetic ---------------------------------------------------------------------------


def _joint(x, y):
    return np.float32 if type(x) is np.float32 or type(y) is np.float32 else np.float64


def fma(x, y, z):
    """``x * y + z``, rounded once."""
    if type(x) is np.float32 or type(y) is np.float32 or type(z) is np.float32:
        return np.float32(_FMA32(x, y, z))
    return np.float64(_FMA64(x, y, z))


def mul(x, y):
    """``x * y``."""
    ty = _joint(x, y)
    return ty(x) * ty(y)


def add(x, y):
    """``x + y``."""
    ty = _joint(x, y)
    return ty(x) + ty(y)


def sub(x, y):
    """``x - y``."""
    ty = _joint(x, y)
    return ty(x) - ty(y)


def div(x, y):
    """``x / y``."""
    ty = _joint(x, y)
    return ty(x) / ty(y)


def sqrt(x):
    """The square root."""
    return np.sqrt(_joint(x, x)(x))


def maximum(x, y):
    """The larger one; `y` if either is NaN."""
    ty = _joint(x, y)
    x, y = ty(x), ty(y)
    return x if x > y else y


def minimum(x, y):
    """The smaller one; `y` if either is NaN."""
    ty = _joint(x, y)
    x, y = ty(x), ty(y)
    return x if x < y else y


def select(condition, x, y):
    """`x` where the condition holds, else `y`; both have been worked out."""
    return _joint(x, y)(x if condition else y)


def absolute(x):
    """The magnitude."""
    return abs(_joint(x, x)(x))


def copysign(x, y):
    """The magnitude of `x` with the sign of `y`."""
    ty = _joint(x, x)
    return np.copysign(ty(x), ty(y))


def polynomial(x, coefficients):
    """The sum of ``coefficients[k] * x**k`` by Horner's rule, the tuple being constant."""
    value = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = fma(value, x, coefficient)
    return value


# --- what differs between dtypes ----------------------------------------------------------


def _is_single(like):
    return type(like) is np.float32 or getattr(like, "dtype", None) == np.float32


def splat(value, like):
    """`value` in the dtype of `like`, a number or an array."""
    return np.float32(value) if _is_single(like) else np.float64(value)


def lanes(like):
    """Elements in a vector of the CPU's kernels, whose order of sums we keep: 16 or 8."""
    return 16 if _is_single(like) else 8


def by_dtype(single, double):
    """A function of a number or array: the constant `single` for float32, else `double`."""
    return lambda like: single if _is_single(like) else double


# --- bits ---------------------------------------------------------------------------------


def as_bits(x):
    """The signed integer with the bits of `x`."""
    return int(x.view(np.int32 if type(x) is np.float32 else np.int64))


def from_bits(n, like):
    """The number with the low bits of `n`, as many as `like` has, and of its dtype."""
    if _is_single(like):
        return np.uint32(n & 0xFFFFFFFF).view(np.float32)
    return np.uint64(n & 0xFFFFFFFFFFFFFFFF).view(np.float64)


def to_float(n, like):
    """The number nearest to the integer `n`, which has no more bits than `like`, in its dtype."""
    return splat(int(n), like)


# --- memory -------------------------------------------------------------------------------


def shared_array(count, dtype):
    """`count` elements that the threads of a block share, aligned to 128 bits.

    Both are constants. Each line that calls this has its own array.
    """
    context, caller = _get_kernel_context(), sys._getframe(1)
    place = caller.f_code, caller.f_lineno, *context.blockIdx
    arrays = vars(context).setdefault("arrays_by_place", {})
    if place not in arrays:  # the first thread that comes here
        arrays.setdefault(place, type(context.shared)(0).array(count, dtype))
    return arrays[place]


def _check_place(array, index):
    assert len(array.shape) == 1, f"four elements of an array of shape {array.shape}"
    assert index % 4 == 0, f"elements from {index} on are not aligned to 128 bits"
    assert 0 <= index <= array.shape[0] - 4, f"index {index} of {array.shape[0]}"


def load4(array, index):
    """Four elements from `index` on, a multiple of four, of a flat array aligned to 128 bits."""
    _check_place(array, index)
    return array[index], array[index + 1], array[index + 2], array[index + 3]


def store4(array, index, values):
    """Put four values at `index`, a multiple of four, of a flat array aligned to 128 bits."""
    _check_place(array, index)
    for i in range(4):
        array[index + i] = values[i]
