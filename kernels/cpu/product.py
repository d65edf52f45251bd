"""The one matrix product that every layer uses, made of register tiles.

``out = start + A @ B`` for up to PANEL_VECTORS vectors of columns, each element one chain of
``fma`` in the order of the terms, so that neither the tiles nor the threads that share the rows
among them show in the result.  `tile` explains the strides.
"""

from .jit import jit, tile_shape
from .simd import Pointer, lanes
from .subroutine import Subroutine
from .tiles import tile


def _strip(width, heights):
    """Product of `width` vectors: tiles of the first height while rows last, then of the next."""
    height = heights[0]
    rest = _strip(width, heights[1:]) if height > 1 else None

    @jit
    def strip(
        out,
        out_stride,
        start,
        start_stride,
        a,
        a_row,
        a_step,
        a_jump,
        b,
        b_stride,
        rows,
        count,
        run,
    ):
        while rows >= height:
            tile(
                height, width, out, out_stride, start, start_stride,
                a, a_row, a_step, a_jump, b, b_stride, count, run,
            )  # fmt: skip
            out += height * out_stride
            start += height * start_stride
            a += height * a_row
            rows -= height
        if height > 1 and rows > 0:
            rest(
                out, out_stride, start, start_stride, a, a_row, a_step, a_jump, b, b_stride,
                rows, count, run,
            )  # fmt: skip

    return strip


# Wide tiles fill 32 registers of 64 bytes with 24 sums, a row of B and a broadcast element of A;
# narrow ones 16 registers of 32 bytes with 12, which are 6 of our vectors.
WIDE = tile_shape() == "wide"
_strip_1 = _strip(1, (12, 4, 1) if WIDE else (6, 4, 1))
_strip_2 = _strip(2, (12, 4, 1))
_strip_3 = _strip(3, (8, 4, 1))
_strip_4 = _strip(4, (6, 4, 2, 1))


@Subroutine
def product(
    out: Pointer, out_stride: int, start: Pointer, start_stride: int,
    a: Pointer, a_row: int, a_step: int, a_jump: int, b: Pointer, b_stride: int,
    rows: int, vectors: int, count: int, run: int,
):  # fmt: skip
    """``out[rows, vectors] = start + A[rows, count] @ B[count, vectors]``."""
    if not WIDE or vectors == 1:
        for v in range(vectors):
            column = v * lanes(b)
            _strip_1(
                out + column, out_stride, start + column, start_stride,
                a, a_row, a_step, a_jump, b + column, b_stride, rows, count, run,
            )  # fmt: skip
    elif vectors == 4:
        _strip_4(
            out, out_stride, start, start_stride, a, a_row, a_step, a_jump, b, b_stride,
            rows, count, run,
        )  # fmt: skip
    elif vectors == 3:
        _strip_3(
            out, out_stride, start, start_stride, a, a_row, a_step, a_jump, b, b_stride,
            rows, count, run,
        )  # fmt: skip
    else:
        _strip_2(
            out, out_stride, start, start_stride, a, a_row, a_step, a_jump, b, b_stride,
            rows, count, run,
        )  # fmt: skip
