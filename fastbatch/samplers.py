"""Samplers: which examples make up the batches of an epoch, and what each of them weighs.

Each is a function of a `Population` and a backend's training, and returns `Batches`. The samples
are part of the determinism contract, hence only arithmetic that rounds alike on every processor.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbatch import arrays
from fastbatch.backends import Batches
from fastbatch.constraints import one_of

Array = NDArray[Any]
Weighting = Callable[[Array, Array], ArrayLike]  # of losses and norms, each (N,)

SAMPLES = 2  # what the random numbers are for, as the backends count purposes
_LONGEST_GAP = 1 << 16
_ANSWER = "the sampler's weights"


@dataclass(frozen=True)
class Order:
    """A sampler: every example once, in an order that a function gives.

    Parameters
    ----------
    rows : callable
        Called before each epoch as ``rows(N, epoch)``, epochs counting from 0; returns each of the
        numbers 0 to N - 1 once. It must depend on nothing else if a training that was interrupted
        is to go on to the same bits.

    Raises
    ------
    ValueError
        While training, if `rows` returns anything else.

    Examples
    --------
    >>> from fastbatch import Dense, Network, Trainer
    >>> net = Network([Dense(1)], 1, "squared_error", backend="reference")
    >>> backwards = Order(lambda N, epoch: np.arange(N)[::-1])
    >>> trainer = Trainer(net, batch_size=2, sampler=backwards)
    >>> [record.epoch for record in trainer.fit([[1], [2], [3]], [1, 2, 3])]
    [1]
    """

    rows: Callable[[int, int], ArrayLike]

    def __call__(self, population: "Population", training: Any) -> Batches:
        """The rows of an epoch, checked: the kernels believe them."""
        examples = population.examples
        rows = np.asarray(self.rows(examples, training.epoch))
        fits = rows.shape == (examples,) and rows.dtype.kind in "iu"
        if fits and rows.min() >= 0 and rows.max() < examples:
            native = arrays.native(rows, "int64")
            if np.bincount(native).max() == 1:
                return Batches(native)
        raise ValueError(
            f"an Order must return each of the numbers 0 to {examples - 1} once, found "
            f"shape {rows.shape}, dtype {rows.dtype}, or numbers twice or out of range"
        )


Sampler = str | Weighting | Order


@dataclass(frozen=True)
class Population:
    """What batches are drawn from.

    Attributes
    ----------
    kernels : module
    examples : int
        N.
    dtype : dtype
        Of the weights.
    weights : ndarray, shape (N,), or None
        The data's, None for 1 everywhere.
    batch_size : int
        At most N.
    seed : int
    """

    kernels: Any
    examples: int
    dtype: Any
    weights: Array | None
    batch_size: int
    seed: int

    @property
    def rate(self) -> float:
        """The share of the examples that a batch has."""
        return self.batch_size / self.examples

    @property
    def total_weight(self) -> float:
        """W, the sum of the data's weights."""
        if self.weights is None:
            return float(self.examples)
        return float(np.cumsum(self.weights, dtype=np.float64)[-1])  # np.sum's order may differ

    def uniform(self, count: int, epoch: int) -> NDArray[np.float64]:
        """The first `count` numbers in [0, 1) that are drawn for an epoch."""
        numbers: NDArray[np.float64] = self.kernels.uniform(count, self.seed, epoch, SAMPLES)
        return numbers


def sequential(population: Population, training: Any) -> Batches:
    """Every example once, as they stand."""
    return Batches()


def shuffle(population: Population, training: Any) -> Batches:
    """Every example once, in an order of the epoch's own: without replacement."""
    permutation = population.kernels.permutation
    return Batches(permutation(population.examples, population.seed, training.epoch))


def replacement(population: Population, training: Any) -> Batches:
    """Every example of every batch drawn from all of them; all batches are full."""
    starts = _full_batches(population, training)
    draws = population.uniform(starts[-1], training.epoch)
    return Batches((draws * population.examples).astype(np.int64), starts)


def poisson(population: Population, training: Any) -> Batches:
    """Every example in every batch with probability `Population.rate`, whatever else is in it.

    All examples of all batches are the trials of one Bernoulli process. It is drawn by the number
    of misses before each hit: at least k with probability ``(1 - rate)**k``.
    """
    examples, batches = population.examples, training.batches
    trials = examples * batches
    hits = population.batch_size * batches  # expected
    count = int(hits + 8 * hits**0.5 + trials / _LONGEST_GAP) + 8
    while True:
        misses = _gaps(population.uniform(count, training.epoch), 1.0 - population.rate)
        is_hit = misses < _LONGEST_GAP  # else there are more of them: the next draw goes on
        done = np.cumsum(misses + is_hit)  # trials
        if done[-1] >= trials:
            break
        count *= 2  # the first draws stay the same
    trial = done[is_hit & (done <= trials)] - 1
    return Batches(trial % examples, np.searchsorted(trial, np.arange(batches + 1) * examples))


