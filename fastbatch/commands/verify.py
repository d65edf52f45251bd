"""Hold every kernel against the reference on this machine."""

import argparse
import time

from fastbatch import backends
from fastbatch.commands.output import tell
from fastbatch.verification import Check, checks


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--backend", default="cpu", choices=backends.BACKENDS)
    parser.epilog = """\
examples:
  fastbatch verify
  fastbatch verify --backend cuda

Errors are in units of what rounding can explain: up to 1 all is well; random numbers and trainings
of small integers must agree to the last bit. The exit status is 1 if any error is larger."""


def run(arguments: argparse.Namespace) -> int:
    """Print the worst error of each kernel, in units of its bound."""
    backends.check(arguments.backend)
    start = time.perf_counter()
    worst: dict[tuple[str, str], Check] = {}
    count = 0
    for check in checks(arguments.backend):
        key = check.kernel, check.dtype
        count += 1
        if key not in worst or check.error > worst[key].error:
            worst[key] = check
    tell(f"{'kernel':24}{'dtype':10}{'error':>7}  worst case")
    for check in worst.values():
        verdict = "" if check.error <= 1 else "  WRONG"
        tell(
            f"{check.kernel:24}{check.dtype:10}{check.error:7.3f}  "
            f"{check.case if check.error else 'exact'}{verdict}"
        )
    wrong = [check for check in worst.values() if not check.error <= 1]
    names = ", ".join(f"{check.kernel} ({check.dtype})" for check in wrong)
    verdict = f"wrong are {names}" if wrong else "all within their bounds"
    tell(f"{count:,} checks in {time.perf_counter() - start:.1f} s: {verdict}")
    return 1 if wrong else 0
