"""The CUDA backend: the functions of ``kernels.reference`` for dense networks, on a GPU.

Read in this order: `toolkit` (how kernels are written), `layout` and `tiles` (where all lies,
and who works on what), `dense` and `loss_and_delta`, `examples` (a batch through all layers and
back), `parameters` (gradients and updates), `per_example`, `gram`, then `session`, `evaluation`
and `training`.
"""

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
from .finite import all_finite
from .noise import gaussian_noise
from .philox import permutation, uniform
from .toolkit import as_device_array, devices, limits, why_not
from .training import Training

__all__ = [
    "Training",
    "all_finite",
    "as_device_array",
    "clipped_gradient",
    "compilations",
    "describe",
    "gaussian_noise",
    "gradient_gram",
    "gradient_norms",
    "inner_products",
    "losses",
    "output_jacobian",
    "outputs",
    "per_example_gradients",
    "permutation",
    "second_moments",
    "tangent_kernel",
    "uniform",
    "value_and_gradient",
]


def describe():
    """Facts by name: devices and the limits of the first, or why there is none."""
    reason = why_not()
    facts = {"devices": devices(), "why_not": reason}
    return facts if reason else {**facts, **limits()._asdict()}


def compilations(dtypes):
    """A name and a function to call for each kernel that may be compiled beforehand: none.

    Kernels are made by functions, one for each tile and dtype, and Numba cannot keep such ones for
    another process. Each process compiles those that it launches, when it does so first.
    """
    return ()
