"""The training step: gather, forward, backward and Adam, in whole shuffled epochs.

Timed: an epoch of the kernels' `Training`, divided by its steps, the shuffle included.  Not timed:
the checks of the data, the packing of parameters, and the loop of `Trainer.fit` around it, which
`bench.race` includes.
"""

import numpy as np

from bench.cells import LR, SEED, batches, multiply_adds, trajectory
from fastbatch.backends import load
from fastbatch.optimizers import Adam


def test_step(cell, measure):
    trained = trajectory(cell, "cpu", "float32", shuffle=True)
    assert trained.agrees(trajectory(cell, shuffle=True), tolerance=1e-3)

    theta, X, y, _ = cell.data("float32")
    training = load("cpu").Training(
        cell.plan("float32"),
        Adam(LR),
        X,
        y,
        None,
        batch_size=cell.batch_size,
        seed=SEED,
        shuffle=True,
    )
    training.theta = theta
    rates = np.full(batches(cell), LR)

    def epoch():
        assert training.advance(rates) == len(rates)
        training.next_epoch()

    measure(epoch, multiply_adds(cell)["step"], steps=len(rates))
