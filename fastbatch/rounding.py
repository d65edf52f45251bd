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
* A sample, ``mean + exp(log_variance / 2) * eps``: 4 u for the second term, of which eps has half,
  and what an error of log_variance makes of the exponential.
* A mask of dropout: u for its scale, and u for the product.

So the bounds follow the data: where a computation cancels they are wide, where it does not they
are narrow. As u is that of the tested dtype plus that of the reference's own float64, they hold
between two float64 computations too.
"""

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.backends import DropoutOp, GaussianSampleOp, Plan, load
from fastbatch.clipping import PerExampleClip

Array = NDArray[Any]
Pair = tuple[Array, Array]  # values and the sizes of their errors
Layers = list[tuple[Pair, Pair]]  # what enters each, and its delta

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
        # Each layer, what enters it, its weight, if it has one, and its slope, deviation or mask.
        self._sweep: list[tuple[Any, Pair, Array | None, Pair]] = []
        divergences: list[Pair] = []
        start = 0
        for number, layer in enumerate(plan.layers):
            if isinstance(layer, DropoutOp):
                if plan.dropping:
                    mask = reference.dropout.mask(plan, number, np.arange(len(X)), 0)
                    exact = layer.scale * (mask != 0)
                    self._sweep.append((layer, a, None, (exact, u * exact)))
                    a = self._times(a, (exact, u * exact))
                continue
            if isinstance(layer, GaussianSampleOp):
                eps = reference.gaussian_sample.noise(plan, number, np.arange(len(X)), 0)
                deviation = self._deviation(a, eps.astype(np.float64))
                self._sweep.append((layer, a, None, deviation))
                divergences.append(self._divergence(a))
                mean, _ = _halves(a)
                a = self._added(mean, deviation)
                continue
            # The bias is the weight of one more input that is always 1.
            n, m = layer.inputs + 1, layer.outputs
            weight = theta[start : start + n * m].reshape(n, m)
            start += n * m
            entering = np.insert(a[0], n - 1, 1.0, axis=1), np.insert(a[1], n - 1, 0.0, axis=1)
            z, z_error = _product(entering, _exact(weight), n, u)
            value, slope = reference.activations.ACTIVATIONS[layer.activation](z)
            curvature, jump = _CURVATURES[layer.activation]
            change = curvature * BOUND * z_error + jump * (abs(z) <= BOUND * z_error)
            a = value, (abs(slope) + change) * z_error + u * (abs(value) + abs(z)) + tiny
            self._sweep.append((layer, entering, weight, (slope, change + u)))

        self._outputs = a
        losses, delta = reference.loss_functions.LOSSES[plan.loss](a[0], y)
        loss_errors, delta_errors = _LOSSES[plan.loss](a, y, delta, u)
        self._losses = losses, loss_errors + tiny
        for divergence in divergences:
            self._losses = self._added(self._losses, divergence)

        self._layers = self._backward((delta, delta_errors))

    def _deviation(self, a: Pair, eps: Array) -> Pair:
        """Of a sample from its mean."""
        _, (log_variance, error) = _halves(a)
        value = np.exp(log_variance / 2) * eps
        return value, abs(value) * (np.expm1(error / 2) + 4 * self._u) + self._tiny

    def _divergence(self, a: Pair) -> Pair:
        """Of the distributions that `a` describes from the standard normal one, (N,)."""
        (mean, mean_error), (log_variance, error) = _halves(a)
        growth, variance = np.expm1(log_variance), np.exp(log_variance)
        inherited = (2 * abs(mean) + BOUND * mean_error) * mean_error
        inherited += (abs(growth) + variance * np.expm1(BOUND * error)) * error
        size = mean**2 + 2 * abs(growth) + abs(log_variance)
        errors = inherited + self._u * _terms(mean) * size
        return (mean**2 + growth - log_variance).sum(axis=1) / 2, errors.sum(axis=1) / 2

    def _before_sample(self, a: Pair, deviation: Pair, by_output: Pair, divergence: bool) -> Pair:
        """The derivatives by what enters a layer that draws, given those by its samples."""
        by_mean, by_log_variance = by_output, self._times(by_output, deviation)
        by_log_variance = by_log_variance[0] / 2, by_log_variance[1] / 2
        if divergence:
            mean, (log_variance, error) = _halves(a)
            growth = np.expm1(log_variance)
            error = np.exp(log_variance) * np.expm1(error) + 2 * self._u * abs(growth)
            by_mean = self._added(by_mean, mean)
            by_log_variance = self._added(by_log_variance, (growth / 2, error / 2))
        return _joined([by_mean, by_log_variance])

    def _backward(self, by_output: Pair, times: int = 1, divergence: bool = True) -> Layers:
        """What enters each layer with parameters and its delta, given derivatives by the outputs.

        Those have a row for each example, or as many `times`.
        """
        layers: Layers = []
        for layer, a, weight, slope in reversed(self._sweep):
            a, slope = _repeated(a, times), _repeated(slope, times)
            if isinstance(layer, DropoutOp):
                by_output = self._times(by_output, slope)
                continue
            if weight is None:
                by_output = self._before_sample(a, slope, by_output, divergence)
                continue
            delta = by_output[0] * slope[0]
            error = abs(by_output[0]) * slope[1] + by_output[1] * (abs(slope[0]) + slope[1])
            delta_pair = delta, error + self._u * abs(delta) + self._tiny
            layers.insert(0, (a, delta_pair))
            by_output = _product(delta_pair, _exact(weight[:-1].T), delta.shape[1], self._u)
        return layers

    def outputs(self) -> Pair:
        """The exact outputs, and the bounds on their errors, both (N, K)."""
        return _bounded(self._outputs)

    def losses(self) -> Pair:
        """The exact losses, and the bounds on their errors, both (N,)."""
        return _bounded(self._losses)

    def value(self, weights: Array | None, scale: float) -> Pair:
        """The exact ``scale * sum_i weights_i loss_i`` and its bound, without dimensions."""
        w = self._example_weights(weights)
        losses, errors = self._losses
        each = w**2 @ (errors**2 + (2 * self._u * losses) ** 2)
        in_float64 = np.finfo(np.float64).eps * np.sqrt(len(w)) * (abs(w) @ abs(losses))
        size = abs(scale) * (np.sqrt(each) + in_float64)  # the sum is always done in float64
        return _bounded((np.asarray(scale * (w @ losses)), size))

    def gradient(self, weights: Array | None, scale: float) -> Pair:
        """The gradient of `value`, and its bounds, both (P,)."""
        w = scale * self._example_weights(weights)
        return self._sum(self._layers, _exact(w[:, None]), roundings=2)

    def clipped_gradient(
        self, weights: Array | None, scale: float, clip: PerExampleClip
    ) -> tuple[Pair, Pair]:
        """``scale * sum_i weights_i clip(g_i)``, (P,), the norms before, and the bounds of both."""
        w = self._example_weights(weights)[:, None]
        pair = self._norms(clip.per_layer)
        norms, errors = (x.reshape(len(w), -1) for x in pair)  # (N, L) or (N, 1)
        limits = np.array(clip.bounds(len(self._layers)))
        low = np.maximum(norms - BOUND * errors, 0)
        high = norms + BOUND * (errors + self._u * norms)
        if clip.automatic:
            c, slope = limits / (norms + clip.gamma), limits / (low + clip.gamma) ** 2
        else:  # continuous: across the bend, the slope is nowhere above that of the clipped
            c = limits / np.maximum(norms, limits)
            slope = np.where(high > limits, limits / np.maximum(low, limits) ** 2, 0.0)
        coefficients = scale * w * c, abs(scale * w) * slope * errors
        gradient = self._sum(self._layers, coefficients, roundings=5)
        truth, bound = _bounded(((w != 0) * norms, (w != 0) * errors))
        return gradient, (truth.reshape(pair[0].shape), bound.reshape(pair[0].shape))

    def second_moments(self, weights: Array | None, scale: float) -> Pair:
        """``scale * sum_i weights_i g_i**2``, elementwise, and the bounds, both (P,)."""
        w = scale * self._example_weights(weights)
        squares = [(self._times(a, a), self._times(delta, delta)) for a, delta in self._layers]
        truth, bound = self._sum(squares, _exact(w[:, None]), roundings=2)
        # Squares may be all alike; then so are the roundings of the partial sums, which are about
        # half of the sum.
        return truth, bound + self._u * np.count_nonzero(w) * abs(truth) / 2

    def _sum(self, layers: Layers, coefficients: Pair, roundings: int) -> Pair:
        """The sum of the gradients times coefficients, (N, L) or (N, 1), and the bounds, both (P,).

        Each term is rounded so often, and the sum is.
        """
        shape = len(coefficients[0]), len(layers)
        c, change = (np.broadcast_to(x, shape).T[:, :, None] for x in coefficients)
        terms = int(np.count_nonzero(coefficients[0].any(axis=1))) + roundings
        pairs = [
            _product(
                _transposed(a),
                (c[i] * delta, abs(c[i]) * error + change[i] * abs(delta) + self._tiny),
                terms,
                self._u,
            )
            for i, (a, (delta, error)) in enumerate(layers)
        ]
        return _bounded((_flat(pairs, 0), _flat(pairs, 1) + self._tiny))

    def gradient_norms(self, per_layer: bool = False) -> Pair:
        """The norm of each gradient, (N,), or of each layer's part, (N, L), and their bounds."""
        return _bounded(self._norms(per_layer))

    def _norms(self, per_layer: bool) -> Pair:
        squares = _stacked(
            self._times(self._summed(self._times(a, a)), self._summed(self._times(delta, delta)))
            for a, delta in self._layers
        )
        square, error = squares if per_layer else self._summed(squares)
        norm = np.sqrt(square)
        # sqrt(s) - sqrt(s - e) = e / (sqrt(s) + sqrt(s - e)), and never above sqrt(e)
        least = np.sqrt(np.maximum(square - BOUND * error, 0))
        return norm, error / np.maximum(norm + least, np.sqrt(BOUND * error)) + self._u * norm

    def inner_products(self, direction: Array) -> Pair:
        """Inner products of the gradients with a direction, and their bounds, both (N,).

        The direction is taken for any, like the weights: not one that is made from the gradients.
        """
        changes, start = [], 0  # of the pre-activations, by a step in that direction
        weights = (weight for _, _, weight, _ in self._sweep if weight is not None)
        for weight, (a, _) in zip(weights, self._layers, strict=True):
            part = direction[start : start + weight.size].astype(np.float64).reshape(weight.shape)
            start += weight.size
            changes.append(_product(a, _exact(part), len(part), self._u))
        s, s_error = _joined(changes)
        d, d_error = _joined([delta for _, delta in self._layers])
        columns = s[:, :, None], s_error[:, :, None]
        value, size = _product((d[:, None], d_error[:, None]), columns, d.shape[1], self._u)
        length = np.maximum(np.linalg.norm(d, axis=1), self._tiny)
        common = np.linalg.norm(d_error, axis=1) / length  # if all deltas are wrong by one factor
        value, size = value[:, 0, 0], size[:, 0, 0]
        return _bounded((value, np.hypot(size, common * value) + self._tiny))

    def gradient_gram(self, other: "Sweep") -> Pair:
        """Inner products with the gradients of another batch, and their bounds, both (Na, Nb)."""
        return _bounded(self._gram(self._layers, other._layers))

    def _gram(self, ours: Layers, theirs: Layers) -> Pair:
        return self._summed(
            _stacked(
                self._times(self._inner(a, b), self._inner(delta, epsilon))
                for (a, delta), (b, epsilon) in zip(ours, theirs, strict=True)
            )
        )

    def per_example_gradients(self) -> Pair:
        """The gradient of each example's loss, and their bounds, both (N, P)."""
        return self._gradients(self._layers)

    def _gradients(self, layers: Layers) -> Pair:
        pairs = [
            # No sum: an outer product for each example, and the roundings of its three factors.
            _product(
                (a[:, :, None], a_error[:, :, None]), (d[:, None], d_error[:, None]), 3, self._u
            )
            for (a, a_error), (d, d_error) in layers
        ]
        truth, size = _joined(pairs)
        return _bounded((truth, size + self._tiny))

    def output_jacobian(self) -> Pair:
        """The gradient of each output, and their bounds, both (N, K, P)."""
        truth, bound = self._gradients(self._by_output())
        shape = *self._outputs[0].shape, truth.shape[1]
        return truth.reshape(shape), bound.reshape(shape)

    def tangent_kernel(self, other: "Sweep") -> Pair:
        """Inner products of rows of two Jacobians, and their bounds, both (Na, Nb, K, K)."""
        pair = _bounded(self._gram(self._by_output(), other._by_output()))
        shape = *self._outputs[0].shape, *other._outputs[0].shape
        truth, bound = (x.reshape(shape).transpose(0, 2, 1, 3) for x in pair)
        return truth, bound

    def _by_output(self) -> Layers:
        """`_layers` with outputs in place of the loss, K rows for each example."""
        examples, outputs = self._outputs[0].shape
        by_output = _exact(np.tile(np.eye(outputs), (examples, 1)))
        return self._backward(by_output, times=outputs, divergence=False)

    def _example_weights(self, weights: Array | None) -> Array:
        return np.ones(len(self._losses[0])) if weights is None else weights.astype(np.float64)

    # Where the errors of one example's numbers meet, their sizes add up.

    def _times(self, a: Pair, b: Pair) -> Pair:
        """The elementwise product."""
        value = a[0] * b[0]
        inherited = abs(a[0]) * b[1] + a[1] * (abs(b[0]) + BOUND * b[1])
        return value, inherited + self._u * abs(value) + self._tiny

    def _added(self, a: Pair, b: Pair) -> Pair:
        """The elementwise sum."""
        value = a[0] + b[0]
        return value, a[1] + b[1] + self._u * abs(value)

    def _summed(self, terms: Pair) -> Pair:
        """The sum over the last axis."""
        value = terms[0].sum(axis=-1)
        roundings = np.sqrt(terms[0].shape[-1]) * (abs(value) + np.linalg.norm(terms[0], axis=-1))
        return value, terms[1].sum(axis=-1) + self._u * roundings

    def _inner(self, a: Pair, b: Pair) -> Pair:
        """Inner products of the rows of a, (Na, n), with those of b, (Nb, n)."""
        value, inherited = a[0] @ b[0].T, abs(a[0]) @ b[1].T + a[1] @ (abs(b[0]) + BOUND * b[1]).T
        size = abs(value) + np.sqrt(a[0] ** 2 @ (b[0] ** 2).T)
        n = a[0].shape[1]
        return value, inherited + self._u * np.sqrt(n) * size + n * self._tiny


