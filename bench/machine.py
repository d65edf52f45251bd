"""Where and when this is, and what the processor can do at best."""

import datetime
import os
import platform
import re
import sys
from pathlib import Path

from bench.peak import peak
from bench.peers.contest import cores
from fastbatch import get_threads
from fastbatch.kernels.cpu.jit import hardware

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def machine():
    """Facts that belong beside every figure."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "caches": _caches(),
        "system": platform.system(),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }


def limit_memory(process, share):
    """Leave a process no more addresses than that share of the memory has, if the system can."""
    if sys.platform == "linux":
        import resource

        limit = int(share * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        resource.prlimit(process, resource.RLIMIT_AS, (limit, limit))


def peaks():
    """GFLOP/s of fused multiply-adds, of one thread and of all."""
    return {
        dtype: {str(threads): peak(dtype, threads) for threads in sorted({1, get_threads()})}
        for dtype in ("float32", "float64")
    }


def _processor():
    """The model, where Linux tells it, and the architecture as the compiler calls it."""
    target = f"{hardware()[0]}, {platform.machine()}"
    text = _CPUINFO.read_text() if _CPUINFO.exists() else ""
    model = re.search(r"^model name\s*: *(.+)$", text, re.MULTILINE)
    return f"{model[1]} ({target})" if model else target


def _caches():
    """What the first core sees, as in "L1 32K, L2 1024K, L3 32768K"; "" where no file tells."""
    found = []
    for size in sorted(_CACHES.glob("index*/size")):
        kind, level = ((size.parent / name).read_text().strip() for name in ("type", "level"))
        if kind != "Instruction":
            found.append(f"L{level} {size.read_text().strip()}")
    return ", ".join(found)
