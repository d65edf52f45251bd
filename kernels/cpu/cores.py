"""Which core each worker is on, and how two that share one are parted.

After a pause Linux may wake a thread on the core of the one that called it, and leave both there
for a tenth of a second while another core is idle.  Whoever finds itself on a core that another
worker has noted moves to one that nobody has.  The threads may then run wherever they could before.
Elsewhere than on Linux nobody is moved.

A worker has three times `SPACING` words: the number of its core and one more, 0 where it has not
come yet, and after that a place for the system's answers; and two sets of cores, a bit for each.
"""

import ctypes
import sys

from .atomics import SPACING, acquire, release
from .jit import jit
from .subroutine import call

WORDS = 3 * SPACING  # of each worker
_SET_WORDS = SPACING  # 1024 cores, as many as the GNU library knows
_SET_BYTES = 8 * _SET_WORDS


@jit
def forget(cores, worker):
    """Say that a worker has not come yet."""
    release(cores, WORDS * worker, 0)


@jit
def part(cores, worker, job):
    """Note the core of this worker, and move if another one is there."""
    if job.workers == 1 or job.where == 0:
        return
    if _is_shared(cores, worker, job.workers, _note(cores, worker, job)):
        _move(cores, worker, job)
        _note(cores, worker, job)


@jit
def _note(cores, worker, job):
    place = WORDS * worker
    call(job.where, (cores + (place + 1), 0))
    noted = 1 + cores[place + 1]
    if acquire(cores, place) != noted:  # or the others would have to fetch it again and again
        release(cores, place, noted)
    return noted


@jit
def _is_shared(cores, worker, workers, noted):
    for other in range(workers):
        if other != worker and acquire(cores, WORDS * other) == noted:
            return True
    return False


@jit
def _move(cores, worker, job):
    """Ask for those of the allowed cores that nobody has noted, then for all of them again."""
    allowed = cores + (WORDS * worker + SPACING)
    free = allowed + _SET_WORDS
    for word in range(_SET_WORDS):
        allowed[word] = 0
    call(job.allowed_cores, (0, _SET_BYTES, allowed))
    for word in range(_SET_WORDS):
        free[word] = allowed[word]
    for other in range(job.workers):
        core = acquire(cores, WORDS * other) - 1
        if 0 <= core < 64 * _SET_WORDS:
            free[core // 64] &= ~(1 << (core % 64))
    for word in range(_SET_WORDS):
        if free[word] != 0:
            call(job.allow_cores, (0, _SET_BYTES, free))
            call(job.allow_cores, (0, _SET_BYTES, allowed))
            return


def _addresses():
    """Where the system's functions lie, by name in the job: 0 where there are none."""
    names = {
        "where": "getcpu",
        "allowed_cores": "sched_getaffinity",
        "allow_cores": "sched_setaffinity",
    }
    if sys.platform != "linux":
        return dict.fromkeys(names, 0)
    library = ctypes.CDLL(None)
    try:
        functions = {name: getattr(library, function) for name, function in names.items()}
    except AttributeError:  # older than 2019, or another C library
        return dict.fromkeys(names, 0)
    return {name: ctypes.cast(f, ctypes.c_void_p).value for name, f in functions.items()}


ADDRESSES = _addresses()
