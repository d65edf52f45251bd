"""The compiled entry: many training steps, or one evaluation, without returning to Python."""

import math

import numpy as np
from numba import prange

from .jit import entry, jit
from .job import TRAIN, example_at, weight_of
from .memory import pointer, pointer_to
from .optimizers import work_out_constants
from .subroutine import call
from .sweeps import EVALUATION, EXAMPLES, PARAMETERS


@jit(parallel=True)
def _launch(job, work, arena, workers, sweep):
    """Run a sweep, the addresses of whose job, code and memory are given, by all workers."""
    for worker in prange(workers):
        call(work, (arena, job, sweep, worker))


@jit
def _sweep(job, sweep):
    """Run a sweep: by one worker right here, else in parallel."""
    if job.workers == 1:
        call(job.work, (job.arena, job.address, sweep, 0))
    else:
        _launch(job.address, job.work, job.arena, job.workers, sweep)


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
def _add_losses(sums, losses, rows):
    """Go on with four sums in float64, which the losses join in turn.

    All chunks but the last are multiples of four rows, so the sums do not show where they end.
    """
    a, b, c, d = sums
    whole = rows // 4 * 4
    for i in range(0, whole, 4):
        a += losses[i]
        b += losses[i + 1]
        c += losses[i + 2]
        d += losses[i + 3]
    for i in range(whole, rows):
        a += losses[i]
    return a, b, c, d


@jit
def _sum_gradient(job, like):
    """Both sweeps of a batch; add its loss and weight to the job.

    Where parameters would be updated, stop and return False if the loss is not finite.
    """
    start = job.batch * job.batch_size
    stop = min(start + job.batch_size, job.examples)
    weight = _total_weight(job, start, stop - start, like)
    if job.normalise:
        job.scale = 1.0 / weight if weight != 0.0 else 0.0
    loss, sums = 0.0, (0.0, 0.0, 0.0, 0.0)
    for first in range(start, stop, job.chunk):
        job.first, job.rows = first, min(job.chunk, stop - first)
        job.is_first, job.is_last = first == start, first + job.rows == stop
        _sweep(job, EXAMPLES)
        sums = _add_losses(sums, pointer(job.arena, like) + job.losses, job.rows)
        loss = (sums[0] + sums[1]) + (sums[2] + sums[3])
        if job.rule >= 0 and not math.isfinite(loss):
            return False
        _sweep(job, PARAMETERS)
    job.loss_sum += loss
    job.weight_sum += weight
    return True


@entry
def run(jobs, arena, steps):
    """Do what `jobs[0]` says; return how many of `steps` were done.

    Training stops before the update of a step whose loss is not finite.
    """
    job, like = jobs[0], pointer_to(arena)
    if job.mode != TRAIN:
        job.first, job.rows = 0, job.examples
        _sweep(job, EVALUATION)
        return 0
    for done in range(steps):
        if job.rule >= 0:
            work_out_constants(like + job.constants, job, pointer(job.rates, np.float64)[0])
        if not _sum_gradient(job, like):
            return done
        job.batch += 1
        job.step += 1
        job.rates += 8
    return steps
