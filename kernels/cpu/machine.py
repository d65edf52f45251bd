"""What this machine is, and what the kernels make of it, for `fastbatch doctor`."""

from functools import cache
from pathlib import Path

from .jit import CACHE, CACHE_IS_WRITABLE, hardware, tile_shape
from .simd import VECTOR_BYTES
from .threads import get_threads, threading_layer


@cache
def last_level_cache():
    """Bytes of the largest cache; where the system does not tell, more than most have."""
    sizes = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    try:
        kibibytes = [int(size.read_text().strip().removesuffix("K")) for size in sizes]
    except (OSError, ValueError):
        kibibytes = []
    return max(kibibytes, default=65536) * 1024


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
