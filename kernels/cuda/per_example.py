"""What becomes of each example's gradient before they are summed: norms, clipping, squares.

The gradient of a dense layer is the outer product of a and delta, and delta for the bias.  So its
squared norm is ``(|a|^2 + 1) |delta|^2``, and who multiplies delta multiplies the gradient
(Goodfellow 2015, "Efficient per-example gradient computations").  As many threads as a vector has
lanes share an example, see `lanes`.
"""

from functools import cache

import numpy as np

from .dense import coefficient_of
from .elementary import flush
from .lanes import lanes_of, together, total
from .layout import ENTERING, ENTERING_STRIDE, FLAT, INPUTS, LEAVING, OUTPUTS, STRIDE
from .toolkit import add, cuda, div, fma, function, kernel, mul, select, shared_array, splat, sqrt

THREADS = 128
HARD, AUTOMATIC = 1, 2  # ways of clipping


@cache
def _squared_norm(dtype):
    """A function for the sum of the squares of `columns` values, by all threads of an example."""
    lanes, add_up = lanes_of(dtype), together(dtype, total)

    @function
    def squared_norm(values, place, columns, shared):
        """In the CPU's order: vectors of whole panels by turns, then others, then the rest."""
        a = b = splat(0.0, values)
        k, left = place + cuda.threadIdx.x % lanes, columns
        while left >= 4 * lanes:
            a = fma(values[k], values[k], a)
            b = fma(values[k + lanes], values[k + lanes], b)
            a = fma(values[k + 2 * lanes], values[k + 2 * lanes], a)
            b = fma(values[k + 3 * lanes], values[k + 3 * lanes], b)
            k, left = k + 4 * lanes, left - 4 * lanes
        while left >= lanes:
            a = fma(values[k], values[k], a)
            k, left = k + lanes, left - lanes
        if cuda.threadIdx.x % lanes < left:
            b = fma(values[k], values[k], b)
        return add_up(add(a, b), shared)

    return squared_norm


@function
def _coefficient(clip, gamma, norm, most):
    """What a gradient of that norm is multiplied by, so that it has one of `most` at most."""
    c = splat(1.0, norm)
    if clip == HARD:
        c = select(norm > most, div(most, norm), 1.0)
    elif clip == AUTOMATIC:
        c = div(most, add(norm, gamma))
    return c


