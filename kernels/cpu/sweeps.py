"""The two sweeps of a step, and the forward sweep of an evaluation, cut into units."""

import numpy as np

from . import sparse
from .dense import backward, example_gradient, forward, gradient, inner_products
from .jit import jit
from .job import (
    EXAMPLE_GRADIENTS,
    INNER_PRODUCTS,
    JOB,
    LAYER_BYTES,
    LOSSES,
    NORMS,
    OUTPUTS,
    example_at,
    layer_at,
    loss_weight_of,
    parametric_at,
    places_of,
    unit_at,
)
from .layout import GAUSSIAN_SAMPLE, PANEL_VECTORS
from .memory import load, pointer, store
from .panels import all_finite, clear, gather, scatter, transpose_block, vectors_in
from .simd import Pointer, fma, lanes, splat, total
from .subroutine import Subroutine, call, record


@jit
def _gather(job, arena, space, row, rows, position):
    """Copy the rows at `position` of the order into the workspace."""
    first = layer_at(job, 0)
    X = pointer(job.X, arena)
    a = space + first.input
    for i in range(rows):
        example = example_at(job, position + i)
        if job.row_starts != 0:
            clear(a, first.input_stride, job.capacity, row + i, first.inputs)
            sparse.gather(job, a, first.input_stride, row + i, example)
        elif loss_weight_of(job, example, arena) != 0:
            x = X + example * first.inputs
            gather(a, first.input_stride, job.capacity, row + i, x, first.inputs)
        else:
            clear(a, first.input_stride, job.capacity, row + i, first.inputs)


@jit
def _forward(job, arena, space, row, rows, position, scratch):
    """Take the rows at `position` of the order through all layers."""
    n = lanes(arena)
    if not (job.in_place or layer_at(job, 0).sparse):
        _gather(job, arena, space, row, rows, position)
    for i in range(job.n_layers):
        layer, this = layer_at(job, i), job.layers + i * LAYER_BYTES
        if layer.dropped > 0 and job.dropping:
            below = this - LAYER_BYTES if i > 0 else 0
            call(job.drop, (job.address, this, below, space, row, rows, position))
        if layer.kind == GAUSSIAN_SAMPLE:
            call(job.draw_sample, (job.address, this, space, row, rows, position, scratch))
            continue
        a, a_row = space + (layer.input + row * layer.input_stride), layer.input_stride
        a_panel = job.capacity * a_row
        if i == 0 and job.in_place:
            a, a_row = pointer(job.X, arena) + position * layer.inputs, layer.inputs
            a_panel = PANEL_VECTORS * n
        forward(job, arena, layer, space, row, rows, position, a, a_row, a_panel)
        for p in range(layer.panels):
            place = (p * job.capacity + row) * layer.stride
            call(job.activate, (
                layer.activation, space + (layer.output + place), space + (layer.delta + place),
                layer.stride, rows, vectors_in(layer.outputs, p, n),
            ))  # fmt: skip


@jit
def _backward(job, arena, space, row, rows, position, scratch):
    """From the deltas of the last layer to those of the first."""
    for i in range(job.n_layers - 1, 0, -1):
        layer, below = layer_at(job, i), layer_at(job, i - 1)
        if layer.kind == GAUSSIAN_SAMPLE:
            this = job.layers + i * LAYER_BYTES
            call(job.sample_backward, (
                job.address, this, this - LAYER_BYTES, space, row, rows, position, scratch,
            ))  # fmt: skip
        else:
            backward(job, arena, layer, below, space, row, rows, scratch)


@jit
def _loss_and_delta(job, space, row, rows, position, losses, scratch):
    last = job.layers + (job.n_layers - 1) * LAYER_BYTES
    call(job.loss_and_delta, (
        job.loss, job.address, last, space, row, rows, position, losses, scratch,
    ))  # fmt: skip


@jit
def _add_divergences(job, space, row, rows, position, losses, scratch):
    """What the layers that draw samples add to the losses."""
    for i in range(job.n_layers):
        if layer_at(job, i).kind == GAUSSIAN_SAMPLE:
            this = job.layers + i * LAYER_BYTES
            call(job.add_divergence, (
                job.address, this, space, row, rows, position, losses, scratch,
            ))  # fmt: skip


@jit
def _weigh(job, arena, space, row, rows, position, scratch):
    call(job.weigh, (job.address, arena, space, row, rows, position, scratch))


@jit
def _examples(job, arena, space, row, rows, position, scratch):
    """Forward, loss and backward for a tile of rows; `position` counts within the chunk."""
    at, losses = job.first + position, arena + (job.losses + position)
    _forward(job, arena, space, row, rows, at, scratch)
    _loss_and_delta(job, space, row, rows, at, losses, scratch)
    _add_divergences(job, space, row, rows, at, losses, scratch)
    _backward(job, arena, space, row, rows, at, scratch)
    if job.per_example:
        _weigh(job, arena, space, row, rows, position, scratch)


@jit
def _blocks(job):
    return (job.rows + job.block - 1) // job.block


