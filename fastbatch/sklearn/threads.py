"""How many threads work while estimators ask for a number: that is one for the whole process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fastbatch.threads import get_threads, set_threads

_lock = threading.Lock()
_asked: list[int] = []
_before = 0  # threads, while nobody asks


@contextmanager
def threads_at_most(n: int | None) -> Iterator[None]:
    """Let so many threads work; the fewest, where several estimators ask at once."""
    global _before
    if n is None:
        yield
        return
    with _lock:
        if not _asked:
            _before = get_threads()
        _asked.append(n)
        set_threads(min(_asked))
    try:
        yield
    finally:
        with _lock:
            _asked.remove(n)
            set_threads(min(_asked, default=_before))
