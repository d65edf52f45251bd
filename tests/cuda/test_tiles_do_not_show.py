"""The same bits for any tile, any number of threads, any order of them, fused or not."""

from itertools import pairwise

import numpy as np
import pytest
from twin_problems import answers, assert_same

from fastbatch.clipping import PerExampleClip
from fastbatch.kernels import cpu, cuda
from fastbatch.kernels.cuda import evaluation, session, tiles
from fastbatch.kernels.cuda.activations import NAMES
from fastbatch.kernels.cuda.layout import Layout
from fastbatch.kernels.cuda.tiles import Tile
from fastbatch.kernels.cuda.toolkit import limits
from fastbatch.kernels.plan import DenseOp, Plan
from fastbatch.optimizers import Adam
from fastbatch.verification import CELLS, DROPOUT, DTYPES, Case

each_dtype = pytest.mark.parametrize("dtype", DTYPES)

# Rows and columns of tiles by threads of a block.
BLOCKS = {
    32: Tile(8, 64, 4),
    64: Tile(16, 64, 16),
    128: Tile(32, 64, 8),
    256: Tile(64, 64, 16),
    512: Tile(32, 256, 8),
}
CASE = Case("tiles", (5, 37, 6, 19), ("tanh", "gelu", "identity"), "cross_entropy", 6)
DROPPING = Case("masks", (5, 5, 70, 70, 2), (DROPOUT, "gelu", DROPOUT, "identity"), "huber", 9)


def use(monkeypatch, tile, width=40):
    """Let all kernels of new sessions have that tile; with no width, one for each layer."""
    monkeypatch.setattr(tiles, "for_examples", lambda *_: (tile, width))
    monkeypatch.setattr(tiles, "for_parameters", lambda *_: tile)
    forget(monkeypatch)


def forget(monkeypatch):
    """Let sessions be new ones, so that changed rules count."""
    monkeypatch.setattr(evaluation, "_kept", type(evaluation._kept)())


def check(dtype, case=CASE):
    plan, data = case.plan(dtype), case.data(dtype)
    assert_same(answers(cuda, plan, *data), answers(cpu, plan, *data))


@pytest.mark.parametrize("threads", BLOCKS)
def test_blocks_of_so_many_threads(threads, monkeypatch):
    assert BLOCKS[threads].threads == threads
    use(monkeypatch, BLOCKS[threads])
    check("float32")


@each_dtype
@pytest.mark.parametrize("threads", [32, 128])
def test_a_kernel_for_each_layer(threads, dtype, monkeypatch):
    use(monkeypatch, BLOCKS[threads], width=0)
    check(dtype)


@pytest.mark.parametrize(
    ("threads", "width", "dtype"),
    [(512, 256, "float32"), (32, 128, "float64"), (64, 0, "float32")],
)
def test_masks_in_blocks_of_so_many_threads(threads, width, dtype, monkeypatch):
    use(monkeypatch, BLOCKS[threads], width)
    check(dtype, DROPPING)


@pytest.mark.usefixtures("any_order")
@pytest.mark.parametrize("width", [0, 40])
def test_any_order_of_threads(width, monkeypatch):
    """A barrier that is missing shows as other results, or as NaN from shared memory."""
    use(monkeypatch, Tile(8, 64, 4), width)
    check("float32")


@pytest.mark.usefixtures("any_order")
def test_training_in_any_order_of_threads(monkeypatch):
    case = Case("ordered", (3, 6, 2), ("silu", "identity"), "huber", 300)
    plan, (theta, X, y, weights) = case.plan("float32"), case.data("float32")
    found = []
    for kernels in (cuda, cpu):
        training = kernels.Training(
            plan, Adam(0.01), X, y, weights, batch_size=150, clip=PerExampleClip(0.5),
            noise=(0.1, 5), monitor=("losses", "gradient_norms", "noise_scale"),
        )  # fmt: skip
        training.theta = theta
        assert training.advance(np.full(2, 0.01)) == 2
        found.append([training.theta, training.slots, training.example_norms])
        found[-1].append([training.loss_sum, training.variance_sum, training.signal_sum])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


HIDDEN = (2, 3, 2), ("elu", "identity")
MASKED = (2, 2, 3, 3, 2), (DROPOUT, "elu", DROPOUT, "identity")


