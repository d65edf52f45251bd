"""Philox4x32-10, the counter-based generator of Salmon et al. (2011), and what is drawn from it.

A draw depends on nothing but its key (the seed) and its counter (index, stream, purpose), so any
number of threads, and a run that was resumed, see the same numbers.
"""

import numpy as np

from .jit import entry, jit
from .memory import load_unaligned, pointer_to, store_unaligned

# Purposes: the last word of the counter.
INITIAL_VALUES, SHUFFLES, SAMPLES, NOISE, LATENTS, MASKS = range(6)
_MASK = 0xFFFFFFFF
_LANES = np.arange(8)  # of a vector of 64-bit integers


@jit
def _upper(x):
    """The upper half of 64 bits; vectors shift their sign, too."""
    return (x >> 32) & _MASK


@jit
def consecutive(first):
    """`first` and the seven integers after it, a vector."""
    return load_unaligned(pointer_to(_LANES)) + first


@jit(inline=True)  # noise takes 1.75 ns a number, not 1.2, if this is a call for each vector
def _block(index, stream, purpose, seed):
    """The four words of a block, as two 64-bit integers; `index` may be a vector."""
    c0, c1 = index & _MASK, _upper(index)
    c2, c3 = (index ^ index) + (stream & _MASK), (index ^ index) + purpose
    k0, k1 = seed & _MASK, _upper(seed)
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = _upper(p1) ^ c1 ^ k0, p1 & _MASK, _upper(p0) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return c0 | (c1 << 32), c2 | (c3 << 32)


@jit
def _high_product(a, b):
    """Upper half of the 128-bit product."""
    a0, a1, b0, b1 = a & _MASK, _upper(a), b & _MASK, _upper(b)
    low, cross = a0 * b0, a1 * b0
    middle = _upper(low) + (cross & _MASK) + a0 * b1
    return a1 * b1 + _upper(cross) + _upper(middle)


@entry
def fill_uniform(out, seed, stream, purpose):
    """Fill `out` (float64) with uniform draws from [0, 1)."""
    for block in range((out.size + 1) // 2):
        even, odd = _block(block, np.int64(stream), purpose, np.int64(seed))
        out[2 * block] = float((even >> 11) & (2**53 - 1)) * 2.0**-53
        if 2 * block + 1 < out.size:
            out[2 * block + 1] = float((odd >> 11) & (2**53 - 1)) * 2.0**-53


@entry
def shuffle(out, partners, seed, stream):
    """Fill `out` (int64) with a random permutation, by the method of Fisher and Yates.

    `partners` is room for 16 numbers: from the last element to the first, each is exchanged with
    one that is not behind it, and eight blocks are drawn for 16 of these partners at a time.
    """
    stream, seed = np.int64(stream), np.int64(seed)
    for i in range(out.size):
        out[i] = i
    even_partners, odd_partners = pointer_to(partners), pointer_to(partners) + 8
    for first in range((out.size - 1) // 16 * 8, -1, -8):
        index = consecutive(first)
        even, odd = _block(index, stream, SHUFFLES, seed)
        store_unaligned(even_partners, _high_product(even, index + index + 1))
        store_unaligned(odd_partners, _high_product(odd, index + index + 2))
        for k in range(min(16, out.size - 2 * first) - 1, -1, -1):
            i, j = 2 * first + k, partners[(k & 1) * 8 + (k >> 1)]
            out[i], out[j] = out[j], out[i]
