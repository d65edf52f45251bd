"""What a training is fed with: the parts of each epoch, from a stream or from a user's batches."""

from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np

from fastbatch.data.prefetch import Prefetch
from fastbatch.data.source import located
from fastbatch.data.stream import Check, Part, Stream
from fastbatch.interruption import Interrupts


class Feed:
    """The parts of some epochs, while it is entered.

    Parameters
    ----------
    batches : Stream, iterable of batches, or function that returns one
    check : callable
        Makes of X, y and weights what a backend takes.
    batch_size : int
        The most examples of a batch; a stream has a batch size of its own.
    epochs : range
        Their numbers.
    done : int
        Batches of the first of them that are not wanted.
    """

    def __init__(
        self, batches: Any, check: Check, *, batch_size: int, epochs: range, done: int
    ) -> None:
        is_stream = isinstance(batches, Stream)
        if isinstance(batches, tuple | np.ndarray) or not (
            is_stream or callable(batches) or isinstance(batches, Iterable)
        ):
            raise TypeError(
                "batches must be a Stream, an iterable of pairs (X, y), or a function that returns "
                f"one, found {type(batches).__name__}"
            )
        if isinstance(batches, Iterator) and len(epochs) > 1:
            raise ValueError(
                f"batches is an iterator ({type(batches).__name__}), which serves one epoch, found "
                f"epochs={len(epochs)}: give a list, or a function that returns a new iterator"
            )
        self.batch_size: int = batches.batch_size if is_stream else batch_size
        try:
            self.batches: int | None = len(batches)
        except TypeError:  # of what has no length, or says only then that it does not know it
            self.batches = None
        if is_stream:
            self._parts: Any = _of_stream(batches, check, epochs, done)
        else:
            self._parts = _of_iterable(batches, check, epochs, done, batch_size)
        self._is_read_ahead = is_stream

    def __enter__(self) -> Self:
        if self._is_read_ahead:
            self._parts = Prefetch(self._parts)
        return self

    def __exit__(self, *exception: object) -> None:
        self._parts.close()

    def part(self, interrupts: Interrupts) -> Part | None:
        """The next part; None at the end of each epoch. Ctrl-C is heard at once."""
        with interrupts.released():
            part: Part | None = next(self._parts)
        return part


def _of_stream(stream: Stream, check: Check, epochs: range, done: int) -> Iterator[Part | None]:
    for epoch in epochs:
        yield from stream.parts(epoch, done, check)
        yield None
        done = 0


def _of_iterable(
    batches: Any, check: Check, epochs: range, done: int, batch_size: int
) -> Iterator[Part | None]:
    for epoch in epochs:
        items = iter(batches if isinstance(batches, Iterable) else batches())
        count = 0
        try:
            for count, batch in enumerate(items, start=1):
                if count > done:
                    where = f"batch {count} of epoch {epoch + 1}"
                    yield _part(batch, check, count - 1, batch_size, where)
        finally:
            if items is not batches and hasattr(items, "close"):
                items.close()
        if count < max(done, 1):
            raise ValueError(
                f"epoch {epoch + 1} was interrupted after {done} batches, but batches has given "
                f"only {count}: give the same again"
                if done
                else f"batches has given none for epoch {epoch + 1}, expected at least one"
            )
        yield None
        done = 0


def _part(batch: Any, check: Check, number: int, batch_size: int, where: str) -> Part:
    """A user's batch, checked, in arrays of its own: an iterable may fill the same ones again."""
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        raise TypeError(
            f"{where} must be a pair (X, y) or (X, y, sample_weight), found {type(batch).__name__}"
            + (f" of {len(batch)}" if isinstance(batch, tuple | list) else "")
        )
    given = (*batch, None)[:3]
    with located(where):
        X, y, weights = check(*given)
    if len(X) > batch_size:
        raise ValueError(
            f"{where} has {len(X)} examples, more than this trainer is made for: give it "
            f"batch_size={len(X)} or more"
        )
    X, y, weights = map(_kept, (X, y, weights), given)
    return Part(X, y, weights, None, number)


def _kept(converted: Any, given: Any) -> Any:
    """What stays as it is whatever becomes of what was given: a copy, if it is not one already."""
    is_copy = isinstance(given, list) or (
        isinstance(given, np.ndarray) and not np.may_share_memory(converted, given)
    )
    return converted if converted is None or is_copy else converted.copy()
