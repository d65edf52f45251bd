"""How far rounding may carry a kernel from the truth: a running error analysis of a network.

Beside every intermediate value of the float64 reference goes the size of the error that a careful
computation in lower precision makes there. Roundings are taken for independent and random, each
of about the unit roundoff u, so that their squares add up; `BOUND` times the size is the bound.
(Higham and Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput.
41, 2019. Bounds for the worst case, ``n u sum |a||b|`` for a sum of n products, exceed what happens
by ``sqrt(n)`` for every layer: in a network of four layers they would let pass a gradient in which
an example is missing.)

* A sum of n products ``a b`` in any order, with or without fma: every partial sum is about as large
  as the root of the sum of ``(ab)**2``, or as the result where nothing cancels, and is rounded:
  ``u sqrt(n) (|sum ab| + sqrt(sum (ab)**2))``. The factors' own errors bring ``a e_b`` and
  ``b e_a`` for each term.
* An activation: ``u (|a| + |z|)`` for the value and u for its derivative, which is never far above
  1; and what the error of z does to them, by the mean-value theorem, across the kink too.
* A loss: likewise, with the formulas of `_LOSSES`.

So the bounds follow the data: where a computation cancels they are wide, where it does not they
are narrow. As u is that of the tested dtype plus that of the reference's own float64, they hold
between two float64 computations too.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.backends import Plan, load

Array = NDArray[Any]
Pair = tuple[Array, Array]  # values and the sizes of their errors

BOUND = 4

# Of each activation: the largest |f''| off the kink, and the jump of f' at the kink, z = 0.
_CURVATURES = {
    "identity": (0.0, 0.0),
    "relu": (0.0, 1.0),
    "leaky_relu": (0.0, 0.99),
    "sigmoid": (0.0963, 0.0),
    "tanh": (0.770, 0.0),
    "softplus": (0.25, 0.0),
    "gelu": (0.798, 0.0),
    "silu": (0.5, 0.0),
    "elu": (1.0, 0.0),
}


class Sweep:
    """The truth about a batch, and the bound on the error of every part of it.

    Parameters
    ----------
    plan : Plan
        Its dtype is that of the computation to be judged.
    theta : ndarray, shape (P,)
    X : ndarray, shape (N, inputs)
    y : ndarray, shape (N, K), or of int64 labels, shape (N,)
        All as given to the kernel: their values are taken to be exact.

    Examples
    --------
    >>> from fastbatch import Dense, Network
    >>> net = Network([Dense(1)], inputs=2, loss="squared_error")
    >>> sweep = Sweep(net.plan, np.float32([2, 3, 1]), np.float32([[1, 0]]), np.float32([[1]]))
    >>> truth, bound = sweep.losses()
    >>> truth, bool(0 < bound[0] < 1e-4)
    (array([4.]), True)
    """

    def __init__(self, plan: Plan, theta: Array, X: Array, y: Array) -> None:
        reference = load("reference")
        info = np.finfo(plan.dtype)
        self._u = u = float(info.eps + np.finfo(np.float64).eps) / 2
        self._tiny = tiny = float(info.tiny)  # kernels may flush what is smaller
        theta = theta.astype(np.float64)
        y = np.eye(plan.outputs)[y] if y.ndim == 1 else y.astype(np.float64)

        a = X.astype(np.float64), np.zeros(X.shape)
        weights, entering, slopes = [], [], []
        start = 0
        for layer in plan.layers:
            # The bias is the weight of one more input that is always 1.
            n, m = layer.inputs + 1, layer.outputs
            weight = theta[start : start + n * m].reshape(n, m)
            start += n * m
            a = np.insert(a[0], n - 1, 1.0, axis=1), np.insert(a[1], n - 1, 0.0, axis=1)
            weights.append(weight)
            entering.append(a)
            z, z_error = _product(a, _exact(weight), n, u)
            value, slope = reference.activations.ACTIVATIONS[layer.activation](z)
            curvature, jump = _CURVATURES[layer.activation]
            change = curvature * BOUND * z_error + jump * (abs(z) <= BOUND * z_error)
            a = value, (abs(slope) + change) * z_error + u * (abs(value) + abs(z)) + tiny
            slopes.append((slope, change + u))

        self._outputs = a
        losses, delta = reference.loss_functions.LOSSES[plan.loss](a[0], y)
        loss_errors, delta_errors = _LOSSES[plan.loss](a, y, delta, u)
        self._losses = losses, loss_errors + tiny

        self._layers: list[tuple[Pair, Pair]] = []  # what enters each, and its delta
        by_output = delta, delta_errors
        for weight, a, slope in zip(weights[::-1], entering[::-1], slopes[::-1], strict=True):
            delta = by_output[0] * slope[0]
            error = abs(by_output[0]) * slope[1] + by_output[1] * (abs(slope[0]) + slope[1])
            delta_pair = delta, error + u * abs(delta) + tiny
            self._layers.insert(0, (a, delta_pair))
            by_output = _product(delta_pair, _exact(weight[:-1].T), delta.shape[1], u)

    def outputs(self) -> Pair:
        """The exact outputs, and the bounds on their errors, both (N, K)."""
        return _bounded(self._outputs)

    def losses(self) -> Pair:
        """The exact losses, and the bounds on their errors, both (N,)."""
        return _bounded(self._losses)

    def value(self, weights: Array | None, scale: float) -> Pair:
        """The exact ``scale * sum_i weights_i loss_i`` and its bound, without dimensions."""
        w = self._weights(weights)
        losses, errors = self._losses
        each = w**2 @ (errors**2 + (2 * self._u * losses) ** 2)
        in_float64 = np.finfo(np.float64).eps * np.sqrt(len(w)) * (abs(w) @ abs(losses))
        size = abs(scale) * (np.sqrt(each) + in_float64)  # the sum is always done in float64
        return _bounded((np.asarray(scale * (w @ losses)), size))

    def gradient(self, weights: Array | None, scale: float) -> Pair:
        """The gradient of `value`, and its bounds, both (P,)."""
        w = scale * self._weights(weights)[:, None]
        # Two roundings of the coefficient and its product, and those of the sum.
        roundings = int(np.count_nonzero(w)) + 2
        pairs = [
            _product(_transposed(a), (w * delta, abs(w) * error), roundings, self._u)
            for a, (delta, error) in self._layers
        ]
        return _bounded((_flat(pairs, 0), _flat(pairs, 1) + self._tiny))

    def per_example_gradients(self) -> Pair:
        """The gradient of each example's loss, and their bounds, both (N, P)."""
        pairs = [
            # No sum: an outer product for each example, and the roundings of its three factors.
            _product(
                (a[:, :, None], a_error[:, :, None]), (d[:, None], d_error[:, None]), 3, self._u
            )
            for (a, a_error), (d, d_error) in self._layers
        ]
        count = len(self._losses[0])
        truth, size = (
            np.concatenate([pair[which].reshape(count, -1) for pair in pairs], axis=1)
            for which in (0, 1)
        )
        return _bounded((truth, size + self._tiny))

    def _weights(self, weights: Array | None) -> Array:
        return np.ones(len(self._losses[0])) if weights is None else weights.astype(np.float64)


