"""Compile all kernels now, so that no training has to wait for it."""

import argparse
import time

from fastbatch import backends
from fastbatch.commands.doctor import compiled_kernels, kernel_cache
from fastbatch.network import DTYPES


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--dtype",
        nargs="+",
        default=DTYPES,
        choices=DTYPES,
        help="of the networks to be trained (default: both)",
    )
    parser.epilog = """\
examples:
  fastbatch warmup
  fastbatch warmup --dtype float32

Kernels for a GPU are not among them: each process compiles those that it needs."""


def run(arguments: argparse.Namespace) -> int:
    """Compile what is not there yet, and say what and where."""
    from tqdm import tqdm

    kernels = backends.load("cpu")
    facts = kernels.describe()
    if not facts["cache_is_writable"]:
        raise ValueError(
            f"cannot write to {facts['cache']}, where compiled kernels are kept: name another "
            "folder in the environment variable FASTBATCH_CACHE_DIR"
        )
    before = set(compiled_kernels(facts))
    start = time.perf_counter()
    compilations = list(kernels.compilations(arguments.dtype))
    with tqdm(compilations, unit="kernel", disable=None, leave=False) as bar:
        for name, compile_kernel in bar:
            bar.set_postfix_str(name)
            compile_kernel()
    seconds = time.perf_counter() - start
    new = set(compiled_kernels(facts)) - before
    if new:
        names = sorted({path.name.partition("-")[0] for path in new})
        print(f"compiled in {seconds:.1f} s: {', '.join(names)}")
    else:
        print(f"nothing to compile: all {len(compilations)} kernels are there")
    print(kernel_cache(facts))
    return 0
