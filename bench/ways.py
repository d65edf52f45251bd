"""The kernels timed by turns: with one thread, with all of them, and as fastbatch chooses."""

import time
from contextlib import contextmanager
from itertools import pairwise
from unittest.mock import patch

import numpy as np

import fastbatch as fb
from bench.cells import Cell, batches, start
from fastbatch.kernels.cpu.session import Session


def classifier(widths, batch_size, examples=None):
    """A cell with ReLU and cross-entropy; of so many examples, or of batches for some 4 ms."""
    if examples is None:  # 4 to 512 batches: long runs multiply what rounding did
        weights = sum(m * n for m, n in pairwise(widths))
        seconds = 5e-6 + 3 * batch_size * weights / 1e11
        examples = batch_size * int(np.clip(4e-3 / seconds, 4, 512))
    name = f"{'-'.join(map(str, widths))} x{batch_size}"
    activations = ("relu",) * (len(widths) - 2) + ("identity",)
    return Cell(name, widths, activations, "cross_entropy", examples, batch_size=batch_size)


def epochs(cell):
    """A function that trains for an epoch at each call and returns the number of its steps."""
    training, rates = start(cell), np.full(batches(cell), cell.optimizer.lr)

    def train():
        training.next_epoch()
        return training.advance(rates)

    return train


@contextmanager
def at_most(threads):
    """Let fastbatch choose among so many threads."""
    before = fb.get_threads()
    fb.set_threads(threads)
    try:
        yield
    finally:
        fb.set_threads(before)


@contextmanager
def all_of(threads):
    """Share all work among so many threads, however small it is and whatever the clock says."""

    def run(self, steps=0):
        return self._run(min(threads, self.max_workers), steps)[0]

    with at_most(threads), patch.object(Session, "run", run):
        yield


SETTLING = 0.3  # seconds until `threads.Pace` has looked at the clock a few times
WAYS = {"one thread": lambda threads: at_most(1), "all threads": all_of, "automatic": at_most}


def by_turns(contenders, rounds, seconds, settle=0.0, rest=0.0):
    """Microseconds a step of each contender, one for each turn; the first turn does not count.

    Parameters
    ----------
    contenders : dict
        By name, a function that returns a context manager, in which its turns take place, and one
        that does some steps and returns how many.
    rounds : int
        Turns that count.
    seconds : float
        The least length of a turn.
    settle : float
        The least length of the first turn.
    rest : float
        Seconds before each turn, which then begins with sleeping threads; without a rest it begins
        after some steps that do not count.
    """
    times = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        length = seconds if turn > 0 else settle
        for name in list(contenders)[:: 1 if turn % 2 else -1]:
            way, work = contenders[name]
            with way():
                if rest:
                    time.sleep(rest)
                else:
                    work()
                steps, elapsed, begin = 0, 0.0, time.perf_counter()
                while steps == 0 or elapsed < length:
                    steps += work()
                    elapsed = time.perf_counter() - begin
            if turn > 0:
                times[name].append(1e6 * elapsed / steps)
    return times


def by_ways(work, rounds, seconds, threads=None, **options):
    """Microseconds a step by way of using so many threads, or all; else as `by_turns`."""
    threads = fb.get_threads() if threads is None else threads
    contenders = {name: (lambda way=way: way(threads), work) for name, way in WAYS.items()}
    return by_turns(contenders, rounds, seconds, **options)
