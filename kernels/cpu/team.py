"""How workers share out the phases of a run, so that none ever waits for one that is absent.

A phase is cut into units, which stand in as many queues as there are workers.  A worker claims
units from its own queue, then from those of the others, and whoever finishes the last one opens the
next phase.  So a run ends even if a single worker ever comes (a threading layer may start fewer
than it is asked for, or one after the other), and a core that the system takes away for a while
costs the others one unit.  Who has done what never shows in the bits.

They agree by a few words, each on cache lines of its own: the number of the phase, the units of it
that are done, and for each queue how many units it has (in the upper half) and how many were
claimed.  After the queues comes what `cores` knows of each worker.
"""

from . import cores
from .atomics import SPACING, acquire, fetch_add, pause, release
from .jit import jit
from .subroutine import call

_PHASE, _DONE, _QUEUES = 0, SPACING, 2 * SPACING
_OVER = -1
_SPINS = 1000  # turns of waiting, some 20 us, before the core is offered to somebody else


def words_for(workers):
    """How many words a team needs."""
    return _QUEUES + (SPACING + cores.WORDS) * workers


@jit
def fill(team, queue, units):
    """Let `queue` have so many units, none of them claimed."""
    release(team, _QUEUES + SPACING * queue, units << 32)


@jit
def assemble(team, workers):
    """Open the first phase, of one unit, before any worker comes."""
    release(team, _PHASE, 0)
    release(team, _DONE, 0)
    for queue in range(workers):
        fill(team, queue, queue == 0)
        cores.forget(team + (_QUEUES + SPACING * workers), queue)


@jit
def claim(team, queue):
    """Number of a unit that nobody else gets, or -1 where none is left."""
    place = _QUEUES + SPACING * queue
    state = acquire(team, place)
    if state & 0xFFFFFFFF < state >> 32:
        state = fetch_add(team, place, 1)
        if state & 0xFFFFFFFF < state >> 32:
            return state & 0xFFFFFFFF
    return -1


@jit
def complete(team, units, total):
    """Report so many units done; whether those were the last of the phase, which is then closed."""
    last = fetch_add(team, _DONE, units) + units == total
    if last:
        release(team, _DONE, 0)
    return last


@jit
def announce(team):
    """Tell those who wait that the queues of another phase are filled."""
    fetch_add(team, _PHASE, 1)


@jit
def disband(team):
    """Tell everybody that the run is over."""
    release(team, _PHASE, _OVER)


@jit
def is_over(phase):
    """Whether `next_phase` has returned because there is none."""
    return phase == _OVER


@jit
def next_phase(team, seen, worker, job):
    """Wait for a phase other than `seen`, on a core that no other worker is on."""
    places = team + (_QUEUES + SPACING * job.workers)
    cores.part(places, worker, job)
    spins = 0
    phase = acquire(team, _PHASE)
    while phase == seen:
        pause()
        spins += 1
        if spins % _SPINS == 0:
            cores.part(places, worker, job)
            call(job.give_way, ())
        phase = acquire(team, _PHASE)
    return phase
