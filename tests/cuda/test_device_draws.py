"""What is drawn on the device is what the CPU draws, bit for bit."""

import numpy as np
import pytest

from fastbatch.kernels import cpu, reference
from fastbatch.kernels.cuda import noise, philox
from fastbatch.kernels.cuda.toolkit import empty, kernel
from fastbatch.kernels.plan import DenseOp, Plan

SEEDS = [0, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_are_those_of_the_reference(seed):
    for index in (0, 1, 2**32 - 1, 2**32, 2**63 - 1):
        for stream in (0, 2**31, 2**32 - 1):
            counter = index & philox._MASK, index >> 32, stream, philox.NOISE
            expected = reference.philox.philox4x32(counter, (seed & philox._MASK, seed >> 32))
            found = philox.words(index, stream, philox.NOISE, philox.bits_of(seed))
            assert found == tuple(map(int, expected))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [0, 1, 2, 255, 700])
def test_uniform_draws_are_those_of_the_reference(count, seed):
    for stream, purpose in ((0, philox.INITIAL_VALUES), (2**32 - 1, philox.SAMPLES)):
        found = philox.uniform(count, seed, stream, purpose)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, reference.uniform(count, seed, stream, purpose))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [0, 1, 2, 257, 1000])
def test_permutations_are_those_of_the_reference(count, seed):
    for epoch in (0, 2**32 - 1):
        found = philox.permutation(count, seed, epoch)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, reference.permutation(count, seed, epoch))


@pytest.mark.parametrize("factor", [1, 2**31 - 1, 2**32, 2**32 + 12345, 2**62 + 7, 2**63 - 1])
def test_products_are_right_however_many_elements_there_are(factor):
    for draw in (0, 1, 2**32 - 1, 2**63 + 2**31, 2**64 - 1):
        found = philox._high_product(draw & philox._MASK, draw >> 32, factor)
        assert found == draw * factor >> 64


@each_dtype
@pytest.mark.parametrize(("seed", "step"), [(7, 5), (2**64 - 1, 2**32 - 1)])
def test_noise_is_that_of_the_cpu(seed, step, dtype):
    layers = DenseOp(3, 70, "identity"), DenseOp(70, 5, "identity")
    plan = Plan(layers, "squared_error", dtype)
    found = noise.gaussian_noise(plan, seed, step)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, cpu.gaussian_noise(plan, seed, step))


@kernel
def _four_numbers(out, row, column):
    out[0], out[1], out[2], out[3] = noise.normal4(row, column, 3, philox.NOISE, 5, out)


@each_dtype
def test_noise_of_rows_and_columns_far_away_is_that_of_the_cpu(dtype):
    out, one = empty(4, dtype), np.ones(1, dtype)
    add = cpu.noise.C_SIGNATURE(cpu.noise.add_noise.address(out.dtype))
    width = 128 // out.dtype.itemsize  # of a group
    for row in (0, 2**31, 2**32 - 1):
        for column in (0, 4, 12, 16, 28, 4 * 10**6):
            _four_numbers[1, 1](out, row, column)
            expected, group = np.zeros((1, width), dtype), column // width
            add(expected.ctypes.data, width, 1, width, row, group, 3, 5, one.ctypes.data)
            first = column - group * width
            np.testing.assert_array_equal(out.copy_to_host(), expected[0, first : first + 4])
