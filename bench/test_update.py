"""Adam on parameters that no cache holds, beside the memory bandwidth.

Timed: steps of the kernels' `Training` on a batch of one example, the whole of them.  Their
products, two flops for each weight they read, are as bound to memory as the update is, and take
a part of the time; so the fraction that is reported for the update alone is what it reaches at
least, that for all traffic what the step reaches.
"""

import numpy as np

from bench.bandwidth import bandwidth
from bench.cells import LR, Cell, batches, trajectory
from fastbatch.backends import load
from fastbatch.optimizers import Adam

CELL = Cell(
    "update", (4096, 4096, 4096), ("relu", "identity"), "squared_error", examples=4, batch_size=1
)


def traffic(cell):
    """Bytes that an update must move, and those that all of a step must.

    Parameters and two moments are read and written.  All layers but the first have a transposed
    copy of their weights, which is written.  (That the processor reads a line before it writes
    it is not counted.)  Besides, the products forward and backward read the parameters and the
    copy; that of the gradient needs no memory.
    """
    plan = cell.plan(cell.dtype)
    transposed = plan.size - plan.layers[0].size
    itemsize = np.dtype(cell.dtype).itemsize
    return itemsize * (6 * plan.size + transposed), itemsize * (7 * plan.size + 2 * transposed)


def test_update(benchmark):
    trained = trajectory(CELL, "cpu", "float32")
    assert trained.agrees(trajectory(CELL), tolerance=1e-3)

    theta, X, y, _ = CELL.data(CELL.dtype)
    training = load("cpu").Training(CELL.plan(CELL.dtype), Adam(LR), X, y, None, batch_size=1)
    training.theta = theta
    rates = np.full(batches(CELL), LR)

    def epoch():
        assert training.advance(rates) == len(rates)
        training.next_epoch()

    epoch()
    benchmark(epoch)
    if benchmark.disabled:
        return
    seconds = benchmark.stats["median"] / len(rates)
    limit = bandwidth()
    update, step = (1e-9 * size / seconds for size in traffic(CELL))
    benchmark.extra_info.update(
        bandwidth_gb_per_second=limit,
        update_fraction_of_bandwidth=update / limit,
        step_fraction_of_bandwidth=step / limit,
    )
