"""Gaussian noise: normal numbers by the method of Box and Muller (1958).

A number depends on the seed, the step, its row over all layers and its column, and on nothing
else. They are those of ``kernels.cpu.noise``, where columns come in groups of two vectors, made
from one vector of Philox blocks: the first coordinates of points in the plane, then the second.
"""

from .elementary import cos_sin_of_turns, log
from .philox import NOISE, bits_of, words
from .toolkit import add, cuda, empty, function, kernel, lanes, mul, select, sqrt, to_float

THREADS = 128


@function
def _signed(word):
    """The signed number with the bits of an unsigned one of 32 bits."""
    return (word ^ 0x80000000) - 0x80000000


@function
def _normal(u, turn, is_second):
    """A coordinate, the first or the second, of the point that two uniform numbers make."""
    cosine, sine = cos_sin_of_turns(turn)
    return mul(sqrt(mul(-2.0, log(u))), select(is_second, sine, cosine))


@function
def _normal_of_words(a, b, is_second, like):
    """A float32, of 31 bits in (0, 1] and 32 bits in [-1/2, 1/2]."""
    u = mul(add(to_float(a >> 1, like), 0.5), 2.0**-31)
    return _normal(u, mul(to_float(_signed(b), like), 2.0**-32), is_second)


@function
def _normal_of_block(block, is_second, like):
    """A float64, of 53 bits and 53 bits."""
    w0, w1, w2, w3 = block
    u = mul(add(to_float((w1 << 21) | (w0 >> 11), like), 0.5), 2.0**-53)
    turn = mul(to_float((_signed(w3) << 21) | (w2 >> 11), like), 2.0**-53)
    return _normal(u, turn, is_second)


@function
def normal4(row, column, step, purpose, seed, like):
    """Four standard normal numbers, of `column`, a multiple of four, and the three after it.

    They are of the dtype of `like`; `seed` has the bits of an unsigned number.
    """
    n = lanes(like)
    group, within = column // (2 * n), column % (2 * n)
    lane, second = within % n, within >= n
    base = (int(row) << 32) | (8 * group)
    if n == 16:  # two numbers of a block
        a0, a1, a2, a3 = words(base + lane // 2, step, purpose, seed)
        b0, b1, b2, b3 = words(base + lane // 2 + 1, step, purpose, seed)
        return (
            _normal_of_words(a0, a2, second, like),
            _normal_of_words(a1, a3, second, like),
            _normal_of_words(b0, b2, second, like),
            _normal_of_words(b1, b3, second, like),
        )
    return (
        _normal_of_block(words(base + lane, step, purpose, seed), second, like),
        _normal_of_block(words(base + lane + 1, step, purpose, seed), second, like),
        _normal_of_block(words(base + lane + 2, step, purpose, seed), second, like),
        _normal_of_block(words(base + lane + 3, step, purpose, seed), second, like),
    )


@kernel
def fill_kernel(out, first, rows, columns, first_row, seed, step):
    """Put the numbers of `rows` x `columns` at `first` of `out`, four by each thread."""
    quads = (columns + 3) // 4
    row, column = cuda.grid(1) // quads, cuda.grid(1) % quads * 4
    if row < rows:
        normal = normal4(first_row + row, column, step, NOISE, seed, out)
        place = first + row * columns + column
        for k in range(min(4, columns - column)):
            out[place + k] = add(normal[k], 0.0)  # there is no -0.0 where noise has been added


def gaussian_noise(plan, seed, step):
    """Standard normal numbers, one for each parameter, (P,), of the generator keyed by `seed`."""
    out = empty(plan.size, plan.dtype)
    first = first_row = 0
    for layer in plan.parametric:
        rows, columns = layer.inputs + 1, layer.outputs  # of the weight, and the bias below
        threads = rows * -(-columns // 4)
        fill_kernel[-(-threads // THREADS), THREADS](
            out, first, rows, columns, first_row, bits_of(seed), step
        )
        first += layer.size
        first_row += rows
    return out.copy_to_host()
