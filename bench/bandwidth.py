"""The machine's other limit: bytes between memory and registers, and nothing else.

``python -m bench.bandwidth`` prints it, for arrays that no cache holds and for smaller ones.  The
loop reads and writes three arrays from end to end, as Adam does with parameters and two moments,
but only hands their values round.  Every line of a cache is read before it is written, so the
processor fetches none for the sake of a write: what is counted is all that moves.  Another loop
only writes, as who fills an array does: what is counted then is what it has filled.
"""

from time import perf_counter

import numba
import numpy as np
from numba import prange

from fastbatch import get_threads
from fastbatch.kernels.cpu.jit import entry, jit
from fastbatch.kernels.cpu.machine import last_level_cache
from fastbatch.kernels.cpu.memory import load, pointer_to, store
from fastbatch.kernels.cpu.simd import VECTOR_BYTES, lanes, splat

_SECONDS = 0.01  # of a round, unless one pass takes longer
_ROUNDS = 10


@jit
def _hand_round(arrays, passes):
    """Let `arrays` (3, n) change places, one of them growing by 1, element by element."""
    a, b, c = pointer_to(arrays[0]), pointer_to(arrays[1]), pointer_to(arrays[2])
    for _ in range(passes):
        for i in range(0, arrays.shape[1], lanes(a)):
            x, y, z = load(a + i), load(b + i), load(c + i)
            store(a + i, y)
            store(b + i, z)
            store(c + i, x + 1.0)


@jit
def _fill(arrays, passes):
    """Set all of `arrays` (3, n) to 1, then to 2, and so on."""
    a = pointer_to(arrays)
    for i in range(passes):
        value = splat(i + 1.0, a)
        for j in range(0, arrays.size, lanes(a)):
            store(a + j, value)


@jit
def _move(arrays, passes, writes_only):
    if writes_only:
        _fill(arrays, passes)
    else:
        _hand_round(arrays, passes)


@jit(parallel=True)
def _by_all(arrays, passes, writes_only):
    for worker in prange(len(arrays)):
        _move(arrays[worker], passes, writes_only)


@entry
def _loop(arrays, passes, writes_only):
    """Each worker has three arrays of its own: `arrays` is (workers, 3, n)."""
    if len(arrays) == 1:
        _move(arrays[0], passes, writes_only)
    else:
        _by_all(arrays, passes, writes_only)


def _zeros(threads, size):
    """Arrays (threads, 3, n) of about `size` bytes in all, first touched by who works on them."""
    vector = VECTOR_BYTES // 4
    vectors = size // (threads * 3 * VECTOR_BYTES)
    # Never a multiple of 4 KiB apart: a load would seem to depend on the store before it.
    n = (vectors // 64 * 64 + 21) * vector
    raw = np.zeros(threads * 3 * n + vector, np.float32)
    start = -raw.ctypes.data % VECTOR_BYTES // raw.itemsize
    return raw[start : start + threads * 3 * n].reshape(threads, 3, n)


def bandwidth(threads=None, size=None, writes_only=False):
    """Billions of bytes per second: those read and those written, or only written.

    The best of some rounds: what disturbs them is not the machine's limit.

    Parameters
    ----------
    threads : int, optional
        All that fastbatch uses, if not given.
    size : int, optional
        Bytes of the arrays, together; eight times the last-level cache, if not given.
    writes_only : bool
    """
    threads = get_threads() if threads is None else threads
    arrays = _zeros(threads, 8 * last_level_cache() if size is None else size)
    numba.set_num_threads(threads)
    done = 0
    passes = 1  # the first calls compile, and find out how many fill a round
    for _ in range(2):
        _loop(arrays, passes, writes_only)
        start = perf_counter()
        _loop(arrays, passes, writes_only)
        done += 2 * passes
        passes = int(passes * _SECONDS / (perf_counter() - start)) + 1
    seconds = []
    for _ in range(_ROUNDS):
        start = perf_counter()
        _loop(arrays, passes, writes_only)
        seconds.append(perf_counter() - start)
        done += passes
    if writes_only:
        np.testing.assert_array_equal(arrays, passes, err_msg="a pass was lost")
        return arrays.nbytes * passes / min(seconds) / 1e9
    np.testing.assert_array_equal(arrays.sum(axis=1), done, err_msg="a pass was lost")
    return 2 * arrays.nbytes * passes / min(seconds) / 1e9


def main():
    """Print what one thread and all of them move, in arrays of growing size."""
    memory = 8 * last_level_cache()
    for threads in sorted({1, get_threads()}):
        for size in sorted({1 << 14, 1 << 18, 1 << 22, memory}):
            both, written = bandwidth(threads, size), bandwidth(threads, size, writes_only=True)
            label = f"{threads} thread(s), {size / 2**20:g} MiB"
            print(f"{label}: {both:.1f} GB/s, {written:.1f} GB/s if only written")


if __name__ == "__main__":
    main()
