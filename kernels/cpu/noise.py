"""Gaussian noise: normal numbers by the method of Box and Muller (1958), added where they lie.

A number depends on the seed, the step, its row over all layers and its column, and on nothing
else.  Columns come in groups of two vectors, made from one vector of Philox blocks: the first
coordinates of points in the plane, then the second.
"""

import ctypes

import numpy as np

from .elementary import cos_sin_of_turns, log
from .jit import jit
from .memory import load_first, store_first
from .philox import NOISE, _block, consecutive
from .simd import Pointer, as_integers, fma, lanes, sqrt, to_float
from .subroutine import Subroutine


@jit(inline=True)
def uniform_pair(group, row, step, purpose, seed, like):
    """Two vectors of uniform numbers, of the kind that `like` names: in (0, 1], in [-1/2, 1/2]."""
    a, b = _block(consecutive(8 * group) | (row << 32), step, purpose, seed)
    a, b = as_integers(a, like), as_integers(b, like)
    if lanes(like) == 16:
        bits, a_bits, b_bits, a_unit, b_unit = 32, 31, 32, 2.0**-31, 2.0**-32
    else:
        bits, a_bits, b_bits, a_unit, b_unit = 64, 53, 53, 2.0**-53, 2.0**-53
    positive = (a >> (bits - a_bits)) & ((1 << a_bits) - 1)
    return (to_float(positive) + 0.5) * a_unit, to_float(b >> (bits - b_bits)) * b_unit


@jit(inline=True)
def normal_pair(group, row, step, purpose, seed, like):
    """The two vectors of standard normal numbers of a group of columns.

    Their elements are those that `like`, a vector or a pointer, names; `seed` has the bits of an
    unsigned number.
    """
    u, turn = uniform_pair(group, row, step, purpose, seed, like)
    radius = sqrt(-2.0 * log(u))
    cosine, sine = cos_sin_of_turns(turn)
    return radius * cosine, radius * sine


@jit
def _add(place, normal, std, count):
    store_first(place, fma(normal, std, load_first(place, count)), count)


@Subroutine
def add_noise(
    g: Pointer, stride: int, rows: int, columns: int, first_row: int, first_group: int,
    step: int, seed: int, std: Pointer,
):  # fmt: skip
    """Add ``std[0]`` times normal numbers to `rows` x `columns` at `g`, and to no more.

    Rows are `stride` elements apart; the first has number `first_row`, and the columns begin with
    group `first_group`.
    """
    n, factor = lanes(g), std[0]
    for r in range(rows):
        for c in range(0, columns, 2 * n):
            place, group = g + (r * stride + c), first_group + c // (2 * n)
            first, second = normal_pair(group, first_row + r, step, NOISE, seed, g)
            _add(place, first, factor, columns - c)
            _add(place + n, second, factor, columns - c - n)


# ctypes takes the lowest 64 bits of an integer, and so an unsigned seed.
C_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_int64] * 7, ctypes.c_void_p)


def add_to(out, plan, seed, step):
    """Add standard normal numbers to `out`, flat parameters."""
    add = C_SIGNATURE(add_noise.address(out.dtype))
    one = np.ones(1, out.dtype)
    flat = row = 0
    for layer in plan.parametric:
        rows, columns = layer.inputs + 1, layer.outputs  # of the weight, and the bias below
        g = out[flat:].ctypes.data
        add(g, columns, rows, columns, row, 0, step, seed, one.ctypes.data)
        flat += layer.size
        row += rows
