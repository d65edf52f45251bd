"""The generator of the kernels is Philox, and draws what the reference draws."""

import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference.test_philox import KNOWN_ANSWERS, words

from fastbatch.kernels import cpu, reference
from fastbatch.kernels.cpu import philox


@numba.njit
def block(index, stream, purpose, seed):
    return philox._block(index, stream, purpose, seed)


@pytest.mark.parametrize("name", KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(name):
    counter, key, expected = map(words, KNOWN_ANSWERS[name])
    index, seed = counter[0] | counter[1] << 32, key[0] | key[1] << 32
    counters = np.array([index, counter[2], counter[3], seed], np.uint64).view(np.int64)
    found = tuple(word % 2**64 for word in block(*counters))
    assert found == (expected[0] | expected[1] << 32, expected[2] | expected[3] << 32)


draws = given(
    count=st.integers(0, 300),
    seed=st.integers(0, 2**64 - 1),
    stream=st.integers(0, 2**32 - 1),
)
extremes = [
    example(count=count, seed=seed, stream=stream)
    for count in (1, 2, 10_001)
    for seed in (0, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
    for stream in (0, 2**31, 2**32 - 1)
]


def with_extremes(test):
    for extreme in extremes:
        test = extreme(test)
    return settings(max_examples=100, deadline=None, derandomize=True, database=None)(draws(test))


@with_extremes
def test_uniform_draws_are_those_of_the_reference(count, seed, stream):
    for purpose in range(4):
        found = cpu.uniform(count, seed, stream, purpose)
        assert found.dtype == np.float64
        expected = reference.uniform(count, seed, stream, purpose)
        np.testing.assert_array_equal(found, expected)


@with_extremes
def test_permutations_are_those_of_the_reference(count, seed, stream):
    found = cpu.permutation(count, seed, stream)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, reference.permutation(count, seed, stream))
