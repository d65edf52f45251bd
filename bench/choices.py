"""Whether the engine chooses well: ``python -m bench.choices [--json FILE]``.

It chooses by how many workers a training or an evaluation is shared (`threads.Pace` by the clock,
`threads.workers_for` by the work), and whether a gradient is summed by blocks of 128 examples or
as one product (`Plan.block`, by plan and batch alone, since it shows in the bits).
Each choice is timed beside its alternatives, by turns, with the kernels alone.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np

import fastbatch as fb
from bench.cells import CELLS, start
from bench.machine import machine
from bench.markdown import bullets, number, table
from bench.report import RESULTS
from bench.ways import SETTLING, WAYS, all_of, at_most, by_turns, by_ways, classifier, epochs
from fastbatch.backends import load

LIMIT = 1.10  # what a choice may cost, as a multiple of its best alternative
REST = 0.02  # seconds after which the threads sleep

WIDTHS = (8, 32, 64, 128, 256, 1024)  # w-w-10
BATCHES = (1, 16, 128, 1024)
EVALUATED = {"tiny": 65_536, "digits": 65_536, "mnist": 16_384}  # cells, and the most rows
REDUCED = (
    (8, 16, 4),
    (16, 32, 10),
    (784, 10),
    (32, 48, 48, 10),
    (64, 64, 64, 10),
    (16, 512, 16),
    (64, 128, 64, 10),
    (100, 200, 10),
    (784, 32, 10),
    (128, 128, 128, 10),
    (784, 64, 10),
    (128, 256, 256, 10),
    (784, 128, 10),
    (784, 256, 10),
)
REDUCED_BATCHES = (256, 1024, 4096, 16_384)


def trainings(rounds, seconds):
    """Steps of every width and batch, by way."""
    for width in WIDTHS:
        for batch_size in BATCHES:
            cell = classifier((width, width, 10), batch_size)
            work = 3 * batch_size * cell.plan(cell.dtype).size
            times = by_ways(epochs(cell), rounds, seconds, settle=SETTLING)
            yield {"what": cell.label, "work": work, "times": times}


def evaluations(rounds, seconds, rest=0.0):
    """One call for the outputs of 1, 4, ... rows, by way, after a rest or right after the last."""
    for name, most in EVALUATED.items():
        cell = CELLS[name]
        plan, (theta, *_) = cell.plan(cell.dtype), cell.data(cell.dtype)
        X = np.random.default_rng(0).standard_normal((most, plan.inputs), cell.dtype)
        for rows in (4**k for k in range(9) if 4**k <= most):

            def evaluate(plan=plan, theta=theta, X=X[:rows]):
                load("cpu").outputs(plan, theta, X)
                return 1

            times = by_ways(evaluate, rounds, 0.0 if rest else seconds, rest=rest)
            what = f"{'-'.join(map(str, cell.widths))}, {rows:,}"
            yield {"what": what, "work": rows * plan.size, "times": times}


def reductions(rounds, seconds):
    """Steps with gradients by blocks, and as whole products, on one thread and on all."""
    limits = {"blocks": sys.maxsize, "whole": 0}
    teams = {"one thread": lambda: at_most(1), "all threads": lambda: all_of(fb.get_threads())}
    for widths in REDUCED:
        for batch_size in REDUCED_BATCHES:
            cell = classifier(widths, batch_size, examples=2 * batch_size)
            chosen = "blocks" if start(cell)._session.job["block"] else "whole"
            work = {}
            for form, limit in limits.items():
                with patch("fastbatch.kernels.plan.BLOCKED_PARAMETERS", limit):
                    work[form] = epochs(cell)
            contenders = {
                f"{form}, {team}": (way, work[form])
                for team, way in teams.items()
                for form in limits
            }
            yield {
                "what": cell.label,
                "parameters": cell.plan(cell.dtype).size,
                "chosen": chosen,
                "times": by_turns(contenders, rounds, seconds),
            }


def medians(point):
    """Microseconds by contender."""
    return {name: median(turns) for name, turns in point["times"].items()}


def loss(times, chosen, names):
    """Time of the chosen one over that of the best of `names`."""
    return times[chosen] / min(times[name] for name in names)


def section(document):
    """Paragraphs of what choices.json says."""
    yield "## What the engine chooses"
    facts = document["machine"]
    yield (
        f"Microseconds of the kernels alone, medians of turns in one process, {facts['cores']} "
        f"cores of {facts['processor']}, {facts['date']}. Beside them the time of what fastbatch "
        f"chooses over that of the best alternative; the aim is {LIMIT:.2f}."
    )
    parts = {
        "trainings": "Workers of a step (w-w-10, batch; Adam)",
        "in a row": "Workers of an evaluation, one after the other (network, rows)",
        f"after {REST} s": "Workers of an evaluation, the threads asleep (network, rows)",
    }
    for name, title in parts.items():
        yield f"### {title}"
        yield from _workers(document[name])
    yield "### Gradients by blocks of 128 examples, or whole"
    yield from _forms(document["reductions"])


def _workers(points):
    rows = [["", "multiply-adds", *WAYS, "automatic / better"]]
    bad = []
    for point in points:
        times = medians(point)
        ratio = loss(times, "automatic", ("one thread", "all threads"))
        columns = [number(times[way]) for way in WAYS]
        rows.append([point["what"], f"{point['work']:,}", *columns, f"{ratio:.2f}"])
        if ratio > LIMIT:
            bad.append(f"{point['what']} ({ratio:.2f})")
    yield table(rows)
    yield bullets([f"above {LIMIT:.2f}: {'; '.join(bad) or 'none'}"])


def _forms(points):
    names = list(points[0]["times"])
    rows = [["", "parameters", *names, "chosen", "chosen / better"]]
    bad = []
    for point in points:
        times = medians(point)
        ratios = []
        for team in "one thread", "all threads":
            pair = [f"{form}, {team}" for form in ("blocks", "whole")]
            ratios.append(loss(times, f"{point['chosen']}, {team}", pair))
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        columns = [number(times[name]) for name in names]
        rows.append([point["what"], f"{point['parameters']:,}", *columns, point["chosen"], shown])
        if max(ratios) > LIMIT:
            bad.append(f"{point['what']} ({shown})")
    yield table(rows)
    yield bullets([f"above {LIMIT:.2f}: {'; '.join(bad) or 'none'}"])


def main(argv=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.choices", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each that count")
    parser.add_argument("--seconds", type=float, default=0.02, help="least length of a turn")
    parser.add_argument("--json", type=Path, default=RESULTS / "choices.json")
    options = parser.parse_args(argv)
    rounds, seconds = options.rounds, options.seconds
    document = {"machine": machine()}
    parts = {
        "trainings": trainings(rounds, seconds),
        "in a row": evaluations(rounds, seconds),
        f"after {REST} s": evaluations(rounds, seconds, REST),
        "reductions": reductions(rounds, seconds),
    }
    for name, points in parts.items():
        print(name, file=sys.stderr, flush=True)
        document[name] = list(points)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1) + "\n")
    print("\n\n".join(section(document)))


if __name__ == "__main__":
    main()
