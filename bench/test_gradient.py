"""Forward and backward in the kernels alone: theta lies packed already, and so stays the gradient.

`Network.value_and_grad`, which users call, packs both; training does not.
"""

from bench.cells import multiply_adds
from fastbatch import get_threads
from fastbatch.kernels.cpu.job import TRAIN
from fastbatch.kernels.cpu.session import Session
from fastbatch.rounding import Sweep
from fastbatch.verification import error_in_bounds


def test_gradient(cell, measure):
    plan, scale = cell.plan(cell.dtype), 1 / cell.batch_size
    theta, X, y, _ = cell.data(cell.dtype)
    X, y = X[: cell.batch_size], y[: cell.batch_size]
    session = Session(plan, get_threads(), len(X))

    def gradient():
        session.bind(TRAIN, X, y, None)
        session.job["scale"] = scale
        session.run(1)

    session.bind(TRAIN, X, y, None)
    session.set_theta(theta)
    gradient()
    bounds = Sweep(plan, theta, X, y).gradient(None, scale)
    assert error_in_bounds(session.flat("gradient"), *bounds) < 1

    measure(gradient, multiply_adds(cell)["value_and_grad"], dtype=cell.dtype)
