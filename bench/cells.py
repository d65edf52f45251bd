"""The cells of the speed tables: what is computed, how much work that is, and what is right.

`fastbatch.verification.CELLS`, which the tests use too, and those that would take tests too long.
"""

import tempfile
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

import fastbatch as fb
from fastbatch.backends import load
from fastbatch.clipping import PerExampleClip
from fastbatch.optimizers import SGD, SGLD, Adam, Optimizer
from fastbatch.samplers import sampling
from fastbatch.verification import CELLS as TESTED
from fastbatch.verification import SAMPLE, Case

LR = 1e-3  # in every benchmark
SEED = 0  # of the shuffles


@dataclass(frozen=True)
class Cell(Case):
    """A case whose speed is measured.

    Attributes
    ----------
    dtype : {"float32", "float64"}
    memmap : bool
        Whether X is a memory-mapped file.
    optimizer : Optimizer
        With a learning rate that is a number.
    clip : PerExampleClip, optional
        What training does to the gradient of each example.
    """

    dtype: str = "float32"
    memmap: bool = False
    optimizer: Optimizer = Adam(LR)  # noqa: RUF009  (it is immutable)
    clip: PerExampleClip | None = None

    @property
    def sample(self):
        """Number of the layer that draws a sample, or None."""
        return self.activations.index(SAMPLE) if SAMPLE in self.activations else None

    @property
    def exact(self):
        """The dtype in which the truth is worked out; samples have other noise in another."""
        return "float64" if self.sample is None else self.dtype

    @property
    def label(self):
        """Widths, batch size and whatever is not the rule: "64-(16 x 64)-10 tanh, 32, float64"."""
        inputs, *hidden, outputs = self.widths
        if len(hidden) > 4 and len(set(hidden)) == 1:
            hidden = [f"({len(hidden)} x {hidden[0]})"]
        network = "-".join(map(str, (inputs, *hidden, outputs)))
        if self.activations[0] not in ("relu", "identity"):
            network += f" {self.activations[0]}"
        exceptions = [self.dtype] * (self.dtype != "float32") + ["X on disk"] * self.memmap
        return ", ".join([network, f"{self.batch_size:,}", *exceptions])


class Autoencoder(Cell):
    """One whose targets are its inputs, which lie between 0 and 1."""

    def data(self, dtype):
        theta, X, _, weights = super().data(dtype)
        X = 1 / (1 + np.exp(-X))
        return theta, X, X, weights


def _cells():
    tested = {name: Cell(**vars(case)) for name, case in TESTED.items()}
    digits, mnist = tested["digits"], tested["mnist"]

    def classifier(name, widths, batch_size, examples):
        activations = ("relu",) * (len(widths) - 2) + ("identity",)
        return Cell(name, widths, activations, "cross_entropy", examples, batch_size=batch_size)

    def activated(activation):
        layers = (activation, activation, "identity")
        return replace(mnist, name=f"mnist-{activation}", activations=layers)

    others = [
        classifier("logistic", (784, 10), 256, 12_800),
        classifier("deep", (64,) * 17 + (10,), 64, 2048),
        replace(digits, name="online", batch_size=1, examples=1024),
        replace(mnist, name="large-batch", batch_size=8192, examples=16_384),
        classifier("odd", (100, 37, 53, 3), 33, 2112),
        replace(digits, name="digits-float64", dtype="float64"),
        activated("tanh"),
        activated("gelu"),
        # 186 MB. In 469 steps of 128, on random labels, rounding would grow to 2 % of the loss's
        # change and hide mistakes.
        replace(mnist, name="memmap", memmap=True, batch_size=1024, examples=59_392),
    ]
    return tested | {cell.name: cell for cell in others}


CELLS = _cells()
# Plain gradient descent, without and with clipping. Peers take seconds for a step of wide, so an
# epoch of it has four.
PLAIN = {
    name: replace(CELLS[name], optimizer=SGD(LR)) for name in ("tiny", "digits", "mnist", "wide")
}
PLAIN["wide"] = replace(PLAIN["wide"], examples=2048)
CLIPPED = {name: replace(cell, clip=PerExampleClip(1.0)) for name, cell in PLAIN.items()}
# Langevin dynamics, with steps about as long as those of SGD(0.01).
POSTERIOR = {
    name: replace(CELLS[name], optimizer=SGLD(0.02 / CELLS[name].examples))
    for name in ("digits", "mnist")
}
# All gradients with one another, which are one batch.
PAIRS = {"digits": replace(CELLS["digits"], examples=2000, batch_size=2000)}
# The run of docs/variational.md, in whole batches.
VARIATIONAL = {
    "digits": Autoencoder(
        "autoencoder",
        (64, 256, 16, 8, 256, 64),
        ("relu", "identity", SAMPLE, "relu", "identity"),
        "binary_cross_entropy",
        1504,
        batch_size=32,
    )
}
ONE_STEP = replace(CELLS["digits"], examples=CELLS["digits"].batch_size)


def network(cell):
    """The cell's network."""
    layers = [fb.Dense(op.outputs, op.activation) for op in cell.plan(cell.dtype).layers]
    return fb.Network(layers, cell.widths[0], cell.loss, dtype=cell.dtype)


def on_disk(X):
    """A memory-mapped copy of X, in a file that vanishes with it."""
    with tempfile.TemporaryFile() as file:
        copy = np.memmap(file, X.dtype, mode="w+", shape=X.shape)
    copy[:] = X
    return copy


def multiply_adds(cell):
    """Multiply-adds of one batch by function; biases, activations and the update do not count."""
    weights = [layer.inputs * layer.outputs for layer in cell.plan(cell.dtype).layers]
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
    """Mean loss over all examples at the initial parameters, and after one epoch of training."""

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


def start(cell, backend="cpu", dtype=None, sampler="shuffle", noise=True):
    """The kernels' training of a cell at its first step; SGLD without noise is only its drift."""
    kernels, dtype = load(backend), dtype or cell.dtype
    theta, X, y, _ = cell.data(dtype)
    is_sgld = isinstance(cell.optimizer, SGLD)
    reduction = "sum" if is_sgld else "mean"
    batches_of = sampling(
        sampler, kernels, X, None, batch_size=cell.batch_size, seed=SEED, reduction=reduction
    )
    training = kernels.Training(
        cell.plan(dtype),
        cell.optimizer,
        X,
        y,
        None,
        clip=cell.clip,
        noise=(None, SEED) if is_sgld and noise else None,
        **batches_of,
    )
    training.theta = theta
    return training


@cache
def trajectory(cell, backend="reference", dtype=None, shuffle=False):
    """What a backend makes of the cell's first epoch, the examples in order or shuffled."""
    kernels, plan = load(backend), cell.plan(dtype := dtype or cell.exact)
    theta, X, y, _ = cell.data(dtype)
    sampler = "shuffle" if shuffle else "sequential"
    training = start(cell, backend, dtype, sampler, noise=False)
    training.advance(np.full(batches(cell), cell.optimizer.lr))

    def mean_loss(theta):
        if cell.sample is None:
            losses = kernels.losses(plan, theta, X, y)
        else:  # contenders tell their outputs only, so divergences do not count
            loss = load("reference").loss_functions.LOSSES[cell.loss]
            losses, _ = loss(kernels.outputs(plan, theta, X), y)
        return float(losses.mean(dtype=np.float64))

    return Trajectory(mean_loss(theta), mean_loss(training.theta))
