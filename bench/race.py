"""fastbatch beside its peers: ``python -m bench.race --cells tiny digits --task train``.

Six tasks: whole shuffled epochs of Adam ("train"), the outputs of all examples in one call
("forward"), and in some cells (`bench.cells`) whole shuffled epochs of gradient descent that clips
the gradient of each example ("clip"), or that samples by Langevin dynamics ("sgld"), of Adam on a
variational autoencoder ("vae"), and the inner products of all pairs of gradients ("gram").

Every contender is a process of its own (`bench.peers`) with the same network, initial parameters,
data and optimizer.  First each shows that it computes the same: its outputs, and its losses before
and after an epoch with the examples in order, must be those of the reference.  Then they take
turns, in changing order, while all others wait; a turn is one epoch or call, or as many as fill the
least time.  All of a turn is timed, and divided by its batches.  The first turn of each does not
count.  Whoever is slow has fewer turns, and whoever needs more time or memory than there is loses.

Nobody works while others are timed: threads that wait for more work spin for 10 ms (OpenMP, in
PyTorch and fastbatch) or 100 ms (OpenBLAS, in scikit-learn) before they sleep, hence the pause.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from threading import Timer

import numpy as np

from bench import report
from bench.cells import (
    CELLS,
    CLIPPED,
    LR,
    PAIRS,
    POSTERIOR,
    VARIATIONAL,
    Trajectory,
    batches,
    trajectory,
)
from bench.machine import limit_memory, machine, peaks
from bench.peers import CLIP, CONTENDERS, FORWARD, GRAM, OURS, SAMPLE, TASKS, TRAIN, VAE
from fastbatch.backends import load
from fastbatch.optimizers import SGLD

ROOT = Path(__file__).parents[1]
# Of the change of the loss in an epoch. Peers deviate by up to 0.0008 where they work out Adam's
# bias correction in float32, scikit-learn by 0.006, because its eps is not bias-corrected.
TOLERANCE = 0.01
# Without Adam: peers deviate by up to 0.00005.
PLAIN_TOLERANCE = 0.001
# Of the spread of what an epoch's noise does to theta: 1 but for what the drift makes of it, and
# for the chance of some 10,000 numbers.
SPREAD_TOLERANCE = 0.1
ROUNDINGS = 1000  # of the largest output, or inner product
FEW, ENOUGH = 3, 20.0  # turns that are enough if they took so many seconds
PATIENCE = 180.0  # seconds in which a contender must be ready, or have done a turn
MEMORY = 0.75  # of the machine's, for each contender: the others wait, but keep what they have
OUT_OF_MEMORY = "out of memory", "allocate memory", "memoryerror", "bad_alloc"
# The tasks that the same processes do one after the other, and the cells in which they do them.
HEATS = [
    ((TRAIN, FORWARD), CELLS),
    ((CLIP,), CLIPPED),
    ((GRAM,), PAIRS),
    ((SAMPLE,), {"digits": POSTERIOR["digits"]}),
    ((VAE,), VARIATIONAL),
]


@dataclass
class Result:
    """What came of one contender in one task of one cell."""

    cell: str
    contender: str
    task: str
    version: str = ""
    failure: str = ""  # why there are no times
    exhausted: str = ""  # "too slow" or "out of memory", which is no mistake
    microseconds: list[float] = field(default_factory=list)  # for a batch, one for each turn


class Runner:
    """A contender's process, in one cell."""

    def __init__(self, name, problem):
        self.name = name
        self.version = self.failure = self.exhausted = ""
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"bench.peers.{CONTENDERS[name].script}", str(problem)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        limit_memory(self._process.pid, MEMORY)

    def _answer(self):
        """The next message of the process, waited for; None if there will be none."""
        patience = Timer(PATIENCE, self._give_up)
        patience.start()
        line = self._process.stdout.readline()
        patience.cancel()
        if line:
            return json.loads(line)
        if self.exhausted:
            return None
        self._errors.seek(0)
        last = self._errors.read().strip().rpartition("\n")[2]
        self.failure = last or "ended without a word"
        if any(sign in last.lower() for sign in OUT_OF_MEMORY):
            self.exhausted = "out of memory"
        return None

    def _give_up(self):
        self.exhausted, self.failure = "too slow", f"no answer within {PATIENCE:.0f} s"
        self._process.kill()

    def check(self, cell):
        """Wait until it is ready; it fails if it has not computed what the reference has."""
        answer = self._answer()
        if not answer:
            return
        self.version = answer["version"]
        found, truth = Trajectory(answer["before"], answer["after"]), trajectory(cell)
        plain = cell.clip or isinstance(cell.optimizer, SGLD)
        if not found.agrees(truth, PLAIN_TOLERANCE if plain else TOLERANCE):
            self.failure = f"computes something else: {found}, not {truth}"
        if abs(answer["spread"] - 1) > SPREAD_TOLERANCE:
            self.failure = f"has other noise: {answer['spread']:.3f} of what it should be"
        for what, error in answer["errors"].items():
            if not error < ROUNDINGS * np.finfo(cell.dtype).eps:
                self.failure = f"computes other {what}, by {error:.1e} of the largest"

    def turn(self, task):
        """Let it work; return how many times and seconds it did so, None if it has failed."""
        if self.failure:
            return None
        # The problem says that training clips, or that there is noise in it.
        work = TRAIN if task in (CLIP, SAMPLE, VAE) else task
        self._process.stdin.write(f"{work}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self):
        """End the process."""
        self._process.stdin.close()  # which it takes for the end of the race
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def write_problem(folder, cell, seconds, tasks):
    """What `bench.peers.contest.Contest` reads."""
    theta, X, y, _ = cell.data(cell.dtype)
    kernels, plan = load("reference"), cell.plan(cell.exact)
    exact = [theta.astype(cell.exact), X.astype(cell.exact)]
    arrays = {"theta": theta, "X": X, "y": y, "outputs": kernels.outputs(plan, *exact)}
    if cell.sample is not None:
        rows = np.arange(cell.examples)
        for name, steps in (("first_noise", 0 * rows), ("noise", rows // cell.batch_size)):
            arrays[name] = np.concatenate(
                [
                    kernels.gaussian_sample.noise(plan, cell.sample, rows[steps == step], step)
                    for step in np.unique(steps)
                ]
            )
    if GRAM in tasks:
        arrays["gram"] = kernels.gradient_gram(plan, *exact, y, exact[1], y)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    problem = {
        "widths": cell.widths,
        "activation": cell.activations[0],
        "loss": cell.loss,
        "batch_size": cell.batch_size,
        "memmap": cell.memmap,
        "lr": LR,
        "clip": cell.clip.max_norm if cell.clip else None,
        "sample": cell.sample,
        "sgld": asdict(cell.optimizer) if isinstance(cell.optimizer, SGLD) else None,
        "seconds": seconds,
    }
    (folder / "problem.json").write_text(json.dumps(problem))


def race(cell, names, rounds=7, seconds=0.15, pause=0.15, tasks=(TRAIN, FORWARD)):
    """The results of all contenders in one cell.

    Parameters
    ----------
    cell : bench.cells.Cell
    names : sequence of str
        Of `bench.peers.CONTENDERS`; who lacks the cell's activation has no result, and nobody has
        one for a task that is not theirs.
    rounds : int
        Turns of each contender that count.
    seconds : float
        The least length of a turn.
    pause : float
        Seconds between turns.
    tasks : sequence of str
        Of `bench.peers.TASKS`: "clip" for cells that clip, "sgld" for those of Langevin dynamics,
        "train" for the others.

    Returns
    -------
    list of Result
    """
    names = [
        name
        for name in names
        if not lacking(cell, name) and set(tasks) & set(CONTENDERS[name].tasks)
    ]
    results = []
    with tempfile.TemporaryDirectory() as path, ExitStack() as stack:
        folder = Path(path)
        write_problem(folder, cell, seconds, tasks)
        runners = []
        for name in names:  # one after the other: each finds out undisturbed what is fast
            runners.append(stack.enter_context(closing(Runner(name, folder))))
            runners[-1].check(cell)
        for task in tasks:
            here = [runner for runner in runners if task in CONTENDERS[runner.name].tasks]
            times = take_turns(here, task, rounds, pause)
            results += [
                Result(
                    cell.name,
                    runner.name,
                    task,
                    runner.version,
                    runner.failure,
                    runner.exhausted,
                    [1e6 * t / batches(cell) for t in times[runner.name]],
                )
                for runner in here
            ]
    return results


def take_turns(runners, task, rounds, pause):
    """Seconds that each runner took to do the task once, by turns."""
    times = {runner.name: [] for runner in runners}
    for number in range(rounds + 1):
        for runner in runners:
            if len(times[runner.name]) >= FEW and sum(times[runner.name]) > ENOUGH:
                continue
            time.sleep(pause)
            turn = runner.turn(task)
            if turn and number > 0:
                times[runner.name].append(turn["seconds"] / turn["times"])
        runners = [*runners[1:], runners[0]] if number % 2 else runners[::-1]
    return times


def lacking(cell, name):
    """The activations of the cell that a contender does not have."""
    return sorted(set(CONTENDERS[name].lacks) & set(cell.activations))


def missing(name):
    """The modules that a contender lacks on this machine."""
    return [module for module in CONTENDERS[name].needs if find_spec(module) is None]


def absences(cells, names):
    """Why there are contenders without times, a line for each."""
    for name in names:
        if modules := missing(name):
            cure = "pip install 'fastbatch[bench]'"
            yield f"{name} did not run, for want of {', '.join(modules)}: {cure}"
        else:
            for cell in cells:
                if activations := lacking(cell, name):
                    yield f"{name} has no {', '.join(activations)}, so no times in {cell.name}"


def main(argv=None):
    """Run from the command line; 1 if a contender failed or computed something else."""
    parser = argparse.ArgumentParser(prog="python -m bench.race", description=__doc__)
    peers = [name for name in CONTENDERS if name != OURS]
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each that count")
    parser.add_argument("--seconds", type=float, default=0.15, help="least length of a turn")
    parser.add_argument("--pause", type=float, default=0.15, help="seconds between turns")
    parser.add_argument("--json", type=Path, help="also write all turns to this file")
    options = parser.parse_args(argv)

    cells = [CELLS[name] for name in options.cells]
    names = [OURS, *options.peers]
    installed = [name for name in names if not missing(name)]
    labels, results, start = {}, [], time.perf_counter()
    for number, cell in enumerate(cells, 1):
        place = f"{number} of {len(cells)}, after {time.perf_counter() - start:.0f} s"
        print(f"{cell.name} ({place})", file=sys.stderr, flush=True)
        for together, variants in HEATS:
            tasks = [task for task in together if task in options.task]
            if tasks and cell.name in variants:
                variant = variants[cell.name]
                labels[variant.name] = variant.label
                results += race(
                    variant, installed, options.rounds, options.seconds, options.pause, tasks
                )

    document = {
        "machine": machine(),
        "peak": peaks(),
        "cells": labels,
        "absences": list(absences(cells, names)),
        "results": [asdict(result) for result in results],
    }
    print("\n\n".join(report.race_sections(document)))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return int(any(result.failure and not result.exhausted for result in results))


if __name__ == "__main__":
    sys.exit(main())
