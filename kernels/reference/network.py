"""A batch through a network: predictions, per-example losses, and the weighted sum of gradients.

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
    _, X, y, weights = counted(X, y, weights)
    per_example, layers = backpropagate(plan, theta, X, y)
    loss_sum = float(np.sum(weights * per_example, dtype=np.float64))
    return scale * loss_sum, gradient_sum(layers, scale * weights)


def counted(X, y, weights):
    """Which examples have a weight other than 0, (N,), and X, y and weights of those.

    They are left out and not multiplied by 0, for 0 * inf is not 0.
    """
    if weights is None:
        weights = np.ones(len(X), dtype=X.dtype)
    which = weights != 0
    return which, X[which], y[which], weights[which]


def gradient_sum(layers, coefficients):
    """``sum_i coefficients_i g_i``, shape (P,), from what `backpropagate` returns."""
    return np.concatenate(
        [dense.gradient(a, delta, coefficients.astype(delta.dtype)) for a, delta in layers]
    )


@np.errstate(over="ignore", invalid="ignore")
def backpropagate(plan, theta, X, y):
    """Losses (N,), and of each layer what enters it and its delta, (N, inputs) and (N, outputs).

    Every example goes on its own: no sum over examples occurs here.
    """
    activations, derivatives = forward(plan, theta, X)
    per_example, by_output = LOSSES[plan.loss](activations[-1], y)
    deltas = backward(plan, theta, derivatives, by_output)
    return per_example, list(zip(activations[:-1], deltas, strict=True))


@np.errstate(over="ignore", invalid="ignore")
def forward(plan, theta, X):
    """Activations entering each layer and leaving the last, and derivatives of each layer."""
    activations, derivatives = [X], []
    for layer, (weight, bias) in zip(plan.layers, parameters(plan, theta), strict=True):
        a, derivative = dense.forward(activations[-1], weight, bias, layer.activation)
        activations.append(a)
        derivatives.append(derivative)
    return activations, derivatives


@np.errstate(over="ignore", invalid="ignore")
def backward(plan, theta, derivatives, by_output):
    """Deltas of each layer, given each example's derivative by the outputs, (N, K)."""
    deltas = []
    for (weight, _), derivative in zip(
        reversed(parameters(plan, theta)), reversed(derivatives), strict=True
    ):
        delta = by_output * derivative
        deltas.insert(0, delta)
        by_output = dense.backward(delta, weight)
    return deltas


def parameters(plan, theta):
    """Weight and bias of each layer, views of theta."""
    ends = np.cumsum([layer.size for layer in plan.layers])
    return [
        (part[: -layer.outputs].reshape(layer.shapes["weight"]), part[-layer.outputs :])
        for layer, part in zip(plan.layers, np.split(theta, ends[:-1]), strict=True)
    ]
