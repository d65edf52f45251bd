"""The examples sweep as one kernel: a block takes a tile of examples through all layers and back.

What leaves a layer stays in shared memory, column by column, in two halves that the layers use by
turns; so does, on the way back, its delta.  Only what the parameters sweep reads is left in the
workspace, see `dense`.
"""

from functools import cache

import numpy as np

from .dense import (
    activate_tile,
    backward,
    choose,
    coefficient_of,
    examples_of,
    forward,
    load_rows,
    store_rows,
    times,
)
from .lanes import lanes_of
from .layout import ENTERING, ENTERING_STRIDE, GROUP, INPUTS, LEAVING, OUTPUTS, STRIDE
from .loss_and_delta import loss_and_delta
from .tiles import columns_of, resident, store_column
from .toolkit import cuda, kernel, shared_array

ONLY_OUTPUTS, ONLY_LOSSES, WITH_DELTAS = range(3)  # how far a sweep goes


@cache
def examples_kernel(dtype, tile, width, drops=False, drops_examples=False):
    """The kernel for networks whose layers are not wider than `width`.

    What leaves a layer is masked only if any layer `drops`; if one `drops_examples`, these stand in
    the workspace.
    """
    real, examples, columns, threads = dtype.type, tile.rows, tile.columns, tile.threads
    groups, a_step = columns // GROUP, tile.a_step
    a_size, b_size = tile.a_size, tile.b_size
    half = width * a_step
    both = 2 * half
    source = columns_of if drops_examples else examples_of
    forward_tile = forward(tile, source(threads, tile.depth, examples), resident(a_step))
    backward_tile, activate_results = backward(tile, resident(a_step)), activate_tile(drops)
    lanes, choose_rows, leave_loss = lanes_of(dtype), choose(examples), loss_and_delta(dtype)

    @kernel(threads=threads)
    def sweep(
        how_far, stopped, layers, theta, X, order, counts, count_step, loss, labels, y, scale,
        activations, deltas, losses, capacity, first, rows, step, draw, first_example,
    ):  # fmt: skip
        a = shared_array(a_size, real)
        b = shared_array(b_size, real)
        kept = shared_array(both, real)
        chosen = shared_array(examples, np.int64)
        shared = shared_array(threads, real)
        if stopped[0] != 0:
            return
        thread, last = cuda.threadIdx.x, layers.shape[0] - 1
        base = cuda.blockIdx.x * examples  # the block's first row
        row, own = thread // groups * GROUP, thread % groups * GROUP  # of the tile
        here = rows - base - row  # rows that the thread has, and perhaps more
        wants_delta = how_far == WITH_DELTAS
        choose_rows(chosen, order, first + base, rows - base, counts, count_step)

        for number in range(last + 1):
            outputs, stride = layers[number, OUTPUTS], layers[number, STRIDE]
            below, out = (number + 1) % 2 * half, number % 2 * half
            for first_column in range(0, outputs, columns):
                column = first_column + own
                busy = here > 0 and column < outputs
                if drops_examples:
                    place = layers[number, ENTERING] * capacity
                    entering = activations, place, layers[number, ENTERING_STRIDE], base, rows
                else:
                    entering = X, layers[number, INPUTS], chosen
                z = forward_tile(
                    layers, number, theta, number == 0, a, entering, kept, below, b,
                    first_column, busy,
                )  # fmt: skip
                if busy:
                    value = activate_results(
                        layers, number, z, outputs - column, activations, deltas,
                        layers[number, LEAVING] * capacity + (base + row) * stride + column,
                        stride, here, wants_delta or (how_far == ONLY_OUTPUTS and number == last),
                        wants_delta,
                        (order, first + base + row, column, (step, draw, first_example)),
                    )  # fmt: skip
                    store_column(kept, out + column * a_step + row, a_step, value)
        if how_far == ONLY_OUTPUTS:
            return

        # Outputs, and derivatives in the workspace, are read by other threads: all must be there.
        cuda.syncthreads()
        outputs, stride, out = layers[last, OUTPUTS], layers[last, STRIDE], last % 2 * half
        for i in range(thread // lanes, examples, threads // lanes):
            busy = base + i < rows
            position = first + base + i if busy else first
            weight = counts[order[position] * count_step]
            result = leave_loss(
                loss, kept, out + i, a_step, deltas,
                layers[last, LEAVING] * capacity + (base + i) * stride, outputs, labels, y,
                order[position], position % outputs, weight, coefficient_of(scale, weight),
                wants_delta, busy, shared,
            )  # fmt: skip
            if busy and thread % lanes == 0:
                losses[base + i] = result
        if how_far == ONLY_LOSSES:
            return

        for number in range(last, 0, -1):
            inputs, stride = layers[number, INPUTS], layers[number - 1, STRIDE]
            above, out = number % 2 * half, (number + 1) % 2 * half
            for first_column in range(0, inputs, columns):
                column = first_column + own
                busy = here > 0 and column < inputs
                by_output = backward_tile(layers, number, theta, kept, above, b, first_column, busy)
                if busy:
                    place = layers[number - 1, LEAVING] * capacity + (base + row) * stride + column
                    slope = load_rows(deltas, place, stride, here)
                    delta = times(slope, by_output)
                    store_column(kept, out + column * a_step + row, a_step, delta)
                    store_rows(deltas, place, stride, delta, here)

    return sweep
