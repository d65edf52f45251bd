"""How many threads the compiled kernels use; results do not depend on it."""

from fastbatch import backends
from fastbatch.constraints import integer


def set_threads(n: int) -> None:
    """Set the number of threads of the ``"cpu"`` backend, for this process.

    Parameters
    ----------
    n : int
        At least 1.

    Examples
    --------
    >>> before = get_threads()
    >>> set_threads(1)
    >>> get_threads()
    1
    >>> set_threads(before)
    """
    backends.load("cpu").set_threads(integer("n", n, 1))


def get_threads() -> int:
    """Return the number of threads of the ``"cpu"`` backend.

    Examples
    --------
    >>> get_threads() >= 1
    True
    """
    return int(backends.load("cpu").get_threads())
