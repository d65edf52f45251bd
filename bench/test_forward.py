"""Outputs of one batch.

Timed: `Network.predict` as a user calls it, its checks of the arguments included; it packs theta
anew each time, as theta may have changed.
"""

from bench.cells import multiply_adds, network
from fastbatch.rounding import Sweep
from fastbatch.verification import error_in_bounds


def test_forward(cell, measure):
    net = network(cell)
    theta, X, y, _ = cell.data(cell.dtype)
    X, y = X[: cell.batch_size], y[: cell.batch_size]
    truth, bound = Sweep(net.plan, theta, X, y).outputs()
    assert error_in_bounds(net.predict(theta, X), truth, bound) < 1

    measure(lambda: net.predict(theta, X), multiply_adds(cell)["forward"], dtype=cell.dtype)
