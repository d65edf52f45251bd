"""What is asked about the gradient of each example: its norm, its products with others, itself.

The gradient of a layer is an outer product (`dense`), so most answers need what enters each layer
and the deltas, and no gradient. `plan`, `theta`, `X`, `y` and `weights` are as in `network`.
"""

import numpy as np

from . import dense, sparse
from .network import backpropagate, backward, counted, forward, gradient_sum, parameters


@np.errstate(over="ignore", invalid="ignore")
def gradient_norms(plan, theta, X, y, per_layer=False):
    """The Euclidean norm of each example's gradient, or of each layer's part of it.

    Goodfellow 2015, "Efficient per-example gradient computations".

    Parameters
    ----------
    plan : Plan
    theta : ndarray, shape (P,)
    X : ndarray, shape (N, inputs)
        N may be 0.
    y : ndarray, shape (N, K), or of int64 labels, shape (N,)
    per_layer : bool

    Returns
    -------
    ndarray, shape (N,), or (N, layers) if `per_layer`

    Examples
    --------
    The gradients are (0, 0) and (-4, -2):

    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(1, 1, "identity"),), "squared_error", "float64")
    >>> theta, X, y = np.array([2.0, 1.0]), np.array([[1.0], [2.0]]), np.array([[3.0], [6.0]])
    >>> gradient_norms(plan, theta, X, y) ** 2
    array([ 0., 20.])
    """
    _, layers = backpropagate(plan, theta, X, y)
    return norms(layers, per_layer)


@np.errstate(over="ignore", invalid="ignore")
def clipped_gradient(plan, theta, X, y, weights, scale, clip):
    """``scale * sum_i weights_i clip(g_i)``, and the norms of the gradients before clipping.

    In one backward pass: who multiplies an example's delta multiplies its gradient (Lee & Kifer
    2021, "Scaling up differentially private deep learning with fast per-example gradient
    clipping"; Li et al. 2022, "Large language models can be strong differentially private
    learners", who call it ghost clipping).

    Parameters
    ----------
    plan, theta, X, y
        As for `gradient_norms`.
    weights : ndarray, shape (N,), or None
        None means 1 for all. An example of weight 0 contributes nothing, whatever it holds.
    scale : float
    clip
        Its `bounds(layers)`, and whether it is `per_layer` and `automatic`, then with `gamma`.

    Returns
    -------
    gradient : ndarray, shape (P,)
    norms : ndarray, shape (N,), or (N, layers) if ``clip.per_layer``
        0 for an example of weight 0.

    Examples
    --------
    The gradients are (0, 0) and (6, 8), of which the second is too long by a factor of 2:

    >>> from types import SimpleNamespace
    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> clip = SimpleNamespace(bounds=lambda layers: (5.0,), per_layer=False, automatic=False)
    >>> plan = Plan((DenseOp(1, 1, "identity"),), "squared_error", "float64")
    >>> theta, X, y = np.array([4.0, 1.0]), np.array([[0.0], [0.75]]), np.array([[1.0], [0.0]])
    >>> clipped_gradient(plan, theta, X, y, None, 1.0, clip)
    (array([3., 4.]), array([ 0., 10.]))
    """
    examples = len(X)
    rows, X, y, weights = counted(X, y, weights)
    _, layers = backpropagate(plan, theta, X, y, rows)
    layers, before = clipped(layers, clip)
    all_norms = np.zeros((examples, *before.shape[1:]), dtype=before.dtype)
    all_norms[rows] = before
    return gradient_sum(layers, scale * weights), all_norms


@np.errstate(over="ignore", invalid="ignore")
def second_moments(plan, theta, X, y, weights, scale):
    """``scale * sum_i weights_i g_i**2``, elementwise.

    Less the square of the mean gradient, this is the variance of the gradients, which says how
    large a batch may be (McCandlish et al. 2018, "An empirical model of large-batch training").

    Parameters
    ----------
    plan, theta, X, y, weights, scale
        As for `clipped_gradient`.

    Returns
    -------
    ndarray, shape (P,)

    Examples
    --------
    The gradients are (0, 0) and (-4, -2):

    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(1, 1, "identity"),), "squared_error", "float64")
    >>> theta, X, y = np.array([2.0, 1.0]), np.array([[1.0], [2.0]]), np.array([[3.0], [6.0]])
    >>> second_moments(plan, theta, X, y, None, 0.5)
    array([8., 2.])
    """
    rows, X, y, weights = counted(X, y, weights)
    _, layers = backpropagate(plan, theta, X, y, rows)
    squares = [(a * a, delta * delta) for a, delta in layers]  # of an outer product, elementwise
    return gradient_sum(squares, scale * weights)


@np.errstate(over="ignore", invalid="ignore")
def inner_products(plan, theta, X, y, direction):
    """The inner product of each example's gradient with a direction: its directional derivative.

    Parameters
    ----------
    plan, theta, X, y
        As for `gradient_norms`.
    direction : ndarray, shape (P,)

    Returns
    -------
    ndarray, shape (N,)

    Examples
    --------
    The gradients are (0, 0) and (-4, -2):

    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(1, 1, "identity"),), "squared_error", "float64")
    >>> theta, X, y = np.array([2.0, 1.0]), np.array([[1.0], [2.0]]), np.array([[3.0], [6.0]])
    >>> inner_products(plan, theta, X, y, np.array([1.0, -3.0]))
    array([0., 2.])
    """
    _, layers = backpropagate(plan, theta, X, y)
    return sum(
        dense.inner_products(a, delta, weight, bias)
        for (a, delta), (weight, bias) in zip(layers, parameters(plan, direction), strict=True)
    )


