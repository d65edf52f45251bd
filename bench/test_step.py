"""The training step: gather, forward, backward and Adam, in whole shuffled epochs.

Timed: an epoch of the kernels' `Training`, divided by its steps, the shuffle included.  Not timed:
the checks of the data, the packing of parameters, and the loop of `Trainer.fit` around it, which
`bench.race` includes.
"""

from dataclasses import replace

import numpy as np

from bench.cells import LR, SEED, batches, multiply_adds, on_disk, trajectory
from fastbatch.backends import load
from fastbatch.optimizers import Adam
from fastbatch.samplers import sampling

CHECKED = 16  # steps; in hundreds, on random labels, rounding grows to 2 % of the loss's change


def test_step(cell, measure):
    few = replace(cell, examples=min(cell.examples, CHECKED * cell.batch_size))
    trained = trajectory(few, "cpu", few.dtype, shuffle=True)
    assert trained.agrees(trajectory(few, shuffle=True), tolerance=1e-3)

    theta, X, y, _ = cell.data(cell.dtype)
    X = on_disk(X) if cell.memmap else X
    kernels = load("cpu")
    batches_of = sampling("shuffle", kernels, X, None, batch_size=cell.batch_size, seed=SEED)
    training = kernels.Training(cell.plan(cell.dtype), Adam(LR), X, y, None, **batches_of)
    training.theta = theta
    rates = np.full(batches(cell), LR)

    def epoch():
        assert training.advance(rates) == len(rates)
        training.next_epoch()

    measure(epoch, multiply_adds(cell)["step"], steps=len(rates), dtype=cell.dtype)
