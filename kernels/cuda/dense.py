"""Dense layers: what a block does with a tile of one, and a kernel for each part of a sweep.

These kernels take networks of any width; `examples` has one for those that fit in shared memory.
Rows of a workspace have `capacity` places; the first `rows` of them are the examples from position
`first` of the order on.
"""

from functools import cache

import numpy as np

from .activations import activate
from .dropout import drop
from .elementary import flush
from .lanes import lanes_of
from .layout import (
    ACTIVATION,
    DROPPED,
    ENTERING,
    ENTERING_STRIDE,
    GROUP,
    INPUTS,
    LEAVING,
    OUTPUTS,
    STRIDE,
    WEIGHTS,
)
from .loss_and_delta import loss_and_delta
from .tiles import SKEW, by_fours, columns_of, four, pick, product, rows_of, sixteen, with_row
from .toolkit import cuda, function, kernel, load4, mul, select, shared_array, splat, store4

LOSS_THREADS = 128

# --- tiles in registers -------------------------------------------------------------------


@function
def _activate4(number, z, columns):
    """Four values and derivatives; those of padding, beyond the first `columns`, are 0."""
    a0, d0 = activate(number, z[0])
    a1, d1 = activate(number, z[1])
    a2, d2 = activate(number, z[2])
    a3, d3 = activate(number, z[3])
    return (flush(a0), flush(a1), flush(a2), flush(a3)), (
        d0,
        select(columns > 1, d1, 0.0),
        select(columns > 2, d2, 0.0),
        select(columns > 3, d3, 0.0),
    )


@cache
def activate_tile(drops):
    """Activations in place of z; they and their derivatives are left at `place` if wanted.

    If any layer `drops`, they are masked for the one behind; `who`: (order, position of the first
    row, first column, masks), see `dropout.drop`.  The loop over the first `rows` is one, since the
    code of all activations is much.
    """

    @function
    def run(
        layers, number, z, columns, leaving, deltas, place, stride, rows, keeps, wants_delta, who
    ):  # fmt: skip
        order, position, column, masks = who
        activation, behind = layers[number, ACTIVATION], number + 1
        for r in range(min(rows, GROUP)):
            value, slope = _activate4(activation, pick(z, r), columns)
            if drops and behind < layers.shape[0] and layers[behind, DROPPED] > 0:
                example = order[position + r]
                value, slope = drop(layers, behind, value, slope, example, column, masks)
            z = with_row(z, r, value)
            if keeps:
                store4(leaving, place + r * stride, value)
            if wants_delta:
                store4(deltas, place + r * stride, slope)
        return z

    return run


@function
def _flushed_product(a, b):
    return flush(mul(a, b))


# The elementwise product of two tiles, without subnormal numbers.
times = by_fours(by_fours(_flushed_product))


@function
def store_rows(out, place, stride, tile, rows):
    """Store the first `rows`, at least one, of a tile."""
    store4(out, place, tile[0])
    if rows > 1:
        store4(out, place + stride, tile[1])
    if rows > 2:
        store4(out, place + 2 * stride, tile[2])
    if rows > 3:
        store4(out, place + 3 * stride, tile[3])


@function
def load_rows(matrix, place, stride, rows):
    """The first `rows`, at least one, of a tile; the others are zeros."""
    r0, zeros = load4(matrix, place), four(splat(0.0, matrix))
    r1, r2, r3 = zeros, zeros, zeros
    if rows > 1:
        r1 = load4(matrix, place + stride)
    if rows > 2:
        r2 = load4(matrix, place + 2 * stride)
    if rows > 3:
        r3 = load4(matrix, place + 3 * stride)
    return r0, r1, r2, r3


# --- parts that several kernels have ------------------------------------------------------


@function
def coefficient_of(scale, weight):
    """What a derivative of an example is multiplied by, in float64."""
    return mul(scale, np.float64(weight))