@cache
def weigh_kernel(dtype):
    """A kernel for norms, clipping, weights and scale of examples.

    Their losses and deltas have neither weight nor scale so far.
    """
    real, lanes, squared_norm = dtype.type, lanes_of(dtype), _squared_norm(dtype)
    examples = THREADS // lanes

    @function
    def multiply(deltas, place, outputs, squared, factor):
        for k in range(cuda.threadIdx.x % lanes, outputs, lanes):
            delta = deltas[place + k]
            if squared:
                delta = mul(delta, delta)
            deltas[place + k] = flush(mul(delta, factor))

    @kernel(threads=THREADS)
    def weigh(
        stopped, layers, X, order, weights, weight_step, activations, deltas, losses, squares,
        parts, example_losses, wants_losses, example_norms, norm_columns, max_norms, clip,
        per_layer, gamma, squared, scale, capacity, first, rows, only_norms,
    ):  # fmt: skip
        shared = shared_array(THREADS, real)
        if stopped[0] != 0:
            return
        lane, n_layers = cuda.threadIdx.x % lanes, layers.shape[0]
        row = cuda.blockIdx.x * examples + cuda.threadIdx.x // lanes
        busy = row < rows
        row = min(row, rows - 1)  # threads without an example go along, for the barriers
        example = order[first + row]
        weight = weights[example * weight_step]

        whole = splat(0.0, deltas)
        for number in range(n_layers):
            inputs, outputs = layers[number, INPUTS], layers[number, OUTPUTS]
            place = layers[number, LEAVING] * capacity + row * layers[number, STRIDE]
            if layers[number, ENTERING] < 0:  # of X, an example of weight 0 has zeros
                columns = inputs if weight != 0 else 0
                part = squared_norm(X, example * inputs, columns, shared)
            else:
                below = layers[number, ENTERING] * capacity
                a = below + row * layers[number, ENTERING_STRIDE]
                part = squared_norm(activations, a, inputs, shared)
            of_delta = np.float64(squared_norm(deltas, place, outputs, shared))
            part = splat(mul(add(np.float64(part), 1.0), of_delta), deltas)  # as on the CPU
            whole = add(whole, part)
            if busy and lane == 0:
                parts[row * n_layers + number] = part
        norm = sqrt(whole)
        cuda.syncthreads()  # all lanes read the parts that one has left: they must be there
        if not busy:
            return

        if lane == 0 and norm_columns > 0 and (only_norms or weight != 0):
            example_norms[example * norm_columns] = norm
            if norm_columns > 1:
                for number in range(n_layers):
                    part = parts[row * n_layers + number]
                    example_norms[example * norm_columns + number] = sqrt(part)
        if only_norms:
            return
        if lane == 0:
            if wants_losses and weight != 0:
                example_losses[example] = losses[row]
            losses[row] = mul(losses[row], weight)
        factor, clipped = splat(coefficient_of(scale, weight), deltas), splat(0.0, deltas)
        for number in range(n_layers):
            part = parts[row * n_layers + number]
            c = _coefficient(clip, gamma, sqrt(part) if per_layer else norm, max_norms[number])
            clipped = fma(mul(c, c), part, clipped)
            place = layers[number, LEAVING] * capacity + row * layers[number, STRIDE]
            multiply(deltas, place, layers[number, OUTPUTS], squared, mul(c, factor))
        if lane == 0:
            squares[row] = mul(clipped, weight)

    return weigh


@kernel(threads=THREADS)
def example_gradients_kernel(
    layers, X, order, activations, deltas, out, size, capacity, first, rows
):
    """The gradients themselves, outer products: a block for each example and layer."""
    row, number = cuda.blockIdx.x, cuda.blockIdx.y
    inputs, outputs = layers[number, INPUTS], layers[number, OUTPUTS]
    delta = layers[number, LEAVING] * capacity + row * layers[number, STRIDE]
    a = layers[number, ENTERING] * capacity + row * layers[number, ENTERING_STRIDE]
    is_X, x = layers[number, ENTERING] < 0, order[first + row] * inputs
    start = row * size + layers[number, FLAT]
    for i in range(cuda.threadIdx.x, (inputs + 1) * outputs, THREADS):
        k, j = i // outputs, i % outputs
        value = deltas[delta + j]
        if k < inputs:
            value = mul(X[x + k] if is_X else activations[a + k], value)
        out[start + i] = value


@cache
def inner_products_kernel(dtype):
    """A kernel for ``sum(changes * deltas)`` of each example, over all layers.

    The changes of the pre-activations stand where activations do.
    """
    real, lanes, add_up = dtype.type, lanes_of(dtype), together(dtype, total)
    examples, panel = THREADS // lanes, 4 * lanes

    @kernel(threads=THREADS)
    def inner_products(layers, changes, deltas, out, capacity, rows):
        shared = shared_array(THREADS, real)
        lane = cuda.threadIdx.x % lanes
        row = cuda.blockIdx.x * examples + cuda.threadIdx.x // lanes
        busy = row < rows
        row = min(row, rows - 1)  # threads without an example go along, for the barriers
        result = splat(0.0, out)
        for number in range(layers.shape[0]):
            outputs = layers[number, OUTPUTS]
            place = layers[number, LEAVING] * capacity + row * layers[number, STRIDE]
            for first in range(0, outputs, panel):
                acc = splat(0.0, out)
                for k in range(first + lane, min(first + panel, outputs), lanes):
                    acc = fma(changes[place + k], deltas[place + k], acc)
                result = add(result, add_up(acc, shared))
        if busy and lane == 0:
            out[row] = result

    return inner_products
