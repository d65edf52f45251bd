"""What the CUDA kernels ask of a device: ``python -m bench.cuda_resources``, no device needed.

Each kernel is compiled to PTX for several compute capabilities and assembled by ptxas, which tells
registers, shared memory, stack and spills; from these and from what a multiprocessor has follows
the theoretical occupancy (CUDA C++ Programming Guide, appendix "Compute Capabilities"). Accesses of
128 bits to global and shared memory are counted in the PTX.

The exit status is 1 if a kernel spills or has a stack, and 0 if the compiler or ptxas is not
there, which the last line then says.
"""

import argparse
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from bench.markdown import table

WARP = 32
WARPS_AT_ONCE = 4  # registers are given to so many warps at a time, one to each scheduler,
REGISTER_UNIT = 256  # and to a warp by so many;
SHARED_UNIT = 128  # shared memory is given to a block by so many bytes


class Multiprocessor(NamedTuple):
    """What the blocks on a multiprocessor share."""

    warps: int
    blocks: int
    shared: int  # bytes
    reserved: int  # bytes of them for each block


CAPABILITIES = {
    (7, 5): Multiprocessor(32, 16, 64 << 10, 0),
    (8, 0): Multiprocessor(64, 32, 164 << 10, 1 << 10),
    (8, 9): Multiprocessor(48, 24, 100 << 10, 1 << 10),
    (9, 0): Multiprocessor(64, 32, 228 << 10, 1 << 10),
    (10, 0): Multiprocessor(64, 32, 228 << 10, 1 << 10),
}
REGISTERS = 65536  # of a multiprocessor, of all these


