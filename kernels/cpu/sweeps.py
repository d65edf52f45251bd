"""The two sweeps of a step, and the forward sweep of an evaluation, a worker's share of each."""

import numpy as np

from .dense import backward, example_gradient, forward, gradient
from .jit import jit
from .job import (
    EXAMPLE_GRADIENTS,
    JOB,
    LAYER_BYTES,
    OUTPUTS,
    example_at,
    layer_at,
    places_of,
    unit_at,
    weight_of,
)
from .layout import BLOCK, PANEL_VECTORS
from .memory import load, pointer, store
from .panels import clear, gather, scatter, transpose_block, vectors_in
from .simd import Pointer, lanes, splat
from .subroutine import Subroutine, call, record

EXAMPLES, PARAMETERS, EVALUATION = range(3)  # sweeps


@jit
def _forward(job, arena, space, row, rows, position):
    """Gather the rows at `position` of the order and take them through all layers."""
    first = layer_at(job, 0)
    X = pointer(job.X, arena)
    a = space + first.input
    for i in range(rows):
        example = example_at(job, position + i)
        if weight_of(job, example, arena) != 0:
            x = X + example * first.inputs
            gather(a, first.input_stride, job.capacity, row + i, x, first.inputs)
        else:
            clear(a, first.input_stride, job.capacity, row + i, first.inputs)
    n = lanes(arena)
    for i in range(job.n_layers):
        layer = layer_at(job, i)
        forward(job, arena, layer, space, row, rows)
        for p in range(layer.panels):
            place = (p * job.capacity + row) * layer.stride
            call(job.activate, (
                layer.activation, space + (layer.output + place), space + (layer.delta + place),
                layer.stride, rows, vectors_in(layer.outputs, p, n),
            ))  # fmt: skip


@jit
def _backward(job, arena, space, row, rows, scratch):
    """From the deltas of the last layer to those of the first."""
    for i in range(job.n_layers - 1, 0, -1):
        backward(job, arena, layer_at(job, i), layer_at(job, i - 1), space, row, rows, scratch)


@jit
def _loss_and_delta(job, space, row, rows, position, losses, scratch):
    last = job.layers + (job.n_layers - 1) * LAYER_BYTES
    call(job.loss_and_delta, (
        job.loss, job.address, last, space, row, rows, position, losses, scratch,
    ))  # fmt: skip


@jit
def _examples(job, arena, space, row, rows, position, scratch):
    """Forward, loss and backward for a tile of rows; `position` counts within the chunk."""
    _forward(job, arena, space, row, rows, job.first + position)
    losses = arena + (job.losses + position)
    _loss_and_delta(job, space, row, rows, job.first + position, losses, scratch)
    _backward(job, arena, space, row, rows, scratch)


@jit
def _share(total, worker, workers, multiple):
    """Start of a worker's share of `total`, at a multiple."""
    return total if worker == workers else total * worker // workers // multiple * multiple


