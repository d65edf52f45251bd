"""Copies between rows in memory and panels: gather, transposed weights, outputs."""

from .atomics import fence
from .jit import jit
from .layout import PANEL_VECTORS
from .memory import load, load_first, load_unaligned, store, store_first
from .simd import fma, lanes, splat, total
from .tiles import transpose, transpose_past_caches


@jit
def vectors_in(columns, panel, n):
    """Vectors of `n` lanes that panel number `panel` of so many columns needs."""
    return min((columns + n - 1) // n - panel * PANEL_VECTORS, PANEL_VECTORS)


@jit
def gather(out, stride, capacity, row, source, columns):
    """Copy one example, `columns` values at `source`, into row `row` of the panels at `out`."""
    n = lanes(out)
    whole = columns // n
    for v in range(whole):
        store(vector_of(out, stride, capacity, row, v), load_unaligned(source + v * n))
    if columns > whole * n:
        rest = load_first(source + whole * n, columns - whole * n)
        store(vector_of(out, stride, capacity, row, whole), rest)


@jit
def clear(out, stride, capacity, row, columns):
    """Zero one row of the panels at `out`."""
    n = lanes(out)
    zero = splat(0.0, out)
    for v in range((columns + n - 1) // n):
        store(vector_of(out, stride, capacity, row, v), zero)


@jit
def scatter(out, source, stride, capacity, row, columns):
    """Copy row `row` of the panels at `source` to `columns` values at `out`."""
    n = lanes(out)
    for v in range((columns + n - 1) // n):
        value = load(vector_of(source, stride, capacity, row, v))
        store_first(out + v * n, value, min(n, columns - v * n))


@jit
def vector_of(matrix, stride, capacity, row, v):
    """Pointer to vector `v` of a row of panels."""
    panel, within = v // PANEL_VECTORS, v % PANEL_VECTORS
    return matrix + ((panel * capacity + row) * stride + within * lanes(matrix))


@jit
def transpose_block(out, out_stride, source, source_stride, rows, vectors, past_caches):
    """Transpose `rows` (padded to whole vectors) x `vectors` from `source` to `out`."""
    n = lanes(source)
    for v in range(vectors):
        for r in range(0, rows, n):
            target = out + (v * n * out_stride + r)
            square = source + (r * source_stride + v * n)
            if past_caches:
                transpose_past_caches(target, out_stride, square, source_stride)
            else:
                transpose(target, out_stride, square, source_stride)
    if past_caches:
        fence()


@jit
def all_finite(source, count):
    """Whether none of `count` values is NaN or infinite: those make NaN of 0 times themselves."""
    n = lanes(source)
    a, b = splat(0.0, source), splat(0.0, source)
    for i in range(0, count - 2 * n + 1, 2 * n):
        a = fma(load_unaligned(source + i), 0.0, a)
        b = fma(load_unaligned(source + (i + n)), 0.0, b)
    for i in range(count // (2 * n) * (2 * n), count, n):
        a = fma(load_first(source + i, min(n, count - i)), 0.0, a)
    return total(a + b) == 0.0
