"""Short trainings of awkward sizes, whose bits must be the same wherever and however they run.

As a script it trains them all and prints the bits: python training_runs.py float32 float64
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from fastbatch.clipping import PerExampleClip
from fastbatch.kernels import cpu, reference
from fastbatch.kernels.cpu import session, threads
from fastbatch.kernels.plan import SparseRows
from fastbatch.optimizers import SGD, SGLD, Adagrad, Adam, AdamW, RMSprop
from fastbatch.samplers import sampling
from fastbatch.verification import DROPOUT, DTYPES, SAMPLE, Case


@dataclass(frozen=True)
class Run:
    """A training: a network, its optimizer, and how it goes through the data."""

    case: Case
    optimizer: Any
    batch_size: int
    epochs: int = 3
    weighted: bool = False
    sampler: str = "shuffle"
    reduction: str = "mean"
    clip: Any = None
    noise: Any = None
    l2: float = 0.0
    monitor: tuple[str, ...] = ()
    sparse: Any = None  # dtype of the columns of a sparse X

    def data(self, dtype):
        """theta, X, y and weights (or None), drawn so that they are the same everywhere."""
        plan = self.case.plan(dtype)
        n, k = self.case.examples, plan.outputs

        def draw(stream, *shape):
            return reference.uniform(int(np.prod(shape)), 7, stream).reshape(shape)

        theta = np.concatenate(
            [
                (draw(i, layer.size) - 0.5) * (3 / np.sqrt(layer.inputs))
                for i, layer in enumerate(plan.layers)
            ]
        )
        X = 2 * draw(100, n, plan.inputs) - 1
        if self.sparse:
            X[draw(104, n, plan.inputs) < 0.9] = 0
        y = draw(101, n, k)
        if plan.loss == "cross_entropy" and self.case.labels:
            y = np.floor(draw(102, n) * k).astype(np.int64)
        elif plan.loss in ("binary_cross_entropy", "poisson"):
            y = np.floor(y * 2)
        y = y if y.dtype == np.int64 else y.astype(dtype)
        weights = (np.floor(draw(103, n) * 4) / 2).astype(dtype) if self.weighted else None
        X = X.astype(dtype)
        return theta.astype(dtype), sparse(X, self.sparse) if self.sparse else X, y, weights

    def start(self, dtype, kernels=cpu):
        """The training before its first step."""
        theta, X, y, weights = self.data(dtype)
        training = kernels.Training(
            self.case.plan(dtype),
            self.optimizer,
            X,
            y,
            weights,
            **sampling(
                self.sampler,
                kernels,
                X,
                weights,
                batch_size=self.batch_size,
                seed=3,
                reduction=self.reduction,
            ),
            clip=self.clip,
            noise=self.noise,
            l2=self.l2,
            monitor=self.monitor,
        )
        training.theta = theta
        return training


ALL = "losses", "gradient_norms", "noise_scale"


def sparse(X, columns=np.int32):
    """The same examples without their zeros."""
    rows = csr_array(X)
    indptr = rows.indptr.astype(np.int64)
    return SparseRows(rows.data, rows.indices.astype(columns), indptr, X.shape[1])


def _run(name, widths, activations, loss, examples, batch_size, optimizer, **options):
    labels = options.pop("labels", True)
    case = Case(name, widths, (*activations, "identity"), loss, examples, labels)
    return name, Run(case, optimizer, batch_size, **options)


RUNS = dict(
    [
        _run("classes", (5, 17, 66, 3), ("tanh", "gelu"), "cross_entropy", 61, 16, Adam(0.01)),
        _run(
            "two panels", (70, 130, 67, 2), ("relu", "silu"), "squared_error", 40, 13,
            SGD(0.01, momentum=0.9, nesterov=True, weight_decay=0.01), epochs=2, weighted=True,
        ),
        _run(
            "blocks", (4, 9, 3), ("softplus",), "huber", 700, 301,
            RMSprop(0.01, momentum=0.5, centered=True), epochs=2, weighted=True,
        ),
        _run(
            "blocks of classes", (3, 33, 5), ("elu",), "cross_entropy", 400, 399,
            Adam(0.01, weight_decay=0.01), labels=False,
        ),
        _run("counts", (7, 12, 2), ("silu",), "poisson", 23, 64, Adagrad(0.05, lr_decay=0.1)),
        _run(
            "bits", (9, 20, 18), ("sigmoid",), "binary_cross_entropy", 30, 7,
            AdamW(0.01), weighted=True, sampler="sequential",
        ),
        _run(
            "thin", (1, 1, 1, 1), ("leaky_relu", "identity"), "absolute_error", 5, 1,
            SGD(0.01), epochs=2,
        ),
        _run("one layer", (33, 65), (), "squared_error", 20, 6, SGD(0.01, momentum=0.9)),
        _run("rms", (6, 31, 1), ("relu",), "huber", 50, 9, RMSprop(0.01)),
        _run("rms, momentum", (6, 5, 1), ("elu",), "huber", 50, 9, RMSprop(0.01, momentum=0.9)),
        _run("rms, centered", (6, 5, 1), ("gelu",), "huber", 50, 9, RMSprop(0.01, centered=True)),
        _run(
            "private", (18, 67, 3), ("tanh",), "cross_entropy", 40, 5, SGD(0.1), weighted=True,
            sampler="poisson", clip=PerExampleClip(0.5), noise=(0.3, 11), monitor=ALL,
        ),
        _run(
            "clipped blocks", (4, 9, 3), ("silu",), "huber", 700, 301, Adam(0.01), epochs=2,
            sampler="replacement", clip=PerExampleClip(0.1, per_layer=True, automatic=True),
            monitor=ALL,
        ),
        _run(
            "monitored", (33, 20, 70, 1), ("relu", "elu"), "squared_error", 90, 32, Adam(0.01),
            weighted=True, monitor=ALL,
        ),
        _run(
            "variational", (9, 70, 66, 33, 9), ("relu", "identity", SAMPLE), "squared_error",
            60, 17, Adam(0.01), weighted=True,
        ),
        _run(
            "variational blocks", (4, 6, 3, 4), ("identity", SAMPLE), "binary_cross_entropy", 700,
            301, SGD(0.01, momentum=0.9), epochs=2, clip=PerExampleClip(0.5, per_layer=True),
            sampler="replacement", monitor=ALL,
        ),
        _run(
            "dropout", (33, 33, 70, 70, 20, 20, 3), (DROPOUT, "relu", DROPOUT, "tanh", DROPOUT),
            "cross_entropy", 60, 17, Adam(0.01), weighted=True,
        ),
        _run(
            "dropout by blocks", (4, 40, 40, 6, 3, 3, 4),
            ("silu", DROPOUT, "identity", SAMPLE, DROPOUT), "huber", 700, 301, SGD(0.01), epochs=2,
            sampler="replacement", clip=PerExampleClip(0.5), noise=(0.3, 11), monitor=ALL,
        ),
        _run(
            "penalty", (33, 20, 70, 1), ("relu", "elu"), "squared_error", 90, 32,
            SGD(0.01, momentum=0.9), weighted=True, l2=0.7,
        ),
        _run(
            "penalty by blocks", (4, 9, 3), ("silu",), "huber", 700, 301, SGD(0.1), epochs=2,
            l2=3.0, clip=PerExampleClip(0.5), noise=(0.3, 11), monitor=ALL,
        ),
        _run(
            "posterior", (18, 67, 3), ("tanh",), "cross_entropy", 40, 7, SGLD(1e-3),
            weighted=True, reduction="sum", noise=(None, 2**64 - 1),
        ),
        _run(
            "posterior by blocks", (4, 9, 3), ("silu",), "huber", 700, 301, SGLD(1e-4), epochs=2,
            reduction="sum", sampler="poisson", noise=(None, 11), monitor=ALL,
        ),
        _run(
            "sparse", (1100, 70, 3), ("relu",), "cross_entropy", 40, 13, Adam(0.01), weighted=True,
            sparse=np.int32,
        ),
        _run(
            "sparse blocks", (140, 9, 3), ("silu",), "huber", 700, 301, SGD(0.01, momentum=0.9),
            epochs=2, weighted=True, clip=PerExampleClip(0.1), monitor=ALL, sparse=np.int64,
        ),
    ]
)  # fmt: skip


def train(training, epochs, learning_rate):
    """Train to the end of so many epochs, a few steps at a time; return the loss of each."""
    losses = []
    for _ in range(epochs):
        while training.batch < training.batches:
            training.advance(np.full(5, learning_rate))
        losses.append(training.loss_sum / training.weight_sum)
        training.next_epoch()
    return losses


def sha256(*arrays):
    """Hash of the bits of all arrays, in their order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def bits(run, dtype):
    """Hash of all that a training leaves behind, and of what its network makes of the data."""
    training = run.start(dtype)
    losses = train(training, run.epochs, run.optimizer.lr)
    recorded = [x for x in (training.example_losses, training.example_norms) if x is not None]
    plan, theta = run.case.plan(dtype), training.theta
    _, X, y, weights = run.data(dtype)
    return sha256(
        theta, training.slots, losses, training.variance_sum, training.signal_sum, *recorded,
        *answers(plan, theta, X, y, weights if run.weighted else None),
    )  # fmt: skip


