"""Inner products of the gradients of two sets of examples, without the gradients.

Of a dense layer's gradients, outer(a, delta) and delta for the bias, the inner product is
``(a . a' + 1) (delta . delta')``.  So a Gram matrix is the sum over layers of
``(A A'^T + 1) * (D D'^T)``, element by element.  A and D of both sets stand in workspaces.
"""

from functools import cache

import numpy as np

from .dense import choose, examples_of, store_rows
from .layout import ENTERING, ENTERING_STRIDE, GROUP, INPUTS, LEAVING, OUTPUTS, STRIDE
from .tiles import Tile, by_fours, columns_of, four, product, sixteen
from .toolkit import cuda, fma, function, kernel, mul, shared_array, splat

TILE = Tile(64, 64, 16)

_mul_tile = by_fours(by_fours(mul))


@function
def _fma4(a, b, c):
    return (
        fma(a[0], b[0], c[0]),
        fma(a[1], b[1], c[1]),
        fma(a[2], b[2], c[2]),
        fma(a[3], b[3], c[3]),
    )


@function
def _fma_tile(a, b, c):
    return (
        _fma4(a[0], b[0], c[0]),
        _fma4(a[1], b[1], c[1]),
        _fma4(a[2], b[2], c[2]),
        _fma4(a[3], b[3], c[3]),
    )


@cache
def gram_kernel(dtype, tile):
    """A kernel for the matrix: a block for each tile. Rows of `out` are `stride` apart."""
    real, groups = dtype.type, tile.columns // GROUP
    a_size, b_size = tile.a_size, tile.b_size
    rows_of_tile, columns_of_tile = tile.rows, tile.columns
    sizes = tile.threads, tile.depth
    of_examples = product(tile, examples_of(*sizes, tile.rows), examples_of(*sizes, tile.columns))
    of_columns = product(tile, columns_of(*sizes, tile.rows), columns_of(*sizes, tile.columns))
    choose_a, choose_b = choose(tile.rows), choose(tile.columns)

    @kernel(threads=tile.threads)
    def gram(
        layers, one, Xa, a_order, a_activations, a_deltas, a_capacity, a_rows,
        Xb, b_order, b_activations, b_deltas, b_capacity, b_rows, out, stride,
    ):  # fmt: skip
        a = shared_array(a_size, real)
        b = shared_array(b_size, real)
        a_chosen = shared_array(rows_of_tile, np.int64)
        b_chosen = shared_array(columns_of_tile, np.int64)
        a_row, b_row = cuda.blockIdx.x * rows_of_tile, cuda.blockIdx.y * columns_of_tile
        row = a_row + cuda.threadIdx.x // groups * GROUP
        column = b_row + cuda.threadIdx.x % groups * GROUP
        busy = row < a_rows and column < b_rows
        choose_a(a_chosen, a_order, a_row, a_rows - a_row, one, 0)
        choose_b(b_chosen, b_order, b_row, b_rows - b_row, one, 0)
        ones, zeros = sixteen(four(splat(1.0, out))), sixteen(four(splat(0.0, out)))
        result = zeros
        for number in range(layers.shape[0]):
            inputs, below = layers[number, INPUTS], layers[number, ENTERING_STRIDE]
            if layers[number, ENTERING] < 0:
                of_a, of_b = (Xa, inputs, a_chosen), (Xb, inputs, b_chosen)
                entering = of_examples(ones, a, of_a, b, of_b, inputs, busy)
            else:
                place = layers[number, ENTERING]
                entering = of_columns(
                    ones, a, (a_activations, place * a_capacity, below, a_row, a_rows),
                    b, (b_activations, place * b_capacity, below, b_row, b_rows), inputs, busy,
                )  # fmt: skip
            place, step = layers[number, LEAVING], layers[number, STRIDE]
            leaving = of_columns(
                zeros, a, (a_deltas, place * a_capacity, step, a_row, a_rows),
                b, (b_deltas, place * b_capacity, step, b_row, b_rows),
                layers[number, OUTPUTS], busy,
            )  # fmt: skip
            if number == 0:
                result = _mul_tile(entering, leaving)
            else:
                result = _fma_tile(entering, leaving, result)
        if busy:
            store_rows(out, row * stride + column, stride, result, a_rows - row)

    return gram
