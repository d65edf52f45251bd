"""A wrong answer to what a mini-batch averages, kept so that it can be measured: the errors.

It is in no other backend, and nothing trains with it.
"""

import numpy as np

from . import dense
from .loss_functions import LOSSES
from .network import parameters


# As in `network`: one that has diverged has infinite errors, which is an answer.
@np.errstate(over="ignore", invalid="ignore")
def gradient_of_mean_error(plan, theta, X, y):
    """What comes of averaging the errors first, and back-propagating that one mean error.

    Errors are derivatives of the losses by the outputs. Their mean goes back through the mean
    activations of each layer, with ``f'`` at the mean pre-activations. The gradient of the mean
    loss is a mean of *products* of these three, which differs from the product of their means by
    covariances, and by ``mean f'(z) - f'(mean z)``.

    Parameters
    ----------
    plan : Plan
        Of dense layers.
    theta : ndarray, shape (P,)
    X : ndarray, shape (N, inputs)
    y : ndarray, shape (N, K), or of int64 labels, shape (N,)

    Returns
    -------
    ndarray, shape (P,)

    Examples
    --------
    Two errors of 2 and -2, at the inputs 1 and 3, are 0 on average; the gradients by the weight are
    2 and -6:

    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(1, 1, "identity"),), "squared_error", "float64")
    >>> theta, X, y = np.array([1.0, 0.0]), np.array([[1.0], [3.0]]), np.array([[0.0], [4.0]])
    >>> gradient_of_mean_error(plan, theta, X, y)
    array([0., 0.])
    >>> from fastbatch.kernels.reference import value_and_gradient
    >>> value_and_gradient(plan, theta, X, y, None, 0.5)[1]
    array([-2.,  0.])
    """
    a, entering, slopes = X, [], []
    for layer, (weight, bias) in zip(plan.layers, parameters(plan, theta), strict=True):
        mean = a.mean(axis=0, keepdims=True)
        # The slope at the mean of z: z is linear in a, so that is the z of the mean of a.
        _, slope = dense.forward(mean, weight, bias, layer.activation)
        entering.append(mean)
        slopes.append(slope)
        a, _ = dense.forward(a, weight, bias, layer.activation)
    _, errors = LOSSES[plan.loss](a, y)

    error, parts = errors.mean(axis=0, keepdims=True), []
    for mean, slope, (weight, _) in zip(
        entering[::-1], slopes[::-1], parameters(plan, theta)[::-1], strict=True
    ):
        delta = error * slope
        parts.insert(0, dense.gradient(mean, delta, np.ones(1, delta.dtype)))
        error = dense.backward(delta, weight)
    return np.concatenate(parts)