def weighted(function: Weighting, population: Population, training: Any) -> Batches:
    """Every example drawn with a probability p in proportion to what a user's function gives it.

    It then weighs ``w / (W p)`` in place of w, so that a batch's sum over its size is an unbiased
    estimate of the weighted mean of all.
    """
    p = training.probabilities
    if p is None:
        answer = function(training.example_losses, training.example_norms)
        p = _probabilities(answer, population.examples)
    starts = _full_batches(population, training)
    below = np.cumsum(p)
    draws = population.uniform(starts[-1], training.epoch) * below[-1]
    w = 1.0 if population.weights is None else population.weights.astype(np.float64)
    with np.errstate(over="ignore"):  # of what is hardly ever drawn
        weights = np.divide(w / population.total_weight, p, out=np.zeros(len(p)), where=p > 0)
        weights = weights.astype(population.dtype)
    return Batches(np.searchsorted(below, draws, side="right"), starts, weights, p)


SAMPLERS = {sampler.__name__: sampler for sampler in (shuffle, sequential, replacement, poisson)}


def check(sampler: Any) -> Sampler:
    """Return `sampler` if it is a name, an `Order`, or a function that can be one."""
    if not callable(sampler):
        return one_of("sampler", sampler, SAMPLERS)
    if weighs(sampler):
        with suppress(ValueError):  # some functions in C do not tell what they take
            try:
                signature(sampler).bind("losses", "norms")
            except TypeError:
                raise TypeError(
                    f"sampler {sampler!r} does not take two arguments, the losses and the norms "
                    "of all examples"
                ) from None
    return sampler


def weighs(sampler: Sampler) -> bool:
    """Whether it is a user's function of losses and norms."""
    return callable(sampler) and not isinstance(sampler, Order)


def sampling(
    sampler: Sampler,
    kernels: Any,
    X: Array,
    weights: Array | None,
    *,
    batch_size: int,
    seed: int,
    reduction: str = "mean",
) -> dict[str, Any]:
    """The arguments `batch_size`, `sampler` and `scale` of a backend's `Training` on these data.

    Its steps follow the weighted mean of the gradients of all examples, or their weighted sum, as
    far as a batch can tell.

    Examples
    --------
    >>> from fastbatch.backends import load
    >>> options = sampling("poisson", load("reference"), np.zeros((8, 1)), None,
    ...                    batch_size=2, seed=0)
    >>> options["scale"]
    0.5
    """
    population = Population(kernels, len(X), X.dtype, weights, min(batch_size, len(X)), seed)
    takes_mean = one_of("reduction", reduction, ("mean", "sum")) == "mean"
    scale: float | str | None = None if takes_mean else "sum"
    if sampler == "poisson":  # what is expected, where the real batch would tell
        total = population.total_weight if takes_mean else 1.0
        scale = population.examples / (population.batch_size * total)
    elif weighs(sampler):
        scale = (1.0 if takes_mean else population.total_weight) / population.batch_size
    draw: Any = SAMPLERS[sampler] if isinstance(sampler, str) else sampler
    if weighs(sampler):
        draw = partial(weighted, draw)
    return {"batch_size": batch_size, "sampler": partial(draw, population), "scale": scale}


def _full_batches(population: Population, training: Any) -> Array:
    """Where batches begin if even the last is full."""
    return np.arange(training.batches + 1) * population.batch_size


def _gaps(draws: Array, miss: float) -> Array:
    """How many powers of `miss`, at most `_LONGEST_GAP`, are above each draw.

    Logarithms, which processors round in several ways, say it to within one, and the powers decide:
    35 ns for each hit, where a search among the powers takes 100 ns.
    """
    powers = _powers(miss)
    draws = np.maximum(draws, 2.0**-54)  # 0 has no logarithm
    with np.errstate(divide="ignore"):  # nor has a miss that never happens
        gaps = np.minimum(np.log(draws) / np.log(miss), _LONGEST_GAP).astype(np.int64)
    gaps -= draws >= powers[gaps]
    gaps += draws < powers[gaps + 1]
    return gaps


@lru_cache(maxsize=4)
def _powers(miss: float) -> Array:
    """1, miss, miss**2, ..., miss**_LONGEST_GAP, and a 0 that no draw is below."""
    factors = np.full(_LONGEST_GAP + 2, miss)
    factors[0], factors[-1] = 1.0, 0.0
    return np.cumprod(factors)


def _probabilities(weights: ArrayLike, examples: int) -> Array:
    """What a user's function has returned, checked and divided by its sum."""
    array = arrays.numeric(_ANSWER, weights).astype(np.float64)
    check_weights(_ANSWER, array, examples)
    shares = array / array.max()  # their sum cannot overflow
    probabilities: Array = shares / np.cumsum(shares)[-1]
    return probabilities


def check_weights(name: str, weights: Array, examples: int) -> None:
    """Refuse what cannot be proportional to the probabilities of so many examples."""
    if weights.shape != (examples,):
        raise ValueError(
            f"{name} must have shape ({examples},), one for each example, found {weights.shape}"
        )
    finite = np.isfinite(weights)
    if not finite.all():
        index = int(finite.argmin())
        raise ValueError(
            f"{name}[{index}] is {weights[index]}, expected finite numbers: losses and norms are "
            "NaN for an example that no batch has had yet, so choose a weight for it"
        )
    if weights.min() < 0:
        index = int(weights.argmin())
        raise ValueError(
            f"{name}[{index}] is {weights[index]}, expected no negative weights: "
            "use 0 for an example that is not to be drawn"
        )
    if not weights.any():
        raise ValueError(f"{name} are 0 everywhere: at least one must be positive")
