"""The CPU backend: the functions of ``kernels.reference``, compiled."""

import threading
from functools import lru_cache

import numpy as np

from . import philox
from .compiling import compilations
from .job import EXAMPLE_GRADIENTS, LOSSES, OUTPUTS, TRAIN
from .machine import describe
from .session import Session
from .threads import get_threads, set_threads
from .training import Training

__all__ = [
    "Training",
    "compilations",
    "describe",
    "get_threads",
    "losses",
    "outputs",
    "per_example_gradients",
    "permutation",
    "set_threads",
    "uniform",
    "value_and_gradient",
]


_kept = threading.local()


def _session(*arguments):
    """A session, the same one again if this thread has asked before: setting up takes time."""
    if not hasattr(_kept, "session"):
        _kept.session = lru_cache(maxsize=4)(Session)
    return _kept.session(*arguments)


def _evaluate(plan, theta, X, y, shape, mode, check=False):
    out = np.empty((len(X), *shape), plan.dtype)
    if len(X):
        session = _session(plan, get_threads())
        session.bind(mode, X, y, None)
        job = session.job
        job["out"], job["scale"] = out.ctypes.data, 1.0
        job["check"], job["not_finite"] = check, False
        session.set_theta(theta)
        session.run()
        session.release()
        if job["not_finite"]:
            raise FloatingPointError("X is not finite")
    return out


def outputs(plan, theta, X, check=False):
    """Outputs of the network, (N, K); FloatingPointError if `check` finds NaN or infinities."""
    return _evaluate(plan, theta, X, None, (plan.outputs,), OUTPUTS, check)


def losses(plan, theta, X, y):
    """Loss of each example, (N,)."""
    return _evaluate(plan, theta, X, y, (), LOSSES)


def per_example_gradients(plan, theta, X, y):
    """Gradient of each example, (N, P)."""
    return _evaluate(plan, theta, X, y, (plan.size,), EXAMPLE_GRADIENTS)


def value_and_gradient(plan, theta, X, y, weights, scale):
    """``scale * sum_i weights_i loss_i`` and its gradient, (P,)."""
    session = _session(plan, get_threads(), len(X))
    session.bind(TRAIN, X, y, weights)
    session.job["scale"] = scale
    session.set_theta(theta)
    session.run(1)
    session.release()
    return scale * float(session.job["loss_sum"]), session.flat("gradient")


def uniform(count, seed, stream):
    """Uniform draws from [0, 1), float64 (count,), of the generator keyed by `seed`."""
    out = np.empty(count)
    philox.fill_uniform(out, np.uint64(seed), stream)
    return out


def permutation(count, seed, epoch):
    """Random permutation of ``range(count)``, int64, of the generator keyed by `seed`."""
    out = np.empty(count, np.int64)
    philox.shuffle(out, np.empty(16, np.int64), np.uint64(seed), epoch)
    return out
