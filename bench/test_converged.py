"""A step on the cell digits after training has converged, beside one of fresh parameters.

Gradients of examples long since learnt, and what Adam remembers of them, sink below the smallest
normal number, and arithmetic with such numbers may take a hundred times as long.  Reported is the
ratio of the two times, some epochs of each taking turns; it should be 1, within 5 %.
"""

import statistics
from time import perf_counter

import numpy as np

from bench.cells import CELLS, LR, batches, multiply_adds, start

CELL = CELLS["digits"]
EPOCHS = 2000  # the second moments of what gets no gradient halve in 700 steps, 12 epochs
TURNS = 30
EPOCHS_OF_A_TURN = 10


def begin():
    """A training with the initial parameters, and a function that does so many epochs of it."""
    training, rates = start(CELL), np.full(batches(CELL), LR)

    def epochs(count=1):
        for _ in range(count):
            assert training.advance(rates) == len(rates)
            loss = training.loss_sum / training.weight_sum
            training.next_epoch()
        return loss

    return training, epochs


def test_converged(benchmark, measure):
    fresh, train_fresh = begin()
    first = fresh.snapshot()
    _, train_converged = begin()
    assert train_converged(EPOCHS) < 1e-4

    measure(train_converged, multiply_adds(CELL)["step"], steps=batches(CELL))
    if benchmark.disabled:
        return
    seconds = {train_fresh: [], train_converged: []}
    for _ in range(TURNS):
        fresh.restore(first)
        for train, times in seconds.items():
            began = perf_counter()
            train(EPOCHS_OF_A_TURN)
            times.append(perf_counter() - began)
    before, after = map(statistics.median, seconds.values())
    benchmark.extra_info["converged_over_fresh"] = after / before
