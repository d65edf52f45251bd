"""The one place that knows how kernels are compiled, cached on disk, and found stale."""

import contextlib
import hashlib
import os
import sys
from pathlib import Path

import llvmlite
import numba
from llvmlite import binding
from numba.core import config
from numba.core.caching import NullCache
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature

from .cache import Cache

SOURCES = Path(__file__).parent
COEFFICIENTS = SOURCES.parent / "coefficients.py"
_ARITHMETIC = {"error_model": "numpy", "fastmath": False}
_OPTIONS = {"nogil": True, **_ARITHMETIC}
_NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def hardware():
    """The (processor name, feature string) that kernels are compiled for."""
    name = config.CPU_NAME or binding.get_host_cpu_name()
    features = config.CPU_FEATURES
    if features is None:
        features = binding.get_host_cpu_features().flatten()
    return name, features


def tile_shape():
    """Which register tiles to use: "wide" for 32 vector registers of 64 bytes, else "narrow".

    FASTBATCH_TILE overrides the choice; with it the tests show that the bits do not depend on it.
    """
    chosen = os.environ.get("FASTBATCH_TILE", "")
    if chosen not in ("", "wide", "narrow"):
        raise ValueError(f"FASTBATCH_TILE must be 'wide' or 'narrow', found {chosen!r}")
    return chosen or ("wide" if "+avx512f" in hardware()[1] else "narrow")


def fingerprint():
    """Hash of all that compiled code depends on: kernel sources, compilers, processor, tile."""
    digest = hashlib.sha256()
    for path in (*sorted(SOURCES.glob("*.py")), COEFFICIENTS):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    versions = numba.__version__, llvmlite.__version__, sys.version
    digest.update(repr((versions, hardware(), tile_shape())).encode())
    return digest.hexdigest()[:20]


def cache_root():
    """The folder of compiled kernels: FASTBATCH_CACHE_DIR, else the user's cache folder."""
    if chosen := os.environ.get("FASTBATCH_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastbatch"


def _writable(folder):
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return os.access(folder, os.W_OK | os.X_OK)


CACHE = cache_root() / fingerprint()
CACHE_IS_WRITABLE = _writable(CACHE)


def jit(function=None, *, parallel=False, inline=False):
    """Compile `function` into the kernels that call it: no Python wrapper, no file of its own.

    With `inline` it becomes part of its callers, even if LLVM thinks it too large for that.
    """
    options = {"parallel": parallel, "forceinline": inline, **_NO_WRAPPERS, **_OPTIONS}
    return numba.njit(function, **options)


def entry(function):
    """Compile a function that Python calls, and keep the machine code on disk."""
    dispatcher = numba.njit(function, **_OPTIONS)
    dispatcher._cache = _cache(function)
    return dispatcher


def to_machine_code(signature, function):
    """Compile `function` for one `signature`, keep it on disk, and return it with its address."""
    compiled = CFunc(function, normalize_signature(signature), {}, _ARITHMETIC)
    compiled._cache = _cache(function)
    compiled.compile()
    return compiled


def is_missing(signature, function):
    """Whether this is not on disk, but will be once it is compiled."""
    cache = _cache(function)
    return isinstance(cache, Cache) and not cache.path(signature).exists()


def _cache(function):
    # The fingerprint knows the files of this package only.
    known = CACHE_IS_WRITABLE and function.__module__.startswith(__package__)
    return Cache(CACHE, function) if known else NullCache()
