"""Inner products of the gradients of two sets of examples, without the gradients.

Of a dense layer's gradients, outer(a, delta) and delta for the bias, the inner product is
``(a . a' + 1) (delta . delta')``.  So a Gram matrix is the sum over layers of
``(A A'^T + 1) * (D D'^T)``, element by element.  Two jobs of mode FACTORS have left A and D of a
block of examples each; a unit is a panel of the matrix's columns by some of its rows.
"""

from .dense import TERMS
from .jit import jit
from .job import JOB, parametric_at
from .layout import PANEL_VECTORS
from .memory import load, pointer, store, store_first
from .panels import transpose_block, vectors_in
from .simd import Pointer, fma, lanes
from .subroutine import Subroutine, call, record
from .sweeps import share

ROWS = 192  # of a unit


def scratch_size(panel):
    """Elements that a worker needs: a transposed panel, and three pieces of the matrix."""
    return (TERMS + 3 * ROWS) * panel


@jit
def _chunks(job):
    """Into how many units a panel of columns is cut."""
    return (job.examples + ROWS - 1) // ROWS


@jit
def _first_unit(job, queue):
    """Number of the first unit in a queue."""
    width = PANEL_VECTORS * job.lanes
    panels = (record(job.other, JOB).examples + width - 1) // width
    return share(panels * _chunks(job), queue, job, 1)


@jit
def gram_units(job, queue):
    """Units in a queue."""
    return _first_unit(job, queue + 1) - _first_unit(job, queue)


@jit
def _product(job, arena, out, start, place, stride, columns, row, rows, their_row, transposed):
    """``out = start + F @ F'^T`` of the factors at `place`: our rows, and a panel of theirs."""
    n = lanes(arena)
    width = PANEL_VECTORS * n
    other = record(job.other, JOB)
    theirs = pointer(other.arena, arena) + (other.workspace + place * other.capacity)
    ours = arena + (job.workspace + place * job.capacity)
    start_stride = 0
    for k in range(0, columns, TERMS):
        count = min(TERMS, columns - k)
        first = k // width
        for panel in range(first, (k + count + width - 1) // width):
            transpose_block(
                transposed + (panel - first) * width * width, width,
                theirs + (panel * other.capacity + their_row) * stride, stride,
                width, vectors_in(columns, panel, n), False,
            )  # fmt: skip
        call(job.product, (
            out, width, start, start_stride,
            ours + (first * job.capacity + row) * stride, stride, 1, job.capacity * stride - width,
            transposed, width, rows, PANEL_VECTORS, count, width,
        ))  # fmt: skip
        start, start_stride = out, width


@Subroutine
def gram_unit(arena: Pointer, job: int, worker: int, queue: int, number: int):
    """One piece of the matrix, of at most ROWS rows by a panel of columns."""
    task = record(job, JOB)
    n = lanes(arena)
    width = PANEL_VECTORS * n
    number += _first_unit(task, queue)
    row, column = number % _chunks(task) * ROWS, number // _chunks(task) * width
    rows = min(ROWS, task.examples - row)
    columns = min(width, record(task.other, JOB).examples - column)
    transposed = arena + (task.scratch + worker * task.scratch_size)
    entering = transposed + TERMS * width
    leaving, result = entering + ROWS * width, entering + 2 * ROWS * width
    for i_layer in range(task.n_parametric):
        layer = parametric_at(task, i_layer)
        _product(
            task, arena, entering, arena + task.ones, layer.input // task.capacity,
            layer.input_stride, layer.inputs, row, rows, column, transposed,
        )  # fmt: skip
        _product(
            task, arena, leaving, arena + task.zeros, layer.delta // task.capacity,
            layer.stride, layer.outputs, row, rows, column, transposed,
        )  # fmt: skip
        for i in range(0, rows * width, n):
            term = load(entering + i) * load(leaving + i)
            if i_layer > 0:
                term = fma(load(entering + i), load(leaving + i), load(result + i))
            store(result + i, term)
    out = pointer(task.out, arena) + (row * task.out_stride + column)
    for i in range(rows):
        for v in range(0, columns, n):
            value = load(result + (i * width + v))
            store_first(out + (i * task.out_stride + v), value, min(n, columns - v))
