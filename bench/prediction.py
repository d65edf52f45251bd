"""What more cores would do: ``python -m bench.prediction``.

Predicts the time of a step on 2 to 128 cores from what the cores of this machine take, and shows
it beside what as many as there are do take.  docs/threads.md explains the model::

    T(W) = S + E(W) + P(W) + 2 (W + 2) l + c lines(W) + launch / Pace.MOST_STEPS

S    what one worker does between the phases while the others wait
E, P the sweeps: units as they are cut for W workers, timed on one core and shared out
l    the latency from core to core: in each of two meetings a worker sees the phase, sees its queue,
     and adds to the count of what is done, in which all take turns
c    a cache line that another core has written
"""

import heapq
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from statistics import median
from time import perf_counter

import numba
import numpy as np
from numba import prange

import fastbatch as fb
from bench.bandwidth import bandwidth
from bench.cells import CELLS, start
from bench.machine import machine
from bench.markdown import bullets, number, table
from bench.ways import all_of, at_most, by_turns, classifier, epochs
from fastbatch.backends import load
from fastbatch.kernels.cpu.atomics import acquire, pause, release
from fastbatch.kernels.cpu.jit import entry, jit
from fastbatch.kernels.cpu.machine import last_level_cache
from fastbatch.kernels.cpu.memory import pointer_to
from fastbatch.kernels.cpu.phases import EXAMPLES, PARAMETERS
from fastbatch.kernels.cpu.subroutine import call
from fastbatch.kernels.cpu.sweeps import example_units, parameter_units
from fastbatch.kernels.cpu.threads import Pace

CORES = (1, 2, 4, 8, 16, 32, 64, 128)
SHOWN = (2, 8, 32, 128)
PREDICTED = ("tiny", "digits", "mnist", "wide", "chains")
# c is found from networks that are not among those.
FITTED = tuple(classifier((w, w, w, 10), b) for w in (64, 128, 256) for b in (32, 64, 256))
LINE = 64  # bytes that cross from core to core together
ADDITION = 0.3e-9  # seconds for each loss that is summed: four sums, each waits four cycles
SECONDS = 0.01  # of a turn
ROUNDS = 9  # of which the best counts: what disturbs the others is no part of the model


@entry
def _repeat(jobs, phase, times):
    """All units of the examples or of the parameters sweep, on one core."""
    job = jobs[0]
    for _ in range(times):
        for queue in range(job.workers):
            if phase == EXAMPLES:
                for unit in range(example_units(job, queue)):
                    call(job.examples_unit, (job.arena, job.address, 0, queue, unit))
            else:
                for unit in range(parameter_units(job, queue)):
                    call(job.parameters_unit, (job.arena, job.address, 0, queue, unit))


@jit
def _bounce(words, player, turns):
    """Answer the other player's number with the next one; give up if none comes."""
    patience = 1 << 24
    for turn in range(turns):
        while acquire(words, 0) != 2 * turn + player and patience > 0:
            pause()
            patience -= 1
        release(words, 0, 2 * turn + player + 1)


@jit(parallel=True)
def _by_two(words, turns):
    for player in prange(2):
        _bounce(words, player, turns)


@entry
def _play(buffer, turns):
    words = pointer_to(buffer)
    release(words, 0, 0)
    _by_two(words, turns)


