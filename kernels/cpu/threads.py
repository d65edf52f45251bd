"""Who may use Numba's threads, and when they pay.

The threading layers have limits that nobody should have to know: `workqueue` aborts the process
when two threads enter it, GNU OpenMP kills a forked child that does.  So one thread at a time
gets the workers; another that comes meanwhile, and any forked child, works alone.  The bits
of a result never depend on it.
"""

import contextlib
import os
import threading

import numba

# Multiply-adds that keep one worker busy for some five times what it costs to wake it.
_WORK_PER_WORKER = {"omp": 250_000, "tbb": 500_000, "workqueue": 20_000_000}
# The same for the next step, when all are awake: they meet twice, and read what others have written.
_WORK_PER_STEP = 50_000

_entry = threading.Lock()
_process = os.getpid()
_threads = numba.config.NUMBA_NUM_THREADS


def set_threads(count):
    """Use at most `count` threads, 1 or more; more than Numba started are cut down to those."""
    global _threads
    _threads = min(count, numba.config.NUMBA_NUM_THREADS)


def get_threads():
    """The most threads that training uses."""
    return _threads


def threading_layer():
    """Name of Numba's threading layer, loaded if it was not."""
    numba.np.ufunc.parallel._launch_threads()
    return numba.threading_layer()


def workers_for(work, steps):
    """How many workers may pay for so many `steps`, or an evaluation (0), of `work` multiply-adds."""
    if _threads == 1:
        return 1
    to_wake = _WORK_PER_WORKER.get(threading_layer(), 500_000)
    return max(1, min(_threads, work // _WORK_PER_STEP, work * max(steps, 1) // to_wake))


@contextlib.contextmanager
def granted(workers):
    """Hold the workers that this thread may have now: all it asks for, or one."""
    if workers == 1 or os.getpid() != _process or not _entry.acquire(blocking=False):
        yield 1
        return
    try:
        numba.set_num_threads(workers)
        yield workers
    finally:
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
    FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0  # seconds without a trial of the slower way

    def __init__(self, workers):
        self.seconds = dict.fromkeys((1, workers))  # of a step, as last measured
        self._pause = self.FIRST_PAUSE
        self._next_trial = 0.0

    def choose(self, now):
        """Number of workers to use next, and for how many steps at most."""
        for workers, seconds in self.seconds.items():
            if seconds is None:
                return workers, 4
        slower, faster = sorted(self.seconds, key=self.seconds.__getitem__, reverse=True)
        if now < self._next_trial:
            workers, look = faster, self.LOOK
        else:
            workers, look = slower, self.LOOK / 8
        steps = max(1, int(look / self.seconds[workers]))
        return workers, steps if workers == 1 else min(steps, self.MOST_STEPS)

    def record(self, workers, seconds, now):
        """Take note of what a step has cost."""
        before = self.seconds[workers]
        if before is not None and seconds > before:
            seconds = before + self.DOUBT * (seconds - before)
        self.seconds[workers] = max(seconds, 1e-9)
        other = next(s for w, s in self.seconds.items() if w != workers)
        if before is None or other is None:
            return
        lost = seconds >= other
        if before >= other:  # that was a trial of the slower way
            self._pause = min(2 * self._pause, self.LAST_PAUSE) if lost else self.FIRST_PAUSE
            self._next_trial = now + self._pause
        elif lost:  # the faster way was slow: for good, or for once?
            self._pause, self._next_trial = self.FIRST_PAUSE, now
