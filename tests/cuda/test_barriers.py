"""Each barrier is needed: without it, some order of threads gives something else."""

from pathlib import Path

import numpy as np
import pytest
from simulator import ORDERS, thread_order, without_barrier

from fastbatch.clipping import PerExampleClip
from fastbatch.kernels import cuda
from fastbatch.kernels.cuda import evaluation, tiles
from fastbatch.kernels.cuda.tiles import Tile
from fastbatch.optimizers import Adam
from fastbatch.verification import Case

BARRIERS = [
    (path, line)
    for path in sorted(Path(cuda.__file__).parent.glob("*.py"))
    for line, code in enumerate(path.read_text().splitlines(), start=1)
    if "cuda.syncthreads()" in code
]
TILE = Tile(8, 64, 4)
CASE = Case("barriers", (5, 12, 3), ("tanh", "identity"), "cross_entropy", 6)


def fused():
    yield from _all(40)


def layered():
    yield from _all(0)


def _all(width):
    """Results, one after the other, of all kernels with barriers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "for_examples", lambda *_: (TILE, width))
        patch.setattr(tiles, "for_parameters", lambda *_: TILE)
        patch.setattr(evaluation, "TILE", TILE)
        patch.setattr(evaluation, "_kept", type(evaluation._kept)())
        plan, (theta, X, y, weights) = CASE.plan("float32"), CASE.data("float32")
        training = cuda.Training(
            plan, Adam(0.01), X, y, weights, batch_size=6,
            clip=PerExampleClip(0.5, per_layer=True),
            monitor=("losses", "noise_scale"),
        )  # fmt: skip
        training.theta = theta
        training.advance(np.full(1, 0.01))
        yield training.theta
        yield training.example_losses
        yield [training.loss_sum, training.variance_sum, training.signal_sum]
        yield cuda.losses(plan, theta, X, y)
        yield cuda.gradient_gram(plan, theta, X, y, X, y)
        yield cuda.inner_products(plan, theta, X, y, theta)


def differ(expected, found):
    """Whether any result differs, or cannot be had."""
    try:
        return any(
            not np.array_equal(*pair, equal_nan=True) for pair in zip(expected, found, strict=True)
        )
    except (AssertionError, IndexError):
        return True


@pytest.fixture(scope="module")
def expected():
    return {results: list(results()) for results in (fused, layered)}


def test_orders_give_the_same(expected):
    for results, order in ((fused, "descending"), (layered, "shuffled")):
        with thread_order(order):
            assert not differ(expected[results], results())


@pytest.mark.parametrize(
    ("path", "line"), BARRIERS, ids=[f"{path.stem}-{line}" for path, line in BARRIERS]
)
def test_without_a_barrier_some_order_gives_something_else(path, line, expected):
    with without_barrier(path, line):
        for results in (fused, layered):
            for order in ORDERS:
                with thread_order(order):
                    if differ(expected[results], results()):
                        return
    pytest.fail("no order of threads shows that it is missing")
