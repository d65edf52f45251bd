"""Random numbers that depend on (seed, stream, index) and on nothing else: Philox4x32-10.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A counter
goes in and four random words come out, so that draw number 1000 costs no more than draw number 0
and any thread can compute any draw.
"""

import numpy as np

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57  # the paper's, and Random123's
KEY_STEPS = 0x9E3779B9, 0xBB67AE85  # the golden ratio and sqrt(3) - 1, as 32-bit fractions
ROUNDS = 10
LOW = 0xFFFFFFFF  # the low 32 bits

# The last word of the counter says what the numbers are for, so that no two uses share any.
INITIAL_VALUES = 0
SHUFFLES = 1
SAMPLES = 2
NOISE = 3
LATENTS = 4
MASKS = 5


def philox4x32(counter, key):
    """Four random words for every counter.

    Parameters
    ----------
    counter : tuple of four uint64 arrays or ints that broadcast together
        Each holds 32-bit words.
    key : tuple of two int
        32-bit words.

    Returns
    -------
    tuple of four uint64 arrays
        Each holds 32-bit words.

    Examples
    --------
    >>> zero = np.zeros(1, np.uint64)
    >>> [hex(word[0]) for word in philox4x32((zero, zero, zero, zero), (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        product0 = MULTIPLIERS[0] * c0  # of two 32-bit words: exact in 64 bits
        product1 = MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> 32) ^ c1 ^ k0,
            product1 & LOW,
            (product0 >> 32) ^ c3 ^ k1,
            product0 & LOW,
        )
        k0, k1 = (k0 + KEY_STEPS[0]) & LOW, (k1 + KEY_STEPS[1]) & LOW
    return c0, c1, c2, c3


def integers(count, seed, stream, purpose):
    """The first `count` 64-bit draws of a stream, shape (count,), dtype uint64; a block holds two.

    Examples
    --------
    >>> [hex(draw) for draw in integers(2, seed=0, stream=0, purpose=INITIAL_VALUES)]
    ['0xe169c58d6627e8d5', '0x9b00dbd8bc57ac4c']
    """
    block = np.arange((count + 1) // 2, dtype=np.uint64)
    counter = (block & LOW, block >> 32, np.uint64(stream), np.uint64(purpose))
    w0, w1, w2, w3 = philox4x32(counter, key=(seed & LOW, seed >> 32))
    return np.stack([w0 | w1 << 32, w2 | w3 << 32], axis=1).reshape(-1)[:count]


def uniform(count, seed, stream, purpose=INITIAL_VALUES):
    """Uniform numbers in [0, 1): the upper 53 bits of each draw.

    Parameters
    ----------
    count : int
    seed : int
        In [0, 2**64).
    stream : int
        In [0, 2**32); other streams give other numbers.
    purpose : int
        What they are for, one of those named above; other purposes give other numbers.

    Returns
    -------
    ndarray, shape (count,), float64

    Examples
    --------
    >>> uniform(3, seed=0, stream=0)
    array([0.8805202 , 0.60548185, 0.36209112])
    """
    return (integers(count, seed, stream, purpose) >> 11) * 2.0**-53


def permutation(count, seed, epoch):
    """The order in which an epoch visits its examples: a Fisher-Yates shuffle.

    Parameters
    ----------
    count : int
    seed : int
        In [0, 2**64).
    epoch : int
        In [0, 2**32).

    Returns
    -------
    ndarray, shape (count,), int64

    Notes
    -----
    Durstenfeld's form (Knuth, TAOCP 2, section 3.4.2, algorithm P), with the place to swap with
    taken from the high half of a 128-bit product. Lemire ("Fast random integer generation in an
    interval", 2019) then rejects some draws; without that, the places to swap with have
    probabilities that differ by up to 2**-64.

    Examples
    --------
    >>> permutation(6, seed=0, epoch=0)
    array([3, 1, 0, 5, 4, 2])
    """
    draws = integers(count, seed, epoch, SHUFFLES).tolist()  # Python ints: products of any length
    order = list(range(count))
    for i in range(count - 1, 0, -1):
        j = (draws[i] * (i + 1)) >> 64
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.int64)
