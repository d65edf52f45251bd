"""The one door to CUDA: how kernels are written, launched and given memory, on a device or not.

Elsewhere in this package ``cuda`` and all that rests on Numba comes from here, so that a successor
of numba-cuda has one place to be put in. With ``NUMBA_ENABLE_CUDASIM=1`` in the environment
kernels run in Numba's simulator: then device functions are plain Python functions, and memory of
the device is memory of the host.

Arithmetic within kernels is by the functions of `intrinsics` (for the simulator, `simulated`):
each is rounded as written. The compiler would make one fma of a product and a sum that are
written with ``*`` and ``+``, and so change their bits.
"""

from contextlib import contextmanager
from typing import NamedTuple

import numba
import numpy as np
from numba import config
from numba.cuda.cudadrv.driver import CudaAPIError

SIMULATED = bool(config.ENABLE_CUDASIM)

if SIMULATED:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    from . import simulated as operations
else:
    from . import intrinsics as operations

cuda, kernel, function = operations.cuda, operations.kernel, operations.function
add, sub, mul = operations.add, operations.sub, operations.mul
fma, div = operations.fma, operations.div
sqrt, maximum, minimum = operations.sqrt, operations.maximum, operations.minimum
select, absolute, copysign = operations.select, operations.absolute, operations.copysign
polynomial, splat, by_dtype = operations.polynomial, operations.splat, operations.by_dtype
lanes, as_bits = operations.lanes, operations.as_bits
from_bits, to_float = operations.from_bits, operations.to_float
shared_array, load4, store4 = operations.shared_array, operations.load4, operations.store4
on_host = numba.njit  # compile a loop for the host

_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY


class Limits(NamedTuple):
    """What tiles are chosen by, see `tiles`."""

    shared_memory: int  # bytes of a block, unless it asks for more when it is launched
    multiprocessors: int


# NVIDIA H100 Tensor Core GPU Architecture (2022), and appendix "Compute Capabilities" of the CUDA
# C++ Programming Guide, 9.0: what the simulator simulates.
H100 = Limits(49152, 132)


def limits():
    """The `Limits` of the device in use."""
    if SIMULATED:
        return H100
    device = cuda.get_current_device()
    return Limits(device.MAX_SHARED_MEMORY_PER_BLOCK, device.MULTIPROCESSOR_COUNT)


def why_not():
    """Why nothing can be computed on a device here, or None if it can."""
    if SIMULATED:
        return None
    found = "the CUDA device cannot be used"
    try:
        if cuda.is_available():
            limits()
            found = "no kernel runs on the CUDA device, its driver may be older than the compiler"
            _run_a_kernel()
            return None
    except Exception as error:  # Numba, its driver and cuda.core have kinds of their own
        return f"{found} ({_first_sentence(error)})"
    if error := cuda.cuda_error():
        return f"no CUDA device was found ({_first_sentence(error)})"
    return "libNVVM, which compiles for the device, was not found"


@kernel
def _write_one_kernel(out):
    out[0] = 1


def _run_a_kernel():
    """Raise what keeps kernels from running."""
    out = to_device(np.zeros(1, np.int64))
    _write_one_kernel[1, 1](out)
    out.copy_to_host()


def _first_sentence(error):
    return " ".join(str(error).split()).partition(". ")[0].rstrip(".")


def device_number():
    """The number of the device in use."""
    return 0 if SIMULATED else cuda.get_current_device().id


def devices():
    """A line about each device that could be used; none if there is a reason `why_not`."""
    if SIMULATED:
        return ["Numba's CUDA simulator"]
    if why_not():
        return []
    version = "driver for CUDA {}.{}".format(*cuda.cudadrv.driver.driver.get_version())
    return [f"{_describe(device)}, {version}" for device in cuda.list_devices()]


def _describe(device):
    name = device.name.decode() if isinstance(device.name, bytes) else device.name
    major, minor = device.compute_capability
    return f"{name}, compute capability {major}.{minor}"


def to_device(array):
    """A copy of a host's `array` in the memory of the device, in C order."""
    with _room_for(array.nbytes):
        return cuda.to_device(np.ascontiguousarray(array))


def empty(shape, dtype):
    """Memory of the device that holds anything."""
    dtype = np.dtype(dtype)
    with _room_for(int(np.prod(shape)) * dtype.itemsize):
        return cuda.device_array(shape, dtype)


@contextmanager
def _room_for(size):
    """Raise a MemoryError if the device has not so many bytes."""
    try:
        yield
    except CudaAPIError as error:
        if int(error.code) != _OUT_OF_MEMORY:
            raise
        raise MemoryError(
            f"the CUDA device has no room for {size:,} bytes more: give fewer examples at a time, "
            "to fit as batches="
        ) from error


def is_device_array(value):
    """Whether `value` lies in the memory of a device, whoever made it."""
    return hasattr(value, "__cuda_array_interface__") or (
        SIMULATED and isinstance(value, FakeCUDAArray)
    )


def as_device_array(value):
    """The array that `is_device_array`, where it lies, as kernels take it."""
    if hasattr(value, "__dlpack_device__"):
        _, number = value.__dlpack_device__()
        if number != device_number():
            raise ValueError(f"it lies on device {number}, but in use is {device_number()}")
    if not SIMULATED:
        cuda.synchronize()  # the numbers may be made on any stream, and PyTorch does not name it
        array = cuda.as_cuda_array(value, sync=False)
        array.stream = 0  # on another one copies to the host would not be waited for
        return array
    if isinstance(value, FakeCUDAArray):
        return value
    return FakeCUDAArray(np.asarray(_OfHost(value.__cuda_array_interface__)))


class _OfHost:
    """What the simulator makes of an array of a device, whose address is one of the host."""

    def __init__(self, interface):
        self.__array_interface__ = {**interface, "version": 3}
