"""Dense layers: the three products, each on the rows of one sweep.

`space` is a workspace of `capacity` rows, in which `layer` (a row of the LAYER table) says where
its activations and deltas stand.
"""

from .jit import jit
from .layout import PANEL_VECTORS
from .memory import load, store, store_first, store_unaligned
from .panels import vector_of, vectors_in
from .simd import absolute, fma, lanes, select, splat, total
from .subroutine import call

STRIP = 24  # rows of a product that wait in the cache for the next operation
TERMS = 1024  # of a forward product at once: a panel of so many rows of weights fits the L2 cache

# Smallest normal numbers: smaller ones slow the processor down tenfold and change nothing.
_NORMAL_32 = 2.0**-126
_NORMAL_64 = 2.0**-1022


@jit
def flush(x):
    """Zero in place of subnormal values; NaN stays."""
    smallest = _NORMAL_32 if lanes(x) == 16 else _NORMAL_64
    return select(absolute(x) < smallest, 0.0, x)


@jit
def forward(job, arena, layer, space, row, rows, position, a, a_row, a_panel):
    """``z = a @ weight + bias`` into the place of the output.

    Rows of `a` are `a_row` elements apart, its panels `a_panel`; or they are those of a sparse X,
    from `position` of the order on.
    """
    n = lanes(space)
    width = PANEL_VECTORS * n
    for p in range(layer.panels):
        weights = arena + (job.theta + layer.weights + p * (layer.bias_row + 1) * layer.stride)
        z = space + (layer.output + (p * job.capacity + row) * layer.stride)
        start, start_stride = weights + layer.bias_row * layer.stride, 0
        if layer.sparse:
            call(job.sparse_product, (
                job.address, z, layer.stride, start, weights, layer.stride,
                rows, vectors_in(layer.outputs, p, n), position,
            ))  # fmt: skip
            continue
        for k in range(0, layer.inputs, TERMS):
            call(job.product, (
                z, layer.stride, start, start_stride, a + k // width * a_panel, a_row, 1,
                a_panel - width, weights + k * layer.stride, layer.stride,
                rows, vectors_in(layer.outputs, p, n), min(TERMS, layer.inputs - k), width,
            ))  # fmt: skip
            start, start_stride = z, layer.stride


@jit
def backward(job, arena, layer, below, space, row, rows, scratch):
    """``delta_below = (delta @ weight.T) * f'(z_below)``; f' stands where the result will."""
    n = lanes(space)
    width = PANEL_VECTORS * n
    jump = job.capacity * layer.stride - width
    for p in range(below.panels):
        vectors = vectors_in(below.outputs, p, n)
        transposed = arena + (layer.transposed + p * layer.transposed_rows * below.stride)
        for r in range(row, row + rows, STRIP):
            here = min(STRIP, row + rows - r)
            call(job.product, (
                scratch, width, arena + job.zeros, 0,
                space + (layer.delta + r * layer.stride), layer.stride, 1, jump,
                transposed, below.stride, here, vectors, layer.outputs, width,
            ))  # fmt: skip
            delta = space + (below.delta + (p * job.capacity + r) * below.stride)
            for i in range(here):
                for v in range(vectors):
                    place = delta + (i * below.stride + v * n)
                    store(place, flush(load(place) * load(scratch + (i * width + v * n))))


@jit
def gradient(job, arena, weight, bias, layer, unit, space, rows, position, fresh):
    """Gradient of a unit: ``weight = a.T @ delta`` and, where it has one, `bias`, the sum of delta.

    The sums over examples start at zero if `fresh`, else they go on from what stands there. Those
    are at `position` of the order.
    """
    n = lanes(space)
    width = PANEL_VECTORS * n
    zeros = arena + job.zeros
    vectors = vectors_in(layer.outputs, unit.panel, n)
    delta = space + (layer.delta + unit.panel * job.capacity * layer.stride)
    panel, within = unit.row // width, unit.row % width
    a = space + (layer.input + panel * job.capacity * layer.input_stride + within)
    if layer.sparse:
        call(job.sparse_gradient, (
            job.address, weight, layer.stride, delta, unit.row, unit.rows,
            rows, vectors, position, fresh,
        ))  # fmt: skip
    else:
        call(job.product, (
            weight, layer.stride, zeros if fresh else weight, 0 if fresh else layer.stride,
            a, 1, layer.input_stride, 0, delta, layer.stride, unit.rows, vectors, rows, rows,
        ))  # fmt: skip
    if unit.has_bias:
        call(job.product, (
            bias, 0, zeros if fresh else bias, 0,
            arena + job.ones, 0, 0, 0, delta, layer.stride, 1, vectors, rows, rows,
        ))  # fmt: skip


@jit
def example_gradient(job, out, layer, space, row):
    """The gradient of one example, ``outer(a, delta)`` and delta, at `out` in the flat order."""
    n = lanes(space)
    for k in range(layer.inputs + 1):
        a = splat(1.0, space)
        if k < layer.inputs:
            at = vector_of(space + layer.input, layer.input_stride, job.capacity, row, k // n)
            a = splat(at[k % n], space)
        row_of_gradient(job, out + k * layer.outputs, a, layer, space, row)


@jit
def row_of_gradient(job, out, a, layer, space, row):
    """One row of that, ``a * delta``."""
    n = lanes(space)
    whole = layer.outputs // n
    rest = layer.outputs - whole * n
    for v in range(whole):
        delta = load(vector_of(space + layer.delta, layer.stride, job.capacity, row, v))
        store_unaligned(out + v * n, a * delta)
    if rest > 0:
        delta = load(vector_of(space + layer.delta, layer.stride, job.capacity, row, whole))
        store_first(out + whole * n, a * delta, rest)


@jit
def inner_products(job, arena, out, layer, space, rows, position, scratch):
    """Add ``(a @ weight + bias) . delta`` to `out`, with weight and bias of the direction."""
    n = lanes(space)
    width = PANEL_VECTORS * n
    a_panel = job.capacity * layer.input_stride
    for p in range(layer.panels):
        place = layer.weights + p * (layer.bias_row + 1) * layer.stride
        direction = arena + (job.direction + place)
        delta = space + (layer.delta + p * job.capacity * layer.stride)
        vectors = vectors_in(layer.outputs, p, n)
        for r in range(0, rows, STRIP):
            here = min(STRIP, rows - r)
            start = direction + layer.bias_row * layer.stride
            if layer.sparse:
                call(job.sparse_product, (
                    job.address, scratch, width, start, direction, layer.stride,
                    here, vectors, position + r,
                ))  # fmt: skip
            else:
                call(job.product, (
                    scratch, width, start, 0,
                    space + (layer.input + r * layer.input_stride), layer.input_stride, 1,
                    a_panel - width, direction, layer.stride, here, vectors, layer.inputs, width,
                ))  # fmt: skip
            for i in range(here):
                acc = splat(0.0, space)
                for v in range(vectors):
                    z = load(scratch + (i * width + v * n))
                    acc = fma(z, load(delta + ((r + i) * layer.stride + v * n)), acc)
                out[r + i] = out[r + i] + total(acc)
