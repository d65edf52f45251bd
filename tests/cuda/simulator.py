"""Numba's CUDA simulator, with the threads of a block run in an order that a test picks.

Numba gives each CUDA thread a thread of the system, so who comes first is chance, and nothing is
fast. Here a thread is a greenlet, which runs until its next barrier; then it is the next one's
turn. With the same kernel run in several orders, a barrier that is missing shows as results that
differ. Beyond that:

* a barrier that only some threads of a block reach, or that they reach at different lines, is an
  error, as it would be undefined on a device;
* memory that nobody has written holds NaN (or the smallest integer);
* an index below 0 or beyond the end is an error, and does not wrap around.
"""

import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from greenlet import getcurrent, greenlet
from numba import cuda
from numba.cuda.simulator import kernel, kernelapi
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

ORDERS = "ascending", "descending", "shuffled"
_order = "ascending"
_missing = None


@contextmanager
def thread_order(name):
    """Within it, blocks of a grid and threads of a block run in the order of that name."""
    global _order
    before, _order = _order, name
    try:
        yield
    finally:
        _order = before


@contextmanager
def without_barrier(file, line):
    """Within it, threads go past the barrier that stands there."""
    global _missing
    before, _missing = _missing, (str(file), line)
    try:
        yield
    finally:
        _missing = before


def places(*shape):
    """All places in a grid or a block, in the order chosen."""
    ascending = list(np.ndindex(*shape))
    if _order == "descending":
        ascending.reverse()
    elif _order == "shuffled":
        np.random.default_rng(len(ascending)).shuffle(ascending)
    return ascending


class Memory:
    """An array as a kernel sees it: its elements by their indices, no more."""

    __slots__ = ("array", "dtype", "shape", "size")

    def __init__(self, array):
        self.array = array
        self.dtype, self.shape, self.size = array.dtype, array.shape, array.size

    def _check(self, index):
        for i in index if type(index) is tuple else (index,):
            if i < 0:
                raise IndexError(f"index {index} is below 0")

    def __getitem__(self, index):
        self._check(index)
        return self.array[index]

    def __setitem__(self, index, value):
        self._check(index)
        self.array[index] = value


def filled(shape, dtype):
    """A new array with nothing in it that might be mistaken for a result."""
    dtype = np.dtype(dtype)
    return np.full(shape, np.nan if dtype.kind == "f" else np.iinfo(dtype).min, dtype)


class Shared:
    """The shared memory of a block; `shared_array` sees to it that its threads have the same."""

    def __init__(self, dynamic_bytes):
        assert not dynamic_bytes

    def array(self, shape, dtype):
        """A new array in which nobody has written."""
        return Memory(filled(shape, dtype))


class Thread(greenlet):
    """A thread of a block, which stops at its barriers."""

    def __init__(self, run, number, block, thread):
        super().__init__(run)
        self.thread_id = number
        self.blockIdx, self.threadIdx = kernelapi.Dim3(*block), kernelapi.Dim3(*thread)
        self.barrier = None  # where it waits

    def syncthreads(self):
        """Wait for all threads of the block."""
        here = sys._getframe(2)  # beyond the simulator's method of this name
        if (here.f_code.co_filename, here.f_lineno) == _missing:
            return
        self.barrier = here.f_code, here.f_lineno
        self.parent.switch()


class Block:
    """Takes the place of the simulator's BlockManager."""

    def __init__(self, function, grid, block, debug):
        self._function, self._block = function, block

    def run(self, place, *arguments):
        """Run all threads of the block at `place` of the grid, from barrier to barrier."""
        threads = []
        for thread in places(*self._block):
            number = thread[0] + self._block[0] * (thread[1] + self._block[1] * thread[2])
            threads.append(Thread(self._function, number, place, thread))
        for thread in threads:
            thread.switch(*arguments)
        while not all(thread.dead for thread in threads):
            barriers = {None if thread.dead else thread.barrier for thread in threads}
            assert len(barriers) == 1, f"threads of block {place} wait at {barriers}"
            for thread in threads:
                thread.switch()


def install():
    """Let kernels run this way from now on, in this process."""
    cuda.device_array = lambda shape, dtype: FakeCUDAArray(filled(shape, dtype))
    kernel.BlockManager = Block
    kernel.np = SimpleNamespace(ndarray=np.ndarray, void=np.void, ndindex=places)
    kernel.FakeWithinKernelCUDAArray = lambda array: Memory(array._ary)
    kernelapi.FakeCUDAShared = Shared
    kernelapi.threading = SimpleNamespace(current_thread=getcurrent)
