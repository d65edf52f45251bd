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
    "check",
    "load",
]

BACKENDS = ("cpu", "reference")


def check(name: str) -> str:
    """Return `name` if there is such a backend; nothing is imported."""
    if name == "cuda":
        raise ValueError("backend 'cuda' comes with a later release: use 'cpu' or 'reference'")
    return one_of("backend", name, BACKENDS)


@cache
def load(name: str) -> Any:
    """Import the backend `name`; all backends offer the same functions.

    Examples
    --------
    >>> load("reference").uniform(2, seed=0, stream=0).shape
    (2,)
    """
    return import_module(f"fastbatch.kernels.{check(name)}")
