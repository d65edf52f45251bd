"""A batch through a network: predictions, per-example losses, and the weighted sum of gradients.

Overflow is an answer here and not an accident: a network that has diverged has infinite losses,
and whoever trains it looks at those, so NumPy's warnings are silenced.
"""

import numpy as np

from ..plan import DenseOp, DropoutOp, GaussianSampleOp
from . import dense, dropout, gaussian_sample, sparse
from .loss_functions import LOSSES


def outputs(plan, theta, X, check=False):
    """What the network predicts.

    Parameters
    ----------
    plan : Plan
    theta : ndarray, shape (P,)
    X : ndarray or SparseRows, shape (N, inputs)
        N may be 0.
    check : bool
        Whether to look for NaN and infinities in X.

    Returns
    -------
    ndarray, shape (N, K)
        The last layer's activations; logits (or log-rates) for the losses that take them.

    Raises
    ------
    FloatingPointError
        If there are any.

    Examples
    --------
    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(2, 1, "identity"),), "squared_error", "float64")
    >>> outputs(plan, np.array([2.0, 3.0, 1.0]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    array([[3.],
           [4.]])
    """
    if check and not np.isfinite(sparse.numbers(sparse.examples(X))).all():
        raise FloatingPointError("X is not finite")
    activations, _ = forward(plan, theta, X)
    return activations[-1]


def losses(plan, theta, X, y):
    """The loss of each example.

    Parameters
    ----------
    plan, theta, X
        As for `outputs`.
    y : ndarray, shape (N, K), or of int64 labels, shape (N,)

    Returns
    -------
    ndarray, shape (N,)

    Examples
    --------
    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(1, 1, "identity"),), "squared_error", "float64")
    >>> losses(plan, np.array([2.0, 1.0]), np.array([[1.0], [2.0]]), np.array([[3.0], [2.0]]))
    array([0., 9.])
    """
    per_example, _ = backpropagate(plan, theta, X, y)
    return per_example


@np.errstate(over="ignore", invalid="ignore")
def value_and_gradient(plan, theta, X, y, weights, scale):
    """``scale * sum_i weights_i loss_i`` and its gradient.

    This is the answer to what a mini-batch averages: every example has its own loss and its own
    gradient, and only then come the weights, the scale and the sum.

    Parameters
    ----------
    plan, theta, X, y
        As for `losses`.
    weights : ndarray, shape (N,), or None
        None means 1 for all. An example of weight 0 contributes nothing, whatever it holds.
    scale : float

    Returns
    -------
    value : float
        Summed in float64.
    gradient : ndarray, shape (P,)

    Examples
    --------
    The two losses are 0 and 9; the second is halved:

    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(1, 1, "identity"),), "squared_error", "float64")
    >>> theta, X, y = np.array([2.0, 1.0]), np.array([[1.0], [2.0]]), np.array([[3.0], [2.0]])
    >>> value_and_gradient(plan, theta, X, y, np.array([1.0, 0.5]), 1.0)
    (4.5, array([6., 3.]))
    """
    rows, X, y, weights = counted(X, y, weights)
    per_example, layers = backpropagate(plan, theta, X, y, rows)
    loss_sum = float(np.sum(weights * per_example, dtype=np.float64))
    return scale * loss_sum, gradient_sum(layers, scale * weights)


def counted(X, y, weights):
    """The rows with a weight other than 0, and X, y and weights of those.

    They are left out and not multiplied by 0, for 0 * inf is not 0.
    """
    if weights is None:
        weights = np.ones(len(X), dtype=X.dtype)
    rows = np.flatnonzero(weights)
    return rows, sparse.examples(X)[rows], y[rows], weights[rows]


def gradient_sum(layers, coefficients):
    """``sum_i coefficients_i g_i``, shape (P,), from what `backpropagate` returns."""
    return np.concatenate(
        [dense.gradient(a, delta, coefficients.astype(delta.dtype)) for a, delta in layers]
    )


@np.errstate(over="ignore", invalid="ignore")
def backpropagate(plan, theta, X, y, rows=None, step=0):
    """Losses (N,), and of each layer with parameters what enters it and its delta.

    Those are (N, inputs) and (N, outputs). Every example goes on its own: no sum over examples
    occurs here. `rows` and `step` say which noise and masks they meet, as for `forward`.
    """
    activations, derivatives = forward(plan, theta, X, rows, step)
    losses, by_output = LOSSES[plan.loss](activations[-1], y)
    for a in _distributions(plan, activations):
        losses = losses + gaussian_sample.divergence(a)
    return losses, backward(plan, theta, activations, derivatives, by_output)


def _distributions(plan, activations):
    """What enters each layer that draws a sample."""
    return [
        a
        for layer, a in zip(plan.layers, activations[:-1], strict=True)
        if isinstance(layer, GaussianSampleOp)
    ]


@np.errstate(over="ignore", invalid="ignore")
def forward(plan, theta, X, rows=None, step=0):
    """Activations entering each layer and leaving the last, and derivatives of each layer.

    In place of derivatives, a layer that draws has what its `backward` needs. What it draws is that
    of these `rows`, by default 0 to N - 1, and of the training step.
    """
    X = sparse.examples(X)
    if rows is None:
        rows = np.arange(X.shape[0])
    activations, derivatives = [X], []
    parts = iter(parameters(plan, theta))
    for number, layer in enumerate(plan.layers):
        if isinstance(layer, DenseOp):
            a, derivative = dense.forward(activations[-1], *next(parts), layer.activation)
        elif isinstance(layer, DropoutOp):
            derivative = dropout.mask(plan, number, rows, step)
            a = dropout.forward(sparse.dense(activations[-1]), derivative)
        else:
            eps = gaussian_sample.noise(plan, number, rows, step)
            a, derivative = gaussian_sample.forward(activations[-1], eps)
        activations.append(a)
        derivatives.append(derivative)
    return activations, derivatives


@np.errstate(over="ignore", invalid="ignore")
def backward(plan, theta, activations, derivatives, by_output, divergence=True):
    """What enters each layer with parameters, and its delta.

    Given is each example's derivative by the outputs, (N, K), of a loss that holds the divergences
    of sampled distributions too, or does not.
    """
    pairs, parts = [], reversed(parameters(plan, theta))
    for layer, a, derivative in zip(
        reversed(plan.layers), reversed(activations[:-1]), reversed(derivatives), strict=True
    ):
        if isinstance(layer, DenseOp):
            delta = by_output * derivative
            pairs.insert(0, (a, delta))
            weight, _ = next(parts)
            by_output = dense.backward(delta, weight)
        elif isinstance(layer, DropoutOp):
            by_output = dropout.backward(by_output, derivative)
        else:
            by_output = gaussian_sample.backward(by_output, derivative)
            if divergence:
                by_output = by_output + gaussian_sample.divergence_gradient(a)
    return pairs


def parameters(plan, theta):
    """Weight and bias of each layer that has them, views of theta."""
    layers = plan.parametric
    ends = np.cumsum([layer.size for layer in layers])
    return [
        (part[: -layer.outputs].reshape(layer.shapes["weight"]), part[-layer.outputs :])
        for layer, part in zip(layers, np.split(theta, ends[:-1]), strict=True)
    ]