@cache
def choose(examples):
    """A function that leaves which rows of X a block of so many works on, -1 for none.

    None where there are no more rows, or the weight is 0.
    """

    @function
    def leave(chosen, order, position, rows, counts, count_step):
        i = cuda.threadIdx.x
        if i < examples:
            chosen[i] = -1
            if i < rows and counts[order[position + i] * count_step] != 0:
                chosen[i] = order[position + i]

    return leave


@cache
def examples_of(threads, depth, width):
    """A source whose terms are the columns of X; `of`: (X, inputs, chosen), see `choose`."""
    step = width + SKEW

    @function
    def stage(slices, half, first, count, of):
        X, inputs, chosen = of
        start = half * depth * step
        for i in range(cuda.threadIdx.x, width * depth, threads):
            j, k = i // depth, i % depth
            if k < count:
                value = splat(0.0, slices)
                if chosen[j] >= 0:
                    value = X[chosen[j] * inputs + first + k]
                slices[start + k * step + j] = value
        return start

    return stage


@cache
def forward(tile, from_examples, from_below):
    """``z = a @ weight + bias`` for the results of a thread, by one source of terms or the other.

    `slices` is room for the terms of examples, `below` for others; there `b` is for the weights.
    """
    rows = rows_of(tile.threads, tile.depth, tile.columns)
    of_examples = product(tile, from_examples, rows)
    of_others = product(tile, from_below, rows)
    groups = tile.columns // GROUP

    @function
    def run(
        layers, number, theta, are_examples, slices, examples, below, below_of, b, column, busy
    ):  # fmt: skip
        inputs, stride = layers[number, INPUTS], layers[number, STRIDE]
        start = layers[number, WEIGHTS]
        bias = four(splat(0.0, theta))
        if busy:
            own = column + cuda.threadIdx.x % groups * GROUP
            bias = load4(theta, start + inputs * stride + own)
        weights, z = (theta, start, stride, column), sixteen(bias)
        if are_examples:
            z = of_examples(z, slices, examples, b, weights, inputs, busy)
        else:
            z = of_others(z, below, below_of, b, weights, inputs, busy)
        return z

    return run


@cache
def backward(tile, from_above):
    """``delta @ weight.T`` for the results of a thread, a tile of a layer's inputs."""
    columns = columns_of(tile.threads, tile.depth, tile.columns)
    of_deltas = product(tile, from_above, columns)

    @function
    def run(layers, number, theta, above, above_of, b, column, busy):
        inputs, stride = layers[number, INPUTS], layers[number, STRIDE]
        weights = theta, layers[number, WEIGHTS], stride, column, inputs
        zeros = sixteen(four(splat(0.0, theta)))
        return of_deltas(zeros, above, above_of, b, weights, layers[number, OUTPUTS], busy)

    return run


# --- kernels ------------------------------------------------------------------------------


