"""A batch's gradient needs one accumulator, whether it is summed as one goes or all at once."""

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.claims.claim import Claim, Table
from fastbatch.layers import Dense
from fastbatch.network import Network
from fastbatch.threads import get_threads, set_threads

Array = NDArray[Any]
Sum = Callable[[Network, Array, Array, Array], Array]

SIZES = (1024, 4096, 16384, 65536, 262144)
MATRIX = 4096  # examples up to which the matrix of gradients is really made
PIECES = (1, 7, 64)  # of the examples summed as one goes
PIECE = 512  # when memory is weighed
FEW, MANY = 512, 1 << 15  # examples; the latter pay for waking a second thread
MIB = 1 << 20


def at_once(network: Network, theta: Array, X: Array, y: Array) -> Array:
    """The sum over all examples, as training computes it."""
    return network.value_and_grad(theta, X, y, reduction="sum")[1]


def accumulation(total: Sum = at_once) -> Claim:
    """Weigh the memory of a sum of gradients, and compare its bits with those of partial sums."""
    memory = tuple(_memory(total))
    bits = tuple(_sums(total))
    _, in_one_go, as_one_goes, _ = zip(*memory, strict=True)
    return Claim(
        "One accumulator is enough, and all ways of summing agree",
        "Summing gradients as one goes needs a single vector of P numbers, however many examples "
        "there are; the matrix of gradients needs N times that. Computing the batch in parallel "
        "gives the same sum, to the last bit where nothing is rounded.",
        (
            Table(
                f"Peak of memory in MiB for a network of {_wide().n_parameters:,} parameters",
                (
                    "examples",
                    "sum of gradients, all at once",
                    f"sum, {PIECE} at a time",
                    "matrix of gradients",
                ),
                memory,
            ),
            Table(
                "Elements of a sum that differ from that in one go by one thread",
                ("way", "examples", "integers", "float32"),
                bits,
            ),
        ),
        # Activations of a large batch stand in memory piece by piece, so there is a size above
        # which the sum takes no more of it. 1 % is for small objects: what is counted is what all
        # threads of Python take meanwhile, those of other work in this process too.
        holds=in_one_go[-1] < 1.01 * in_one_go[-2]
        and max(as_one_goes) < 1.01 * min(as_one_goes)
        and all(matrix > max(sums) for size, *sums, matrix in memory if size >= MATRIX)
        and all(exact == 0 for *_, exact, _ in bits)
        and all(rounded == 0 for way, *_, rounded in bits if "thread" in way),
        draw=lambda figure: _draw(figure, memory),
    )


def _wide(dtype: str = "float32") -> Network:
    return Network([Dense(128, "relu"), Dense(10)], 16, "squared_error", dtype)


def _memory(total: Sum) -> Iterator[tuple[int, float, float, float]]:
    """Of each size: the peak of memory of both sums, and of the matrix, made or calculated."""
    network = _wide()
    theta = network.init(seed=0)
    X = np.ones((SIZES[-1], network.inputs), "float32")
    y = np.ones((SIZES[-1], network.outputs), "float32")
    for function in (partial(total, network), network.per_example_gradients):
        function(theta, X[:1], y[:1])  # compiles what is to be compiled
    for size in SIZES:
        problem = network, theta, X[:size], y[:size]
        of_sum, of_going = _peak(total, *problem), _peak(_as_you_go, total, PIECE, *problem)
        of_matrix = size * network.n_parameters * X.itemsize / MIB
        if size <= MATRIX:
            of_matrix = _peak(network.per_example_gradients, *problem[1:])
        yield size, of_sum, of_going, of_matrix


def _peak(call: Callable[..., Any], *arguments: Any) -> float:
    # A new thread, for which the backend has kept no memory from calls before.
    thread = Thread(target=call, args=arguments)
    tracemalloc.start()
    thread.start()
    thread.join()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / MIB


def _sums(total: Sum) -> Iterator[tuple[str, int, int, int]]:
    """Of each way to sum: how many elements differ from one go, with integers and without."""
    few, many = ((_integers(size), _rounded(size)) for size in (FEW, MANY))
    before = get_threads()
    try:
        set_threads(1)
        of_few, of_many = ([total(*p) for p in problems] for problems in (few, many))
        set_threads(2)
        threads = get_threads()  # a machine may have but one
        by_threads = [total(*p) for p in many]
    finally:
        set_threads(before)
    yield f"in one go, threads: {threads}", MANY, *_differing(by_threads, of_many)
    for size in PIECES:
        sums = [_as_you_go(total, size, *p) for p in few]
        yield f"as you go, {size} at a time", FEW, *_differing(sums, of_few)


def _differing(sums: list[Array], truths: list[Array]) -> tuple[int, int]:
    exact, rounded = (int((a != b).sum()) for a, b in zip(sums, truths, strict=True))
    return exact, rounded


def _as_you_go(total: Sum, size: int, network: Network, theta: Array, X: Array, y: Array) -> Array:
    accumulator = np.zeros_like(theta)
    for start in range(0, len(X), size):
        part = slice(start, start + size)
        accumulator += total(network, theta, X[part], y[part])
    return accumulator


def _integers(examples: int) -> tuple[Network, Array, Array, Array]:
    network = _wide("float64")  # which holds all integers that come about here
    rng = np.random.default_rng(0)
    theta = rng.integers(-2, 3, network.n_parameters).astype(float)
    X = rng.integers(-3, 4, (examples, network.inputs)).astype(float)
    return network, theta, X, rng.integers(-3, 4, (examples, network.outputs)).astype(float)


def _rounded(examples: int) -> tuple[Network, Array, Array, Array]:
    network, rng = _wide(), np.random.default_rng(0)
    X = rng.normal(size=(examples, network.inputs)).astype("float32")
    y = rng.normal(size=(examples, network.outputs)).astype("float32")
    return network, network.init(seed=0), X, y


def _draw(figure: Any, memory: tuple[tuple[int, float, float, float], ...]) -> None:
    """Memory by the number of examples."""
    ax = figure.subplots()
    sizes, *peaks = zip(*memory, strict=True)
    # In steps of 0.05: small objects come and go, and the picture is to be the same each time.
    of_sum, of_going, of_matrix = ([round(20 * peak) / 20 for peak in column] for column in peaks)
    ax.loglog(sizes, of_matrix, "s--", color="C1", label="matrix of gradients, N P numbers")
    ax.loglog(sizes, of_sum, "o-", color="C0", label="sum of gradients, all at once")
    ax.loglog(sizes, of_going, "^-", color="C2", label=f"sum of gradients, {PIECE} at a time")
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel("examples in the batch")
    ax.set_ylabel("MiB at the peak")
    ax.legend()
