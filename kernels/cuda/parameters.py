"""The parameters sweep: a block owns a tile of a layer's weights, bias and all.

It sums the gradient of its tile over the examples of a batch, or over their blocks, and updates its
parameters on the spot; so there are no atomic sums, and a gradient buffer is written only where
somebody asks for the gradient, or where a batch comes in chunks.  The bias is one more row, of
inputs that are 1.
"""

from functools import cache

from .dense import load_rows, store_rows
from .layout import (
    COLUMN,
    ENTERING,
    ENTERING_STRIDE,
    FIRST_ROW,
    GROUP,
    INPUTS,
    LAYER,
    LEAVING,
    OUTPUTS,
    ROW,
    STRIDE,
    WEIGHTS,
)
from .noise import normal4
from .optimizers import RULES, update_of
from .philox import NOISE
from .tiles import SKEW, by_fours, four, pick, product, rows_of, sixteen
from .toolkit import (
    add,
    cuda,
    fma,
    function,
    kernel,
    load4,
    mul,
    select,
    shared_array,
    splat,
    store4,
)

# --- what enters a layer ------------------------------------------------------------------


@function
def _entering(activations, place, column, inputs):
    """Four of a row's columns: the last one is that of the bias, and 1."""
    one, zero = splat(1.0, activations), splat(0.0, activations)
    a = four(zero)
    if column < inputs:
        a = load4(activations, place + column)
    return (
        select(column < inputs, a[0], select(column == inputs, one, zero)),
        select(column + 1 < inputs, a[1], select(column + 1 == inputs, one, zero)),
        select(column + 2 < inputs, a[2], select(column + 2 == inputs, one, zero)),
        select(column + 3 < inputs, a[3], select(column + 3 == inputs, one, zero)),
    )


@cache
def _what_enters(threads, depth, width):
    """A source whose terms are examples: `width` columns of what enters a layer.

    `of`: (is X what enters, (X, order, counts, count_step, position of the first example),
    (activations, place, stride), inputs, first column, whether to square).
    """
    step, groups, multiply = width + SKEW, width // GROUP, by_fours(mul)

    @function
    def fetch_examples(slices, start, first, count, of):
        _, examples, _, inputs, column, squared = of
        X, order, counts, count_step, position = examples
        for i in range(cuda.threadIdx.x, count * width, threads):
            k, j = i // width, i % width
            example = order[position + first + k]
            value = splat(0.0, slices)
            if column + j == inputs:
                value = splat(1.0, slices)
            elif column + j < inputs and counts[example * count_step] != 0:
                value = X[example * inputs + column + j]
            slices[start + k * step + j] = mul(value, value) if squared else value

    @function
    def fetch_activations(slices, start, first, count, of):
        _, _, below, inputs, column, squared = of
        activations, place, stride = below
        for i in range(cuda.threadIdx.x, count * groups, threads):
            k, j = i // groups, i % groups * GROUP
            a = _entering(activations, place + (first + k) * stride, column + j, inputs)
            if squared:
                a = multiply(a, a)
            store4(slices, start + k * step + j, a)

    @function
    def stage(slices, half, first, count, of):
        start = half * depth * step
        if of[0]:
            fetch_examples(slices, start, first, count, of)
        else:
            fetch_activations(slices, start, first, count, of)
        return start

    return stage


@cache
def _gradient(tile):
    """The gradient of a thread's 4 x 4 parameters, summed over examples in their order."""
    entering = _what_enters(tile.threads, tile.depth, tile.rows)
    outer = product(tile, entering, rows_of(tile.threads, tile.depth, tile.columns))

    @function
    def sum_examples(
        g, layers, number, first_row, first_column, a, b, X, order, counts, count_step, activations,
        deltas, capacity, position, row, rows, squared, busy,
    ):  # fmt: skip
        """Add to `g` those of `rows` examples, from `row` of the workspace and `position` on."""
        below, stride = layers[number, ENTERING_STRIDE], layers[number, STRIDE]
        examples = X, order, counts, count_step, position
        activations_below = activations, layers[number, ENTERING] * capacity + row * below, below
        inputs = layers[number, INPUTS]
        is_X = layers[number, ENTERING] < 0
        enters = is_X, examples, activations_below, inputs, first_row, squared
        place = layers[number, LEAVING] * capacity + row * stride
        return outer(g, a, enters, b, (deltas, place, stride, first_column), rows, busy)

    return sum_examples


# --- kernels ------------------------------------------------------------------------------


@cache
def block_gradients_kernel(dtype, tile):
    """A kernel that sums the gradients of each block of examples apart, into `partials`."""
    real, sum_examples, groups = dtype.type, _gradient(tile), tile.columns // GROUP
    a_size, b_size = tile.a_size, tile.b_size

    @kernel(threads=tile.threads)
    def block_gradients(
        stopped, layers, units, X, order, counts, count_step, activations, deltas, partials,
        size, capacity, first, rows, block_rows, squared,
    ):  # fmt: skip
        a = shared_array(a_size, real)
        b = shared_array(b_size, real)
        if stopped[0] != 0:
            return
        block, unit = cuda.blockIdx.x, cuda.blockIdx.y
        number, first_row, first_column = units[unit, LAYER], units[unit, ROW], units[unit, COLUMN]
        row = first_row + cuda.threadIdx.x // groups * GROUP
        column = first_column + cuda.threadIdx.x % groups * GROUP
        stride, here = layers[number, STRIDE], layers[number, INPUTS] + 1 - row
        busy = here > 0 and column < stride
        start = block * block_rows
        zeros = sixteen(four(splat(0.0, deltas)))
        g = sum_examples(
            zeros, layers, number, first_row, first_column, a, b, X, order, counts, count_step,
            activations, deltas, capacity, first + start, start, min(block_rows, rows - start),
            squared, busy,
        )  # fmt: skip
        if busy:
            place = block * size + layers[number, WEIGHTS] + row * stride + column
            store_rows(partials, place, stride, g, here)

    return block_gradients


