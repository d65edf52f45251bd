"""The phases of a run, one after the other, and a worker's way through them."""

import math

import numpy as np

from .jit import jit
from .job import JOB, TRAIN, example_at, weight_of
from .memory import pointer
from .optimizers import work_out_constants
from .simd import Pointer
from .subroutine import Subroutine, call, record
from .sweeps import example_units, parameter_units
from .team import announce, claim, complete, disband, fill, is_over, next_phase

START, EXAMPLES, PARAMETERS, EVALUATION = range(4)  # phases


@jit
def _units(job, queue):
    return parameter_units(job, queue) if job.phase == PARAMETERS else example_units(job, queue)


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


@jit
def _total_weight(job, first, rows, like):
    """Sum of the weights of the rows at `first` of the order."""
    if job.weight_step == 0:
        return float(rows)
    acc = 0.0
    for position in range(first, first + rows):
        acc += weight_of(job, example_at(job, position), like)
    return acc


@jit
def _open_chunk(job, team, first):
    """Open the examples sweep of the chunk at `first` of the order."""
    start = job.batch * job.batch_size
    stop = min(start + job.batch_size, job.examples)
    job.first, job.rows = first, min(job.chunk, stop - first)
    job.is_first, job.is_last = first == start, first + job.rows == stop
    _open(job, team, EXAMPLES)


@jit
def _open_step(job, arena, team):
    """Begin with the first chunk of a step, or end the run."""
    if job.done == job.steps:
        disband(team)
        return
    if job.rule >= 0:
        learning_rate = pointer(job.rates, np.float64)[job.done]
        work_out_constants(arena + job.constants, job, learning_rate)
    first = job.batch * job.batch_size
    rows = min(job.batch_size, job.examples - first)
    job.batch_weight = _total_weight(job, first, rows, arena)
    if job.normalise:
        job.scale = 1.0 / job.batch_weight if job.batch_weight != 0.0 else 0.0
    job.loss_a = job.loss_b = job.loss_c = job.loss_d = 0.0
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
def _go_on(job, arena, team):
    """After the last unit of a phase: open the next one, or end the run.

    Training ends before the update of a step whose loss is not finite.
    """
    if job.phase == START and job.mode != TRAIN:
        job.first, job.rows = 0, job.examples
        _open(job, team, EVALUATION)
    elif job.phase == START:
        _open_step(job, arena, team)
    elif job.phase == EXAMPLES:
        job.batch_loss = _add_losses(job, arena + job.losses)
        if job.rule < 0 or math.isfinite(job.batch_loss):
            _open(job, team, PARAMETERS)
        else:
            disband(team)
    elif job.phase == PARAMETERS and not job.is_last:
        _open_chunk(job, team, job.first + job.rows)
    elif job.phase == PARAMETERS:
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
    phase = next_phase(team, -2, task.give_way)
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
        phase = next_phase(team, phase, task.give_way)
