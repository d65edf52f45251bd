"""Whole shuffled epochs, fastbatch beside its peers: ``python -m bench.race --cells tiny digits``.

Every contender is a process of its own (`bench.peers`) with the same network, initial parameters,
data and optimiser.  First each shows that it computes the same: its losses, before and after an
epoch with the examples in order, must be those of the reference.  Then they take turns, in
changing order, while all others wait; a turn is one epoch, or as many as fill the least time.
All of a turn is timed, and divided by its steps.  The first turn of each does not count.

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

import numpy as np

from bench import report
from bench.cells import CELLS, LR, Trajectory, batches, trajectory
from bench.peers import CONTENDERS, OURS

ROOT = Path(__file__).parents[1]
# Of the change of the loss in an epoch. Peers deviate by up to 0.0008 where they work out Adam's
# bias correction in float32, scikit-learn by 0.006, because its eps is not bias-corrected.
TOLERANCE = 0.01


@dataclass
class Result:
    """What came of one contender in one cell."""

    cell: str
    contender: str
    version: str = ""
    failure: str = ""  # why there are no times
    microseconds: list[float] = field(default_factory=list)  # a step, one for each turn


class Runner:
    """A contender's process, which fills in its result."""

    def __init__(self, result, problem):
        self.result = result
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (as long as the process)
        script = CONTENDERS[result.contender].script
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"bench.peers.{script}", str(problem)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def _answer(self):
        """The next message of the process, waited for; None if there will be none."""
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._errors.seek(0)
        last = self._errors.read().strip().rpartition("\n")[2]
        self.result.failure = last or "ended without a word"
        return None

    def check(self, truth):
        """Wait until it is ready; it fails if it has not computed `truth`."""
        answer = self._answer()
        if answer:
            self.result.version = answer["version"]
            found = Trajectory(answer["before"], answer["after"])
            if not found.agrees(truth, TOLERANCE):
                self.result.failure = f"computes something else: {found}, not {truth}"

    def turn(self):
        """Let it train; return the epochs and seconds of this turn, None if it has failed."""
        if self.result.failure:
            return None
        self._process.stdin.write("go\n")
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


def write_problem(path, cell, seconds):
    """What `bench.peers.contest.Contest` reads."""
    theta, X, y, _ = cell.data("float32")
    problem = {
        "widths": cell.widths,
        "activation": cell.activations[0],
        "loss": cell.loss,
        "batch_size": cell.batch_size,
        "lr": LR,
        "seconds": seconds,
    }
    np.savez(path, theta=theta, X=X, y=y, problem=json.dumps(problem))


def race(cell, names, rounds, seconds, pause):
    """The results of all contenders in one cell."""
    results = [Result(cell.name, name) for name in names]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        problem = Path(folder) / "problem.npz"
        write_problem(problem, cell, seconds)
        runners = []
        for result in results:
            runners.append(stack.enter_context(closing(Runner(result, problem))))
            runners[-1].check(trajectory(cell))
        for number in range(rounds + 1):
            for runner in runners:
                time.sleep(pause)
                turn = runner.turn()
                if turn and number > 0:
                    steps = turn["epochs"] * batches(cell)
                    runner.result.microseconds.append(1e6 * turn["seconds"] / steps)
            runners = [*runners[1:], runners[0]] if number % 2 else runners[::-1]
    return results


def missing(name):
    """The modules that a contender lacks on this machine."""
    return [module for module in CONTENDERS[name].needs if find_spec(module) is None]


def main(argv=None):
    """Run from the command line; 1 if a contender failed or computed something else."""
    parser = argparse.ArgumentParser(prog="python -m bench.race", description=__doc__)
    peers = [name for name in CONTENDERS if name != OURS]
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers)
    parser.add_argument("--rounds", type=int, default=9, help="turns of each that count")
    parser.add_argument("--seconds", type=float, default=0.25, help="least length of a turn")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between turns")
    parser.add_argument("--json", type=Path, help="also write all turns to this file")
    options = parser.parse_args(argv)

    lacking = {name: missing(name) for name in options.peers}
    names = [OURS, *(name for name in options.peers if not lacking[name])]
    results = []
    for number, name in enumerate(options.cells, 1):
        print(f"{name} ({number} of {len(options.cells)})", file=sys.stderr, flush=True)
        results += race(CELLS[name], names, options.rounds, options.seconds, options.pause)

    print(report.table(results, names))
    print("\n".join(f"* {line}" for line in report.notes(results, lacking)))
    if options.json:
        document = {"machine": report.machine(), "results": [asdict(r) for r in results]}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return int(any(result.failure for result in results))


if __name__ == "__main__":
    sys.exit(main())
