"""Who may use Numba's threads, and how many of them pay.

The threading layers have limits that nobody should have to know: `workqueue` aborts the process
when two threads enter it, GNU OpenMP kills a forked child that does.  So one thread at a time
gets the workers; another that comes meanwhile, and any forked child, works alone.  The bits
of a result never depend on it.
"""

import contextlib
import os
import threading

import numba

# Multiply-adds that keep one worker busy for some ten times what it costs to wake it.
_WORK_PER_WORKER = {"omp": 250_000, "tbb": 500_000, "workqueue": 20_000_000}

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


@contextlib.contextmanager
def workers_for(work):
    """Number of workers for so many multiply-adds, held as long as the context lasts."""
    if _threads == 1 or os.getpid() != _process:
        yield 1
        return
    workers = min(_threads, max(1, work // _WORK_PER_WORKER.get(threading_layer(), 500_000)))
    if workers == 1 or not _entry.acquire(blocking=False):
        yield 1
        return
    try:
        numba.set_num_threads(workers)
        yield workers
    finally:
        _entry.release()
