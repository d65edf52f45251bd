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
PIECES = (1, 7, 64, 512)
MIB = 1 << 20


def at_once(network: Network, theta: Array, X: Array, y: Array) -> Array:
    """The sum over all examples, as training computes it."""
    return network.value_and_grad(theta, X, y, reduction="sum")[1]


def accumulation(total: Sum = at_once) -> Claim:
    """Weigh the memory of a sum of gradients, and compare its bits with those of partial sums.

    Examples
    --------
    >>> accumulation().holds
    True
    """
    memory = tuple(_memory(total))
    bits = tuple(_sums(total))
    sums = [row[1] for row in memory]
    return Claim(
        "One accumulator is enough, and all ways of summing agree",
        "Summing gradients as one goes needs a single vector of P numbers, however many examples "
        "there are; the matrix of gradients needs N times that. Computing the batch in parallel "
        "gives the same sum, to the last bit where nothing is rounded.",
        (
            Table(
                f"Peak of memory in MiB for a network of {_wide().n_parameters:,} parameters",
                ("examples", "sum of gradients", "matrix of gradients"),
                memory,
            ),
            Table(
                "Elements of a sum over 512 examples that differ from that in one go by one thread",
                ("way", "integers", "float32"),
                bits,
            ),
        ),
        # Activations of a large batch stand in memory piece by piece, so there is a size above
        # which the sum takes no more of it, but for some small objects.
        holds=sums[-1] < 1.01 * sums[-2]
        and all(matrix > found for size, found, matrix in memory if size >= MATRIX)
        and all(exact == 0 for _, exact, _ in bits)
        and all(rounded == 0 for way, _, rounded in bits if "thread" in way),
        draw=lambda figure: _draw(figure, memory),
    )


def _wide() -> Network:
    return Network([Dense(128, "relu"), Dense(10)], 16, "squared_error")


def _memory(total: Sum) -> Iterator[tuple[int, float, float]]:
    """Of each size: the peak of memory of the sum, and of the matrix; made or calculated."""
    network = _wide()
    theta = network.init(seed=0)
    X = np.ones((SIZES[-1], network.inputs), "float32")
    y = np.ones((SIZES[-1], network.outputs), "float32")
    for function in (partial(total, network), network.per_example_gradients):
        function(theta, X[:1], y[:1])  # compiles what is to be compiled
    for size in SIZES:
        of_sum = _peak(total, network, theta, X[:size], y[:size])
        of_matrix = size * network.n_parameters * X.itemsize / MIB
        if size <= MATRIX:
            of_matrix = _peak(network.per_example_gradients, theta, X[:size], y[:size])
        yield size, of_sum, of_matrix


def _peak(call: Callable[..., Any], *arguments: Any) -> float:
    # A new thread, for which the backend has kept no memory from calls before.
    thread = Thread(target=call, args=arguments)
    tracemalloc.start()
    thread.start()
    thread.join()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / MIB


def _sums(total: Sum) -> Iterator[tuple[str, int, int]]:
    """Of each way to sum: how many elements differ from one go, with integers and without."""
    problems = [_integers(), _rounded()]
    before = get_threads()
    try:
        set_threads(1)
        truths = [total(*problem) for problem in problems]
        set_threads(2)
        found = [total(*problem) for problem in problems]
    finally:
        set_threads(before)
    ways = {"in one go, two threads": found}
    for size in PIECES:
        ways[f"as you go, {size} at a time"] = [_as_you_go(total, size, *p) for p in problems]
    for way, sums in ways.items():
        exact, rounded = (int((a != b).sum()) for a, b in zip(sums, truths, strict=True))
        yield way, exact, rounded


def _as_you_go(total: Sum, size: int, network: Network, theta: Array, X: Array, y: Array) -> Array:
    accumulator = np.zeros_like(theta)
    for start in range(0, len(X), size):
        part = slice(start, start + size)
        accumulator += total(network, theta, X[part], y[part])
    return accumulator


def _integers() -> tuple[Network, Array, Array, Array]:
    network = Network([Dense(9, "relu"), Dense(3)], 5, "squared_error", "float64")
    rng = np.random.default_rng(0)
    theta = rng.integers(-2, 3, network.n_parameters).astype(float)
    X = rng.integers(-3, 4, (512, 5)).astype(float)
    return network, theta, X, rng.integers(-3, 4, (512, 3)).astype(float)


def _rounded() -> tuple[Network, Array, Array, Array]:
    network, rng = _wide(), np.random.default_rng(0)
    X = rng.normal(size=(512, network.inputs)).astype("float32")
    y = rng.normal(size=(512, network.outputs)).astype("float32")
    return network, network.init(seed=0), X, y


def _draw(figure: Any, memory: tuple[tuple[int, float, float], ...]) -> None:
    """Memory by the number of examples."""
    ax = figure.subplots()
    sizes, *peaks = zip(*memory, strict=True)
    # To two digits: small objects come and go, and the picture is to be the same each time.
    of_sum, of_matrix = ([float(f"{peak:.2g}") for peak in column] for column in peaks)
    ax.loglog(sizes, of_matrix, "s--", color="C1", label="matrix of gradients, N P numbers")
    ax.loglog(sizes, of_sum, "o-", color="C0", label="sum of gradients")
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel("examples in the batch")
    ax.set_ylabel("MiB at the peak")
    ax.legend(frameon=False)
