"""Tell what this machine offers, and what is missing."""

import argparse
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from fastbatch import backends

_CORE = "fastbatch", "numba", "llvmlite", "numpy", "scipy"

_VECTORS = {"avx512f": 512, "avx2": 256, "fma": 128}

_THREADING_LAYERS = {
    "omp": "OpenMP: waking the threads is cheap, so small networks use them too",
    "tbb": "Intel's TBB: threads from several Python threads share the cores",
    "workqueue": "Numba's own: waking the threads is slow, so only large networks use more than "
    "one; install libgomp (Debian, Ubuntu: apt install libgomp1) for more speed",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: none."""
    parser.epilog = """\
examples:
  fastbatch doctor
  FASTBATCH_CACHE_DIR=/tmp/kernels fastbatch doctor"""


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each fact."""
    for name, fact in (*versions(), *machine(backends.load("cpu").describe()), *extras()):
        print(f"{name:20}{fact}")
    return 0


def versions() -> Iterator[tuple[str, str]]:
    """Of Python and the packages that decide about speed."""
    yield "Python", platform.python_version()
    for package in _CORE:
        yield package, version(package)


def machine(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What the CPU kernels say of themselves, explained."""
    yield "processor", f"{facts['cpu']}, {platform.machine()}"
    found = [name for name in _VECTORS if f"+{name}" in facts["features"]]
    width = max((_VECTORS[name] for name in found), default=128)
    yield (
        "vectors",
        f"{width} bits ({', '.join(found) or 'none of AVX-512, AVX2 and FMA'}), "
        f"the kernels think in {facts['vector_bits']}; {facts['tile']} register tiles",
    )
    if platform.machine() in ("x86_64", "AMD64") and "fma" not in found:
        yield "", "without FMA every multiply-add is emulated: the same bits, but very slow"
    layer = facts["threading_layer"]
    yield "threads", str(facts["threads"])
    yield "threading layer", f"{layer}; {_THREADING_LAYERS.get(layer, 'unknown to fastbatch')}"
    yield "kernel cache", kernel_cache(facts)
    reason = backends.why_no_cuda()
    for line in [f"none: {reason}"] if reason else backends.load("cuda").describe()["devices"]:
        yield "CUDA", line


def compiled_kernels(facts: dict[str, Any]) -> list[Path]:
    """The files of machine code that fit this machine and these sources."""
    return list(Path(facts["cache"]).rglob("*.nbc"))


def kernel_cache(facts: dict[str, Any]) -> str:
    """The folder of those files and what it holds."""
    files = compiled_kernels(facts)
    if not files:
        return (
            f"{facts['cache']} is empty: the first training compiles the kernels, for some 10 s; "
            "fastbatch warmup does it beforehand"
        )
    size = sum(path.stat().st_size for path in files) / 1e6
    return f"{facts['cache']} holds {len(files)} compiled kernels, {size:.1f} MB"


def extras() -> Iterator[tuple[str, str]]:
    """Of each extra the packages that are not installed."""
    packages: dict[str, list[str]] = {}
    for requirement in requires("fastbatch") or []:
        match = re.match(r"""([\w.-]+)[^;\[]*;\s*extra == ["'](.+)["']""", requirement)
        if match:
            package, extra = match.groups()
            packages.setdefault(extra, []).append(package)
    for extra, names in packages.items():
        missing = [name for name in names if not _installed(name)]
        cure = f"missing {', '.join(missing)}: pip install 'fastbatch[{extra}]'"
        yield f"extra {extra}", cure if missing else "present"


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
