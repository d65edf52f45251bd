"""Who may use Numba's threads, and when they pay.

The threading layers have limits that nobody should have to know: `workqueue` aborts the process
when two threads enter it, GNU OpenMP kills a forked child that does.  So one thread at a time
gets the workers; another that comes meanwhile, and any forked child, works alone.  The bits
of a result never depend on it.
"""

import contextlib
import os
import threading
from functools import cache
from time import perf_counter

import numba

# What parallel work costs, measured (docs/threads.md), in nanoseconds.
_MULTIPLY_ADD = 0.02  # on one core
UPDATE = 20  # multiply-adds that take as long as the update of a parameter
_PARAMETER = 0.3  # that another core has written, and each worker reads
_CACHED = 100_000  # parameters; of more, most are far from the core that wrote them, too
_LAUNCH = {"omp": 1e4, "tbb": 4e4, "workqueue": 2e5}  # of a parallel region
_MEETINGS = 1e3  # two in each step
_SHARE = 5e3  # that a worker should have of a step, at least
_WAKING = 4e6  # threads that sleep; 0.5e6 at best, 8e6 where _SPINS come too late
_AWAKE = 2e-4  # seconds until they do
_PAUSE = 1e-3  # seconds without work, after which nobody counts as busy any more
# Turns in which a thread of GNU OpenMP waits for others before it lets go of its core. By default
# that takes some ms, and a thread that wakes on the same core has to wait for it meanwhile.
_SPINS = {"GOMP_SPINCOUNT": "20000"}

_entry = threading.Lock()
_process = os.getpid()
_threads = numba.config.NUMBA_NUM_THREADS
# By the clock: when the other threads last had work, anybody had, and since when without a pause.
_last_shared = _last_work = _busy_since = float("-inf")


def set_threads(count):
    """Use at most `count` threads, 1 or more; more than Numba started are cut down to those."""
    global _threads
    _threads = min(count, numba.config.NUMBA_NUM_THREADS)


def get_threads():
    """The most threads that training uses."""
    return _threads


@cache
def threading_layer():
    """Name of Numba's threading layer, loaded if it was not."""
    added = {name: value for name, value in _SPINS.items() if name not in os.environ}
    os.environ.update(added)  # which the library reads while it is loaded
    try:
        numba.np.ufunc.parallel._launch_threads()
    finally:
        for name in added:
            del os.environ[name]
    return numba.threading_layer()


def workers_for(work, parameters, steps):
    """How many workers may pay for `steps` of `work` multiply-adds each; 0 are an evaluation."""
    global _busy_since
    alone = _MULTIPLY_ADD * work
    workers = min(_threads, int(alone / _SHARE))
    if workers <= 1:
        return 1
    now = perf_counter()
    if now - _last_work > _PAUSE:
        _busy_since = now
    # Who has been busy for as long as waking them takes will go on.
    asleep = now - _last_shared > _AWAKE and now - _busy_since < _WAKING * 1e-9
    if asleep and max(steps, 1) * alone < _WAKING:
        return 1
    lost = _PARAMETER * min(parameters, _CACHED) + (_MEETINGS if steps else 0)
    gained = max(steps, 1) * (alone - alone / workers - lost)
    return workers if gained > _LAUNCH.get(threading_layer(), 4e4) else 1


@contextlib.contextmanager
def granted(workers):
    """Hold the workers that this thread may have now: all it asks for, or one."""
    global _last_shared, _last_work
    if workers == 1 or os.getpid() != _process or not _entry.acquire(blocking=False):
        yield 1
        _last_work = perf_counter()
        return
    try:
        threading_layer()
        numba.set_num_threads(workers)
        yield workers
    finally:
        _last_shared = _last_work = perf_counter()
        _entry.release()


class Pace:
    """Finds out by the clock whether many workers are faster than one, again and again.

    Where other processes want the cores, workers wait for each other: steps of 20 us were seen to
    take 5 ms each.  So the slower way is tried again now and then, for a moment only, and the more
    rarely the more often it has lost.
    """

    LOOK = 1e-2  # seconds of steps between two looks at the clock
    DOUBT = 0.3  # how much of a slowdown is believed at once: most are over at the next look
    MOST_STEPS = 128  # of many workers in one call, lest Ctrl-C wait when they suddenly crawl
    # Seconds of steps without a trial of the slower way. Time spent otherwise does not count, or
    # who trains for a moment now and then would spend it on trials.
    FIRST_PAUSE, LAST_PAUSE = 0.1, 1.0
    REST = 80  # and the least of them, in steps of the faster way: a trial takes two

    def __init__(self, workers):
        # Of a step, as last measured. Many come first: a model of costs has asked for them.
        self.seconds = dict.fromkeys((workers, 1))
        self._pause = self.FIRST_PAUSE
        self._worked = self._next_trial = 0.0  # by the clock that stands still between steps

    def choose(self):
        """Number of workers to use next, and for how many steps at most."""
        for workers, seconds in self.seconds.items():
            if seconds is None:
                known = max(filter(None, self.seconds.values()), default=0.0)
                return workers, 1 if known > self.LOOK / 4 else 4
        slower, faster = sorted(self.seconds, key=self.seconds.__getitem__, reverse=True)
        if self._worked < self._next_trial:
            workers, look = faster, self.LOOK
        else:
            workers, look = slower, self.LOOK / 4
        steps = max(1, int(look / self.seconds[workers]))
        return workers, steps if workers == 1 else min(steps, self.MOST_STEPS)

    def record(self, workers, seconds, steps):
        """Take note of what so many steps have cost."""
        self._worked += seconds
        seconds /= steps
        before = self.seconds[workers]
        if before is not None and seconds > before:
            seconds = before + self.DOUBT * (seconds - before)
        self.seconds[workers] = max(seconds, 1e-9)
        other = next(s for w, s in self.seconds.items() if w != workers)
        if other is None:
            return
        rest = self.REST * min(self.seconds[workers], other)
        lost = seconds >= other
        if before is None:
            self._next_trial = self._worked + max(self._pause, rest)
        elif before >= other:  # that was a trial of the slower way
            self._pause = min(2 * self._pause, self.LAST_PAUSE) if lost else self.FIRST_PAUSE
            self._next_trial = self._worked + max(self._pause, rest)
        elif lost:  # the faster way was slow: for good, or for once?
            self._pause, self._next_trial = self.FIRST_PAUSE, self._worked
