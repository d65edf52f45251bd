"""The compiled entry: many training steps, or one evaluation, without returning to Python."""

import numpy as np
from numba import prange

from .jit import entry, jit
from .memory import pointer
from .phases import START
from .subroutine import call
from .team import assemble


@jit(parallel=True)
def _launch(work, arena, job, workers):
    """Let all workers run the code at `work`, until nothing is left to do."""
    for worker in prange(workers):
        call(work, (arena, job, worker))


@entry
def run(jobs, steps):
    """Do what `jobs[0]` says; return how many of `steps` were done."""
    job = jobs[0]
    job.phase, job.units_of_phase = START, 1
    job.steps, job.done = steps, 0
    assemble(pointer(job.team, np.int64), job.workers)
    if job.workers == 1:
        call(job.work, (job.arena, job.address, 0))
    else:
        _launch(job.work, job.arena, job.address, job.workers)
    return job.done
