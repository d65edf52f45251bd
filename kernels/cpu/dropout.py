"""Masks of dropout: what enters a layer is multiplied by them, and f' of the layer below.

There is no layer of its own for that: the one behind knows how much is dropped of what enters it.
The source is in `kernels.reference.dropout`.
"""

from .jit import jit
from .job import JOB, example_at
from .layout import LAYER
from .memory import load, store
from .panels import vector_of
from .philox import MASKS, _block, consecutive
from .simd import Pointer, as_integers, lanes, select, splat
from .subroutine import Subroutine, record

WORDS = 32  # of a group of columns, made from a vector of Philox blocks
_SIGN = -(2**31)  # turned in words, since vectors compare signed numbers


@jit(inline=True)
def _words(a, b, v, like):
    """Vector `v` of a group's words, of which `a` and `b` hold two each in 64 bits."""
    n = lanes(like)
    words = as_integers(a if v < WORDS // 2 // n else b, like)
    if n == 16:
        return words
    return words >> 32 if v % 2 == 1 else (words << 32) >> 32


@jit
def _multiply(matrix, stride, capacity, row, v, kept, scale):
    place = vector_of(matrix, stride, capacity, row, v)
    store(place, select(kept, load(place) * scale, 0.0))


@Subroutine
def drop(job: int, layer: int, below: int, space: Pointer, row: int, rows: int, position: int):
    """Mask what enters `layer`, and f' of the layer `below`, where there is one, else 0.

    The rows are those from `position` of the order on.
    """
    task, this = record(job, JOB), record(layer, LAYER)
    n, stride, capacity = lanes(space), this.input_stride, task.capacity
    scale = splat(2.0**32 / (2**32 - this.dropped), space)
    for i in range(rows):
        mask_row = task.first_example + example_at(task, position + i)
        for group in range((this.inputs + WORDS - 1) // WORDS):
            index = consecutive(8 * (this.first_mask + group)) | (mask_row << 32)
            a, b = _block(index, task.step, MASKS, task.draw)
            first = group * (WORDS // n)
            for v in range(min(WORDS // n, (this.inputs + n - 1) // n - first)):
                kept = (_words(a, b, v, space) ^ _SIGN) >= this.dropped + _SIGN
                _multiply(space + this.input, stride, capacity, row + i, first + v, kept, scale)
                if below != 0:
                    slope = space + record(below, LAYER).delta
                    _multiply(slope, stride, capacity, row + i, first + v, kept, scale)
