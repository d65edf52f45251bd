"""Products of matrices, tile by tile: how threads, registers and shared memory are used.

A block of threads works out a tile of results, 4 x 4 of them a thread, which stay in registers:
tuples, indexed by constants only.  Thread t has the rows from ``t // (columns / 4) * 4`` on and the
columns from ``t % (columns / 4) * 4`` on, so a warp reads whole rows of B and little of A.

Operands pass through shared memory in slices of `depth` terms, as ``a[term][row]`` and
``b[term][column]``.  Each term takes SKEW elements more than it needs: so groups of four stay
aligned to 128 bits, and the rows of a slice that is written column by column begin in different
banks.  Of each operand there are two slices: while one is multiplied, the next one is fetched.

Each result is one chain of fma in the order of the terms, as on the CPU: tiles never show in the
bits.  `for_examples` and `for_parameters` are the rule by which they are chosen.
"""

from functools import cache
from typing import NamedTuple

from .layout import GROUP, OUTPUTS, round_up
from .toolkit import cuda, fma, function, load4, splat, store4

SKEW = 4


class Tile(NamedTuple):
    """`rows` x `columns` results, all multiples of four; slices of `depth` terms, likewise."""

    rows: int
    columns: int
    depth: int

    @property
    def threads(self):
        """Threads of a block."""
        return self.rows * self.columns // GROUP**2

    @property
    def a_step(self):
        """Elements from term to term of a."""
        return self.rows + SKEW

    @property
    def b_step(self):
        """Elements from term to term of b."""
        return self.columns + SKEW

    @property
    def a_size(self):
        """Elements of shared memory that two slices of a take."""
        return 2 * self.depth * self.a_step

    @property
    def b_size(self):
        """Elements of shared memory that two slices of b take."""
        return 2 * self.depth * self.b_step

    @property
    def staged(self):
        """Elements that both take."""
        return self.a_size + self.b_size


OF_LAYER = Tile(32, 64, 16)  # where each layer is a kernel of its own
OF_PARAMETERS = Tile(32, 32, 16), Tile(64, 64, 16)


