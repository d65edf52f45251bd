"""What `bench.growth` measures: networks that grow in one way, and what bounds their speed.

At each point there is a race (`bench.race`) of whole shuffled epochs, Adam, float32, ReLU.  Beside
it the kernels' `Training` alone is timed with every way of using the threads that there is
(`bench.ways`), to show whether the choice that fastbatch makes by itself is the better one.
"""

import os
from contextlib import contextmanager
from dataclasses import dataclass

from bench import race
from bench.bandwidth import bandwidth
from bench.cells import CELLS, Cell, multiply_adds
from bench.peak import peak
from bench.peers.contest import cores
from bench.ways import SETTLING, by_ways, classifier, epochs
from fastbatch.kernels.cpu.machine import last_level_cache

PAUSE = 0.05  # seconds between turns: all who take part sleep after 10 ms without work


@dataclass(frozen=True)
class Point:
    """A network, the number that grows along its curve, and how many cores there are."""

    curve: str
    size: int
    cell: Cell
    threads: int


def _cores():
    """Powers of two and all that there are; these alone where a process cannot be confined."""
    powers = [2**k for k in range(cores().bit_length()) if hasattr(os, "sched_setaffinity")]
    return sorted({*powers, cores()})


def curves():
    """Points by the name of their curve."""
    grown = {
        "batch": {4**k: classifier((64, 64, 64, 10), 4**k) for k in range(9)},
        "width": {2**k: classifier((2**k,) * 3 + (10,), 64) for k in range(3, 13)},
        "depth": {2**k: classifier((64,) * (1 + 2**k) + (10,), 64) for k in range(7)},
    }
    points = {
        curve: [Point(curve, size, cell, cores()) for size, cell in cells.items()]
        for curve, cells in grown.items()
    }
    for name in "digits", "mnist", "wide":
        curve = f"threads-{name}"
        points[curve] = [Point(curve, count, CELLS[name], count) for count in _cores()]
    return points


@contextmanager
def _confined(count):
    """Have processes that start now use so many cores, in a system that can do that."""
    if count == cores():
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def bounds(point):
    """Microseconds that no step can do without, by what takes them.

    Multiply-adds at the peak, and what Adam must read and write (parameters and two moments) at
    the bandwidth that arrays of that size have: that of a cache, if one holds them.  A core can
    compute while its loads are under way, so the larger bounds a step, not the sum.
    """
    size = 3 * 4 * point.cell.plan("float32").size
    flops = 2 * multiply_adds(point.cell)["step"]
    rate = bandwidth(point.threads, min(size, 8 * last_level_cache()))
    return {
        "arithmetic": 1e-3 * flops / peak("float32", point.threads),
        "memory": 1e-3 * 2 * size / rate,
    }


def measure(point, names, rounds, seconds):
    """Everything about a point, ready for JSON."""
    with _confined(point.threads):
        results = race.race(point.cell, names, rounds, seconds, PAUSE, tasks=("train",))
    return {
        "curve": point.curve,
        "size": point.size,
        "network": point.cell.label,
        "threads": point.threads,
        "race": {result.contender: result.microseconds for result in results},
        "failures": {result.contender: result.failure for result in results if result.failure},
        "versions": [result.version for result in results],
        "ways": by_ways(epochs(point.cell), rounds, seconds, point.threads, settle=SETTLING),
        "bounds": bounds(point),
    }
