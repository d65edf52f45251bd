"""What the kernels make of this machine, for `fastbatch doctor`."""

from .jit import CACHE, CACHE_IS_WRITABLE, hardware, tile_shape
from .simd import VECTOR_BYTES
from .threads import get_threads, threading_layer


def describe():
    """Facts by name: processor, features, vectors, register tiles, threads, cache folder."""
    cpu, features = hardware()
    return {
        "cpu": cpu,
        "features": features.split(","),
        "vector_bits": 8 * VECTOR_BYTES,
        "tile": tile_shape(),
        "threads": get_threads(),
        "threading_layer": threading_layer(),
        "cache": str(CACHE),
        "cache_is_writable": CACHE_IS_WRITABLE,
    }