@np.errstate(over="ignore", invalid="ignore")
def gradient_gram(plan, theta, Xa, ya, Xb, yb):
    """The inner product of each example's gradient with each of another set of examples.

    Parameters
    ----------
    plan, theta
        As for `gradient_norms`.
    Xa, ya, Xb, yb
        Two sets of examples, Na and Nb of them, or the same one twice.

    Returns
    -------
    ndarray, shape (Na, Nb)

    Examples
    --------
    The gradients are (2, 2) and (-4, -2):

    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(1, 1, "identity"),), "squared_error", "float64")
    >>> theta, X, y = np.array([2.0, 1.0]), np.array([[1.0], [2.0]]), np.array([[2.0], [6.0]])
    >>> gradient_gram(plan, theta, X, y, X, y)
    array([[  8., -12.],
           [-12.,  20.]])
    """
    _, layers_a = backpropagate(plan, theta, Xa, ya)
    _, layers_b = backpropagate(plan, theta, Xb, yb)
    return gram(layers_a, layers_b)


@np.errstate(over="ignore", invalid="ignore")
def per_example_gradients(plan, theta, X, y, out=None):
    """The gradient of each example's loss, none of them summed.

    Parameters
    ----------
    plan, theta, X, y
        As for `gradient_norms`.
    out : ndarray, shape (N, P), optional
        Where to put them.

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
    _, layers = backpropagate(plan, theta, X, y)
    return gradients(layers, out)


@np.errstate(over="ignore", invalid="ignore")
def output_jacobian(plan, theta, X):
    """The gradient of each output of each example.

    Parameters
    ----------
    plan, theta, X
        As for `gradient_norms`.

    Returns
    -------
    ndarray, shape (N, K, P)

    Examples
    --------
    The outputs of ``x @ weight + bias`` have the gradients (x, 0, 1, 0) and (0, x, 0, 1):

    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(1, 2, "identity"),), "squared_error", "float64")
    >>> output_jacobian(plan, np.zeros(4), np.array([[3.0]]))
    array([[[3., 0., 1., 0.],
            [0., 3., 0., 1.]]])
    """
    return gradients(layers_of_outputs(plan, theta, X)).reshape(len(X), plan.outputs, plan.size)


@np.errstate(over="ignore", invalid="ignore")
def tangent_kernel(plan, theta, Xa, Xb):
    """The inner product of each gradient in `output_jacobian` of Xa with each of Xb.

    That is the empirical neural tangent kernel (Jacot et al. 2018, "Neural tangent kernel"): times
    the losses' derivatives by the outputs at Xb, it tells how fast the outputs at Xa fall when Xb
    is descended on.

    Parameters
    ----------
    plan, theta
        As for `gradient_norms`.
    Xa : ndarray, shape (Na, inputs)
    Xb : ndarray, shape (Nb, inputs)

    Returns
    -------
    ndarray, shape (Na, Nb, K, K)

    Examples
    --------
    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(1, 2, "identity"),), "squared_error", "float64")
    >>> tangent_kernel(plan, np.zeros(4), np.array([[3.0]]), np.array([[2.0]]))
    array([[[[7., 0.],
             [0., 7.]]]])
    """
    flat = gram(layers_of_outputs(plan, theta, Xa), layers_of_outputs(plan, theta, Xb))
    kernel = flat.reshape(len(Xa), plan.outputs, len(Xb), plan.outputs)
    return np.ascontiguousarray(kernel.transpose(0, 2, 1, 3))


# Parts of those. `layers` is what `backpropagate` returns of each layer: the pair of a and delta.


def norms(layers, per_layer):
    """Norms of the gradients, (N,), or of each layer's part, (N, layers)."""
    squares = np.stack([dense.squared_norms(a, delta) for a, delta in layers], axis=1)
    return np.sqrt(squares if per_layer else squares.sum(axis=1))


def clipped(layers, clip):
    """`layers` with each gradient clipped, and the `norms` before.

    A gradient g of norm above the bound C becomes ``g C / |g|`` (Abadi et al. 2016, "Deep learning
    with differential privacy"); if automatic, each becomes ``g C / (|g| + gamma)`` (Bu et al. 2022,
    "Automatic clipping"). Per layer, the same is done to each layer's part by its own norm.
    """
    before = norms(layers, clip.per_layer)
    bounds = np.array(clip.bounds(len(layers)), dtype=before.dtype)  # one, or one for each layer
    if clip.automatic:
        coefficients = bounds / (before + clip.gamma)
    else:
        coefficients = np.ones_like(before)
        np.divide(bounds, before, out=coefficients, where=before.real > bounds.real)
    by_layer = coefficients.T if clip.per_layer else [coefficients] * len(layers)
    return [(a, c[:, None] * delta) for (a, delta), c in zip(layers, by_layer, strict=True)], before


def gram(layers_a, layers_b):
    """Inner products of two sets of gradients, (Na, Nb)."""
    return sum(dense.gram(*a, *b) for a, b in zip(layers_a, layers_b, strict=True))


def gradients(layers, out=None):
    """The gradients themselves, (N, P)."""
    return np.concatenate(
        [dense.per_example_gradients(a, delta) for a, delta in layers], axis=1, out=out
    )


def layers_of_outputs(plan, theta, X):
    """`layers` with outputs in place of the loss: K rows for each example, one for each output."""
    rows = np.repeat(np.arange(len(X)), plan.outputs)
    activations, derivatives = forward(plan, theta, sparse.examples(X)[rows], rows)
    by_output = np.tile(np.eye(plan.outputs, dtype=X.dtype), (len(X), 1))
    return backward(plan, theta, activations, derivatives, by_output, divergence=False)