@cache
def forward_kernel(dtype, tile, activated=True, drops=False):
    """A kernel that takes examples through one layer: a block for each tile of the outputs.

    It reads `activations` and writes `leaving`; if not `activated`, it leaves z there. What leaves
    is masked only if any layer `drops`.
    """
    real, examples, columns = dtype.type, tile.rows, tile.columns
    groups, a_size, b_size = columns // GROUP, tile.a_size, tile.b_size
    sizes = tile.threads, tile.depth, tile.rows
    run = forward(tile, examples_of(*sizes), columns_of(*sizes))
    choose_rows, activate_results = choose(examples), activate_tile(drops)

    @kernel(threads=tile.threads)
    def forward_layer(
        stopped, layers, number, theta, X, order, counts, count_step, activations, leaving,
        deltas, capacity, first, rows, wants_delta, step, draw, first_example,
    ):  # fmt: skip
        a = shared_array(a_size, real)
        b = shared_array(b_size, real)
        chosen = shared_array(examples, np.int64)
        if stopped[0] != 0:
            return
        first_row, first_column = cuda.blockIdx.x * examples, cuda.blockIdx.y * columns
        row = first_row + cuda.threadIdx.x // groups * GROUP
        column = first_column + cuda.threadIdx.x % groups * GROUP
        outputs, stride = layers[number, OUTPUTS], layers[number, STRIDE]
        busy = row < rows and column < outputs
        choose_rows(chosen, order, first + first_row, rows - first_row, counts, count_step)
        of_X, below = layers[number, ENTERING] < 0, layers[number, ENTERING] * capacity
        z = run(
            layers, number, theta, of_X, a, (X, layers[number, INPUTS], chosen), a,
            (activations, below, layers[number, ENTERING_STRIDE], first_row, rows), b,
            first_column, busy,
        )  # fmt: skip
        place = layers[number, LEAVING] * capacity + row * stride + column
        if busy and not activated:
            store_rows(leaving, place, stride, z, rows - row)
        elif busy:
            activate_results(
                layers, number, z, outputs - column, leaving, deltas, place, stride, rows - row,
                True, wants_delta, (order, first + row, column, (step, draw, first_example)),
            )  # fmt: skip

    return forward_layer


@cache
def backward_kernel(dtype, tile):
    """A kernel from the deltas of one layer to those of the layer below, where f'(z) stands."""
    real, examples, columns = dtype.type, tile.rows, tile.columns
    groups, a_size, b_size = columns // GROUP, tile.a_size, tile.b_size
    run = backward(tile, columns_of(tile.threads, tile.depth, tile.rows))

    @kernel(threads=tile.threads)
    def backward_layer(stopped, layers, number, theta, deltas, capacity, rows):
        a = shared_array(a_size, real)
        b = shared_array(b_size, real)
        if stopped[0] != 0:
            return
        first_row, first_column = cuda.blockIdx.x * examples, cuda.blockIdx.y * columns
        row = first_row + cuda.threadIdx.x // groups * GROUP
        column = first_column + cuda.threadIdx.x % groups * GROUP
        stride = layers[number - 1, STRIDE]
        busy = row < rows and column < layers[number, INPUTS]
        above = deltas, layers[number, LEAVING] * capacity, layers[number, STRIDE], first_row, rows
        by_output = run(layers, number, theta, a, above, b, first_column, busy)
        if busy:
            place = layers[number - 1, LEAVING] * capacity + row * stride + column
            slope = load_rows(deltas, place, stride, rows - row)
            store_rows(deltas, place, stride, times(slope, by_output), rows - row)

    return backward_layer


@cache
def loss_kernel(dtype):
    """A kernel for losses and deltas of the outputs: a block for every few examples."""
    real, lanes, leave = dtype.type, lanes_of(dtype), loss_and_delta(dtype)
    examples = LOSS_THREADS // lanes

    @kernel(threads=LOSS_THREADS)
    def losses_and_deltas(
        stopped, layers, loss, labels, y, order, counts, count_step, scale, activations, deltas,
        losses, capacity, first, rows, wants_delta,
    ):  # fmt: skip
        shared = shared_array(LOSS_THREADS, real)
        if stopped[0] != 0:
            return
        last = layers.shape[0] - 1
        row = cuda.blockIdx.x * examples + cuda.threadIdx.x // lanes
        busy = row < rows
        row = min(row, rows - 1)
        outputs = layers[last, OUTPUTS]
        place = layers[last, LEAVING] * capacity + row * layers[last, STRIDE]
        example = order[first + row]
        weight = counts[example * count_step]
        result = leave(
            loss, activations, place, 1, deltas, place, outputs, labels, y, example,
            (first + row) % outputs, weight, coefficient_of(scale, weight), wants_delta, busy,
            shared,
        )  # fmt: skip
        if busy and cuda.threadIdx.x % lanes == 0:
            losses[row] = result

    return losses_and_deltas