@jit
def _examples_sweep(job, arena, worker):
    """All that is done example by example; where gradients are summed by blocks, that too."""
    space = arena + (job.workspace + worker * job.workspace_size)
    scratch = arena + (job.scratch + worker * job.scratch_size)
    if job.blocked:
        blocks = (job.rows + BLOCK - 1) // BLOCK
        for block in range(blocks * worker // job.workers, blocks * (worker + 1) // job.workers):
            first = block * BLOCK
            rows = min(BLOCK, job.rows - first)
            for row in range(0, rows, job.tile):
                here = min(job.tile, rows - row)
                _examples(job, arena, space, row, here, first + row, scratch)
            partial = arena + (job.partials + block * job.parameters)
            for u in range(job.n_units):
                unit = unit_at(job, u)
                layer = layer_at(job, unit.layer)
                weight, bias = places_of(layer, unit)
                gradient(
                    job, arena, partial + weight, partial + bias, layer, unit, space, rows, True
                )
    else:
        stop = _share(job.rows, worker + 1, job.workers, 4)
        for row in range(_share(job.rows, worker, job.workers, 4), stop, job.tile):
            _examples(job, arena, space, row, min(job.tile, stop - row), row, scratch)


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
def _transpose_unit(layer, unit, arena, weight):
    """Bring the transposed copy of a unit's weights up to date."""
    n = lanes(arena)
    width = PANEL_VECTORS * n
    place = (unit.row // width * layer.transposed_rows + unit.panel * width) * layer.input_stride
    transpose_block(
        arena + (layer.transposed + place + unit.row % width), layer.input_stride,
        weight, layer.stride, unit.rows, vectors_in(layer.outputs, unit.panel, n),
    )  # fmt: skip


@jit
def _parameters_sweep(job, arena, worker):
    """Sum the gradient of each unit and, with the last chunk, update its parameters on the spot."""
    n = lanes(arena)
    fused = job.is_first and job.is_last and job.rule >= 0
    scratch = arena + (job.scratch + worker * job.scratch_size)
    blocks = (job.rows + BLOCK - 1) // BLOCK
    bounds = pointer(job.bounds, np.int64)
    for u in range(bounds[worker], bounds[worker + 1]):
        unit = unit_at(job, u)
        layer = layer_at(job, unit.layer)
        vectors = vectors_in(layer.outputs, unit.panel, n)
        weight, bias = places_of(layer, unit)
        g_weight, g_bias = arena + (job.gradient + weight), arena + (job.gradient + bias)
        if fused:  # the gradient never leaves the cache
            g_weight, g_bias = scratch, scratch + PANEL_VECTORS * n * layer.stride
        if job.blocked:
            _add_partials(
                g_weight, arena + (job.partials + weight), job.parameters, blocks,
                layer.stride, unit.rows, vectors, job.is_first,
            )  # fmt: skip
            if unit.has_bias:
                _add_partials(
                    g_bias, arena + (job.partials + bias), job.parameters, blocks,
                    layer.stride, 1, vectors, job.is_first,
                )  # fmt: skip
        else:
            space = arena + job.workspace
            gradient(job, arena, g_weight, g_bias, layer, unit, space, job.rows, job.is_first != 0)
        if job.is_last and job.rule >= 0:
            theta, slots, constants = arena + job.theta, arena + job.slots, arena + job.constants
            call(job.update, (
                job.rule, theta + weight, g_weight, slots + weight, job.parameters,
                layer.stride, unit.rows, vectors, constants,
            ))  # fmt: skip
            if unit.has_bias:
                call(job.update, (
                    job.rule, theta + bias, g_bias, slots + bias, job.parameters,
                    layer.stride, 1, vectors, constants,
                ))  # fmt: skip
            if layer.transposed >= 0:
                _transpose_unit(layer, unit, arena, theta + weight)


@jit
def _evaluation_sweep(job, arena, worker):
    """Outputs, losses or per-example gradients of a worker's share of the examples."""
    space = arena + (job.workspace + worker * job.workspace_size)
    scratch = arena + (job.scratch + worker * job.scratch_size)
    out = pointer(job.out, arena)
    last = layer_at(job, job.n_layers - 1)
    stop = _share(job.rows, worker + 1, job.workers, 4)
    for first in range(_share(job.rows, worker, job.workers, 4), stop, job.tile):
        rows = min(job.tile, stop - first)
        _forward(job, arena, space, 0, rows, first)
        if job.mode == OUTPUTS:
            for i in range(rows):
                target = out + (first + i) * last.outputs
                scatter(target, space + last.output, last.stride, job.capacity, i, last.outputs)
            continue
        losses = out + first if job.mode != EXAMPLE_GRADIENTS else scratch + 2 * job.tile
        _loss_and_delta(job, space, 0, rows, first, losses, scratch)
        if job.mode == EXAMPLE_GRADIENTS:
            _backward(job, arena, space, 0, rows, scratch)
            for number in range(job.n_layers):
                layer = layer_at(job, number)
                for i in range(rows):
                    place = (first + i) * job.flat_parameters + layer.flat
                    example_gradient(job, out + place, layer, space, i)


@Subroutine
def work(arena: Pointer, job: int, sweep: int, worker: int):
    """One worker's share of a sweep."""
    task = record(job, JOB)
    if sweep == EXAMPLES:
        _examples_sweep(task, arena, worker)
    elif sweep == PARAMETERS:
        _parameters_sweep(task, arena, worker)
    else:
        _evaluation_sweep(task, arena, worker)
