"""A batch through a network: predictions, per-example losses and gradients, and their weighted sum.

Overflow is an answer here and not an accident: a network that has diverged has infinite losses,
and whoever trains it looks at those, so NumPy's warnings are silenced.
"""

import numpy as np

from . import dense
from .loss_functions import LOSSES


def outputs(plan, theta, X, check=False):
    """What the network predicts.

    Parameters
    ----------
    plan : Plan
    theta : ndarray, shape (P,)
    X : ndarray, shape (N, inputs)
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
    if check and not np.isfinite(X).all():
        raise FloatingPointError("X is not finite")
    activations, _ = _forward(plan, theta, X)
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
    per_example, _, _ = _examples(plan, theta, X, y)
    return per_example


def value_and_gradient(plan, theta, X, y, weights, scale):
    """``scale * sum_i weights_i loss_i`` and its gradient.

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
    loss_sum, gradient = weighted_sums(plan, theta, X, y, weights, scale)
    return scale * loss_sum, gradient


def per_example_gradients(plan, theta, X, y):
    """The gradient of each example's loss, none of them summed.

    Parameters
    ----------
    plan, theta, X, y
        As for `losses`.

    Returns
    -------
    ndarray, shape (N, P)

    Examples
    --------
    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(1, 1, "identity"),), "squared_error", "float64")
    >>> theta, X, y = np.array([2.0, 1.0]), np.array([[1.0], [2.0]]), np.array([[3.0], [2.0]])
    >>> per_example_gradients(plan, theta, X, y)
    array([[ 0.,  0.],
           [12.,  6.]])
    """
    _, activations, deltas = _examples(plan, theta, X, y)
    layers = zip(activations[:-1], deltas, strict=True)
    with np.errstate(over="ignore", invalid="ignore"):
        blocks = [dense.per_example_gradients(a, delta) for a, delta in layers]
    return np.concatenate(blocks, axis=1)


@np.errstate(over="ignore", invalid="ignore")
def weighted_sums(plan, theta, X, y, weights, scale):
    """``sum_i weights_i loss_i`` in float64, and ``scale * sum_i weights_i g_i``, shape (P,).

    This is the answer to what a mini-batch averages: every example has its own loss and its own
    gradient, and only then come the weights, the scale and the sum.
    """
    if weights is None:
        weights = np.ones(len(X), dtype=theta.dtype)
    counted = weights != 0  # left out and not multiplied by 0, for 0 * inf is not 0
    weights = weights[counted]
    per_example, activations, deltas = _examples(plan, theta, X[counted], y[counted])
    loss_sum = float(np.sum(weights * per_example, dtype=np.float64))
    coefficients = (scale * weights).astype(theta.dtype)
    layers = zip(activations[:-1], deltas, strict=True)
    blocks = [dense.gradient(a, delta, coefficients) for a, delta in layers]
    return loss_sum, np.concatenate(blocks)


@np.errstate(over="ignore", invalid="ignore")
def _examples(plan, theta, X, y):
    """Losses (N,), activations entering each layer and leaving the last, and deltas of each layer.

    Backpropagation, for every example on its own: no sum over examples occurs in it.
    """
    activations, derivatives = _forward(plan, theta, X)
    per_example, by_output = LOSSES[plan.loss](activations[-1], y)
    deltas = []
    for (weight, _), derivative in zip(
        reversed(_parameters(plan, theta)), reversed(derivatives), strict=True
    ):
        delta = by_output * derivative
        deltas.insert(0, delta)
        by_output = dense.backward(delta, weight)
    return per_example, activations, deltas


@np.errstate(over="ignore", invalid="ignore")
def _forward(plan, theta, X):
    """Activations entering each layer and leaving the last, and derivatives of each layer."""
    activations, derivatives = [X], []
    for layer, (weight, bias) in zip(plan.layers, _parameters(plan, theta), strict=True):
        a, derivative = dense.forward(activations[-1], weight, bias, layer.activation)
        activations.append(a)
        derivatives.append(derivative)
    return activations, derivatives


def _parameters(plan, theta):
    """Weight and bias of each layer, views of theta."""
    ends = np.cumsum([layer.size for layer in plan.layers])
    return [
        (part[: -layer.outputs].reshape(layer.shapes["weight"]), part[-layer.outputs :])
        for layer, part in zip(plan.layers, np.split(theta, ends[:-1]), strict=True)
    ]
