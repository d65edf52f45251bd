"""The dense layer: ``activation(a @ weight + bias)``.

The derivative of an example's loss by the layer's pre-activations is called `delta`. Given that,
forward, backward and gradient are three matrix products, and an example's own gradient is the outer
product of a and delta: what is asked about it can be worked out from those two, without it.
What enters the first layer may be sparse.
"""

import numpy as np

from . import sparse
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
    a = sparse.dense(a)
    outer = a[:, :, None] * delta[:, None, :]  # (B, inputs, outputs)
    return np.concatenate([outer.reshape(len(a), a.shape[1] * delta.shape[1]), delta], axis=1)


def squared_norms(
    a,  # (B, inputs)
    delta,  # (B, outputs)
):
    """The squared norm of each example's gradient, (B,).

    A norm of an outer product is the product of the norms. The input of the bias is 1
    (Goodfellow 2015, "Efficient per-example gradient computations").
    """
    return ((a * a).sum(axis=1) + 1) * (delta * delta).sum(axis=1)


def inner_products(
    a,  # (B, inputs)
    delta,  # (B, outputs)
    weight,  # (inputs, outputs)
    bias,  # (outputs,)
):
    """The inner product of each example's gradient with one direction in weight and bias, (B,).

    A step in that direction changes the pre-activations by ``a @ weight + bias``, and delta says
    what comes of it.
    """
    return (delta * (a @ weight + bias)).sum(axis=1)


def gram(
    a,  # (Ba, inputs)
    delta_a,  # (Ba, outputs)
    b,  # (Bb, inputs)
    delta_b,  # (Bb, outputs)
):
    """The inner product of each gradient of one batch with each of another, (Ba, Bb).

    That of two outer products is the product of the factors' inner products.
    """
    return (sparse.dense(a @ b.T) + 1) * (delta_a @ delta_b.T)
