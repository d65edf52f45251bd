"""Losses: per-example values and deltas, the start of the backward sweep.

The elementwise losses map a prediction and a target to the pair of loss and derivative.  All
kernels leave ``weight * loss`` for each row and put ``scale * weight * dloss/dp * f'(z)`` where
f'(z) of the output layer stood.  A row of weight 0 leaves exact zeros, whatever it holds.
"""

import numpy as np

from . import elementary
from .dense import flush
from .jit import jit
from .job import JOB, example_at, loss_weight_of
from .layout import LAYER
from .memory import load, load_first, pointer, store, store_first
from .panels import vector_of
from .simd import Pointer, absolute, first_lanes, lanes, largest, maximum, select, splat, total
from .subroutine import Subroutine, record


@jit
def squared_error(p, y):
    """(p - y)^2."""
    d = p - y
    return d * d, d + d


@jit
def absolute_error(p, y):
    """|p - y|, with derivative 0 at 0."""
    d = p - y
    return absolute(d), select(d > 0.0, 1.0, select(d < 0.0, -1.0, d))


@jit
def huber(p, y):
    """d^2 / 2 up to |d| = 1, |d| - 1/2 beyond (Huber 1964)."""
    d = p - y
    size = absolute(d)
    slope = select(d > 1.0, 1.0, select(d < -1.0, -1.0, d))
    return select(size > 1.0, size - 0.5, 0.5 * (d * d)), slope


@jit
def binary_cross_entropy(p, y):
    """softplus(p) - p y: minus the log-likelihood of y under logit p."""
    return elementary.softplus(p) - p * y, elementary.sigmoid(p) - y


@jit
def poisson(p, y):
    """exp(p) - y p: minus the log-likelihood of count y under log-rate p, up to log(y!)."""
    rate = elementary.exp(p)
    return rate - y * p, rate - y