_add_tile = by_fours(by_fours(add))


@function
def _add_penalty(g, theta, place, strength):
    """Add ``strength * theta``, the gradient of half of that times the squares."""
    x = load4(theta, place)
    return (
        fma(x[0], strength, g[0]),
        fma(x[1], strength, g[1]),
        fma(x[2], strength, g[2]),
        fma(x[3], strength, g[3]),
    )


@function
def _add_noise(g, deviation, row, column, outputs, step, seed):
    """Add so much noise, but none to padding."""
    normal = normal4(row, column, step, NOISE, seed, g[0])
    return (
        fma(normal[0], deviation, g[0]),
        select(column + 1 < outputs, fma(normal[1], deviation, g[1]), g[1]),
        select(column + 2 < outputs, fma(normal[2], deviation, g[2]), g[2]),
        select(column + 3 < outputs, fma(normal[3], deviation, g[3]), g[3]),
    )


@cache
def _update4(rule):
    """The update of four parameters and their state, where they lie."""
    if rule < 0:

        @function
        def leave(theta, state, size, place, g, k):
            pass

        return leave

    slots, update = RULES[rule][1], update_of(rule)

    @function
    def apply(theta, state, size, place, g, k):
        x = load4(theta, place)
        s0 = load4(state, place) if slots > 0 else x
        s1 = load4(state, size + place) if slots > 1 else x
        s2 = load4(state, 2 * size + place) if slots > 2 else x
        x0, p0, q0, r0 = update(x[0], g[0], s0[0], s1[0], s2[0], k)
        x1, p1, q1, r1 = update(x[1], g[1], s0[1], s1[1], s2[1], k)
        x2, p2, q2, r2 = update(x[2], g[2], s0[2], s1[2], s2[2], k)
        x3, p3, q3, r3 = update(x[3], g[3], s0[3], s1[3], s2[3], k)
        store4(theta, place, (x0, x1, x2, x3))
        if slots > 0:
            store4(state, place, (p0, p1, p2, p3))
        if slots > 1:
            store4(state, size + place, (q0, q1, q2, q3))
        if slots > 2:
            store4(state, 2 * size + place, (r0, r1, r2, r3))

    return apply


@cache
def parameters_kernel(dtype, tile, rule):
    """A kernel that sums gradients and updates by the rule of that number in RULES; -1 for none.

    The sums go on from those in `gradient` unless they are `fresh`, and are left there if they are
    wanted or the chunk is not the `last`; only then comes the update.  Where there are `blocks`,
    their gradients are added, else those of the examples.
    """
    real, sum_examples, groups = dtype.type, _gradient(tile), tile.columns // GROUP
    a_size, b_size = tile.a_size, tile.b_size
    update = _update4(rule)

    @function
    def finish_row(theta, state, size, place, g, row, how):
        layers, number, column, step, seed, penalty, deviation, noisy, k = how
        if penalty != 0 and row < layers[number, INPUTS]:  # biases have none
            g = _add_penalty(g, theta, place, penalty)
        if noisy:
            noise_row, outputs = layers[number, FIRST_ROW] + row, layers[number, OUTPUTS]
            g = _add_noise(g, deviation, noise_row, column, outputs, step, seed)
        update(theta, state, size, place, g, k)

    @kernel(threads=tile.threads)
    def parameters(
        stopped, layers, units, X, order, counts, count_step, activations, deltas, partials,
        theta, state, gradient, size, capacity, first, rows, blocks, squared, fresh, last,
        wants_gradient, step, seed, penalty, deviation, noisy, k,
    ):  # fmt: skip
        a = shared_array(a_size, real)
        b = shared_array(b_size, real)
        if stopped[0] != 0:
            return
        unit = cuda.blockIdx.x
        number, first_row, first_column = units[unit, LAYER], units[unit, ROW], units[unit, COLUMN]
        row = first_row + cuda.threadIdx.x // groups * GROUP
        column = first_column + cuda.threadIdx.x % groups * GROUP
        stride, here = layers[number, STRIDE], layers[number, INPUTS] + 1 - row
        place = layers[number, WEIGHTS] + row * stride + column
        busy = here > 0 and column < stride
        g = sixteen(four(splat(0.0, theta)))
        if busy and not fresh:
            g = load_rows(gradient, place, stride, here)
        if blocks == 0:
            g = sum_examples(
                g, layers, number, first_row, first_column, a, b, X, order, counts, count_step,
                activations, deltas, capacity, first, 0, rows, squared, busy,
            )  # fmt: skip
        if not busy:
            return
        for block in range(blocks):
            g = _add_tile(g, load_rows(partials, block * size + place, stride, here))
        if wants_gradient or not last:
            store_rows(gradient, place, stride, g, here)
        if last:
            how = layers, number, column, step, seed, penalty, deviation, noisy, k
            for r in range(min(here, GROUP)):  # one loop, since an update is much code
                finish_row(theta, state, size, place + r * stride, pick(g, r), row + r, how)

    return parameters
