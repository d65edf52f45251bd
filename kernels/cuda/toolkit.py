"""The one door to CUDA: how kernels are written, launched and given memory, on a device or not.

Elsewhere in this package ``cuda`` and all that rests on Numba comes from here, so that a successor
of numba-cuda has one place to be put in. With ``NUMBA_ENABLE_CUDASIM=1`` in the environment
kernels run in Numba's simulator: then device functions are plain Python functions, and memory of
the device is memory of the host.

Arithmetic within kernels is by the functions of `intrinsics` (for the simulator, `simulated`):
each is rounded as written. The compiler would make one fma of a product and a sum that are
written with ``*`` and ``+``, and so change their bits.
"""

from typing import NamedTuple

import numba
import numpy as np
from numba import config

SIMULATED = bool(config.ENABLE_CUDASIM)

if SIMULATED:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    from .simulated import (
        absolute,
        add,
        as_bits,
        by_dtype,
        copysign,
        cuda,
        div,
        fma,
        from_bits,
        function,
        kernel,
        lanes,
        load4,
        maximum,
        minimum,
        mul,
        polynomial,
        select,
        shared_array,
        splat,
        sqrt,
        store4,
        sub,
        to_float,
    )
else:
    from numba import cuda

    from .intrinsics import (
        absolute,
        add,
        as_bits,
        by_dtype,
        copysign,
        div,
        fma,
        from_bits,
        function,
        kernel,
        lanes,
        load4,
        maximum,
        minimum,
        mul,
        polynomial,
        select,
        shared_array,
        splat,
        sqrt,
        store4,
        sub,
        to_float,
    )

__all__ = [
    "SIMULATED",
    "Limits",
    "absolute",
    "add",
    "as_bits",
    "as_device_array",
    "by_dtype",
    "copysign",
    "cuda",
    "devices",
    "div",
    "empty",
    "fma",
    "from_bits",
    "function",
    "is_device_array",
    "kernel",
    "lanes",
    "limits",
    "load4",
    "maximum",
    "minimum",
    "mul",
    "on_host",
    "polynomial",
    "select",
    "shared_array",
    "splat",
    "sqrt",
    "store4",
    "sub",
    "to_device",
    "to_float",
    "why_not",
]

on_host = numba.njit  # compile a loop for the host


class Limits(NamedTuple):
    """What blocks of threads share on a device."""

    shared_memory: int  # bytes of a block, unless it asks for more when it is launched
    shared_memory_opt_in: int  # bytes of a block that does
    shared_memory_of_multiprocessor: int
    registers: int  # of 32 bits, of a block
    registers_of_multiprocessor: int
    threads_of_multiprocessor: int
    multiprocessors: int


# NVIDIA H100 Tensor Core GPU Architecture (2022), and appendix "Compute Capabilities" of the CUDA
# C++ Programming Guide, 9.0: what the simulator simulates.
H100 = Limits(49152, 232448, 233472, 65536, 65536, 2048, 132)


def limits():
    """The `Limits` of the device in use."""
    if SIMULATED:
        return H100
    device = cuda.get_current_device()
    return Limits(
        device.MAX_SHARED_MEMORY_PER_BLOCK,
        device.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        device.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
        device.MAX_REGISTERS_PER_BLOCK,
        device.MAX_REGISTERS_PER_MULTIPROCESSOR,
        device.MAX_THREADS_PER_MULTI_PROCESSOR,
        device.MULTIPROCESSOR_COUNT,
    )


def why_not():
    """Why nothing can be computed on a device here, or None if it can."""
    if SIMULATED or cuda.is_available():
        return None
    if error := cuda.cuda_error():
        first_sentence = " ".join(error.split()).partition(". ")[0].rstrip(".")
        return f"no CUDA device was found ({first_sentence})"
    return "libNVVM, which compiles for the device, was not found"


def devices():
    """A line about each device that could be used; none if there is a reason `why_not`."""
    if SIMULATED:
        return ["Numba's CUDA simulator"]
    if why_not():
        return []
    return [_describe(device) for device in cuda.list_devices()]


def _describe(device):
    name = device.name.decode() if isinstance(device.name, bytes) else device.name
    major, minor = device.compute_capability
    return f"{name}, compute capability {major}.{minor}"


def to_device(array):
    """A copy of a host's `array` in the memory of the device, in C order."""
    return cuda.to_device(np.ascontiguousarray(array))


def empty(shape, dtype):
    """Memory of the device that holds anything."""
    return cuda.device_array(shape, np.dtype(dtype))


def is_device_array(value):
    """Whether `value` lies in the memory of a device, whoever made it."""
    return hasattr(value, "__cuda_array_interface__") or (
        SIMULATED and isinstance(value, FakeCUDAArray)
    )


def as_device_array(value):
    """The array that `is_device_array`, where it lies, as kernels take it."""
    if not SIMULATED:
        return cuda.as_cuda_array(value)
    if isinstance(value, FakeCUDAArray):
        return value
    return FakeCUDAArray(np.asarray(_OfHost(value.__cuda_array_interface__)))


class _OfHost:
    """What the simulator makes of an array of a device, whose address is one of the host."""

    def __init__(self, interface):
        self.__array_interface__ = {**interface, "version": 3}
