"""The dense layer: ``activation(a @ weight + bias)``.

The derivative of an example's loss by the layer's pre-activations is called `delta`. Given that,
forward, backward and gradient are three matrix products.
"""

import numpy as np

from .activations import ACTIVATIONS


def forward(
    a,  # (B, inputs)
    weight,  # (inputs, outputs)
    bias,  # (outputs,)
    activation,  # its name
):
    """What leaves the layer, and the activation's derivative there, both (B, outputs)."""
    return ACTIVATIONS[activation](a @ weight + bias)


def backward(
    delta,  # (B, outputs)
    weight,  # (inputs, outputs)
):
    """The derivative of each example's loss by what entered the layer, (B, inputs)."""
    return delta @ weight.T


def gradient(
    a,  # (B, inputs)
    delta,  # (B, outputs)
    coefficients,  # (B,)
):
    """The sum of `per_example_gradients`, each times its coefficient, (P,), without making them.

    ``sum_i c_i outer(a_i, delta_i)`` is the matrix product ``a.T @ (c * delta)``.
    """
    weighted = coefficients[:, None] * delta
    return np.concatenate([(a.T @ weighted).ravel(), weighted.sum(axis=0)])


def per_example_gradients(
    a,  # (B, inputs)
    delta,  # (B, outputs)
):
    """The gradient of each example's loss by weight and bias, (B, P).

    The pre-activations are ``a @ weight + bias``: by the weight the gradient is the outer
    product of a and delta, by the bias, whose input is always 1, it is delta.
    """
    outer = a[:, :, None] * delta[:, None, :]  # (B, inputs, outputs)
    return np.concatenate([outer.reshape(len(a), a.shape[1] * delta.shape[1]), delta], axis=1)