class Sweeps:
    """The last step of a training, cut into units for any number of workers."""

    def __init__(self, cell):
        self.training = start(cell)
        with at_most(1):
            self.training.advance(np.full(1, 1e-3))
        self.session = self.training._session
        self.layout, self.job = self.session.layout, self.session.job

    def cut(self, workers):
        """Cut both phases into queues for so many workers."""
        self.units, self.bounds = self.layout.units(workers)
        self.job["workers"], self.job["n_units"] = workers, len(self.units)
        self.job["units"], self.job["bounds"] = self.units.ctypes.data, self.bounds.ctypes.data

    def seconds(self, phase):
        """Of all units of a sweep, on one core."""

        def timed(times):
            begin = perf_counter()
            _repeat(self.session.jobs, phase, times)
            return (perf_counter() - begin) / times

        timed(1)  # which may compile
        times = int(SECONDS / timed(1)) + 1
        return min(timed(times) for _ in range(ROUNDS))

    def example_queues(self):
        """Rows of each unit of the examples sweep, by queue."""
        rows, workers = int(self.job["rows"]), int(self.job["workers"])
        if unit := int(self.job["block"]):
            blocks = -(-rows // unit)
            bounds = [min(blocks * q // workers * unit, rows) for q in range(workers + 1)]
        else:
            unit = int(self.job["tile"])
            bounds = [*(rows * q // workers // 4 * 4 for q in range(workers)), rows]
        for first, stop in pairwise(bounds):
            yield [min(unit, stop - row) for row in range(first, stop, unit)]

    def parameter_queues(self):
        """Parameters of each unit of the parameters sweep, by queue."""
        columns = self.layout.layers["stride"][self.units["layer"]]
        sizes = (self.units["rows"] + self.units["has_bias"]) * columns
        return [list(sizes[first:stop]) for first, stop in pairwise(self.bounds)]

    def lines(self):
        """Cache lines that another worker has written and a worker reads in a step, at most.

        In the examples sweep the weights and their transposed copies; in the other the columns of
        activations and deltas that its units need, of all rows, or their share of the blocks'
        gradients.  All but 1 / W of them come from others.
        """
        layout, rows = self.layout, int(self.job["rows"])
        transposed = int(self.job["slots"] - self.job["theta"]) - layout.parameters
        stride = layout.layers["stride"]
        most = 0
        for first, stop in pairwise(self.bounds):
            units = self.units[first:stop]
            if block := int(self.job["block"]):
                read = -(-rows // block) * (units["rows"] * stride[units["layer"]]).sum()
            else:
                entering = {(unit["layer"], unit["row"]): unit["rows"] for unit in units}
                deltas = {(unit["layer"], unit["panel"]): stride[unit["layer"]] for unit in units}
                read = rows * (sum(entering.values()) + sum(deltas.values()))
            most = max(most, int(read))
        elements = layout.parameters + transposed + most
        return (1 - 1 / int(self.job["workers"])) * elements * layout.dtype.itemsize / LINE

    def updated_bytes(self):
        """What the update must read and write: parameters and the optimizer's state."""
        return 2 * (1 + self.session.slots) * self.layout.parameters * self.layout.dtype.itemsize


def share(queues):
    """The part of all work that the longest busy worker does.

    Each takes units from its own queue, then from the others in turn.

    >>> share([[3, 1], [1, 1]]), share([[1, 1, 1, 1], []]), share([[4]])
    (0.5, 0.5, 1.0)
    """
    left = [list(reversed(queue)) for queue in queues]
    busy = [(0, worker) for worker in range(len(left))]  # until when
    total = sum(map(sum, left))
    while any(left):
        now, worker = heapq.heappop(busy)
        queue = next(queue for queue in (*left[worker:], *left[:worker]) if queue)
        heapq.heappush(busy, (now + queue.pop(), worker))
    return float(max(busy)[0] / total)


@dataclass
class Constants:
    """What two cores were found to do, in seconds, bytes and bytes per second."""

    threads: int
    opening: float  # of a step's phases
    drawing: float  # of an example in a shuffle
    launch: float = 0.0  # of the workers, beyond that of one
    cache: float = inf  # the last level's
    bandwidth: float = inf
    latency: float = 0.0  # until one core sees what another has written
    line: float = 0.0  # of a cache, that another core has written

    def find_line(self, cells):
        """Find out what a line takes from what else is missing; the median of the cells."""
        steps = [Step(cell, self) for cell in cells]
        self.line = median(
            (step.shared - step.predicted(self.threads)) / step.sweeps.lines() for step in steps
        )


class Step:
    """A step of a cell: measured on one core and on all, taken apart, and put together again."""

    def __init__(self, cell, constants):
        self.constants, self.sweeps = constants, Sweeps(cell)
        work = epochs(cell)
        ways = {"alone": lambda: at_most(1), "shared": lambda: all_of(constants.threads)}
        contenders = {name: (way, work) for name, way in ways.items()}
        times = by_turns(contenders, ROUNDS, 2 * SECONDS)
        self.alone, self.shared = (1e-6 * min(turns) for turns in times.values())
        self.serial = constants.opening + cell.batch_size * (constants.drawing + ADDITION)
        self.sweeps.cut(1)
        self.examples, self.parameters = map(self.sweeps.seconds, (EXAMPLES, PARAMETERS))
        # Steps take rows that are not in the cache, repetitions the same rows again.
        self.fetching = max(self.alone - self.serial - self.examples - self.parameters, 0.0)

    def known(self, workers):
        """Seconds on so many workers, but for meetings and lines."""
        sweeps, constants = self.sweeps, self.constants
        sweeps.cut(workers)
        examples = self.fetching + sweeps.seconds(EXAMPLES)
        examples *= share(sweeps.example_queues())
        parameters = sweeps.seconds(PARAMETERS) * share(sweeps.parameter_queues())
        if sweeps.session.arena.nbytes > constants.cache:
            parameters = max(parameters, sweeps.updated_bytes() / constants.bandwidth)
        return self.serial + examples + parameters + constants.launch / Pace.MOST_STEPS

    def predicted(self, workers):
        """Seconds on so many workers."""
        if workers == 1:
            return self.alone
        constants = self.constants
        known = self.known(workers)
        meetings = 2 * (workers + 2) * constants.latency
        return known + meetings + constants.line * self.sweeps.lines()


def opening(drawing):
    """Seconds of a step that belong to neither sweep, where these have next to nothing to do."""
    return Step(classifier((1, 1), 1), Constants(1, 0.0, drawing)).fetching


def drawing():
    """Seconds for each example in a shuffle."""
    count, permutation = 1 << 14, load("cpu").permutation

    def shuffle():
        permutation(count, 0, 0)
        return count

    times = by_turns({"": (nullcontext, shuffle)}, ROUNDS, SECONDS)
    return 1e-6 * min(times[""])


def latency():
    """Seconds until one core sees what another has written."""
    words, turns = np.zeros(2 * LINE // 8, np.int64), 10_000
    numba.set_num_threads(2)

    def play():
        _play(words, turns)
        return 2 * turns

    return 1e-6 * min(by_turns({"": (nullcontext, play)}, ROUNDS, SECONDS)[""])


def launch(threads):
    """Seconds to start all workers for nothing, beyond those of one."""
    training = start(CELLS["tiny"])

    def nothing():
        training.advance(np.empty(0))
        return 1

    ways = (lambda: at_most(1)), (lambda: all_of(threads))
    contenders = {str(number): (way, nothing) for number, way in enumerate(ways)}
    alone, shared = map(min, by_turns(contenders, ROUNDS, SECONDS).values())
    return 1e-6 * (shared - alone)


def section(constants, steps):
    """Paragraphs: the constants, and a table of what was measured and what is predicted."""
    facts = machine()
    yield bullets(
        [
            f"{facts['cores']} cores of {facts['processor']}, {facts['date']}",
            f"opening of a step's phases: {1e6 * constants.opening:.2f} us",
            f"shuffle: {1e9 * constants.drawing:.1f} ns for each example",
            f"latency from core to core: {1e9 * constants.latency:.0f} ns",
            f"line that another core has written: {1e9 * constants.line:.1f} ns",
            f"launch of {constants.threads} workers: {1e6 * constants.launch:.1f} us",
            f"memory bandwidth: {1e-9 * constants.bandwidth:.0f} GB/s",
        ]
    )
    measured = ["S", "E", "P", "1 measured", f"{constants.threads} measured"]
    rows = [["", *measured, *(f"{workers} predicted" for workers in SHOWN), "best"]]
    for name, step in steps.items():
        times = {workers: step.predicted(workers) for workers in CORES}
        best = min(times, key=times.get)
        figures = [step.serial, step.examples + step.fetching, step.parameters]
        figures += [step.alone, step.shared, *(times[workers] for workers in SHOWN)]
        columns = [number(1e6 * seconds) for seconds in figures]
        rows.append([name, *columns, f"{number(1e6 * times[best])} on {best}"])
    yield table(rows)


def main():
    """Print what was measured, and the predictions."""
    threads = fb.get_threads()
    if threads == 1:
        raise SystemExit("the constants of the model take two cores to measure")
    each = drawing()
    constants = Constants(
        threads,
        opening(each),
        each,
        launch(threads),
        last_level_cache(),
        1e9 * bandwidth(),
        latency(),
    )
    constants.find_line(FITTED)
    steps = {name: Step(CELLS[name], constants) for name in PREDICTED}
    print("\n\n".join(section(constants, steps)))


if __name__ == "__main__":
    main()
