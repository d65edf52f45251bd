"""Mean loss of one batch, and its gradient.

Timed: `Network.value_and_grad` as a user calls it, its checks of the arguments included; it packs
theta anew each time, as theta may have changed.
"""

from bench.cells import multiply_adds, network
from fastbatch.rounding import Sweep
from fastbatch.verification import error_in_bounds


def test_value_and_grad(cell, measure):
    net = network(cell)
    theta, X, y, _ = cell.data(cell.dtype)
    X, y = X[: cell.batch_size], y[: cell.batch_size]
    sweep = Sweep(net.plan, theta, X, y)
    value, gradient = net.value_and_grad(theta, X, y)
    scale = 1 / cell.batch_size
    assert error_in_bounds(value, *sweep.value(None, scale)) < 1
    assert error_in_bounds(gradient, *sweep.gradient(None, scale)) < 1

    measure(
        lambda: net.value_and_grad(theta, X, y),
        multiply_adds(cell)["value_and_grad"],
        dtype=cell.dtype,
    )
