"""The CPU backend: the functions of ``kernels.reference``, compiled."""

import numpy as np

from . import philox
from .job import EXAMPLE_GRADIENTS, LOSSES, OUTPUTS, TRAIN
from .session import Session
from .threads import get_threads, set_threads
from .training import Training

__all__ = [
    "Training",
    "get_threads",
    "losses",
    "outputs",
    "per_example_gradients",
    "permutation",
    "set_threads",
    "uniform",
    "value_and_gradient",
]


def _evaluate(plan, theta, X, y, shape, mode):
    out = np.empty((len(X), *shape), plan.dtype)
    if len(X):
        session = Session(plan, X, y, None, mode=mode)
        session.job["out"], session.job["scale"] = out.ctypes.data, 1.0
        session.set_theta(theta)
        session.run()
    return out


def outputs(plan, theta, X):
    """Outputs of the network, (N, K)."""
    return _evaluate(plan, theta, X, None, (plan.outputs,), OUTPUTS)


def losses(plan, theta, X, y):
    """Loss of each example, (N,)."""
    return _evaluate(plan, theta, X, y, (), LOSSES)


def per_example_gradients(plan, theta, X, y):
    """Gradient of each example, (N, P)."""
    return _evaluate(plan, theta, X, y, (plan.size,), EXAMPLE_GRADIENTS)


def value_and_gradient(plan, theta, X, y, weights, scale):
    """``scale * sum_i weights_i loss_i`` and its gradient, (P,)."""
    session = Session(plan, X, y, weights, mode=TRAIN, batch_size=len(X), training=True)
    session.job["scale"] = scale
    session.set_theta(theta)
    session.run(1)
    return scale * float(session.job["loss_sum"]), session.flat("gradient")


def uniform(count, seed, stream):
    """Uniform draws from [0, 1), float64 (count,), of the generator keyed by `seed`."""
    out = np.empty(count)
    philox.fill_uniform(out, seed, stream)
    return out


def permutation(count, seed, epoch):
    """Random permutation of ``range(count)``, int64, of the generator keyed by `seed`."""
    out = np.empty(count, np.int64)
    philox.shuffle(out, seed, epoch)
    return out
