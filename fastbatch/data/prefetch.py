"""Work done ahead: a thread that makes the next items while this one is used."""

from collections import deque
from collections.abc import Iterator
from threading import Condition, Thread
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """An iterator over the items of another one, which runs in a thread, one item ahead.

    Its exceptions are raised here. `close` ends the thread and waits until it is gone.

    Examples
    --------
    >>> items = Prefetch(iter([1, 2]))
    >>> list(items)
    [1, 2]
    >>> items.close()
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._ready: deque[T] = deque()
        self._error: BaseException | None = None
        self._over = self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._work, name="fastbatch prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._over)
            if self._ready:
                item = self._ready.popleft()
                self._changed.notify_all()
                return item
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        raise StopIteration

    def close(self) -> None:
        """Let go of all items; an item that is being made is finished first."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    self._ready.append(item)
                    self._changed.notify_all()
                    del item  # or it would be kept until the next one is there
                    self._changed.wait_for(lambda: not self._ready or self._closed)
                    if self._closed:
                        break
        except BaseException as error:  # to be raised where the items are wanted
            self._error = error
        with self._changed:
            self._over = True
            self._changed.notify_all()
