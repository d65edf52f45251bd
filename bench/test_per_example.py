"""What it costs to look at single examples, beside what is done without looking.

Ratios are of adjacent turns in one process (`bench.ways.by_turns`), or of two processes' peaks of
memory; each has an aim, which `bench.report` holds it against.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.bandwidth import bandwidth
from bench.cells import CLIPPED, PAIRS, PLAIN, network, trajectory
from bench.training_memory import STATUS
from bench.ways import epochs
from fastbatch.backends import load
from fastbatch.kernels.cpu.machine import last_level_cache
from fastbatch.rounding import Sweep
from fastbatch.verification import error_in_bounds

ROOT = Path(__file__).parents[1]
# Of norms to value and gradient, and of a clipped step to a plain one.
NORMS = {"tiny": 1.25, "digits": 1.25, "mnist": 1.08, "wide": 1.08}
STEPS = {"tiny": 1.3, "digits": 1.3, "mnist": 1.12, "wide": 1.12}
MEMORY = 1.05


@pytest.fixture(params=PLAIN)
def name(request):
    return request.param


def one_batch(cell):
    """A network, and its parameters with the cell's first batch."""
    theta, X, y, _ = cell.data(cell.dtype)
    return network(cell), (theta, X[: cell.batch_size], y[: cell.batch_size])


def test_norms_over_value_and_grad(compare, name):
    net, batch = one_batch(PLAIN[name])
    truth, bound = Sweep(net.plan, *batch).gradient_norms()
    assert error_in_bounds(net.gradient_norms(*batch), truth, bound) < 1

    def norms():
        net.gradient_norms(*batch)
        return 1

    def value_and_grad():
        net.value_and_grad(*batch)
        return 1

    compare(norms, value_and_grad, NORMS[name])


def test_clipped_over_plain_step(compare, name):
    cell = CLIPPED[name]
    assert trajectory(cell, "cpu", cell.dtype).agrees(trajectory(cell), tolerance=1e-3)
    compare(epochs(cell), epochs(PLAIN[name]), STEPS[name])


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells how much memory there was")
def test_clipped_over_plain_memory(benchmark, name):
    def most_bytes(*options):
        command = [sys.executable, "-m", "bench.training_memory", name, *options]
        return int(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)

    most_bytes(), most_bytes("--clip")  # compiles what is not yet in the cache
    plain = most_bytes()
    clipped = benchmark.pedantic(most_bytes, args=("--clip",))
    benchmark.extra_info.update(ratio=clipped / plain, aim=MEMORY)


def test_per_example_gradients(benchmark, name):
    """Into memory that no cache holds, and that has been touched before."""
    cell = PLAIN[name]
    kernels, plan = load("cpu"), cell.plan(cell.dtype)
    examples = 8 * last_level_cache() // (plan.size * np.dtype(cell.dtype).itemsize)
    theta, X, y, _ = replace(cell, examples=examples).data(cell.dtype)
    out = np.ones((examples, plan.size), cell.dtype)
    kernels.per_example_gradients(plan, theta, X, y, out=out)
    few = slice(0, 8)
    truth, bound = Sweep(plan, theta, X[few], y[few]).per_example_gradients()
    assert error_in_bounds(out[few], truth, bound) < 1

    benchmark(kernels.per_example_gradients, plan, theta, X, y, out=out)
    if benchmark.disabled:
        return
    rate = 1e-9 * out.nbytes / benchmark.stats["median"]
    benchmark.extra_info.update(
        written_gb_per_second=rate,
        fraction_of_write_bandwidth=rate / bandwidth(writes_only=True),
    )


def test_gradient_gram(measure):
    cell = PAIRS["digits"]
    net, batch = one_batch(cell)
    sweep = Sweep(net.plan, *batch)
    assert error_in_bounds(net.gradient_gram(*batch), *sweep.gradient_gram(sweep)) < 1

    widths = sum(layer.inputs + layer.outputs for layer in net.plan.layers)
    measure(lambda: net.gradient_gram(*batch), cell.examples**2 * widths)