class Resources(NamedTuple):
    """What ptxas says of a kernel."""

    registers: int
    shared: int  # bytes
    stack: int  # bytes, spills included
    wide: int  # accesses of 128 bits
    narrow: int  # of fewer

    def occupancy(self, threads, of):
        """Share of a multiprocessor's warps that can be there at once."""
        warps = -(-threads // WARP)
        by_warp = -(-self.registers * WARP // REGISTER_UNIT) * REGISTER_UNIT
        with_registers = REGISTERS // by_warp // WARPS_AT_ONCE * WARPS_AT_ONCE
        shared = -(-self.shared // SHARED_UNIT) * SHARED_UNIT + of.reserved
        by_shared = of.shared // shared if shared else of.blocks
        blocks = min(of.blocks, of.warps // warps, with_registers // warps, by_shared)
        return blocks * warps / of.warps


def kernels(dtype):
    """All kernels of a dtype: names, kernels, threads."""
    from fastbatch.kernels.cuda import compiling

    return list(compiling.kernels(np.dtype(dtype)))


def resources(dtype, number, capability):
    """Compile the kernel of that number for a compute capability, and ask ptxas about it."""
    from numba import cuda
    from numba.core.sigutils import normalize_signature
    from numba.cuda import dispatcher

    from fastbatch.kernels.cuda.compiling import signature

    # What a kernel calls is compiled for the device at hand first; any will do.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    _, kernel, _ = kernels(dtype)[number]
    arguments, _ = normalize_signature(signature(kernel, np.dtype(dtype)))
    assert not kernel.targetoptions["lto"], "what is launched would come of another compiler"
    options = {"launch_bounds": kernel.targetoptions["launch_bounds"]}
    ptx, _ = cuda.compile_ptx(kernel.py_func, arguments, cc=capability, **options)
    accesses = re.findall(r"\b(?:ld|st)\.(?:global|shared)(?:\.\w+)*?(\.v[24])?\.[bfsu](\d+)", ptx)
    wide = sum(int(vector[2:] or 1) * int(bits) == 128 for vector, bits in accesses)
    said = assemble(ptx, capability)
    return Resources(
        registers=_told(r"Used (\d+) registers", said),
        shared=_told(r"(\d+) bytes smem", said),
        stack=_told(r"(\d+) bytes stack frame", said) + _told(r"(\d+) bytes spill stores", said),
        wide=wide,
        narrow=len(accesses) - wide,
    )


def assemble(ptx, capability):
    """What ptxas says when it makes machine code."""
    major, minor = capability
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        command = [ptxas(), "-v", f"-arch=sm_{major}{minor}", str(source), "-o", os.devnull]
        return subprocess.run(command, check=True, capture_output=True, text=True).stderr


def compile_builtin():
    """Compile a kernel with the numba.cuda that Numba brings, in a process that loaded neither."""
    finders = [f for f in sys.meta_path if type(f).__name__ != "NumbaCudaFinder"]
    sys.meta_path[:] = finders  # numba-cuda takes its place by one of these
    nvidia = find_spec("nvidia").submodule_search_locations[0]
    os.environ.setdefault("CUDA_HOME", str(Path(nvidia) / "cu13"))
    from numba import cuda
    from numba.core.sigutils import normalize_signature
    from numba.cuda import dispatcher

    from fastbatch.kernels.cuda.compiling import signature

    assert cuda.implementation == "Built-in", cuda.implementation
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))
    name, kernel, _ = next(found for found in kernels("float32") if found[0].startswith("param"))
    arguments, _ = normalize_signature(signature(kernel, np.dtype("float32")))
    cuda.compile_ptx(kernel.py_func, arguments, cc=(9, 0))
    return name


def _told(pattern, text):
    return max(map(int, re.findall(pattern, text)), default=0)


def ptxas():
    """Where the assembler is: in the wheel nvidia-cuda-nvcc, or on the path; or None."""
    spec = find_spec("nvidia")
    folders = [Path(f) / "cu13" / "bin" for f in spec.submodule_search_locations] if spec else []
    in_wheel = shutil.which("ptxas", path=os.pathsep.join(map(str, folders))) if folders else None
    return in_wheel or shutil.which("ptxas")


def report(dtype, capabilities, pool):
    """A table of all kernels of a dtype, and a line for each that spills."""
    listed = kernels(dtype)
    numbers, chosen = zip(*product(range(len(listed)), capabilities), strict=True)
    found = pool.map(resources, [dtype] * len(numbers), numbers, chosen)
    found = dict(zip(zip(numbers, chosen, strict=True), found, strict=True))
    head = ["kernel", "threads", "shared, bytes", "accesses of 128 bits"]
    rows, spilling = [[*head, *(f"{a}.{b}" for a, b in capabilities)]], []
    for number, (name, _, threads) in enumerate(listed):
        own = {c: found[number, c] for c in capabilities}
        first = own[capabilities[0]]
        uses = [
            f"{r.registers}, {r.occupancy(threads, CAPABILITIES[c]):.0%}" for c, r in own.items()
        ]
        wide = f"{first.wide} of {first.wide + first.narrow}"
        rows.append([name, str(threads), f"{first.shared:,}", wide, *uses])
        spilling += [
            f"{name} ({dtype}, {a}.{b}): a stack of {r.stack} bytes"
            for (a, b), r in own.items()
            if r.stack
        ]
    return table(rows), spilling


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    every = [f"{a}.{b}" for a, b in CAPABILITIES]
    parser.add_argument("--capabilities", nargs="+", choices=every, default=every)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    chosen = parser.parse_args()
    if find_spec("numba_cuda") is None or ptxas() is None:
        print("skipped: numba-cuda (extra cuda) and ptxas (nvidia-cuda-nvcc) are not both here")
        return 0
    capabilities = [tuple(map(int, name.split("."))) for name in chosen.capabilities]
    status, processes = 0, multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=processes) as pool:
        for dtype in chosen.dtypes:
            printed, spilling = report(dtype, capabilities, pool)
            print(f"\n{dtype}: registers and occupancy by compute capability\n\n{printed}\n")
            for line in spilling or ["no kernel spills or has a stack"]:
                print(f"* {line}", flush=True)
            status |= bool(spilling)
        with ProcessPoolExecutor(1, mp_context=processes) as fresh:
            name = fresh.submit(compile_builtin).result()
        print(f"\nNumba's own numba.cuda compiles, too: {name}")
    return status


if __name__ == "__main__":
    sys.exit(main())
