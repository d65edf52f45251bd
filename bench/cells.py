"""The cells of the speed tables: what is computed, how much work that is, and what is right.

The networks and sizes themselves are `fastbatch.verification.CELLS`, which the tests use too.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

import fastbatch as fb
from fastbatch.backends import load
from fastbatch.verification import CELLS

LR = 1e-3  # of Adam, with the usual other constants, in every benchmark
SEED = 0  # of the shuffles

ONE_STEP = replace(CELLS["digits"], examples=CELLS["digits"].batch_size)


def network(cell):
    """The cell's network, in float32."""
    layers = [fb.Dense(op.outputs, op.activation) for op in cell.plan("float32").layers]
    return fb.Network(layers, cell.widths[0], cell.loss)


def multiply_adds(cell):
    """Multiply-adds of one batch by function; biases, activations and the update do not count."""
    weights = [layer.inputs * layer.outputs for layer in cell.plan("float32").layers]
    forward = cell.batch_size * sum(weights)
    # Backward: a product for the weights of each layer, and one for the deltas of all but the
    # first, whose input has no gradient.
    step = 3 * forward - cell.batch_size * weights[0]
    return {"forward": forward, "value_and_grad": step, "step": step}


def batches(cell):
    """Steps in an epoch; no batch is partial, so that every step is the same work."""
    count, rest = divmod(cell.examples, cell.batch_size)
    if rest:
        raise ValueError(f"cell {cell.name}: {cell.examples} examples make a partial last batch")
    return count


@dataclass(frozen=True)
class Trajectory:
    """Mean loss over all examples at the initial parameters, and after one epoch of Adam."""

    before: float
    after: float

    def agrees(self, truth, tolerance):
        """Whether nothing but rounding separates the two.

        Of the change of the loss in the epoch, `tolerance` may be lost: steps amplify what is
        different, and implementations of Adam round its bias correction, or place its eps, in
        several ways.  Taking the examples in another order costs 0.002 (chains) to 0.2 (wide).
        """
        before = abs(self.before - truth.before) / truth.before
        after = abs(self.after - truth.after) / abs(truth.after - truth.before)
        return before < 1e-5 and after < tolerance


@cache
def trajectory(cell, backend="reference", dtype="float64", shuffle=False):
    """What a backend makes of the cell's first epoch, the examples in order or shuffled."""
    kernels, plan = load(backend), cell.plan(dtype)
    theta, X, y, _ = cell.data(dtype)
    training = kernels.Training(
        plan, fb.Adam(LR), X, y, None, batch_size=cell.batch_size, seed=SEED, shuffle=shuffle
    )
    training.theta = theta
    training.advance(np.full(batches(cell), LR))
    return Trajectory(
        float(kernels.losses(plan, theta, X, y).mean(dtype=np.float64)),
        float(kernels.losses(plan, training.theta, X, y).mean(dtype=np.float64)),
    )
