"""What the benchmarks share: the cells, how one is timed, and a table of what came out."""

from contextlib import nullcontext
from statistics import median

import pytest

import fastbatch as fb
from bench.cells import CELLS
from bench.peak import peak
from bench.ways import SETTLING, by_turns

ROUNDS = 30
SECONDS = 0.02  # of a turn
_ROWS = pytest.StashKey[list[str]]()


@pytest.fixture(params=CELLS.values(), ids=CELLS)
def cell(request):
    return request.param


@pytest.fixture
def measure(benchmark, request):
    """Time a function that does so many `steps` of so many `multiply_adds` each.

    The machine's limit is measured right after it. Its first call is not timed.
    """

    def run(function, multiply_adds, steps=1, dtype="float32"):
        function()
        benchmark(function)
        if benchmark.disabled:
            return
        microseconds = 1e6 * benchmark.stats["median"] / steps
        gflops = 2e-3 * multiply_adds / microseconds
        limit = peak(dtype)
        benchmark.extra_info.update(
            microseconds_per_step=microseconds,
            gflops=gflops,
            peak_gflops=limit,
            fraction_of_peak=gflops / limit,
            threads=fb.get_threads(),
        )
        row = f"{request.node.name:32}{microseconds:12.1f}{gflops:12.1f}{gflops / limit:12.1%}"
        request.config.stash.setdefault(_ROWS, []).append(row)

    return run


@pytest.fixture
def compare(benchmark):
    """Time one function, and report its ratio to what is usual and what that should be at most.

    Both do some steps and say how many.
    """

    def run(work, usual, aim):
        work()
        benchmark(work)
        if benchmark.disabled:
            return
        contenders = {which: (nullcontext, do) for which, do in (("work", work), ("usual", usual))}
        times = by_turns(contenders, ROUNDS, SECONDS, settle=SETTLING)
        ratio = median(a / b for a, b in zip(times["work"], times["usual"], strict=True))
        benchmark.extra_info.update(ratio=ratio, aim=aim)

    return run


def pytest_benchmark_update_json(output_json):
    """Keep what `bench.report` wants: neither each single time nor the name of the host."""
    del output_json["machine_info"]["node"]
    for entry in output_json["benchmarks"]:
        del entry["stats"]["data"]


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(_ROWS, [])
    if rows:
        terminalreporter.section("microseconds a step, GFLOP/s, fraction of the FMA peak")
        terminalreporter.write_line("\n".join(rows))
