"""Whether numbers on the device are finite."""

import numpy as np

from .toolkit import cuda, kernel, sub, to_device

THREADS, _BLOCKS = 256, 1024


@kernel(threads=THREADS)
def find_kernel(values, found):
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        if sub(values[i], values[i]) != 0:  # NaN
            found[0] = 1  # whoever writes, writes the same


def all_finite(values):
    """Whether no number of a flat array on the device is NaN or infinite."""
    found = to_device(np.zeros(1, np.int64))
    if values.size:
        find_kernel[min(-(-values.size // THREADS), _BLOCKS), THREADS](values, found)
    return not found.copy_to_host()[0]
