"""All that there is to compile, for those who want it done beforehand."""

import numpy as np

from ..plan import DenseOp, Plan
from . import partner, philox
from .job import TRAIN
from .session import SUBROUTINES, Session


def compilations(dtypes):
    """A name and a function to call, without arguments, for each kernel that may be compiled."""
    for dtype in map(np.dtype, dtypes):
        for name, subroutine in SUBROUTINES.items():
            yield f"{name} ({dtype})", lambda s=subroutine, dtype=dtype: s.address(dtype)
        yield f"run ({dtype})", lambda dtype=dtype: _run(dtype)
    one, seed = np.zeros(1), np.uint64(0)
    yield "shuffle", lambda: philox.shuffle(np.zeros(1, np.int64), np.empty(16, np.int64), seed, 0)
    yield "fill_uniform", lambda: philox.fill_uniform(one, seed, 0, 0)


def _run(dtype):
    """Run the smallest step there is."""
    one = np.ones((1, 1), dtype)
    plan = Plan((DenseOp(1, 1, "identity"),), "squared_error", dtype.name)
    session = Session(plan, max_workers=1, batch_size=1)
    session.bind(TRAIN, one, one, None)
    session.run(1)


def assist(folder, dtype):
    """As a partner of another process: compile the subroutines that it has not come to yet."""
    partner.join(folder)
    for subroutine in reversed(SUBROUTINES.values()):
        subroutine.address(np.dtype(dtype))
