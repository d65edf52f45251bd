"""A stream of batches from a source that may be larger than memory, shuffled by blocks."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastbatch import backends
from fastbatch.constraints import flag, integer
from fastbatch.data.source import Rows, Source, joined, located
from fastbatch.network import SEEDS
from fastbatch.samplers import SAMPLES
from fastbatch.sparse import is_sparse

Array = NDArray[Any]
Check = Callable[[Any, Any, Any], Rows]

# Numbers in a block: 1 MB of float32, which a disk reads at full speed from any place on; and in a
# shuffle buffer: 32 MB, of which four are in memory at a time.
_BLOCK, _BUFFER = 1 << 18, 1 << 23

_ROWS = 10_000  # looked at in one go, where a source has no pieces


class Part(NamedTuple):
    """Consecutive batches of an epoch: what a backend's ``Training.rebind`` takes."""

    X: Array
    y: Array
    weights: Array | None
    rows: Array | None  # int64: the order in which batches take them
    first_batch: int

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        arrays = self.X, self.y, self.weights, self.rows
        return sum(int(array.nbytes) for array in arrays if array is not None)


def _as_they_are(X: Any, y: Any, weights: Any) -> Rows:
    return np.asarray(X), np.asarray(y), None if weights is None else np.asarray(weights)


class Stream:
    """Batches of a source, for ``Trainer.fit(batches=...)``.

    An epoch takes every row once. With `shuffle`, blocks of consecutive rows are taken in an order
    that is drawn for each epoch; as many of them as fill the shuffle buffer are read together,
    their rows are mixed, and batches are cut from them. While these are trained on, a thread reads
    the next. A buffer that holds all rows makes it the full shuffle.

    Parameters
    ----------
    source : Source
        Such as `ArraySource` or `ParquetSource`.
    batch_size : int
        The last batch of an epoch may be smaller.
    seed : int
        Of the orders, in [0, 2**64).
    shuffle : bool
        False takes the rows as they stand.
    block_size : int, optional
        Rows that are read together. Default: the pieces in which the source is stored, such as the
        row groups of a Parquet file, else as many rows as hold 262,144 numbers.
    buffer_size : int, optional
        Rows that are mixed with each other, rounded up to whole batches. Default: as many as hold
        8,388,608 numbers. About four times as much is in memory at a time.

    Notes
    -----
    The same source and options give the same batches, on every processor. They depend on the number
    of the epoch, so that a training that was interrupted goes on to the same bits.

    Examples
    --------
    >>> import fastbatch as fb
    >>> from fastbatch.data import ArraySource
    >>> X = np.random.default_rng(0).uniform(-1, 1, size=(300, 1))
    >>> stream = Stream(ArraySource(X, X**2), batch_size=10, block_size=8, buffer_size=60)
    >>> net = fb.Network([fb.Dense(8, "tanh"), fb.Dense(1)], 1, "squared_error",
    ...                  backend="reference")
    >>> history = fb.Trainer(net, fb.Adam(0.03)).fit(batches=stream, epochs=20)
    >>> history[-1].step
    600
    >>> history[-1].loss < history[0].loss / 10
    True
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        block_size: int | None = None,
        buffer_size: int | None = None,
    ) -> None:
        if not hasattr(source, "read") or not hasattr(source, "__len__"):
            raise TypeError(
                f"source must have read(start, stop) and a length, found {type(source).__name__}: "
                "make it an ArraySource(X, y)"
            )
        if not len(source):
            raise ValueError("source has no rows, expected at least one")
        self.source = source
        self.examples = len(source)
        self.batch_size = min(integer("batch_size", batch_size, 1), self.examples)
        self.seed = integer("seed", seed, 0, SEEDS)
        self.shuffle = flag("shuffle", shuffle)
        first = self._read(0, 1)
        if any(np.asarray(part).dtype.kind == "O" for part in first[:2]):
            raise TypeError(
                "source gives objects, such as the text of categorical columns, expected numbers: "
                "wrap it in PreparedSource(source)"
            )
        if np.shape(first[1])[1:] == (0,):
            raise ValueError("source has no targets to train on: name their column by target")
        row = max(1, sum(np.asarray(part).size for part in first if part is not None))
        if buffer_size is None:
            buffer_size = max(1, _BUFFER // row)
        batches = -(-integer("buffer_size", buffer_size, 1) // self.batch_size)
        self.buffer_size = batches * self.batch_size
        bounds = bounds_of(source)
        if bounds is None or block_size is not None:
            step = max(1, _BLOCK // row) if block_size is None else block_size
            step = integer("block_size", step, 1)
            bounds = np.append(np.arange(0, self.examples, step), self.examples)
        self._bounds: Array = bounds

    def __len__(self) -> int:
        """Batches of an epoch."""
        return -(-self.examples // self.batch_size)

    def batches(self, epoch: int) -> Iterator[Rows]:
        """Give the batches of an epoch, counting epochs from 0, as a training sees them.

        Parameters
        ----------
        epoch : int

        Yields
        ------
        X, y, weights
            The last is None if the source has none.

        Examples
        --------
        >>> from fastbatch.data import ArraySource
        >>> stream = Stream(ArraySource([[0], [1], [2], [3]], [0, 1, 2, 3]), batch_size=3)
        >>> [y.tolist() for _, y, _ in stream.batches(epoch=0)]
        [[...], [...]]
        """
        for X, y, weights, rows, _ in self.parts(epoch):
            order = np.arange(len(X)) if rows is None else rows
            for start in range(0, len(X), self.batch_size):
                batch = order[start : start + self.batch_size]
                yield X[batch], y[batch], None if weights is None else weights[batch]

    def parts(self, epoch: int, done: int = 0, check: Check = _as_they_are) -> Iterator[Part]:
        """Give the contents of the shuffle buffer, one after the other, from batch `done` on.

        `check` makes of the rows of each block what a backend takes.
        """
        if done > len(self):
            raise ValueError(
                f"epoch {epoch + 1} was interrupted after {done} batches, but the stream has only "
                f"{len(self)}: give the same again"
            )
        blocks, seeds = self._drawn(epoch)
        ends = np.cumsum([stop - start for start, stop in blocks])
        if done == len(self):
            return
        first = done * self.batch_size // self.buffer_size
        for buffer in range(first, len(seeds)):
            begin = buffer * self.buffer_size
            end = min(begin + self.buffer_size, self.examples)
            read = (
                self._rows(start, stop, check) for start, stop in _between(begin, end, blocks, ends)
            )
            X, y, weights = joined(read, end - begin)
            rows = None
            if self.shuffle:
                rows = backends.load("cpu").permutation(end - begin, seeds[buffer], epoch)
            yield Part(X, y, weights, rows, begin // self.batch_size)

    def _drawn(self, epoch: int) -> tuple[list[tuple[int, int]], list[int]]:
        """The blocks in the order of an epoch, and a seed for each content of the buffer."""
        buffers = -(-self.examples // self.buffer_size)
        blocks = list(pairwise(self._bounds.tolist()))
        if not self.shuffle:
            return blocks, [0] * buffers
        # Whatever the network computes with: of a million rows 25 ms, by the reference 1.2 s.
        kernels = backends.load("cpu")
        order = kernels.permutation(len(blocks), self.seed, epoch)
        draws = kernels.uniform(buffers, self.seed, epoch, SAMPLES)
        return [blocks[block] for block in order], [int(draw * 2.0**53) for draw in draws]

    def _rows(self, start: int, stop: int, check: Check) -> Rows:
        where = f"rows {start} to {stop} of the source{self._what_was_done}"
        X, y, weights = self._read(start, stop)
        if len(X) != stop - start:
            raise ValueError(f"{where}: read(start, stop) has returned {len(X)} examples")
        with located(where):
            return check(X, y, weights)

    @property
    def _what_was_done(self) -> str:
        """To the targets, which may be why a loss does not take them."""
        learnt = getattr(self.source, "preparation", None)
        if learnt is None or (learnt.target_mean, learnt.target_scale) == (0.0, 1.0):
            return ""
        return (
            " (whose target was standardised: name it in categorical if it holds classes; "
            "scale_target=False leaves it as it is)"
        )

    def _read(self, start: int, stop: int) -> Rows:
        rows = self.source.read(start, stop)
        if is_sparse(rows[0]):
            raise TypeError(
                f"source gives sparse rows ({type(rows[0]).__name__}), which a stream does not "
                "mix: give fit the whole matrix, or an iterable of batches of its rows"
            )
        return rows


def bounds_of(source: Source) -> Array | None:
    """Where the pieces of a source begin and end, if it says so."""
    bounds = getattr(source, "bounds", None)
    if bounds is None:
        return None
    bounds = np.asarray(bounds)
    if (
        bounds.ndim != 1
        or bounds.dtype.kind not in "iu"
        or len(bounds) < 2
        or (bounds[0], bounds[-1]) != (0, len(source))
        or (bounds[1:] <= bounds[:-1]).any()
    ):
        raise ValueError(
            f"the bounds of the source must rise from 0 to its {len(source)} rows, found {bounds}"
        )
    return bounds


def pieces_of(source: Source) -> Iterator[tuple[int, int]]:
    """All rows of a source, as many at a time as can be looked at in one go."""
    bounds = bounds_of(source)
    if bounds is None:
        bounds = np.append(np.arange(0, len(source), _ROWS), len(source))
    return pairwise(bounds.tolist())


def _between(
    begin: int, end: int, blocks: list[tuple[int, int]], ends: Array
) -> Iterator[tuple[int, int]]:
    """The parts of blocks that stand from `begin` to `end` where one follows the other."""
    for block in range(int(np.searchsorted(ends, begin, side="right")), len(blocks)):
        start, stop = blocks[block]
        shift = int(ends[block]) - stop  # from a row's number to where it stands
        if start + shift >= end:
            return
        yield max(start, begin - shift), min(stop, end - shift)
