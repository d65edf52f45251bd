"""From nothing to the first trained step, each time in a new process.

Timed: the whole process, the start and end of Python included.  What ``import fastbatch`` and a
first `fit` of one step take of it is measured inside (`bench.first_step`) and reported beside.
Where there are two cores, a second process helps to fill an empty cache.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from bench.cells import ONE_STEP, Trajectory, trajectory

ROOT = Path(__file__).parents[1]


def first_step(**environment):
    """Run the process, check what it has trained, and return its report."""
    process = subprocess.run(
        [sys.executable, "-m", "bench.first_step"],
        cwd=ROOT,
        env=os.environ | environment,
        check=True,
        stdout=subprocess.PIPE,
    )
    report = json.loads(process.stdout)
    trained = Trajectory(report["before"], report["after"])
    assert trained.agrees(trajectory(ONE_STEP), tolerance=1e-3)
    return report


def note(benchmark, reports):
    for name in "import_seconds", "first_step_seconds":
        benchmark.extra_info[name] = statistics.median(report[name] for report in reports)


def test_cold_compile(benchmark, tmp_path):
    report = benchmark.pedantic(first_step, kwargs={"FASTBATCH_CACHE_DIR": str(tmp_path)})
    note(benchmark, [report])


def test_warm_start(benchmark):
    first_step()  # compiles what is not yet in the cache
    reports = []
    benchmark.pedantic(lambda: reports.append(first_step()), rounds=10)
    note(benchmark, reports)
