"""The loss of an example and its delta, over all columns of its outputs.

As many threads as there are lanes share an example (`lanes`).  What is left is ``weight * loss``
and, where f'(z) of the output layer stood, ``coefficient * dloss/dp * f'(z)``; that stands in place
of the outputs, too.  An example of weight 0 leaves exact zeros, whatever it holds.  The coefficient
is a float64, which is rounded first but for the column of a label; so it is on the CPU.
"""

import math
from functools import cache

import numpy as np

from .elementary import exp, flush, log
from .lanes import lanes_of, largest, together, total
from .loss_functions import CROSS_ENTROPY_OF_LABELS, SELECTED_OUTPUT, elementwise
from .toolkit import add, cuda, div, function, maximum, mul, select, splat, sub


@cache
def loss_and_delta(dtype):
    """The function that all threads of a block call, those that are not `busy` for the barriers.

    Outputs are ``p[place + k * step]`` for column k, derivatives ``deltas[delta_place + k]``.
    """
    lanes = lanes_of(dtype)
    add_up, find_largest = together(dtype, total), together(dtype, largest)

    @function
    def leave(p, place, step, deltas, delta_place, k, delta):
        p[place + k * step] = delta
        deltas[delta_place + k] = delta

    @function
    def elementwise_loss(
        number, p, place, step, deltas, delta_place, columns, y, example, weight, coefficient,
        wants_delta, shared,
    ):  # fmt: skip
        loss = splat(0.0, p)
        for k in range(cuda.threadIdx.x % lanes, columns, lanes):
            delta = splat(0.0, p)
            if weight != 0:
                value, slope = elementwise(number, p[place + k * step], y[example * columns + k])
                loss = add(loss, value)
                if wants_delta:
                    delta = flush(mul(mul(slope, deltas[delta_place + k]), coefficient))
            if wants_delta:
                leave(p, place, step, deltas, delta_place, k, delta)
        return mul(weight, add_up(loss, shared))

    @function
    def exponentials(p, place, step, columns, shared):
        """Replace outputs p by exp(p - max p); return the maximum and their sum."""
        lane = cuda.threadIdx.x % lanes
        top = splat(-math.inf, p)
        for k in range(lane, columns, lanes):
            top = maximum(top, p[place + k * step])
        peak = find_largest(top, shared)
        mass = splat(0.0, p)
        for k in range(lane, columns, lanes):
            e = exp(sub(p[place + k * step], peak))
            p[place + k * step] = e
            mass = add(mass, e)
        return peak, add_up(mass, shared)

    @function
    def finish(loss, factor, mass, weight):
        """``weight * (loss + factor * log(mass))``."""
        if weight != 0:
            weight = mul(weight, add(loss, mul(factor, log(mass))))
        return weight

    @function
    def cross_entropy_of_labels(
        p, place, step, deltas, delta_place, columns, labels, example, weight, coefficient,
        wants_delta, shared,
    ):  # fmt: skip
        label = labels[example] if weight != 0 else 0
        p_label = p[place + label * step]
        peak, mass = exponentials(p, place, step, columns, shared)
        if wants_delta:
            for k in range(cuda.threadIdx.x % lanes, columns, lanes):
                q, slope = div(p[place + k * step], mass), deltas[delta_place + k]
                delta = flush(mul(mul(q, slope), coefficient))
                if k == label:
                    in_full = mul(sub(np.float64(q), 1.0), np.float64(slope))
                    delta = splat(mul(in_full, coefficient), p)
                leave(p, place, step, deltas, delta_place, k, delta)
        return finish(sub(peak, p_label), splat(1.0, p), mass, weight)

    @function
    def cross_entropy_of_probabilities(
        p, place, step, deltas, delta_place, columns, y, example, weight, coefficient,
        wants_delta, shared,
    ):  # fmt: skip
        lane = cuda.threadIdx.x % lanes
        y_p = y_sum = splat(0.0, p)
        if weight != 0:
            for k in range(lane, columns, lanes):
                target = y[example * columns + k]
                y_p = add(y_p, mul(target, p[place + k * step]))
                y_sum = add(y_sum, target)
        y_mass, y_p = add_up(y_sum, shared), add_up(y_p, shared)
        peak, mass = exponentials(p, place, step, columns, shared)
        if wants_delta:
            for k in range(lane, columns, lanes):
                target = y[example * columns + k] if weight != 0 else splat(0.0, p)
                slope = sub(mul(div(p[place + k * step], mass), y_mass), target)
                delta = flush(mul(mul(slope, deltas[delta_place + k]), coefficient))
                leave(p, place, step, deltas, delta_place, k, delta)
        return finish(sub(mul(y_mass, peak), y_p), y_mass, mass, weight)

    @function
    def select_output(p, place, step, deltas, delta_place, columns, selected):
        """Delta of the loss that is one of the outputs; nobody asks for its value."""
        for k in range(cuda.threadIdx.x % lanes, columns, lanes):
            delta = select(k == selected, deltas[delta_place + k], 0.0)
            leave(p, place, step, deltas, delta_place, k, delta)

    @function
    def loss_of(
        number, p, place, step, deltas, delta_place, columns, labels, y, example, selected,
        weight, coefficient, wants_delta, busy, shared,
    ):  # fmt: skip
        loss = splat(0.0, p)
        if not busy:  # takes part in no column
            columns, weight = 0, splat(0.0, p)
        if number == SELECTED_OUTPUT:
            select_output(p, place, step, deltas, delta_place, columns, selected)
        elif number < CROSS_ENTROPY_OF_LABELS:
            loss = elementwise_loss(
                number, p, place, step, deltas, delta_place, columns, y, example, weight,
                coefficient, wants_delta, shared,
            )  # fmt: skip
        elif number == CROSS_ENTROPY_OF_LABELS:
            loss = cross_entropy_of_labels(
                p, place, step, deltas, delta_place, columns, labels, example, weight,
                coefficient, wants_delta, shared,
            )  # fmt: skip
        else:
            loss = cross_entropy_of_probabilities(
                p, place, step, deltas, delta_place, columns, y, example, weight,
                coefficient, wants_delta, shared,
            )  # fmt: skip
        return loss

    return loss_of
