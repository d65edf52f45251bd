"""How many threads the compiled kernels use; results do not depend on it."""

from fastbatch import backends
from fastbatch.constraints import integer


def set_threads(n: int) -> None:
    """Set the most threads that the ``"cpu"`` backend may use, for this process.

    How many take part is chosen for each run: small work is faster on one.

    Parameters
    ----------
    n : int
        At least 1. More than the machine has cores, or than the environment variable
        ``NUMBA_NUM_THREADS`` says, means all of these.

    Raises
    ------
    ValueError, TypeError
        If `n` is not a positive integer.

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
    """Return the most threads that the ``"cpu"`` backend may use.

    Returns
    -------
    int

    Examples
    --------
    >>> get_threads() >= 1
    True
    """
    return int(backends.load("cpu").get_threads())
