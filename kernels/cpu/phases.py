"""The phases of a run, one after the other, and a worker's way through them."""

import math

import numpy as np

from .gram import gram_units
from .jit import jit
from .job import BY_COUNT, BY_WEIGHT, FACTORS, GRAM, JOB, TRAIN, example_at, weight_of
from .memory import pointer
from .optimizers import SGLD, noise_deviation, work_out_constants
from .simd import Pointer
from .subroutine import Subroutine, call, record
from .sweeps import example_units, parameter_units
from .team import announce, claim, complete, disband, fill, is_over, next_phase

START, EXAMPLES, PARAMETERS, EVALUATION, PRODUCTS = range(5)  # phases


@jit
def _units(job, queue):
    if job.phase == PARAMETERS:
        return parameter_units(job, queue)
    if job.phase == PRODUCTS:
        return gram_units(job, queue)
    return example_units(job, queue)


@jit
def _open(job, team, phase):
    """Cut a phase into units, and let the workers begin."""
    job.phase, job.units_of_phase = phase, 0
    for queue in range(job.workers):
        job.units_of_phase += _units(job, queue)
    for queue in range(job.workers):
        fill(team, queue, _units(job, queue))
    announce(team)


@jit
def _do_unit(job, arena, worker, queue, number):
    if job.phase == EXAMPLES:
        call(job.examples_unit, (arena, job.address, worker, queue, number))
    elif job.phase == PARAMETERS:
        call(job.parameters_unit, (arena, job.address, worker, queue, number))
    elif job.phase == EVALUATION:
        call(job.evaluation_unit, (arena, job.address, worker, queue, number))
    elif job.phase == PRODUCTS:
        call(job.gram_unit, (arena, job.address, worker, queue, number))


@jit
def _batch(job):
    """The batch's place in the order: from, to."""
    if job.starts != 0:
        starts = pointer(job.starts, np.int64)
        return starts[job.batch], starts[job.batch + 1]
    start = job.batch * job.batch_size
    return start, min(start + job.batch_size, job.examples)


@jit
def _total_weight(job, power, like):
    """Sum of the weights of the batch, or of their squares."""
    start, stop = _batch(job)
    if job.weight_step == 0:
        return float(stop - start)
    acc = 0.0
    for position in range(start, stop):
        weight = 1.0 * weight_of(job, example_at(job, position), like)  # in float64
        acc += weight if power == 1 else weight * weight
    return acc


@jit
def _open_chunk(job, team, first):
    """Open the examples sweep of the chunk at `first` of the order; an empty batch has none."""
    start, stop = _batch(job)
    job.first, job.rows = first, min(job.chunk, stop - first)
    job.is_first, job.is_last = first == start, first + job.rows == stop
    _open(job, team, EXAMPLES if job.rows > 0 else PARAMETERS)


@jit
def _open_step(job, arena, team):
    """Begin with the first chunk of a step, or end the run."""
    if job.done == job.steps:
        disband(team)
        return
    first, end = _batch(job)
    job.batch_weight = _total_weight(job, 1, arena)
    if job.scaling == BY_WEIGHT:
        job.scale = 1.0 / job.batch_weight if job.batch_weight != 0.0 else 0.0
    elif job.scaling == BY_COUNT:
        job.scale = job.examples / (end - first) if end > first else 0.0
    job.loss_scale = 1.0 if job.per_example else job.scale
    if job.noisy:
        (arena + job.noise_std)[0] = job.scale * job.noise_level
    if job.rule >= 0:
        learning_rate = pointer(job.rates, np.float64)[job.done]
        work_out_constants(arena + job.constants, job, learning_rate)
        if job.noisy and job.rule == SGLD:
            (arena + job.noise_std)[0] = noise_deviation(job, learning_rate)
    job.batch_loss = job.loss_a = job.loss_b = job.loss_c = job.loss_d = job.square_sum = 0.0
    _open_chunk(job, team, first)


@jit
def _add_losses(job, losses):
    """Go on with four sums in float64, which the losses of a chunk join in turn.

    All chunks but the last are multiples of four rows, so the sums do not show where they end.
    """
    a, b, c, d = job.loss_a, job.loss_b, job.loss_c, job.loss_d
    whole = job.rows // 4 * 4
    for i in range(0, whole, 4):
        a += losses[i]
        b += losses[i + 1]
        c += losses[i + 2]
        d += losses[i + 3]
    for i in range(whole, job.rows):
        a += losses[i]
    job.loss_a, job.loss_b, job.loss_c, job.loss_d = a, b, c, d
    return (a + b) + (c + d)


@jit
def _add_squares(job, squares):
    for i in range(job.rows):
        job.square_sum += squares[i]


@jit
def _estimate_noise(job, arena):
    """Add this batch's unbiased estimates of the gradients' variance and squared mean.

    McCandlish et al. 2018, "An empirical model of large-batch training", appendix A.1, here with
    weights: where p are those divided by their sum and q is the sum of the squares of p, the
    mean of squared norms expects ``|G|^2 + tr``, the squared norm of the mean ``|G|^2 + q tr``.
    """
    total = job.batch_weight * job.batch_weight
    q = _total_weight(job, 2, arena) / total if total > 0.0 else 1.0
    if q >= 1.0:
        return
    of_mean = 0.0
    for block in range(job.blocks):
        of_mean += (arena + job.gradient_squares)[block]
    of_mean /= total * job.scale * job.scale
    mean = job.square_sum / job.batch_weight
    job.variance_sum += (mean - of_mean) / (1.0 - q)
    job.signal_sum += (of_mean - q * mean) / (1.0 - q)


@jit
def _go_on(job, arena, team):
    """After the last unit of a phase: open the next one, or end the run.

    Training ends before the update of a step whose loss is not finite.
    """
    if job.phase == START and (job.mode == TRAIN or job.mode == FACTORS):
        _open_step(job, arena, team)
    elif job.phase == START:
        job.first, job.rows, job.loss_scale = 0, job.examples, 1.0
        _open(job, team, PRODUCTS if job.mode == GRAM else EVALUATION)
    elif job.phase == EXAMPLES and job.mode == TRAIN:
        job.batch_loss = _add_losses(job, arena + job.losses)
        if job.noise_scale:
            _add_squares(job, arena + job.squares)
        if job.rule < 0 or math.isfinite(job.batch_loss):
            _open(job, team, PARAMETERS)
        else:
            disband(team)
    elif job.phase == PARAMETERS and not job.is_last:
        _open_chunk(job, team, job.first + job.rows)
    elif job.phase == PARAMETERS:
        if job.noise_scale:
            _estimate_noise(job, arena)
        job.loss_sum += job.batch_loss
        job.weight_sum += job.batch_weight
        job.batch += 1
        job.step += 1
        job.done += 1
        _open_step(job, arena, team)
    else:
        disband(team)


@Subroutine
def work(arena: Pointer, job: int, worker: int):
    """A worker's part in a run, from its first phase to its last."""
    task = record(job, JOB)
    team = pointer(task.team, np.int64)
    phase = next_phase(team, -2, worker, task)
    while not is_over(phase):
        done = 0
        for turn in range(task.workers):
            queue = (worker + turn) % task.workers
            number = claim(team, queue)
            while number >= 0:
                _do_unit(task, arena, worker, queue, number)
                done += 1
                number = claim(team, queue)
        if done > 0 and complete(team, done, task.units_of_phase):
            _go_on(task, arena, team)
        phase = next_phase(team, phase, worker, task)
