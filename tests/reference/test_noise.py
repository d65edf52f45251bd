"""Gaussian noise: every number by hand; that they are normal, and independent."""

import itertools

import mpmath
import numpy as np
import pytest
from scipy.stats import chi2, kstest

from fastbatch.kernels.plan import DenseOp, Plan
from fastbatch.kernels.reference import gaussian_noise
from fastbatch.kernels.reference.philox import philox4x32

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])

# In units of eps times the radius. NumPy promises 4 ulp for log, cos and sin: the root leaves half
# of the 4 eps of log, and 4 ulp of a cosine are 2 eps; the angle, rounded twice, is wrong by eps,
# and at most pi / 4; root and product round. Where u is near 1, an ulp of it is much to log(u), and
# to the radius: but u is rounded before, and has the same bits however it is computed.
ERROR = 2 + 2 + np.pi / 4 + 1


def plan_of(*widths, dtype):
    """Of layers with these widths."""
    layers = (DenseOp(*pair, "identity") for pair in itertools.pairwise(widths))
    return Plan(tuple(layers), "squared_error", dtype)


def exact_number(row, column, seed, step, dtype):
    """Radius and number of a place, rounded nowhere but in u and turn, by the definition."""
    lanes = 16 if dtype == "float32" else 8
    group, j, second = column // (2 * lanes), column % lanes, column // lanes % 2
    index = 8 * group + (j // 2 if dtype == "float32" else j)
    w = philox4x32((index, row, step % 2**32, 3), (seed % 2**32, seed // 2**32))
    if dtype == "float32":
        a, b = w[j % 2], w[2 + j % 2]
        u = (np.float32(a // 2) + np.float32(0.5)) / np.float32(2**31)
        turn = np.float32(b - 2**32 * (b >= 2**31)) / np.float32(2**32)
    else:
        a, b = w[0] + 2**32 * w[1], w[2] + 2**32 * w[3]
        u = (float(a // 2**11) + 0.5) / 2**53
        turn = float((b - 2**64 * (b >= 2**63)) // 2**11) / 2**53
    radius = mpmath.sqrt(-2 * mpmath.log(float(u)))
    return radius, radius * (mpmath.sinpi if second else mpmath.cospi)(2 * float(turn))


def exact_noise(plan, seed, step):
    """Radii and numbers for all parameters in the flat order, as float64."""
    row, numbers = 0, []
    with mpmath.workprec(100):
        for layer in plan.layers:
            for _ in range(layer.inputs + 1):
                for column in range(layer.outputs):
                    pair = exact_number(row, column, seed, step, plan.dtype)
                    numbers.append([float(x) for x in pair])
                row += 1
    return np.array(numbers).T


KEYS = [(0, 0), (2**64 - 1, 2**32 - 1), (2**40 + 5, 2**32 + 3), (2**31, 2**31)]


@each_dtype
@pytest.mark.parametrize(("seed", "step"), KEYS)
def test_every_number_is_that_of_its_place(seed, step, dtype):
    plan = plan_of(3, 70, 5, dtype=dtype)
    found = gaussian_noise(plan, seed, step)
    assert found.shape == (plan.size,) and found.dtype == dtype
    radius, exact = exact_noise(plan, seed, step)
    error = np.abs(found - exact) / radius
    assert error.max() <= ERROR * np.finfo(dtype).eps


@each_dtype
def test_smaller_layers_have_the_first_columns_of_larger_ones(dtype):
    small, large = (
        gaussian_noise(plan_of(6, columns, dtype=dtype), 1, 2).reshape(7, columns)
        for columns in (21, 150)
    )
    np.testing.assert_array_equal(small, large[:, :21])


# Keys and thresholds were fixed before: a right generator fails such a test once in 1,000.
SIGMAS = 3.29


def moments(x):
    """Mean, variance, skewness and kurtosis, in standard deviations from those of a normal."""
    n, x = len(x), x.astype(np.float64)
    skewness, kurtosis = (np.mean(x**3), np.mean(x**4))
    return np.array(
        [
            np.mean(x) * np.sqrt(n),
            (np.mean(x**2) - 1) * np.sqrt(n / 2),
            skewness * np.sqrt(n / 15),
            (kurtosis - 3) * np.sqrt(n / 96),
        ]
    )


@each_dtype
def test_a_million_numbers_are_normal(dtype):
    x = gaussian_noise(plan_of(999, 1000, dtype=dtype), seed=1, step=0)
    assert np.abs(moments(x)).max() < SIGMAS
    assert kstest(x, "norm").pvalue > 1e-3


def streams(differ, dtype):
    """Noise of 20 to 64 seeds, steps, rows or columns, (streams, numbers)."""
    if differ == "rows":
        return gaussian_noise(plan_of(63, 5000, dtype=dtype), 2, 3).reshape(64, 5000)
    if differ == "columns":
        return gaussian_noise(plan_of(4999, 64, dtype=dtype), 2, 3).reshape(5000, 64).T
    plan = plan_of(99, 50, dtype=dtype)
    keys = {
        "seeds": [(seed + 2**32 * seed * (seed % 2), 3) for seed in range(20)],
        "steps": [(2, step) for step in range(20)],
    }
    return np.stack([gaussian_noise(plan, *key) for key in keys[differ]])


@each_dtype
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("differ", ["seeds", "steps", "rows", "columns"])
def test_streams_are_not_correlated(differ, power, dtype):
    x = streams(differ, dtype).astype(np.float64) ** power
    r = np.corrcoef(x)[np.triu_indices(len(x), 1)]
    assert chi2.sf(x.shape[1] * (r**2).sum(), len(r)) > 1e-3


def test_no_number_comes_twice():
    plan = plan_of(50, 40, 30, dtype="float64")
    numbers = [
        gaussian_noise(plan, seed, step) for seed in (0, 1, 2**32, 2**63) for step in (0, 1, 2**31)
    ]
    assert np.unique(np.abs(numbers)).size == 12 * plan.size
