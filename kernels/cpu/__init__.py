"""The CPU backend: the functions of ``kernels.reference``, compiled."""

import numpy as np

from . import noise, philox
from .compiling import compilations
from .evaluation import (
    clipped_gradient,
    gradient_gram,
    gradient_norms,
    inner_products,
    losses,
    output_jacobian,
    outputs,
    per_example_gradients,
    second_moments,
    tangent_kernel,
    value_and_gradient,
)
from .machine import describe
from .threads import get_threads, set_threads
from .training import Training

__all__ = [
    "Training",
    "clipped_gradient",
    "compilations",
    "describe",
    "gaussian_noise",
    "get_threads",
    "gradient_gram",
    "gradient_norms",
    "inner_products",
    "losses",
    "output_jacobian",
    "outputs",
    "per_example_gradients",
    "permutation",
    "second_moments",
    "set_threads",
    "tangent_kernel",
    "uniform",
    "value_and_gradient",
]


def gaussian_noise(plan, seed, step):
    """Standard normal numbers, one for each parameter, (P,), of the generator keyed by `seed`."""
    out = np.zeros(plan.size, plan.dtype)
    noise.add_to(out, plan, seed, step)
    return out


def uniform(count, seed, stream, purpose=philox.INITIAL_VALUES):
    """Uniform draws from [0, 1), float64 (count,), of the generator keyed by `seed`."""
    out = np.empty(count)
    philox.fill_uniform(out, np.uint64(seed), stream, purpose)
    return out


def permutation(count, seed, epoch):
    """Random permutation of ``range(count)``, int64, of the generator keyed by `seed`."""
    out = np.empty(count, np.int64)
    philox.shuffle(out, np.empty(16, np.int64), np.uint64(seed), epoch)
    return out
