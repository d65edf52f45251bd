"""Rows of a source that are held out for validation, and a source of the others."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch import backends
from fastbatch.constraints import integer
from fastbatch.data.source import Rows, Source, check_rows, joined
from fastbatch.data.stream import bounds_of, pieces_of
from fastbatch.network import SEEDS
from fastbatch.samplers import SAMPLES

Array = NDArray[Any]

# The numbers that choose the rows belong to an epoch that no training reaches.
_CHOICE = 2**32 - 1


def hold_out(source: Source, rows: int, *, seed: int = 0) -> tuple[Source, tuple[Array, Array]]:
    """Take rows out of a source, for validation.

    The source is cut into as many equal stretches, and a row is drawn from each. It is read once
    for that; no more than a piece of it is in memory beside the rows held out.

    Parameters
    ----------
    source : Source
    rows : int
        How many; fewer than there are.
    seed : int
        In [0, 2**64).

    Returns
    -------
    others : Source
        All other rows, for a `Stream`.
    held_out : pair of ndarray
        Examples and targets, for ``fit(validation=...)``.

    Examples
    --------
    >>> from fastbatch.data import ArraySource
    >>> y = np.arange(6)
    >>> others, (X_held_out, y_held_out) = hold_out(ArraySource(y[:, np.newaxis], y), 2)
    >>> len(others), len(y_held_out)
    (4, 2)
    >>> sorted([*others.read(0, 4)[1], *y_held_out]) == y.tolist()
    True
    """
    rows = integer("rows", rows, 1, len(source))
    seed = integer("seed", seed, 0, SEEDS)
    # Whatever the network computes with, as a stream does.
    draws = backends.load("cpu").uniform(rows, seed, _CHOICE, SAMPLES)
    ends = np.arange(rows + 1) * len(source) // rows
    chosen = ends[:-1] + (draws * np.diff(ends)).astype(np.int64)
    return _Others(source, chosen), _read(source, chosen)


class _Others:
    """The rows of a source but some, which are given in rising order."""

    def __init__(self, source: Source, without: Array) -> None:
        self._source, self._without = source, without
        self._before = without - np.arange(len(without))  # how many others precede each of these
        bounds = bounds_of(source)
        if bounds is not None:
            bounds = np.unique(bounds - np.searchsorted(without, bounds))
        self.bounds = bounds

    def __len__(self) -> int:
        return len(self._source) - len(self._without)

    def read(self, start: int, stop: int) -> Rows:
        """Read the rows from `start` to `stop`, as they are counted here."""
        check_rows(start, stop, len(self))
        first, last = self._row(start), self._row(stop - 1)
        X, y, weights = self._source.read(first, last + 1)
        kept = np.ones(last + 1 - first, bool)
        kept[self._without[slice(*np.searchsorted(self._without, [first, last]))] - first] = False
        return X[kept], y[kept], None if weights is None else weights[kept]

    def _row(self, number: int) -> int:
        """Where a row stands in the source."""
        return number + int(np.searchsorted(self._before, number, side="right"))


def _read(source: Source, rows: Array) -> tuple[Array, Array]:
    """Examples and targets of some rows, in rising order, from one pass over the source."""

    def parts() -> Iterator[Rows]:
        for piece in pieces_of(source):
            inside = rows[slice(*np.searchsorted(rows, piece))]
            if len(inside):
                X, y, _ = source.read(int(inside[0]), int(inside[-1]) + 1)
                yield X[inside - inside[0]], y[inside - inside[0]], None

    X, y, _ = joined(parts(), len(rows))
    return X, y