def for_examples(layout, rows, limits):
    """The tile with which `rows` examples go through the layers, and the width that it can keep.

    Activations of a tile's examples stay in shared memory from layer to layer, if the widest layer
    and two slices of weights fit there (48 KiB on all devices).  Columns are 32, 64 or 128: as few
    as hold the widest layer.  Examples are 32, 16 or 8: as many as leave a block for each
    multiprocessor and fit, with at least 32 threads; slices are 16 terms, or else 8.  If nothing
    fits, the width is 0: then each layer is a kernel of its own.
    """
    widest = int(layout.layers[:, OUTPUTS].max())
    columns = next((c for c in (32, 64) if c >= widest), 128)
    width = round_up(widest, columns)
    fitting = {}
    for examples, depth in ((32, 16), (16, 16), (16, 8), (8, 16), (8, 8)):
        tile = Tile(examples, columns, depth)
        needed = (tile.staged + 2 * width * tile.a_step) * layout.dtype.itemsize + 2048
        if tile.threads >= 32 and needed <= limits.shared_memory:
            fitting.setdefault(examples, tile)
    if not fitting:
        return OF_LAYER, 0
    tiles = list(fitting.values())
    busy = (tile for tile in tiles if -(-rows // tile.rows) >= limits.multiprocessors)
    return next(busy, tiles[-1]), width


def for_parameters(layout, limits):
    """The tile of weights that a block owns.

    64 x 64 by 256 threads where this makes a block for each multiprocessor, else 32 x 32 by 64.
    """
    small, large = OF_PARAMETERS
    enough = len(layout.units(large.rows, large.columns)) >= limits.multiprocessors
    return large if enough else small


# --- registers ----------------------------------------------------------------------------


@function
def add_outer(acc, a, b):
    """``acc + outer(a, b)`` of four elements each, every one an fma."""
    return (
        _axpy4(a[0], b, acc[0]),
        _axpy4(a[1], b, acc[1]),
        _axpy4(a[2], b, acc[2]),
        _axpy4(a[3], b, acc[3]),
    )


@function
def _axpy4(a, b, acc):
    return fma(a, b[0], acc[0]), fma(a, b[1], acc[1]), fma(a, b[2], acc[2]), fma(a, b[3], acc[3])


def by_fours(operation):
    """A function of two tuples of four, which does `operation` with each pair of items."""

    @function
    def run(a, b):
        return (
            operation(a[0], b[0]),
            operation(a[1], b[1]),
            operation(a[2], b[2]),
            operation(a[3], b[3]),
        )

    return run


@function
def four(x):
    """A row of four times the same."""
    return x, x, x, x


@function
def sixteen(row):
    """A tile of four times the same row."""
    return row, row, row, row


@function
def pick(items, number):
    """The item of that number; indexed by one that varies, a tuple of four would lie in memory."""
    item = items[0]
    if number == 1:
        item = items[1]
    elif number == 2:
        item = items[2]
    elif number == 3:
        item = items[3]
    return item


@function
def with_row(tile, r, row):
    """The tile with another row in place of that one."""
    r0, r1, r2, r3 = tile
    if r == 0:
        r0 = row
    elif r == 1:
        r1 = row
    elif r == 2:
        r2 = row
    else:
        r3 = row
    return r0, r1, r2, r3


@function
def store_column(out, place, step, acc):
    """Put a tile of four rows where columns are `step` apart, and rows side by side."""
    store4(out, place, (acc[0][0], acc[1][0], acc[2][0], acc[3][0]))
    store4(out, place + step, (acc[0][1], acc[1][1], acc[2][1], acc[3][1]))
    store4(out, place + 2 * step, (acc[0][2], acc[1][2], acc[2][2], acc[3][2]))
    store4(out, place + 3 * step, (acc[0][3], acc[1][3], acc[2][3], acc[3][3]))


# --- shared memory ------------------------------------------------------------------------
#
# A source of terms is a function ``stage(slices, half, first, count, of)``: it fetches `count`
# terms, from `first` on, of the operand `of` into one half of `slices`, and returns where these
# begin.


@cache
def resident(step):
    """A source of terms that are in shared memory already; `of` is where the first one begins."""

    @function
    def stage(slices, half, first, count, of):
        return of + first * step

    return stage


@cache
def rows_of(threads, depth, width):
    """A source whose terms are the rows of a matrix; `of`: (matrix, place, stride, column).

    It takes `width` columns from `column` on, and no more than there are.
    """
    step, groups = width + SKEW, width // GROUP

    @function
    def stage(slices, half, first, count, of):
        matrix, place, stride, column = of
        start = half * depth * step
        for i in range(cuda.threadIdx.x, count * groups, threads):
            k, j = i // groups, i % groups * GROUP
            if column + j < stride:
                row = load4(matrix, place + (first + k) * stride + column + j)
                store4(slices, start + k * step + j, row)
        return start

    return stage


@cache
def columns_of(threads, depth, width):
    """A source whose terms are the columns of a matrix; `of`: (matrix, place, stride, row, rows).

    It takes `width` rows from `row` on; beyond the last of the `rows` there are zeros.
    """
    step, groups = width + SKEW, depth // GROUP

    @function
    def stage(slices, half, first, count, of):
        matrix, place, stride, row, rows = of
        start = half * depth * step
        for i in range(cuda.threadIdx.x, width * groups, threads):
            j, k = i // groups, i % groups * GROUP
            if k < count:
                values = four(splat(0.0, slices))
                if row + j < rows:
                    values = load4(matrix, place + (row + j) * stride + first + k)
                here = start + k * step + j
                slices[here] = values[0]
                slices[here + step] = values[1]
                slices[here + 2 * step] = values[2]
                slices[here + 3 * step] = values[3]
        return start

    return stage


@cache
def product(tile, stage_a, stage_b):
    """``acc + A @ B`` for the 4 x 4 results of a thread, from two sources of terms."""
    depth, a_step, b_step = tile.depth, tile.a_step, tile.b_step
    groups = tile.columns // GROUP

    @function
    def add_term(acc, a, a_start, b, b_start, k):
        row, column = cuda.threadIdx.x // groups * GROUP, cuda.threadIdx.x % groups * GROUP
        a_terms = load4(a, a_start + k * a_step + row)
        return add_outer(acc, a_terms, load4(b, b_start + k * b_step + column))

    @function
    def multiply(acc, a, a_of, b, b_of, terms, busy):
        """Of `busy` threads only the results count."""
        # The first slices are written: all must have multiplied those of the last product. And
        # some sources read in shared memory what to fetch: it must be there.
        cuda.syncthreads()
        a_here = stage_a(a, 0, 0, min(depth, terms), a_of)
        b_here = stage_b(b, 0, 0, min(depth, terms), b_of)
        for first in range(0, terms, depth):
            # This slice, and what is resident, was left by all threads: it must be whole. And the
            # other half is written next: all must have multiplied what stands there.
            cuda.syncthreads()
            a_next, b_next = a_here, b_here
            if first + depth < terms:
                half, rest = (first // depth + 1) % 2, terms - first - depth
                a_next = stage_a(a, half, first + depth, min(depth, rest), a_of)
                b_next = stage_b(b, half, first + depth, min(depth, rest), b_of)
            if busy:
                count = min(depth, terms - first)
                for k in range(0, count - 3, 4):
                    acc = add_term(acc, a, a_here, b, b_here, k)
                    acc = add_term(acc, a, a_here, b, b_here, k + 1)
                    acc = add_term(acc, a, a_here, b, b_here, k + 2)
                    acc = add_term(acc, a, a_here, b, b_here, k + 3)
                for k in range(count // 4 * 4, count):
                    acc = add_term(acc, a, a_here, b, b_here, k)
            a_here, b_here = a_next, b_next
        return acc

    return multiply
