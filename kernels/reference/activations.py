"""The activation functions, each ``name(z) -> (a, derivative)``, all of the shape and dtype of z.

Each is exact to a few units in the last place over the whole range, so where the textbook formula
cancels or overflows another one stands here. Arguments may be complex: branches are then taken by
the real part, which is what complex-step differentiation needs (Squire and Trapp, SIAM Review
40, 1998).
"""

import math

import numpy as np
from scipy.special import ndtr


def identity(z):
    """``z``."""
    return z, np.ones_like(z)


def relu(z):
    """``max(z, 0)``, with derivative 0 at 0; NaN passes through."""
    return np.where(z.real <= 0, 0, z), (z.real > 0).astype(z.dtype)


def leaky_relu(z):
    """``z`` above 0, ``z / 100`` below, with derivative 1 / 100 at 0."""
    derivative = np.where(z.real > 0, 1.0, 0.01).astype(z.dtype)
    return derivative * z, derivative


def sigmoid(z):
    """``1 / (1 + exp(-z))``, from exp(-|z|), which cannot overflow."""
    small = np.exp(-magnitude(z))
    # 1 - a would cancel where a is nearly 1, so the derivative a (1 - a) is not written that way
    return np.where(z.real < 0, small, 1) / (1 + small), small / (1 + small) ** 2


def tanh(z):
    """``tanh(z)``; as tanh(z) = 2 sigmoid(2z) - 1, its derivative is 4 sigmoid'(2z)."""
    with np.errstate(over="ignore"):  # 2z
        _, derivative = sigmoid(2 * z)
    return np.tanh(z), 4 * derivative


def softplus(z):
    """``log(1 + exp(z))``."""
    a = np.where(z.real <= 0, 0, z) + np.log1p(np.exp(-magnitude(z)))
    derivative, _ = sigmoid(z)
    return a, derivative


def gelu(z):
    """``z Phi(z)`` with the normal distribution function Phi (Hendrycks and Gimpel, 2016).

    The exact form, without the approximation by tanh. SciPy's ``ndtr`` is
    ``(1 + erf(z / sqrt(2))) / 2`` without the cancellation at negative z.
    """
    distribution = ndtr(z)
    with np.errstate(over="ignore"):  # z * z, where the density is 0 anyway
        density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return z * distribution, distribution + z * density


def silu(z):
    """``z sigmoid(z)``."""
    s, slope = sigmoid(z)
    return z * s, s + z * slope


def elu(z):
    """``z`` above 0, ``exp(z) - 1`` below, with derivative 1 at 0."""
    below = np.where(z.real > 0, 0, z)
    return np.where(z.real > 0, z, np.expm1(below)), np.exp(below)


def magnitude(z):
    """``|z|``, for complex z continued from the real axis (NumPy's would be real)."""
    return np.where(z.real < 0, -z, z)


ACTIVATIONS = {
    activation.__name__: activation
    for activation in (identity, relu, leaky_relu, sigmoid, tanh, softplus, gelu, silu, elu)
}
