"""What becomes of each example's gradient before they are summed: norms, clipping, squares.

The gradient of a dense layer is the outer product of a and delta, and delta for the bias.  So its
squared norm is ``(|a|^2 + 1) |delta|^2``, and who multiplies delta multiplies the gradient
(Goodfellow 2015, "Efficient per-example gradient computations").  All of it happens while the rows
of a tile are in the cache.
"""

import math

from . import sparse
from .dense import flush
from .jit import jit
from .job import JOB, NORMS, example_at, parametric_at, weight_of
from .layout import PANEL_VECTORS
from .memory import load, load_first, pointer, store, store_first
from .panels import vector_of, vectors_in
from .simd import Pointer, first_lanes, fma, lanes, select, splat, sqrt, total
from .subroutine import Subroutine, record

HARD, AUTOMATIC = 1, 2  # ways of clipping


@jit
def _squared_norm(place, jump, columns):
    """Sum of the squares in a row at `place`, but for its padding; panels are `jump` apart."""
    n = lanes(place)
    a = b = splat(0.0, place)
    while columns >= PANEL_VECTORS * n:
        for v in range(0, PANEL_VECTORS * n, 2 * n):
            x, y = load(place + v), load(place + (v + n))
            a, b = fma(x, x, a), fma(y, y, b)
        place += jump
        columns -= PANEL_VECTORS * n
    while columns >= n:
        x = load(place)
        a = fma(x, x, a)
        place += n
        columns -= n
    if columns > 0:
        x = select(first_lanes(columns, place), load(place), 0.0)
        b = fma(x, x, b)
    return total(a + b)


@jit
def _measure(job, space, row, rows, position, squares):
    """Leave the squared norm of each layer's part of each gradient, layer by layer."""
    for number in range(job.n_parametric):
        layer = parametric_at(job, number)
        a, a_stride = space + (layer.input + row * layer.input_stride), layer.input_stride
        delta, stride = space + (layer.delta + row * layer.stride), layer.stride
        a_jump, jump = job.capacity * a_stride, job.capacity * stride
        inputs, outputs = layer.inputs, layer.outputs
        out = squares + number * job.tile
        for i in range(rows):
            if layer.sparse:
                example = example_at(job, position + i)
                entering = sparse.squared_norm(job, example, inputs, space)
            else:
                entering = _squared_norm(a + i * a_stride, a_jump, inputs)
            out[i] = (entering + 1.0) * _squared_norm(delta + i * stride, jump, outputs)


@jit
def _coefficient(job, norm, most):
    """What a gradient of that norm is multiplied by, so that it has one of `most` at most."""
    if job.clip == HARD:
        return select(norm > most, most / norm, 1.0)
    if job.clip == AUTOMATIC:
        return most / (norm + job.gamma)
    return splat(1.0, norm)


@jit
def _clip(job, squares, rows, max_norms, coefficients, norms, left):
    """Leave norms, coefficients laid out as `squares`, and the squared norms `left` with those."""
    n = lanes(squares)
    for i in range(0, rows, n):
        here = min(n, rows - i)
        whole, clipped = splat(0.0, squares), splat(0.0, squares)
        for number in range(job.n_parametric):
            whole += load_first(squares + (number * job.tile + i), here)
        norm = sqrt(whole)
        for number in range(job.n_parametric):
            place = number * job.tile + i
            part = load_first(squares + place, here)
            c = _coefficient(job, sqrt(part) if job.per_layer else norm, max_norms[number])
            clipped = fma(c * c, part, clipped)
            store_first(coefficients + place, c, here)
        store_first(norms + i, norm, here)
        store_first(left + i, clipped, here)


@jit
def _report(job, example, i, loss, squares, norms):
    """Leave loss and norms of an example where somebody asks for them."""
    if job.example_losses != 0:
        pointer(job.example_losses, norms)[example] = loss
    if job.example_norms != 0:
        out = pointer(job.example_norms, norms) + example * job.norm_columns
        if job.norm_columns == 1:
            out[0] = norms[i]
        else:
            for number in range(job.n_parametric):
                out[number] = math.sqrt(squares[number * job.tile + i])


@jit
def _multiply(job, space, row, rows, coefficients, factors):
    """Multiply all deltas with their coefficients and the factors of the examples."""
    n = lanes(space)
    for number in range(job.n_parametric):
        layer = parametric_at(job, number)
        delta, stride = space + (layer.delta + row * layer.stride), layer.stride
        c = coefficients + number * job.tile
        for panel in range(layer.panels):
            vectors = vectors_in(layer.outputs, panel, n)
            for i in range(rows):
                factor = splat(c[i] * factors[i], space)
                for v in range(vectors):
                    place = delta + (i * stride + v * n)
                    store(place, flush(load(place) * factor))
            delta += job.capacity * stride


@jit
def _square(job, space, row, rows):
    """Square what enters each layer, and its deltas: so the outer products are squared.

    Numbers of a sparse X are squared when gradients are summed.
    """
    n = lanes(space)
    for number in range(job.n_parametric):
        layer = parametric_at(job, number)
        for i in range(row, row + rows):
            for v in range(0 if layer.sparse else (layer.inputs + n - 1) // n):
                place = vector_of(space + layer.input, layer.input_stride, job.capacity, i, v)
                store(place, load(place) * load(place))
            for v in range((layer.outputs + n - 1) // n):
                place = vector_of(space + layer.delta, layer.stride, job.capacity, i, v)
                store(place, load(place) * load(place))


@Subroutine
def weigh(
    job: int, arena: Pointer, space: Pointer, row: int, rows: int, position: int, scratch: Pointer
):
    """Norms, clipping, weights and scale for the rows at `position` of the chunk.

    Their losses and deltas have neither weight nor scale so far.
    """
    task = record(job, JOB)
    squares, coefficients = scratch, scratch + task.n_parametric * task.tile
    norms = coefficients + task.n_parametric * task.tile
    left, factors = norms + task.tile, norms + 2 * task.tile
    _measure(task, space, row, rows, task.first + position, squares)
    _clip(task, squares, rows, arena + task.max_norms, coefficients, norms, left)
    losses = arena + (task.losses + position)
    for i in range(rows):
        example = example_at(task, task.first + position + i)
        if task.mode == NORMS:
            _report(task, example, i, norms[i], squares, norms)
            continue
        weight = weight_of(task, example, arena)
        if weight != 0:
            _report(task, example, i, losses[i], squares, norms)
        losses[i] *= weight
        left[i] *= weight
        factors[i] = task.scale * weight
    if task.mode == NORMS:
        return
    if task.noise_scale:
        for i in range(rows):
            arena[task.squares + position + i] = left[i]
    if task.squared:
        _square(task, space, row, rows)
    _multiply(task, space, row, rows, coefficients, factors)