def _product(a: Pair, b: Pair, terms: int, u: float) -> Pair:
    """The matrix product of values with errors."""
    value = a[0] @ b[0]
    squares = a[0] ** 2 @ b[0] ** 2
    inherited = a[1] ** 2 @ (b[0] ** 2 + b[1] ** 2) + a[0] ** 2 @ b[1] ** 2
    return value, np.sqrt(inherited + terms * (u * (abs(value) + np.sqrt(squares))) ** 2)


def _exact(values: Array) -> Pair:
    return values, np.zeros(values.shape)


def _repeated(pair: Pair, times: int) -> Pair:
    return np.repeat(pair[0], times, axis=0), np.repeat(pair[1], times, axis=0)


def _halves(pair: Pair) -> tuple[Pair, Pair]:
    """The left and the right half of the columns."""
    (left, right), (left_error, right_error) = (np.split(x, 2, axis=1) for x in pair)
    return (left, left_error), (right, right_error)


def _joined(pairs: Iterable[Pair]) -> Pair:
    """Rows (N, ...) put behind one another, (N, n)."""
    values, errors = (
        np.concatenate([x.reshape(len(x), prod(x.shape[1:])) for x in xs], axis=1)
        for xs in zip(*pairs, strict=True)
    )
    return values, errors


def _stacked(pairs: Iterable[Pair]) -> Pair:
    values, errors = zip(*pairs, strict=True)
    return np.stack(values, axis=-1), np.stack(errors, axis=-1)


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