def _product(a: Pair, b: Pair, terms: int, u: float) -> Pair:
    """The matrix product of values with errors."""
    value = a[0] @ b[0]
    squares = a[0] ** 2 @ b[0] ** 2
    inherited = a[1] ** 2 @ (b[0] ** 2 + b[1] ** 2) + a[0] ** 2 @ b[1] ** 2
    return value, np.sqrt(inherited + terms * (u * (abs(value) + np.sqrt(squares))) ** 2)


def _exact(values: Array) -> Pair:
    return values, np.zeros(values.shape)


def _transposed(pair: Pair) -> Pair:
    return pair[0].T, pair[1].T


def _flat(pairs: list[Pair], which: int) -> Array:
    return np.concatenate([pair[which].ravel() for pair in pairs])


def _bounded(pair: Pair) -> Pair:
    return pair[0], BOUND * pair[1]


# The losses: each maps the outputs (B, K) with their errors, the targets y (B, K), the derivative
# by the outputs (B, K) and u to the errors of the losses (B,) and of the derivative (B, K). Terms
# of a sum over the outputs share what went wrong before, so here sizes add up, not squares.


def _squared_error(p: Pair, y: Array, delta: Array, u: float) -> Pair:
    d, error = _difference(p, y, u)
    return ((2 * d + BOUND * error) * error + u * _terms(d) * d**2).sum(axis=1), 2 * error


def _absolute_error(p: Pair, y: Array, delta: Array, u: float) -> Pair:
    d, error = _difference(p, y, u)
    return (error + u * _terms(d) * d).sum(axis=1), 2.0 * (d <= BOUND * error)


def _huber(p: Pair, y: Array, delta: Array, u: float) -> Pair:
    d, error = _difference(p, y, u)
    slope = abs(delta)
    losses = (slope + BOUND * error) * error + u * _terms(d) * slope * (d + 1)
    return losses.sum(axis=1), error


def _cross_entropy(p: Pair, y: Array, delta: Array, u: float) -> Pair:
    logits, error = p
    peak = logits.max(axis=1, keepdims=True)
    powers = np.exp(logits - peak)
    total = powers.sum(axis=1, keepdims=True)
    softmax, surprise = powers / total, np.log(total) + peak - logits
    # Errors of the exponentials are relative, so they are absolute again after the logarithm.
    error = error + u * (abs(logits) + abs(peak) + 1)
    common = (softmax * error).sum(axis=1, keepdims=True) + u * (1 + _terms(y) + np.log(total))
    size = surprise + abs(logits) + abs(peak)  # of the terms of the sum
    losses = y * (error + common + u * _terms(y) * size)
    mass = y.sum(axis=1, keepdims=True)
    return losses.sum(axis=1), mass * softmax * (np.expm1(error + common) + 3 * u) + u * y


def _binary_cross_entropy(p: Pair, y: Array, delta: Array, u: float) -> Pair:
    logits, error = p
    size = np.logaddexp(0, logits) + abs(logits * y)
    losses = (abs(delta) + BOUND * error) * error + u * _terms(y) * size
    return losses.sum(axis=1), error / 4 + u * (1 + abs(y))


def _poisson(p: Pair, y: Array, delta: Array, u: float) -> Pair:
    logits, error = p
    rate = np.exp(logits)
    rate_error = rate * (np.expm1(error) + 2 * u)
    losses = rate_error + abs(y) * error + u * _terms(y) * (rate + abs(y * logits))
    return losses.sum(axis=1), rate_error + u * (rate + abs(y))


def _difference(p: Pair, y: Array, u: float) -> Pair:
    """The size of ``p - y``, and its error."""
    d = abs(p[0] - y)
    return d, p[1] + u * d


def _terms(y: Array) -> float:
    """The root of the number of roundings in a sum over the outputs, of terms of a few each."""
    return float(np.sqrt(y.shape[1] + 2))


_LOSSES: dict[str, Callable[[Pair, Array, Array, float], Pair]] = {
    "squared_error": _squared_error,
    "absolute_error": _absolute_error,
    "huber": _huber,
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "poisson": _poisson,
}
