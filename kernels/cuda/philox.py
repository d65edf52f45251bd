"""Philox4x32-10, the counter-based generator of Salmon et al. (2011), and what is drawn from it.

A draw depends on nothing but its key (the seed) and its counter (index, stream, purpose), so it is
the same on every device, whichever thread makes it.
"""

import numpy as np

from .toolkit import cuda, empty, function, kernel, mul, on_host, to_float

# Purposes: the last word of the counter.
INITIAL_VALUES, SHUFFLES, SAMPLES, NOISE, LATENTS, MASKS = range(6)
_MASK = 0xFFFFFFFF
THREADS = 128


@function
def _upper(x):
    """The upper half of 64 bits."""
    return (x >> 32) & _MASK


@function
def words(index, stream, purpose, seed):
    """The four words of a block, each an integer of 64 bits.

    `seed` has the bits of an unsigned number.
    """
    c0, c1, c2, c3 = int(index) & _MASK, _upper(int(index)), int(stream) & _MASK, int(purpose)
    k0, k1 = int(seed) & _MASK, _upper(int(seed))
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = _upper(p1) ^ c1 ^ k0, p1 & _MASK, _upper(p0) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return c0, c1, c2, c3


def bits_of(seed):
    """The signed number with the bits of an unsigned `seed`, as kernels take it."""
    return np.uint64(seed).view(np.int64)


def _launch(filling, out, *arguments):
    """Let two elements of `out` be filled by each thread; return them on the host."""
    if out.size:
        filling[-(-out.size // (2 * THREADS)), THREADS](out, *arguments)
    return out.copy_to_host()


@function
def _unit(low, high, like):
    """The upper 53 of 64 bits, as a number of [0, 1)."""
    return mul(to_float((high << 21) | (low >> 11), like), 2.0**-53)


@kernel
def fill_uniform_kernel(draws, seed, stream, purpose):
    block = cuda.grid(1)
    w0, w1, w2, w3 = words(block, stream, purpose, seed)
    if 2 * block < draws.size:
        draws[2 * block] = _unit(w0, w1, draws)
    if 2 * block + 1 < draws.size:
        draws[2 * block + 1] = _unit(w2, w3, draws)


def uniform(count, seed, stream, purpose=INITIAL_VALUES):
    """Uniform draws from [0, 1), float64 (count,), of the generator keyed by `seed`."""
    out = empty(count, np.float64)
    return _launch(fill_uniform_kernel, out, bits_of(seed), np.int64(stream), np.int64(purpose))


@function
def _high_product(low, high, factor):
    """Upper half of the 128-bit product of the 64 bits and the factor."""
    factor_low, factor_high = factor & _MASK, _upper(factor)
    cross = high * factor_low
    middle = _upper(low * factor_low) + (cross & _MASK) + low * factor_high
    return high * factor_high + _upper(cross) + _upper(middle)


@kernel
def fill_partners_kernel(partners, seed, stream):
    block = cuda.grid(1)
    w0, w1, w2, w3 = words(block, stream, SHUFFLES, seed)
    if 2 * block < partners.size:
        partners[2 * block] = _high_product(w0, w1, 2 * block + 1)
    if 2 * block + 1 < partners.size:
        partners[2 * block + 1] = _high_product(w2, w3, 2 * block + 2)


@on_host
def _exchange(order, partners):
    """From the last element to the first, each with the one that was drawn for it."""
    for i in range(order.size - 1, 0, -1):
        j = partners[i]
        order[i], order[j] = order[j], order[i]


def permutation(count, seed, epoch):
    """Random permutation of ``range(count)``, int64, of the generator keyed by `seed`.

    The draws are made on the device; exchanging elements is one long chain, for the host.
    """
    partners = empty(count, np.int64)
    order = np.arange(count)
    _exchange(order, _launch(fill_partners_kernel, partners, bits_of(seed), np.int64(epoch)))
    return order