def answers(plan, theta, X, y, weights):
    """What all functions make of a batch."""
    few = slice(0, 7)
    clips = PerExampleClip(0.5), PerExampleClip(0.5, per_layer=True, automatic=True)
    return [
        *cpu.value_and_gradient(plan, theta, X, y, weights, 2.0),
        cpu.outputs(plan, theta, X),
        cpu.losses(plan, theta, X, y),
        cpu.gradient_norms(plan, theta, X, y),
        cpu.gradient_norms(plan, theta, X, y, per_layer=True),
        *(part for c in clips for part in cpu.clipped_gradient(plan, theta, X, y, weights, 2.0, c)),
        cpu.second_moments(plan, theta, X, y, weights, 2.0),
        cpu.inner_products(plan, theta, X, y, theta),
        cpu.gradient_gram(plan, theta, X, y, X[few], y[few]),
        cpu.tangent_kernel(plan, theta, X[few], X[:9]),
        cpu.output_jacobian(plan, theta, X[few]),
        cpu.per_example_gradients(plan, theta, X, y),
        cpu.gaussian_noise(plan, 2**63, 5),
    ]


def all_bits(dtypes=DTYPES):
    """`bits` of all runs, by dtype and name."""
    return {f"{name}, {dtype}": bits(run, dtype) for dtype in dtypes for name, run in RUNS.items()}


def use_all_threads(patch=setattr):
    """Cut every sweep into a share for each thread, however small the work."""
    patch(
        session.Session,
        "run",
        lambda self, steps=0: self._run(min(threads.get_threads(), self.max_workers), steps)[0],
    )


if __name__ == "__main__":
    use_all_threads()
    print(json.dumps({"threads": threads.get_threads(), "bits": all_bits(sys.argv[1:])}))
