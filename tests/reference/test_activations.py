"""The activations against mpmath, over the whole range, and their derivatives by complex step."""

import mpmath
import numpy as np
import pytest

from fastbatch.kernels.reference.activations import ACTIVATIONS

every_activation = pytest.mark.parametrize("name", ACTIVATIONS)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])

EXACT = {
    "identity": lambda z: z,
    "relu": lambda z: max(z, mpmath.mpf(0)),
    "leaky_relu": lambda z: z if z > 0 else z / 100,
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "tanh": mpmath.tanh,
    "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
    "gelu": lambda z: z * mpmath.erfc(-z / mpmath.sqrt(2)) / 2,
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "elu": lambda z: z if z > 0 else mpmath.expm1(z),
}


def points(dtype):
    """From near 0 to where exp underflows, both signs, none at a kink."""
    sizes = np.concatenate([np.geomspace(1e-30, 1e-2, 8), np.linspace(0.05, 60, 80)])
    return np.concatenate([-sizes[::-1], sizes]).astype(dtype)


@every_activation
@every_dtype
def test_value_is_exact_to_a_few_units_in_the_last_place(name, dtype):
    z = points(dtype)
    a, _ = ACTIVATIONS[name](z)
    with mpmath.workdps(60):
        exact = [float(EXACT[name](mpmath.mpf(float(x)))) for x in z]
    assert a.dtype == dtype
    # exp(-z**2 / 2) magnifies the rounding of its argument: far out, gelu is less exact than that
    far = np.maximum(1, z.astype(float) ** 2 / 2) if name == "gelu" else 1
    tiny = np.finfo(dtype).tiny
    assert (abs(a - exact) <= 8 * np.finfo(dtype).eps * far * np.abs(exact) + tiny).all()


@every_activation
@every_dtype
def test_derivative_is_exact_to_a_few_units_in_the_last_place(name, dtype):
    z = points(dtype)
    _, derivative = ACTIVATIONS[name](z)
    with mpmath.workdps(60):
        exact = [float(mpmath.diff(EXACT[name], mpmath.mpf(float(x)))) for x in z]
    assert derivative.dtype == dtype
    # silu's and gelu's are sums that cancel where they cross 0, near -1.28 and -0.75
    scale = np.abs(exact) + (0.1 if name in ("silu", "gelu") else 0)
    tiny = np.finfo(dtype).tiny
    assert (abs(derivative - exact) <= 8 * np.finfo(dtype).eps * scale + tiny).all()


@every_activation
def test_derivative_equals_the_complex_step(name):
    z = np.linspace(-6, 6, 50)
    stepped, _ = ACTIVATIONS[name](z + 1e-30j)
    _, derivative = ACTIVATIONS[name](z)
    np.testing.assert_allclose(stepped.imag / 1e-30, derivative, rtol=1e-13, atol=1e-14)


@every_activation
@every_dtype
def test_every_finite_number_gives_a_finite_answer_without_a_warning(name, dtype):
    largest = np.finfo(dtype).max
    z = np.array([-largest, -1000, -0.0, 0, 1000, largest], dtype)
    a, derivative = ACTIVATIONS[name](z)
    assert np.isfinite(a).all() and np.isfinite(derivative).all()


@every_activation
def test_nan_passes_through(name):
    a, _ = ACTIVATIONS[name](np.array([np.nan, 1.0]))
    assert np.isnan(a[0]) and np.isfinite(a[1])


@pytest.mark.parametrize(
    ("name", "value", "derivative"),
    [
        ("identity", 0, 1),
        ("relu", 0, 0),
        ("leaky_relu", 0, 0.01),
        ("sigmoid", 0.5, 0.25),
        ("tanh", 0, 1),
        ("softplus", np.log(2), 0.5),
        ("gelu", 0, 0.5),
        ("silu", 0, 0.5),
        ("elu", 0, 1),
    ],
)
def test_at_zero_by_hand(name, value, derivative):
    assert ACTIVATIONS[name](np.zeros(1)) == (pytest.approx(value), pytest.approx(derivative))