def _elementwise(function):
    @jit
    def apply(job, layer, space, row, rows, position, losses):
        n = lanes(space)
        targets = pointer(job.targets, space)
        for i in range(rows):
            example = example_at(job, position + i)
            weight = loss_weight_of(job, example, space)
            coefficient = job.loss_scale * weight
            loss = splat(0.0, space)
            for v in range((layer.outputs + n - 1) // n):
                here = min(n, layer.outputs - v * n) if weight != 0 else 0
                p = load(vector_of(space + layer.output, layer.stride, job.capacity, row + i, v))
                delta = vector_of(space + layer.delta, layer.stride, job.capacity, row + i, v)
                y = load_first(targets + (example * layer.outputs + v * n), here)
                value, slope = function(p, y)
                mask = first_lanes(here, space)
                loss += select(mask, value, 0.0)
                store(delta, select(mask, flush(slope * load(delta) * coefficient), 0.0))
            losses[i] = weight * total(loss)

    return apply


@jit
def _exponentials(job, layer, space, row):
    """Replace the outputs p of a row by exp(p - max p); return the maximum and their sum."""
    n = lanes(space)
    columns = layer.outputs
    top = splat(-np.inf, space)
    for v in range((columns + n - 1) // n):
        p = load(vector_of(space + layer.output, layer.stride, job.capacity, row, v))
        top = maximum(top, select(first_lanes(columns - v * n, space), p, -np.inf))
    peak = largest(top)
    acc = splat(0.0, space)
    for v in range((columns + n - 1) // n):
        place = vector_of(space + layer.output, layer.stride, job.capacity, row, v)
        e = elementary.exp(load(place) - peak)
        e = select(first_lanes(columns - v * n, space), e, 0.0)
        acc += e
        store(place, e)
    return peak, total(acc)


@jit
def _finish(job, rows, position, losses, masses, factors):
    """``losses = weight * (losses + factors * log(masses))``, the logarithms by the vector."""
    n = lanes(losses)
    for i in range(0, rows, n):
        here = min(n, rows - i)
        log_mass = elementary.log(load_first(masses + i, here))
        loss = load_first(losses + i, here) + load_first(factors + i, here) * log_mass
        store_first(losses + i, loss, here)
    for i in range(rows):
        weight = loss_weight_of(job, example_at(job, position + i), losses)
        losses[i] = weight * losses[i] if weight != 0 else weight


@jit
def cross_entropy_of_labels(job, layer, space, row, rows, position, losses, scratch):
    """log(sum_k exp(p_k)) - p_label, with integer labels."""
    n = lanes(space)
    labels = pointer(job.targets, np.int64)
    masses, factors = scratch, scratch + job.tile
    for i in range(rows):
        example = example_at(job, position + i)
        weight = loss_weight_of(job, example, space)
        coefficient = job.loss_scale * weight
        label = labels[example] if weight != 0 else 0
        p = vector_of(space + layer.output, layer.stride, job.capacity, row + i, label // n)
        d = vector_of(space + layer.delta, layer.stride, job.capacity, row + i, label // n)
        p_label, f_label = p[label % n], d[label % n]
        peak, mass = _exponentials(job, layer, space, row + i)
        for v in range((layer.outputs + n - 1) // n):
            e = load(vector_of(space + layer.output, layer.stride, job.capacity, row + i, v))
            delta = vector_of(space + layer.delta, layer.stride, job.capacity, row + i, v)
            store(delta, flush(e / mass * load(delta) * coefficient))
        d[label % n] = (p[label % n] / mass - 1.0) * f_label * coefficient
        losses[i], masses[i], factors[i] = peak - p_label, mass, 1.0
    _finish(job, rows, position, losses, masses, factors)


@jit
def cross_entropy_of_probabilities(job, layer, space, row, rows, position, losses, scratch):
    """sum_k y_k (log(sum_j exp(p_j)) - p_k), with targets y of any mass."""
    n = lanes(space)
    targets = pointer(job.targets, space)
    masses, factors = scratch, scratch + job.tile
    for i in range(rows):
        example = example_at(job, position + i)
        weight = loss_weight_of(job, example, space)
        coefficient = job.loss_scale * weight
        columns = layer.outputs if weight != 0 else 0
        target = targets + example * layer.outputs
        y_p, y_sum = splat(0.0, space), splat(0.0, space)
        for v in range((layer.outputs + n - 1) // n):
            y = load_first(target + v * n, min(n, columns - v * n))
            p = load(vector_of(space + layer.output, layer.stride, job.capacity, row + i, v))
            y_p += y * p
            y_sum += y
        y_mass = total(y_sum)
        peak, mass = _exponentials(job, layer, space, row + i)
        for v in range((layer.outputs + n - 1) // n):
            y = load_first(target + v * n, min(n, columns - v * n))
            e = load(vector_of(space + layer.output, layer.stride, job.capacity, row + i, v))
            delta = vector_of(space + layer.delta, layer.stride, job.capacity, row + i, v)
            store(delta, flush((e / mass * y_mass - y) * load(delta) * coefficient))
        losses[i], masses[i], factors[i] = y_mass * peak - total(y_p), mass, y_mass
    _finish(job, rows, position, losses, masses, factors)


@jit
def selected_output(job, layer, space, row, rows, position, losses):
    """p_k itself: every example stands in the order once for each k, one after the other."""
    n = lanes(space)
    for i in range(rows):
        k = (position + i) % layer.outputs
        for v in range((layer.outputs + n - 1) // n):
            delta = vector_of(space + layer.delta, layer.stride, job.capacity, row + i, v)
            store(delta, select(first_lanes(k + 1 - v * n, space), load(delta), 0.0))
            store(delta, select(first_lanes(k - v * n, space), 0.0, load(delta)))
        place = vector_of(space + layer.output, layer.stride, job.capacity, row + i, k // n)
        losses[i] = place[k % n]


NAMES = (
    "squared_error", "absolute_error", "huber", "binary_cross_entropy", "poisson",
    "cross_entropy_of_labels", "cross_entropy_of_probabilities",
)  # fmt: skip

SELECTED_OUTPUT = len(NAMES)  # a loss to take the Jacobian of the outputs with

_squared_error, _absolute_error, _huber, _binary_cross_entropy, _poisson = (
    _elementwise(globals()[name]) for name in NAMES[:5]
)


@Subroutine
def loss_and_delta(
    number: int, job: int, layer: int, space: Pointer, row: int, rows: int, position: int,
    losses: Pointer, scratch: Pointer,
):  # fmt: skip
    """The loss of that number in NAMES for `rows` examples from `position` of the order on.

    `layer` is the last one; its outputs and deltas stand from `row` of the workspace on.
    """
    task, last = record(job, JOB), record(layer, LAYER)
    if number == 0:
        _squared_error(task, last, space, row, rows, position, losses)
    elif number == 1:
        _absolute_error(task, last, space, row, rows, position, losses)
    elif number == 2:
        _huber(task, last, space, row, rows, position, losses)
    elif number == 3:
        _binary_cross_entropy(task, last, space, row, rows, position, losses)
    elif number == 4:
        _poisson(task, last, space, row, rows, position, losses)
    elif number == 5:
        cross_entropy_of_labels(task, last, space, row, rows, position, losses, scratch)
    elif number == 6:
        cross_entropy_of_probabilities(task, last, space, row, rows, position, losses, scratch)
    else:
        selected_output(task, last, space, row, rows, position, losses)


def number_of(loss, targets):
    """Number of the loss of that name for targets of that kind: integer labels or values."""
    if loss == "cross_entropy":
        loss += "_of_labels" if targets.dtype.kind == "i" else "_of_probabilities"
    return NAMES.index(loss)
