"""Random numbers: the published vectors, and that shuffles are fair."""

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from fastbatch.kernels.reference import permutation, uniform
from fastbatch.kernels.reference.philox import integers, philox4x32

# counter, key, result: the lines "philox4x32 10" of Random123's kat_vectors
KNOWN_ANSWERS = {
    "zeros": (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    "ones": (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    "pi": (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
}


def words(text):
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize("name", KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(name):
    counter, key, expected = map(words, KNOWN_ANSWERS[name])
    assert philox4x32(counter, key) == expected
    arrays = tuple(np.full(3, word, np.uint64) for word in counter)
    for word, answer in zip(philox4x32(arrays, key), expected, strict=True):
        assert word.dtype == np.uint64
        assert (word == answer).all()


def test_draws_are_the_words_of_the_blocks_in_order():
    seed, stream, purpose = 0x299F31D0A4093822, 7, 1
    key = (0xA4093822, 0x299F31D0)
    draws = integers(5, seed, stream, purpose).tolist()
    for block in range(2):
        w0, w1, w2, w3 = philox4x32((block, 0, stream, purpose), key)
        assert draws[2 * block : 2 * block + 2] == [w0 + (w1 << 32), w2 + (w3 << 32)]


def test_fewer_draws_are_the_first_of_more():
    np.testing.assert_array_equal(uniform(7, seed=3, stream=1), uniform(100, seed=3, stream=1)[:7])


def test_uniform_by_hand():
    # the first block of seed 0, stream 0 is the known answer for zeros
    expected = [0xE169C58D6627E8D5 / 2**64, 0x9B00DBD8BC57AC4C / 2**64]
    np.testing.assert_allclose(uniform(2, seed=0, stream=0), expected, rtol=0, atol=2.0**-53)


def test_uniform_numbers_for_every_purpose():
    np.testing.assert_array_equal(uniform(9, 3, 1), uniform(9, 3, 1, purpose=0))
    for purpose in (0, 1, 2, 3):
        draws = integers(9, 3, 1, purpose).tolist()
        expected = [(draw >> 11) / 2**53 for draw in draws]
        np.testing.assert_array_equal(uniform(9, 3, 1, purpose), expected)


def test_uniform_numbers_are_uniform_and_below_one():
    numbers = uniform(20_000, seed=2**64 - 1, stream=2**32 - 1)
    assert numbers.dtype == np.float64
    assert numbers.min() >= 0 and numbers.max() < 1
    assert kstest(numbers, "uniform").pvalue > 1e-3


def test_seeds_streams_and_purposes_share_no_draws():
    draws = np.concatenate(
        [
            integers(100, seed, stream, purpose)
            for seed in (0, 1, 2**32)
            for stream in (0, 1)
            for purpose in (0, 1, 2, 3)
        ]
    )
    assert len(set(draws.tolist())) == 2400


@pytest.mark.parametrize("count", [0, 1, 2, 3, 17, 1000])
def test_a_permutation_has_every_index_once(count):
    order = permutation(count, seed=5, epoch=9)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(count))


def test_permutation_by_hand():
    r = integers(4, seed=1, stream=2, purpose=1).tolist()
    order = np.arange(4)
    for i in (3, 2, 1):
        j = r[i] * (i + 1) // 2**64
        order[[i, j]] = order[[j, i]]
    np.testing.assert_array_equal(permutation(4, seed=1, epoch=2), order)


def test_all_permutations_are_equally_likely_over_the_epochs():
    seen = [tuple(permutation(4, seed=11, epoch=epoch).tolist()) for epoch in range(2400)]
    counts = [seen.count(order) for order in set(seen)]
    assert len(counts) == 24
    assert chisquare(counts).pvalue > 1e-3
