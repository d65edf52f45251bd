"""The truth: every kernel once more in plain NumPy, written for reading.

All backends offer these names with these parameters. Nothing is checked here: arguments arrive
converted and valid, arrays in the plan's dtype, and that is the dtype of the arithmetic.

Read in this order: `dense` (one layer), `activations` and `loss_functions` (each with its
derivative), `gaussian_sample` and `dropout` (layers that draw), `network` (a batch: what is
averaged, and when), `per_example` (the gradients that are averaged), `optimizers`, `training`;
`philox` is where the random numbers come from, and `noise` makes them normal.
"""

from . import mean_error as mean_error  # beside what all backends offer: see there
from .network import losses, outputs, value_and_gradient
from .noise import gaussian_noise
from .per_example import (
    clipped_gradient,
    gradient_gram,
    gradient_norms,
    inner_products,
    output_jacobian,
    per_example_gradients,
    second_moments,
    tangent_kernel,
)
from .philox import permutation, uniform
from .training import Training

__all__ = [
    "Training",
    "clipped_gradient",
    "compilations",
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


def compilations(dtypes):
    """A name and a function to call for each kernel that may be compiled: there is none.

    Examples
    --------
    >>> [name for name, compile_kernel in compilations(["float32"])]
    []
    """
    return ()