@jit
def share(total, queue, job, multiple):
    """Start of a queue's share of `total`, at a multiple."""
    workers = job.workers
    return total if queue == workers else total * queue // workers // multiple * multiple


@jit
def _rows(job, queue):
    """Rows of the chunk that a queue has: from, to."""
    return share(job.rows, queue, job, 4), share(job.rows, queue + 1, job, 4)


@jit
def _tile(job, queue, number):
    """Those of them that go through all layers together."""
    start, stop = _rows(job, queue)
    first = start + number * job.tile
    return first, min(first + job.tile, stop)


@jit
def example_units(job, queue):
    """Units of the examples sweep, or of an evaluation, in a queue: blocks, or tiles of rows."""
    if job.block:
        return share(_blocks(job), queue + 1, job, 1) - share(_blocks(job), queue, job, 1)
    start, stop = _rows(job, queue)
    return (stop - start + job.tile - 1) // job.tile


@jit
def parameter_units(job, queue):
    """Units of the parameters sweep in a queue."""
    bounds = pointer(job.bounds, np.int64)
    return bounds[queue + 1] - bounds[queue]


@jit
def _sum_block(job, arena, space, block, rows):
    """Sum the gradients of a block into a buffer of its own."""
    position = job.first + block * job.block
    partial = arena + (job.partials + block * job.parameters)
    for u in range(job.n_units):
        unit = unit_at(job, u)
        layer = parametric_at(job, unit.layer)
        weight, bias = places_of(layer, unit)
        gradient(
            job, arena, partial + weight, partial + bias, layer, unit, space, rows, position, True
        )


@Subroutine
def examples_unit(arena: Pointer, job: int, worker: int, queue: int, number: int):
    """All that is done example by example; where gradients are summed by blocks, that too."""
    task = record(job, JOB)
    space = arena + (task.workspace + worker * task.workspace_size)
    scratch = arena + (task.scratch + worker * task.scratch_size)
    block = origin = 0
    if task.block:  # which begins at row 0 of the worker's own workspace
        block = share(_blocks(task), queue, task, 1) + number
        origin = start = block * task.block
        stop = min(start + task.block, task.rows)
    else:
        start, stop = _tile(task, queue, number)
    for row in range(start, stop, task.tile):
        rows = min(task.tile, stop - row)
        _examples(task, arena, space, row - origin, rows, row, scratch)
    if task.block:
        _sum_block(task, arena, space, block, stop - start)


@jit
def _add_partials(out, partial, size, blocks, stride, rows, vectors, fresh):
    """Add the blocks' gradients, in their order, to a region of the gradient."""
    n = lanes(out)
    for r in range(rows):
        for v in range(vectors):
            here = r * stride + v * n
            acc = splat(0.0, out) if fresh else load(out + here)
            for block in range(blocks):
                acc += load(partial + (block * size + here))
            store(out + here, acc)


