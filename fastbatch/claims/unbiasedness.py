"""The gradient of a random batch, rightly scaled, is on average that of all examples."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import combinations, product
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.claims.claim import Claim, Table
from fastbatch.layers import Dense
from fastbatch.network import Network

Array = NDArray[Any]
Gradient = Callable[[Network, Array, Array, Array], Array]
Draws = Iterator[tuple[tuple[int, ...], Fraction]]  # the rows of a batch, and its probability

EXAMPLES = 5  # of which all batches are enumerated


def without_replacement(examples: int, size: int) -> Draws:
    """All subsets of so many examples."""
    for rows in combinations(range(examples), size):
        yield rows, Fraction(1, comb(examples, size))


def with_replacement(examples: int, size: int) -> Draws:
    """All tuples."""
    for rows in product(range(examples), repeat=size):
        yield rows, Fraction(1, examples**size)


def poisson(examples: int, size: int) -> Draws:
    """All subsets, each with the probability of its members and of all others' absence."""
    rate = Fraction(size, examples)
    for inside in product((False, True), repeat=examples):
        rows = tuple(row for row in range(examples) if inside[row])
        yield rows, rate ** len(rows) * (1 - rate) ** (examples - len(rows))


WAYS = {
    "without replacement": without_replacement,
    "with replacement": with_replacement,
    "poisson": poisson,
}


def sum_of_gradients(network: Network, theta: Array, X: Array, y: Array) -> Array:
    """What a batch contributes, before it is divided by the batch size."""
    return network.value_and_grad(theta, X, y, reduction="sum")[1]


def unbiasedness(batch_sum: Gradient = sum_of_gradients) -> Claim:
    """Enumerate all batches of five examples, of every size and sampling, in rational numbers."""
    network = Network([Dense(2, "relu"), Dense(1)], 2, "squared_error", "float64")
    rng = np.random.default_rng(6)
    theta = rng.integers(-2, 3, network.n_parameters).astype(float)
    X = rng.integers(-2, 3, (EXAMPLES, 2)).astype(float)
    y = rng.integers(-2, 3, (EXAMPLES, 1)).astype(float)
    each = np.array([_fractions(g) for g in network.per_example_gradients(theta, X, y)])
    full: Array = each.mean(axis=0)

    rows, variances = [], []
    sums: dict[tuple[int, ...], Array] = {(): full * 0}
    for name, draws in WAYS.items():
        for size in range(1, EXAMPLES + 1):
            mean: Array = full * 0
            square: Array = np.outer(full, full) * 0
            batches = 0
            for chosen, probability in draws(EXAMPLES, size):
                if chosen not in sums:
                    which = list(chosen)
                    sums[chosen] = _fractions(batch_sum(network, theta, X[which], y[which]))
                estimate: Array = sums[chosen] / size
                mean += estimate * probability
                square += np.outer(estimate, estimate) * probability
                batches += 1
            found = square - np.outer(mean, mean)
            expected = _covariance(name, each, size)
            rows.append(
                (name, size, batches, int((mean != full).sum()), int((found != expected).sum()))
            )
            variances.append((name, size, float(np.trace(found)), float(np.trace(expected))))
    wrong = [_realised(sums, full, size) for size in (1, 2, 4)]
    return Claim(
        "The gradient of a random batch is right on average, for any batch size",
        "Over all batches that there can be, the expectation of a batch's gradient is the gradient "
        "of all N examples. If S is the covariance of the examples' gradients (a mean: divided by "
        "N, not N - 1), its covariance is S / M if examples may be drawn twice, and (S / M) (N - "
        "M) / (N - 1) if not. Claim 12 shows the same of trainers, on digits.",
        (
            Table(
                f"All batches of {EXAMPLES} examples in rational numbers: how many elements differ "
                f"from the formulas",
                ("sampling", "batch size M", "batches", "of the mean", "of the covariance"),
                tuple(rows),
            ),
            Table(
                "Poisson sampling divided by the size that a batch happens to have: expectation of "
                "the gradient, as a share of the right one",
                ("expected size", "share", "1 - P(empty)"),
                tuple((size, float(share), float(rest)) for size, share, rest in wrong),
            ),
        ),
        holds=all(mean == 0 and covariance == 0 for *_, mean, covariance in rows)
        and all(share == rest for _, share, rest in wrong),
        draw=lambda figure: _draw(figure, variances),
    )


def _fractions(numbers: Array) -> Array:
    return np.array([Fraction(number) for number in numbers.tolist()])


def _covariance(name: str, each: Array, size: int) -> Array:
    """That of a batch's gradient by the formulas."""
    examples = len(each)
    mean = each.mean(axis=0)
    if name == "poisson":  # independent terms g_i / M, each there or not
        return each.T @ each * Fraction(examples - size, examples) / (size * examples)
    S = (each - mean).T @ (each - mean) / examples
    covariance: Array = S / size
    if name == "without replacement":
        covariance = covariance * Fraction(examples - size, examples - 1)
    return covariance


def _realised(
    sums: dict[tuple[int, ...], Array], full: Array, size: int
) -> tuple[int, Fraction, Fraction]:
    """What becomes of the mean if a Poisson batch is divided by its own size, and 0 if empty."""
    mean = sum(
        probability * sums[rows] / len(rows)
        for rows, probability in poisson(EXAMPLES, size)
        if rows
    )
    some = 1 - (1 - Fraction(size, EXAMPLES)) ** EXAMPLES
    shares = [a / b for a, b in zip(mean, full, strict=True) if b]
    return size, max(shares, key=lambda share: abs(share - some)), some  # the worst share


def _draw(figure: Any, variances: list[tuple[str, int, float, float]]) -> None:
    """The variance of a batch's gradient by its size: points are enumerated, lines the formulas."""
    ax = figure.subplots()
    for index, name in enumerate(WAYS):
        of_way = [row[1:] for row in variances if row[0] == name]
        sizes, found, expected = zip(*of_way, strict=True)
        ax.plot(sizes, expected, color=f"C{index}", label=name)
        ax.plot(sizes, found, "o", color=f"C{index}", markersize=5)
    ax.set_xticks(range(1, EXAMPLES + 1))
    ax.set_xlabel(f"batch size M, of {EXAMPLES} examples")
    ax.set_ylabel("total variance of the batch's gradient")
    ax.set_ylim(bottom=0)
    ax.legend(title="dots: all batches, lines: formulas")
