"""Masks of dropout: what enters a layer is multiplied by them, and f' of the layer below.

There is no layer of its own for that.  The layer below masks what leaves it, and its derivatives,
while they are in registers; examples are masked by a kernel that comes before the first layer, and
stand in the workspace.  All that comes later is then right without knowing of it.  The source is in
`kernels.reference.dropout`.
"""

from .layout import DROPPED, ENTERING, ENTERING_STRIDE, FIRST_MASK, GROUP, INPUTS, SCALE
from .philox import MASKS, words
from .tiles import pick
from .toolkit import cuda, from_bits, function, kernel, lanes, mul, select, splat, store4

THREADS = 128
WORDS = 32  # of a group of columns, made from eight blocks of the generator


@function
def _words4(row, first_group, column, step, draw, like):
    """The words that decide on four elements: on `column`, a multiple of four, and those after it.

    A vector of the CPU's kernels takes a word of each block in turn, or two if it is of float32.
    """
    n = lanes(like)
    vector, lane = column % WORDS // n, column % n
    base = (int(row) << 32) | int(8 * (first_group + column // WORDS))
    if n == 16:
        a = words(base + lane // 2, step, MASKS, draw)
        b = words(base + lane // 2 + 1, step, MASKS, draw)
        k = 2 * vector
        return pick(a, k), pick(a, k + 1), pick(b, k), pick(b, k + 1)
    return (
        pick(words(base + lane, step, MASKS, draw), vector),
        pick(words(base + lane + 1, step, MASKS, draw), vector),
        pick(words(base + lane + 2, step, MASKS, draw), vector),
        pick(words(base + lane + 3, step, MASKS, draw), vector),
    )


@function
def _multiply(x, word, dropped, scale):
    """Four masked elements: what is dropped is 0, whatever it was."""
    return (
        select(word[0] >= dropped, mul(x[0], scale), 0.0),
        select(word[1] >= dropped, mul(x[1], scale), 0.0),
        select(word[2] >= dropped, mul(x[2], scale), 0.0),
        select(word[3] >= dropped, mul(x[3], scale), 0.0),
    )


@function
def drop(layers, number, value, slope, example, column, masks):
    """Four elements of an example that enter a layer, and their derivatives, both masked.

    `masks`: (step, draw, number of the first example).
    """
    step, draw, first_example = masks
    group, dropped = layers[number, FIRST_MASK], layers[number, DROPPED]
    scale = from_bits(int(layers[number, SCALE]), value[0])
    word = _words4(first_example + example, group, column, step, draw, value[0])
    return _multiply(value, word, dropped, scale), _multiply(slope, word, dropped, scale)


@function
def _elements4(X, place, columns):
    """Four elements of a row of which so many are left, then zeros."""
    zero = splat(0.0, X)
    return (
        X[place],
        X[place + 1] if columns > 1 else zero,
        X[place + 2] if columns > 2 else zero,
        X[place + 3] if columns > 3 else zero,
    )


@kernel(threads=THREADS)
def drop_examples_kernel(
    stopped, layers, X, order, counts, count_step, activations, capacity, first, rows, step, draw,
    first_example,
):  # fmt: skip
    """Leave masked examples where the first layer finds them; a thread does four elements.

    An example of weight 0 has zeros.
    """
    inputs, stride = layers[0, INPUTS], layers[0, ENTERING_STRIDE]
    row, column = cuda.grid(1) // (stride // GROUP), cuda.grid(1) % (stride // GROUP) * GROUP
    if stopped[0] != 0 or row >= rows:
        return
    example, zero = order[first + row], splat(0.0, X)
    value = zero, zero, zero, zero
    if counts[example * count_step] != 0:
        value = _elements4(X, example * inputs + column, inputs - column)
    value, _ = drop(layers, 0, value, value, example, column, (step, draw, first_example))
    store4(activations, layers[0, ENTERING] * capacity + row * stride + column, value)
