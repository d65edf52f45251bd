"""Rows of a sparse X: what the first layer does with the numbers that are there.

Each sum has the same terms in the same order as that over a dense row, but for those that are 0,
and ``fma(0, b, sum)`` is `sum`. So bits are those of the dense X, up to the sign of a zero.
"""

import numpy as np

from .dense import row_of_gradient
from .jit import jit
from .job import JOB, example_at, loss_weight_of
from .layout import PANEL_VECTORS
from .memory import load, pointer, store
from .simd import Pointer, first_lanes, fma, lanes, select, splat, total
from .subroutine import Subroutine, record


@jit
def nonzeros(job, example, like):
    """Where the numbers of an example stand, from and to; none count where its weight is 0."""
    starts = pointer(job.row_starts, np.int64)
    start = starts[example]
    return start, starts[example + 1] if loss_weight_of(job, example, like) != 0 else start


@jit
def _column(indices, wide, k):
    """Column of number `k`."""
    return pointer(indices, np.int64)[k] if wide else np.int64(pointer(indices, np.int32)[k])


@jit
def _find(indices, wide, start, stop, column):
    """The first number of a row, from `start` to `stop`, that is not before `column`."""
    while start < stop:
        middle = (start + stop) >> 1
        if _column(indices, wide, middle) < column:
            start = middle + 1
        else:
            stop = middle
    return start


@Subroutine
def sparse_product(
    job: int, out: Pointer, out_stride: int, start: Pointer, b: Pointer, b_stride: int,
    rows: int, vectors: int, position: int,
):  # fmt: skip
    """``out = start + X @ B`` for so many rows of X, from `position` of the order on.

    Each starts from the same values. B is a panel of which `vectors` are wanted; of one that has
    PANEL_VECTORS the others may be written too.
    """
    task = record(job, JOB)
    n = lanes(out)
    x, indices, wide = pointer(task.X, out), task.indices, task.wide_indices
    for i in range(rows):
        first, stop = nonzeros(task, example_at(task, position + i), out)
        # Four sums at once: a single one waits for each fma, and takes 1.2 to 1.5 times as long.
        if b_stride == PANEL_VECTORS * n:
            s, t, u, v = load(start), load(start + n), load(start + 2 * n), load(start + 3 * n)
            for k in range(first, stop):
                row = b + _column(indices, wide, k) * b_stride
                s, t = fma(x[k], load(row), s), fma(x[k], load(row + n), t)
                u, v = fma(x[k], load(row + 2 * n), u), fma(x[k], load(row + 3 * n), v)
            store(out, s)
            store(out + n, t)
            store(out + 2 * n, u)
            store(out + 3 * n, v)
        else:
            for place in range(0, vectors * n, n):
                s = load(start + place)
                for k in range(first, stop):
                    row = b + _column(indices, wide, k) * b_stride
                    s = fma(x[k], load(row + place), s)
                store(out + place, s)
        out += out_stride


@Subroutine
def sparse_gradient(
    job: int, out: Pointer, stride: int, delta: Pointer, column: int, columns: int,
    examples: int, vectors: int, position: int, fresh: int,
):  # fmt: skip
    """Add ``X.T @ delta``, for some columns of X from `column` on, to `out`, to zeros if `fresh`.

    Sums go over so many examples from `position` of the order on; rows of `out` and of `delta` are
    `stride` apart.
    """
    task = record(job, JOB)
    n = lanes(out)
    x, indices, wide, squared = pointer(task.X, out), task.indices, task.wide_indices, task.squared
    if fresh:
        zero = splat(0.0, out)
        for c in range(columns):
            for v in range(vectors):
                store(out + (c * stride + v * n), zero)
    for i in range(examples):
        k, stop = nonzeros(task, example_at(task, position + i), out)
        k = _find(indices, wide, k, stop, column)
        while k < stop:
            c = _column(indices, wide, k) - column
            if c >= columns:
                break
            a = x[k] * x[k] if squared else x[k]
            for v in range(vectors):
                place = out + (c * stride + v * n)
                store(place, fma(a, load(delta + v * n), load(place)))
            k += 1
        delta += stride


@jit
def gather(job, out, stride, row, example):
    """Put an example's numbers in their places in row `row`, all zeros, of the panels at `out`."""
    width = PANEL_VECTORS * lanes(out)
    x = pointer(job.X, out)
    start, stop = nonzeros(job, example, out)
    for k in range(start, stop):
        column = _column(job.indices, job.wide_indices, k)
        out[(column // width * job.capacity + row) * stride + column % width] = x[k]


@jit
def squared_norm(job, example, inputs, like):
    """Sum of the squares of an example, lane by lane as `per_example` sums those of a dense row."""
    n = lanes(like)
    panels, vectors = inputs // (PANEL_VECTORS * n) * PANEL_VECTORS * n, inputs // n * n
    a = b = splat(0.0, like)
    start, stop = nonzeros(job, example, like)
    for k in range(start, stop):
        column = _column(job.indices, job.wide_indices, k)
        lane = column % n
        x = select(first_lanes(lane + 1, like), splat(pointer(job.X, like)[k], like), 0.0)
        x = select(first_lanes(lane, like), 0.0, x)
        if column >= vectors or (column < panels and column // n % 2):
            b = fma(x, x, b)
        else:
            a = fma(x, x, a)
    return total(a + b)


@jit
def example_gradient(job, out, layer, space, row, example):
    """The gradient of an example by the first layer, see `dense.example_gradient`."""
    for k in range(layer.inputs):
        row_of_gradient(job, out + k * layer.outputs, splat(0.0, space), layer, space, row)
    start, stop = nonzeros(job, example, space)
    for k in range(start, stop):
        a = splat(pointer(job.X, space)[k], space)
        to = out + _column(job.indices, job.wide_indices, k) * layer.outputs
        row_of_gradient(job, to, a, layer, space, row)
    bias = out + layer.inputs * layer.outputs
    row_of_gradient(job, bias, splat(1.0, space), layer, space, row)
