"""The one door to the kernels: a backend is a module, imported when first asked for.

Nothing else in the package imports kernels, so ``import fastbatch`` stays light and the
compiler is loaded by whoever trains.
"""

from functools import cache
from importlib import import_module
from typing import Any

from fastbatch.constraints import one_of
from fastbatch.kernels.plan import (
    Batches,
    DenseOp,
    DropoutOp,
    GaussianSampleOp,
    Plan,
    SparseRows,
)

__all__ = [
    "BACKENDS",
    "Batches",
    "DenseOp",
    "DropoutOp",
    "GaussianSampleOp",
    "Plan",
    "SparseRows",
    "UnusableBackendError",
    "check",
    "load",
    "takes",
]

BACKENDS = ("cpu", "reference", "cuda")


class UnusableBackendError(ValueError):
    """There is such a backend, but not on this machine, or not for this network."""


def check(name: str) -> str:
    """Return `name` if there is such a backend, and it can be used here."""
    one_of("backend", name, BACKENDS)
    if name == "cuda" and (reason := why_no_cuda()):
        raise UnusableBackendError(
            f"backend 'cuda' cannot be used here, {reason}: it needs a CUDA device, its driver and "
            "the extra cuda, pip install 'fastbatch[cuda]'; or take backend='cpu'"
        )
    return name


def takes(name: str, operation: Any) -> bool:
    """Whether the backend of that name has kernels for this layer of a plan."""
    return name != "cuda" or isinstance(operation, DenseOp | DropoutOp)


@cache
def why_no_cuda() -> str | None:
    """What is missing for the backend "cuda", None if nothing is."""
    try:
        reason: str | None = _module("cuda").describe()["why_not"]
    except ImportError as error:  # a Numba without numba.cuda
        reason = " ".join(str(error).split()).partition(". ")[0].rstrip(".")
    return reason


@cache
def load(name: str) -> Any:
    """Import the backend of that name, one of BACKENDS; all offer the same functions.

    One that cannot be used here is refused again: a network may have come from another machine.

    Examples
    --------
    >>> load("reference").uniform(2, seed=0, stream=0).shape
    (2,)
    """
    return _module(check(name))


def _module(name: str) -> Any:
    return import_module(f"fastbatch.kernels.{name}")
