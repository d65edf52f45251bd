"""Sums over a batch, in float64 and in the CPU's order: losses, weights, squared norms.

Kernels of one block, or of one for each block of a gradient.  The first of them finds out whether
the batch's loss is finite: if not, it sets a mark that keeps all later kernels of a call from doing
anything, so nothing has to come back to the host between two steps.
"""

from functools import cache

import numpy as np

from .lanes import lanes_of, total
from .layout import INPUTS, OUTPUTS, STRIDE, WEIGHTS
from .toolkit import add, cuda, fma, function, kernel, shared_array, splat, sub

THREADS = 32  # of the kernels of one block


@function
def _add_all(value, values, first, stop, step):
    """`value` and the values from `first` on, one after the other."""
    for i in range(first, stop, step):
        value = add(value, np.float64(values[i]))
    return value


@kernel(threads=THREADS)
def batch_sums_kernel(
    stopped, losses, squares, so_far, batch_losses, batch_squares, step, rows, fresh, last,
    may_stop, of_squares,
):  # fmt: skip
    """Go on with five sums: of losses four, which those of a chunk join in turn, and of squares.

    All chunks but the last are multiples of four rows, so the sums do not show where those end.
    """
    thread, whole = cuda.threadIdx.x, rows // 4 * 4
    if stopped[0] != 0:
        return
    value = np.float64(0.0)
    if thread < 5 and not fresh:
        value = so_far[thread]
    if thread < 4:
        value = _add_all(value, losses, thread, whole, 4)
    if thread == 0:
        value = _add_all(value, losses, whole, rows, 1)
    if thread == 4 and of_squares:
        value = _add_all(value, squares, 0, rows, 1)
    if thread < 5:
        so_far[thread] = value
    cuda.syncthreads()  # the sums are read by one thread: all must be there
    if thread == 0 and last:
        loss = add(add(so_far[0], so_far[1]), add(so_far[2], so_far[3]))
        batch_losses[step], batch_squares[step] = loss, so_far[4]
        if may_stop and sub(loss, loss) != 0.0:  # NaN: it was not finite
            stopped[0] = step + 1


def blocks_of(layout):
    """The blocks of a gradient that are squared and summed apart: layer, row, rows, column.

    Those of the CPU: as many rows as a vector has lanes, by a panel of four vectors, then the bias.
    """
    lanes = lanes_of(layout.dtype)
    blocks = []
    for number, layer in enumerate(layout.layers):
        inputs, outputs = int(layer[INPUTS]), int(layer[OUTPUTS])
        for column in range(0, outputs, 4 * lanes):
            for row in range(0, inputs, lanes):
                blocks.append((number, row, min(lanes, inputs - row), column))
            blocks.append((number, inputs, 1, column))
    return np.array(blocks, np.int64)


@cache
def block_squares_kernel(dtype):
    """A kernel that leaves the sum of the squares of each block in `sums`; a thread is a lane."""
    real, lanes, add_up = dtype.type, lanes_of(dtype), total(dtype)

    @kernel(threads=THREADS)
    def block_squares(stopped, layers, table, gradient, sums):
        shared = shared_array(lanes, real)
        if stopped[0] != 0:
            return
        block, lane = cuda.blockIdx.x, cuda.threadIdx.x
        number, row, rows = table[block, 0], table[block, 1], table[block, 2]
        first, outputs = table[block, 3] + lane, layers[number, OUTPUTS]
        place, stride = layers[number, WEIGHTS], layers[number, STRIDE]
        acc = splat(0.0, gradient)
        for r in range(row, row + rows):
            for column in range(first, min(first + 4 * lanes, outputs), lanes):
                x = gradient[place + r * stride + column]
                acc = fma(x, x, acc)
        shared[lane] = acc
        cuda.syncthreads()  # all lanes have left their sums
        if lane == 0:
            sums[block] = add_up(shared, 0)

    return block_squares


@kernel(threads=THREADS)
def gradient_squares_kernel(stopped, sums, gradient_squares, step):
    """The squared norm of a batch's gradient: the sums of all blocks, in their order."""
    if stopped[0] == 0 and cuda.threadIdx.x == 0:
        gradient_squares[step] = _add_all(np.float64(0.0), sums, 0, sums.shape[0], 1)
