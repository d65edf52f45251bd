"""Philox4x32-10, the counter-based generator of Salmon et al. (2011), and what is drawn from it.

A draw depends on nothing but its key (the seed) and its counter (index, stream, purpose), so any
number of threads, and a run that was resumed, see the same numbers.
"""

import numpy as np

from .jit import entry, jit

INITIAL_VALUES, SHUFFLES = range(2)  # purposes: the last word of the counter


@jit
def _block(index, stream, purpose, seed):
    """The four words of a block, as two 64-bit integers."""
    mask = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    c0, c1 = index & mask, index >> half
    c2, c3 = stream & mask, np.uint64(purpose)
    k0, k1 = seed & mask, seed >> half
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ k0, p1 & mask, (p0 >> half) ^ c3 ^ k1, p0 & mask
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & mask, (k1 + np.uint64(0xBB67AE85)) & mask
    return c0 | c1 << half, c2 | c3 << half


@jit
def _high_product(a, b):
    """Upper half of the 128-bit product."""
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a0, a1, b0, b1 = a & mask, a >> half, b & mask, b >> half
    low, cross = a0 * b0, a1 * b0
    middle = (low >> half) + (cross & mask) + a0 * b1
    return a1 * b1 + (cross >> half) + (middle >> half)


@entry
def fill_uniform(out, seed, stream):
    """Fill `out` (float64) with uniform draws from [0, 1)."""
    stream, seed = np.uint64(stream), np.uint64(seed)
    for block in range((out.size + 1) // 2):
        even, odd = _block(np.uint64(block), stream, INITIAL_VALUES, seed)
        out[2 * block] = float(even >> np.uint64(11)) * 2.0**-53
        if 2 * block + 1 < out.size:
            out[2 * block + 1] = float(odd >> np.uint64(11)) * 2.0**-53


@jit
def _exchange(out, i, draw):
    """Swap element `i` with one that is not behind it."""
    j = np.int64(_high_product(draw, np.uint64(i + 1)))
    out[i], out[j] = out[j], out[i]


@entry
def shuffle(out, seed, stream):
    """Fill `out` (int64) with a random permutation, by the method of Fisher and Yates."""
    stream, seed = np.uint64(stream), np.uint64(seed)
    for i in range(out.size):
        out[i] = i
    for block in range((out.size - 1) // 2, -1, -1):
        even, odd = _block(np.uint64(block), stream, SHUFFLES, seed)
        if 2 * block + 1 < out.size:
            _exchange(out, 2 * block + 1, odd)
        _exchange(out, 2 * block, even)
