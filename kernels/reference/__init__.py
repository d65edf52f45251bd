"""The truth: every kernel once more in plain NumPy, written for reading.

All backends offer these names with these parameters. Nothing is checked here: arguments arrive
converted and valid, arrays in the plan's dtype, and that is the dtype of the arithmetic.

Read in this order: `dense` (one layer), `activations` and `loss_functions` (each with its
derivative), `network` (a batch: what is averaged, and when), `optimizers`, `training`; `philox`
is where the random numbers come from.
"""

from .network import losses, outputs, per_example_gradients, value_and_gradient
from .philox import permutation, uniform
from .training import Training

__all__ = [
    "Training",
    "compilations",
    "losses",
    "outputs",
    "per_example_gradients",
    "permutation",
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
