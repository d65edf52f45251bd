"""Samples of normal distributions, their divergence from the standard one, and the way back.

What enters is a row of means and, behind them, of as many logarithms of variances, which begin
anywhere in a vector: so a row is copied out of its panels first.  Formulas and sources are in
`kernels.reference.gaussian_sample`.
"""

from .dense import flush
from .elementary import exp, expm1
from .jit import jit
from .job import JOB, example_at, loss_weight_of
from .layout import GAUSSIAN_SAMPLE, LAYER
from .loss_functions import SELECTED_OUTPUT
from .memory import load, load_first, load_unaligned, store, store_first
from .noise import normal_pair
from .panels import clear, scatter, vector_of
from .philox import LATENTS
from .simd import Pointer, first_lanes, fma, lanes, select, splat, total
from .subroutine import Subroutine, record


def scratch_size(layout):
    """Elements that a worker needs: the longest row, and what is read behind it and not used."""
    rows = layout.layers["inputs"][layout.layers["kind"] == GAUSSIAN_SAMPLE]
    return int(max(rows, default=0)) + layout.panel


@jit
def _copy_out(scratch, job, layer, space, row):
    """Leave means and log-variances at `scratch`; return where these begin."""
    scatter(scratch, space + layer.input, layer.input_stride, job.capacity, row, layer.inputs)
    return scratch + layer.outputs


@jit
def _draw(job, layer, space, row, v, mean, log_variance, eps):
    deviation = exp(0.5 * log_variance) * eps
    z = vector_of(space + layer.output, layer.stride, job.capacity, row, v)
    store(z, flush(mean + deviation))
    store(vector_of(space + layer.deviation, layer.stride, job.capacity, row, v), deviation)
    store(vector_of(space + layer.delta, layer.stride, job.capacity, row, v), splat(1.0, z))


@Subroutine
def draw_sample(
    job: int, layer: int, space: Pointer, row: int, rows: int, position: int, scratch: Pointer
):
    """``z = mean + exp(log_variance / 2) * eps`` for `rows` from `position` of the order on.

    There is no activation, so the derivative that stands where delta will is 1. Where the weight is
    0 all is, lest something infinite meets a 0 later.
    """
    task, this = record(job, JOB), record(layer, LAYER)
    n = lanes(space)
    for i in range(rows):
        if loss_weight_of(task, example_at(task, position + i), space) == 0:
            for place in (this.output, this.deviation, this.delta):
                clear(space + place, this.stride, task.capacity, row + i, this.outputs)
            continue
        log_variances = _copy_out(scratch, task, this, space, row + i)
        noise_row = task.first_example + example_at(task, position + i)
        for v in range(0, (this.outputs + n - 1) // n, 2):
            first, second = normal_pair(
                this.first_group + v // 2, noise_row, task.step, LATENTS, task.draw, space
            )
            mean, log_variance = scratch + v * n, log_variances + v * n
            _draw(
                task, this, space, row + i, v,
                load_unaligned(mean), load_unaligned(log_variance), first,
            )  # fmt: skip
            if (v + 1) * n < this.outputs:
                _draw(
                    task, this, space, row + i, v + 1,
                    load_unaligned(mean + n), load_unaligned(log_variance + n), second,
                )  # fmt: skip


@Subroutine
def add_divergence(
    job: int, layer: int, space: Pointer, row: int, rows: int, position: int,
    losses: Pointer, scratch: Pointer,
):  # fmt: skip
    """Add ``sum(mean^2 + exp(log_variance) - log_variance - 1) / 2``, weighted, to each loss."""
    task, this = record(job, JOB), record(layer, LAYER)
    n = lanes(space)
    for i in range(rows):
        weight = loss_weight_of(task, example_at(task, position + i), space)
        if weight == 0:
            continue
        log_variances = _copy_out(scratch, task, this, space, row + i)
        acc = splat(0.0, space)
        for v in range(0, this.outputs, n):
            mean, log_variance = load_unaligned(scratch + v), load_unaligned(log_variances + v)
            term = fma(mean, mean, expm1(log_variance) - log_variance)
            acc += select(first_lanes(this.outputs - v, space), term, 0.0)
        losses[i] = losses[i] + weight * (total(acc) / 2)


@Subroutine
def sample_backward(
    job: int, layer: int, below: int, space: Pointer, row: int, rows: int, position: int,
    scratch: Pointer,
):  # fmt: skip
    """From the delta of the samples to that of the layer `below`, whose f' stands where it will.

    With the gradient of the divergence, but where an output stands in place of the loss.
    """
    task, this, under = record(job, JOB), record(layer, LAYER), record(below, LAYER)
    n = lanes(space)
    for i in range(rows):
        weight = loss_weight_of(task, example_at(task, position + i), space)
        coefficient = 0.0 if task.loss == SELECTED_OUTPUT else task.loss_scale * weight
        log_variances = _copy_out(scratch, task, this, space, row + i)
        for v in range((this.outputs + n - 1) // n):
            delta = load(vector_of(space + this.delta, this.stride, task.capacity, row + i, v))
            deviation = load(
                vector_of(space + this.deviation, this.stride, task.capacity, row + i, v)
            )
            by_mean, by_log_variance = delta, delta * deviation
            if coefficient != 0.0:
                mean, log_variance = scratch + v * n, log_variances + v * n
                by_mean = fma(load_unaligned(mean), coefficient, by_mean)
                by_log_variance = fma(
                    expm1(load_unaligned(log_variance)), coefficient, by_log_variance
                )
            here = min(n, this.outputs - v * n)
            store_first(scratch + v * n, by_mean, here)
            store_first(log_variances + v * n, 0.5 * by_log_variance, here)
        for v in range((this.inputs + n - 1) // n):
            place = vector_of(space + under.delta, under.stride, task.capacity, row + i, v)
            here = min(n, this.inputs - v * n) if weight != 0 else 0
            store(place, flush(load(place) * load_first(scratch + v * n, here)))