@pytest.mark.parametrize(
    ("elements", "network", "dtype", "width"),
    [
        (1, HIDDEN, "float32", 40),
        (80, HIDDEN, "float64", 0),
        (2000, HIDDEN, "float32", 40),
        (2000, MASKED, "float32", 40),
        (2000, MASKED, "float32", 0),
    ],
)
def test_a_batch_that_comes_in_chunks(elements, network, dtype, width, monkeypatch):
    """With and without blocks of examples; 2000 elements are some blocks, 1 is one.

    Or chunks of 4, 8 and 248 examples, the last of which is full or is not.
    """
    monkeypatch.setattr(session, "_CHUNK_ELEMENTS", elements)
    monkeypatch.setattr(evaluation, "_RESULT_ELEMENTS", 1)
    use(monkeypatch, BLOCKS[32], width)
    for examples in (30, 32, 300):
        case = Case("chunks", *network, "huber", examples)
        plan, (theta, X, y, weights) = case.plan(dtype), case.data(dtype)
        found = [k.value_and_gradient(plan, theta, X, y, weights, 0.3) for k in (cuda, cpu)]
        assert found[0][0] == found[1][0]
        np.testing.assert_array_equal(found[0][1], found[1][1])
        options = {"batch_size": examples, "monitor": ["noise_scale"]}
        trainings = [k.Training(plan, Adam(), X, y, weights, **options) for k in (cuda, cpu)]
        for training in trainings:
            training.theta = theta
            assert training.advance(np.full(1, 0.01)) == 1
        np.testing.assert_array_equal(*[training.theta for training in trainings])
        assert trainings[0].variance_sum == trainings[1].variance_sum
    forget(monkeypatch)  # and the room that the sessions have made for more
    few = X[:11], y[:11]
    for name, asked in {
        "outputs": few[:1],
        "losses": few,
        "gradient_norms": few,
        "inner_products": (*few, theta),
        "per_example_gradients": few,
    }.items():
        found = [getattr(kernels, name)(plan, theta, *asked) for kernels in (cuda, cpu)]
        np.testing.assert_array_equal(*found, err_msg=name)
    found = [kernels.output_jacobian(plan, theta, X[:11]) for kernels in (cuda, cpu)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("network", [HIDDEN, MASKED])
@pytest.mark.parametrize(("elements", "tile"), [(100, Tile(8, 64, 4)), (10_000, Tile(16, 16, 4))])
def test_a_gram_matrix_made_in_pieces(elements, tile, network, monkeypatch):
    """Of few examples each, or one of several tiles."""
    monkeypatch.setattr(evaluation, "_KEPT_ELEMENTS", elements)
    monkeypatch.setattr(evaluation, "TILE", tile)
    case = Case("gram", *network, "huber", 20)
    plan, (theta, X, y, _) = case.plan("float32"), case.data("float32")
    found = [k.gradient_gram(plan, theta, X, y, X[:19], y[:19]) for k in (cuda, cpu)]
    np.testing.assert_array_equal(*found)
    found = [k.tangent_kernel(plan, theta, X[:7], X) for k in (cuda, cpu)]
    np.testing.assert_array_equal(*found)


# --- the rule -----------------------------------------------------------------------------


def layout(*widths, dtype="float32"):
    layers = tuple(DenseOp(*pair, "identity") for pair in pairwise(widths))
    plan = Plan(layers, "squared_error", dtype)
    return Layout(plan, NAMES)


def bytes_of(tile, width, itemsize):
    return (tile.staged + 2 * width * tile.a_step) * itemsize


@each_dtype
@pytest.mark.parametrize("rows", [1, 32, 1000, 100_000])
@pytest.mark.parametrize("widest", [1, 31, 32, 33, 64, 65, 128, 129, 200, 256, 257, 1000])
def test_tiles_of_examples_fit(widest, rows, dtype):
    tile, width = tiles.for_examples(layout(9, widest, 3, dtype=dtype), rows, limits())
    last_is_widest = layout(9, 3, widest, dtype=dtype)
    assert tiles.for_examples(last_is_widest, rows, limits()) == (tile, width)
    itemsize = np.dtype(dtype).itemsize
    assert 32 <= tile.threads <= 512
    assert bytes_of(tile, width, itemsize) + 2048 <= limits().shared_memory
    if width == 0:  # the smallest tile does not fit, either
        width = -(-widest // 128) * 128
        assert bytes_of(Tile(8, 128, 8), width, itemsize) + 2048 > limits().shared_memory
    assert width >= widest


def test_tiles_are_large_where_each_multiprocessor_has_a_block():
    enough = limits().multiprocessors
    for blocks, rows in ((enough, 32), (enough - 1, 16)):
        assert tiles.for_examples(layout(9, 32), 32 * blocks, limits())[0].rows == rows
    for units, rows in ((enough, 64), (enough - 1, 32)):
        assert tiles.for_parameters(layout(64 * units - 1, 64), limits()).rows == rows


def test_what_is_chosen_for_the_cells():
    chosen = {}
    for name, case in CELLS.items():
        own = Layout(case.plan("float32"), NAMES)
        tile, width = tiles.for_examples(own, case.batch_size, limits())
        parameters = tiles.for_parameters(own, limits())
        chosen[name] = *tile, width, *parameters
    assert chosen == {
        "tiny": (16, 32, 16, 32, 32, 32, 16),
        "digits": (8, 64, 16, 64, 32, 32, 16),
        "mnist": (8, 128, 16, 256, 32, 32, 16),
        "wide": (32, 64, 16, 0, 64, 64, 16),
        "chains": (32, 32, 16, 32, 32, 32, 16),
    }
