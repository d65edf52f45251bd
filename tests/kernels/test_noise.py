"""Compiled Gaussian noise is that of the reference, is normal, and goes where it should."""

import re

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import output_of
from reference.test_noise import ERROR, KEYS, SIGMAS, exact_noise, moments, plan_of
from scipy.stats import kstest, norm, poisson
from test_machine_code import loops

from fastbatch.kernels import cpu, reference
from fastbatch.kernels.cpu import noise
from fastbatch.kernels.cpu.jit import tile_shape
from fastbatch.kernels.cpu.memory import pointer_to, store_unaligned
from fastbatch.kernels.cpu.philox import NOISE
from fastbatch.kernels.cpu.simd import lanes
from fastbatch.kernels.reference.noise import uniform_pairs

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])

# In units of eps times the number, an ulp being at most eps: log is wrong by 1, of which the root
# leaves half, cosine and sine are by 1.1; root and product round. That u is near 1, where an ulp
# of it is much to log(u), does no harm: u has the same bits everywhere.
RELATIVE_ERROR = 0.5 + 1.1 + 0.5 + 0.5
LARGEST = {"float32": 6.67, "float64": 8.66}  # radius: u is 2**-32 or 2**-54


@numba.njit
def fill_pairs(u, turn, row, step, seed):
    to_u, to_turn = pointer_to(u), pointer_to(turn)
    for group in range(u.size // lanes(to_u)):
        a, b = noise.uniform_pair(group, row, step, NOISE, seed, to_u)
        store_unaligned(to_u + group * lanes(to_u), a)
        store_unaligned(to_turn + group * lanes(to_u), b)


@each_dtype
@pytest.mark.parametrize(("seed", "step"), KEYS)
def test_uniform_numbers_have_the_bits_of_the_reference(seed, step, dtype):
    rows = np.array([0, 1, 2**31, 2**32 - 1])
    expected = uniform_pairs(rows, range(5), seed, step, np.dtype(dtype))
    found = np.empty_like(expected)
    for row, u, turn in zip(rows, *found, strict=True):
        fill_pairs(u, turn, row, step, np.uint64(seed).view(np.int64))
    np.testing.assert_array_equal(found, expected)


@each_dtype
@pytest.mark.parametrize(("seed", "step"), KEYS)
def test_every_number_is_right_to_its_last_bits(seed, step, dtype):
    plan = plan_of(3, 70, 5, dtype=dtype)
    found = cpu.gaussian_noise(plan, seed, step)
    assert found.shape == (plan.size,) and found.dtype == dtype
    _, exact = exact_noise(plan, seed, step)
    error = np.abs(found - exact) / np.abs(exact)
    assert error.max() <= RELATIVE_ERROR * np.finfo(dtype).eps


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    widths=st.lists(st.integers(1, 150), min_size=2, max_size=4),
    seed=st.integers(0, 2**64 - 1),
    step=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_noise_of_any_plan_is_that_of_the_reference(widths, seed, step, dtype):
    plan = plan_of(*widths, dtype=dtype)
    found, expected = (b.gaussian_noise(plan, seed, step) for b in (cpu, reference))
    bound = (ERROR + RELATIVE_ERROR) * np.finfo(dtype).eps * LARGEST[dtype]
    assert np.abs(found - expected).max() <= bound


def add(g, columns, std, first_row=0, first_group=0, step=5, seed=7):
    """Call the subroutine on the first columns of the matrix `g`."""
    rows, stride = g.shape
    noise.C_SIGNATURE(noise.add_noise.address(g.dtype))(
        g.ctypes.data, stride, rows, columns, first_row, first_group, step, seed,
        np.full(1, std, g.dtype).ctypes.data,
    )  # fmt: skip


@each_dtype
@pytest.mark.parametrize("columns", [1, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64])
def test_noise_leaves_the_padding_alone(columns, dtype):
    g = np.full((6, 70), 3.0, dtype)
    add(g, columns, std=2.0)
    assert (g[:, columns:] == 3.0).all()
    assert (g[:, :columns] != 3.0).all()


@each_dtype
def test_panels_get_what_the_whole_matrix_gets(dtype):
    whole = cpu.gaussian_noise(plan_of(10, 150, dtype=dtype), 7, 5).reshape(11, 150)
    panel = 256 // whole.itemsize
    for first_row in (0, 4):
        for start in range(0, 150, panel):
            expected = whole[first_row:, start : start + panel]
            g = np.zeros((len(expected), panel), dtype)
            add(g, expected.shape[1], 1.0, first_row, start // panel * 2)
            np.testing.assert_array_equal(g[:, : expected.shape[1]], expected)


def test_noise_is_added_with_one_rounding():
    plan = plan_of(10, 150, dtype="float32")
    normal = cpu.gaussian_noise(plan, 7, 5).reshape(11, 150).astype(np.float64)
    g = reference.uniform(plan.size, 1, 0).reshape(11, 150).astype(np.float32)
    std = np.float32(0.3)
    expected = (g + float(std) * normal).astype(np.float32)
    add(g, 150, std)
    np.testing.assert_array_equal(g, expected)


@each_dtype
def test_a_million_numbers_are_normal(dtype):
    x = cpu.gaussian_noise(plan_of(999, 1000, dtype=dtype), seed=1, step=1)
    assert np.abs(moments(x)).max() < SIGMAS
    assert kstest(x, "norm").pvalue > 1e-3


@each_dtype
def test_tails_are_as_heavy_as_they_should_be(dtype):
    plan = plan_of(9999, 2000, dtype=dtype)
    x = np.abs(cpu.gaussian_noise(plan, seed=1, step=2))
    for sigmas in (3.0, 4.0, 4.5, 5.0, 5.5):
        count, expected = np.count_nonzero(x > sigmas), 2 * norm.sf(sigmas) * plan.size
        chance = min(poisson.cdf(count, expected), poisson.sf(count - 1, expected))
        assert chance > 5e-4, (sigmas, count, expected)


ASSEMBLY = """
import numpy as np
from fastbatch.kernels.cpu.noise import add_noise
add_noise.address(np.dtype("float32"))
print(add_noise._compiled[np.dtype("float32")]._library.get_asm_str())
"""


@pytest.mark.slow
@pytest.mark.skipif(tile_shape() != "wide", reason="fewer registers")
def test_the_loop_neither_calls_nor_spills(tmp_path):
    assembly = output_of("-c", ASSEMBLY, FASTBATCH_CACHE_DIR=str(tmp_path))
    (loop,) = (loop for loop in loops(assembly) if "vsqrtps" in loop)
    assert loop.count("vpmuludq") >= 18  # two for each round of Philox but the first and the last
    assert "call" not in loop
    assert not re.search(r"%zmm\d+, -?\d*\(%rsp\)", loop), "a vector was spilled to the stack"