@jit
def _transpose_unit(job, layer, unit, arena, weight):
    """Bring the transposed copy of a unit's weights up to date."""
    n = lanes(arena)
    width = PANEL_VECTORS * n
    place = (unit.row // width * layer.transposed_rows + unit.panel * width) * layer.input_stride
    transpose_block(
        arena + (layer.transposed + place + unit.row % width), layer.input_stride,
        weight, layer.stride, unit.rows, vectors_in(layer.outputs, unit.panel, n), job.past_caches,
    )  # fmt: skip


@jit
def _add_penalty(g, theta, stride, rows, vectors, strength):
    """Add ``strength * theta``, the gradient of half of that times the squares."""
    n = lanes(g)
    for r in range(rows):
        for v in range(vectors):
            here = r * stride + v * n
            store(g + here, fma(load(theta + here), strength, load(g + here)))


@jit
def _add_noise(job, arena, g, layer, panel, row, rows):
    width = PANEL_VECTORS * lanes(arena)
    call(job.add_noise, (
        g, layer.stride, rows, min(width, layer.outputs - panel * width), layer.first_row + row,
        panel * (PANEL_VECTORS // 2), job.step, job.noise_seed, arena + job.noise_std,
    ))  # fmt: skip


@jit
def _sum_squares(out, g, stride, rows, vectors):
    """Sums of the squares of a gradient, one for each block of as many rows as a vector has lanes.

    Units are whole numbers of them, so the sums do not show where those end.
    """
    n = lanes(g)
    for first in range(0, rows, n):
        acc = splat(0.0, g)
        for r in range(first, min(first + n, rows)):
            for v in range(vectors):
                x = load(g + (r * stride + v * n))
                acc = fma(x, x, acc)
        out[first // n] = total(acc)


@jit
def _square_sums(job, arena, layer, unit, g_weight, g_bias, vectors):
    n = lanes(arena)
    whole = layer.bias_row // n
    out = arena + (job.gradient_squares + layer.first_block + unit.panel * (whole + 1))
    _sum_squares(out + unit.row // n, g_weight, layer.stride, unit.rows, vectors)
    if unit.has_bias:
        _sum_squares(out + whole, g_bias, layer.stride, 1, vectors)


@Subroutine
def parameters_unit(arena: Pointer, job: int, worker: int, queue: int, number: int):
    """Sum the gradient of a unit and, with the last chunk, update its parameters on the spot."""
    task = record(job, JOB)
    n = lanes(arena)
    unit = unit_at(task, pointer(task.bounds, np.int64)[queue] + number)
    layer = parametric_at(task, unit.layer)
    vectors = vectors_in(layer.outputs, unit.panel, n)
    weight, bias = places_of(layer, unit)
    g_weight, g_bias = arena + (task.gradient + weight), arena + (task.gradient + bias)
    if task.is_first and task.is_last and task.rule >= 0:  # the gradient never leaves the cache
        scratch = arena + (task.scratch + worker * task.scratch_size)
        g_weight, g_bias = scratch, scratch + unit.rows * layer.stride
    if task.block:
        _add_partials(
            g_weight, arena + (task.partials + weight), task.parameters, _blocks(task),
            layer.stride, unit.rows, vectors, task.is_first,
        )  # fmt: skip
        if unit.has_bias:
            _add_partials(
                g_bias, arena + (task.partials + bias), task.parameters, _blocks(task),
                layer.stride, 1, vectors, task.is_first,
            )  # fmt: skip
    else:
        space = arena + task.workspace
        gradient(
            task, arena, g_weight, g_bias, layer, unit, space, task.rows, task.first,
            task.is_first != 0,
        )  # fmt: skip
    if task.is_last and task.noise_scale:
        _square_sums(task, arena, layer, unit, g_weight, g_bias, vectors)
    if task.is_last and task.l2 != 0.0:
        _add_penalty(
            g_weight, arena + (task.theta + weight), layer.stride, unit.rows, vectors,
            task.scale * task.l2,
        )  # fmt: skip
    if task.is_last and task.noisy:
        _add_noise(task, arena, g_weight, layer, unit.panel, unit.row, unit.rows)
        if unit.has_bias:
            _add_noise(task, arena, g_bias, layer, unit.panel, layer.inputs, 1)
    if task.is_last and task.rule >= 0:
        theta, slots, constants = arena + task.theta, arena + task.slots, arena + task.constants
        call(task.update, (
            task.rule, theta + weight, g_weight, slots + weight, task.parameters,
            layer.stride, unit.rows, vectors, constants,
        ))  # fmt: skip
        if unit.has_bias:
            call(task.update, (
                task.rule, theta + bias, g_bias, slots + bias, task.parameters,
                layer.stride, 1, vectors, constants,
            ))  # fmt: skip
        if layer.transposed >= 0:
            _transpose_unit(task, layer, unit, arena, theta + weight)


@jit
def _are_finite(job, first, rows, like):
    """Whether the numbers in rows of X are."""
    X, inputs = pointer(job.X, like), layer_at(job, 0).inputs
    if job.row_starts != 0:
        starts = pointer(job.row_starts, np.int64)
        return all_finite(X + starts[first], starts[first + rows] - starts[first])
    return all_finite(X + first * inputs, rows * inputs)


@Subroutine
def evaluation_unit(arena: Pointer, job: int, worker: int, queue: int, number: int):
    """What the mode asks of a tile of examples: outputs, losses, or something of gradients."""
    task = record(job, JOB)
    space = arena + (task.workspace + worker * task.workspace_size)
    scratch = arena + (task.scratch + worker * task.scratch_size)
    out = pointer(task.out, arena)
    last = layer_at(task, task.n_layers - 1)
    first, stop = _tile(task, queue, number)
    rows = stop - first
    if task.check and not _are_finite(task, first, rows, arena):
        task.not_finite = 1
    _forward(task, arena, space, 0, rows, first, scratch)
    if task.mode == OUTPUTS:
        for i in range(rows):
            target = out + (first + i) * last.outputs
            scatter(target, space + last.output, last.stride, task.capacity, i, last.outputs)
        return
    losses = out + first if task.mode == LOSSES else scratch + 2 * task.tile
    _loss_and_delta(task, space, 0, rows, first, losses, scratch)
    if task.mode == LOSSES:
        _add_divergences(task, space, 0, rows, first, losses, scratch)
        return
    _backward(task, arena, space, 0, rows, first, scratch)
    if task.mode == NORMS:
        _weigh(task, arena, space, 0, rows, first, scratch)
    elif task.mode == EXAMPLE_GRADIENTS:
        for i in range(rows):
            for i_layer in range(task.n_parametric):
                layer = parametric_at(task, i_layer)
                place = (first + i) * task.flat_parameters + layer.flat
                if layer.sparse:
                    example = example_at(task, first + i)
                    sparse.example_gradient(task, out + place, layer, space, i, example)
                else:
                    example_gradient(task, out + place, layer, space, i)
    elif task.mode == INNER_PRODUCTS:
        for i in range(rows):
            out[first + i] = 0.0
        for i_layer in range(task.n_parametric):
            layer = parametric_at(task, i_layer)
            inner_products(task, arena, out + first, layer, space, rows, first, scratch)
