"""All kernels with the types of their arguments, for who compiles them without launching them."""

import inspect
from itertools import product

import numpy as np

from ..plan import DenseOp, Plan
from . import (
    batch_sums,
    dense,
    dropout,
    examples,
    finite,
    gram,
    noise,
    parameters,
    per_example,
    philox,
)
from .layout import Layout
from .optimizers import N_CONSTANTS, RULES
from .tiles import OF_LAYER, OF_PARAMETERS, for_examples
from .toolkit import H100

# Of what type, as Numba writes it, arguments of these names are; {0} is the network's dtype.
_NAMES = {
    "{0}[::1]": {
        "X", "Xa", "Xb", "a_activations", "a_deltas", "activations", "b_activations", "b_deltas",
        "changes", "counts", "deltas", "example_losses", "example_norms", "gradient", "leaving",
        "losses", "max_norms", "one", "out", "partials", "parts", "squares", "state", "sums",
        "theta", "values", "weights", "y",
    },
    "float64[::1]": {"batch_losses", "batch_squares", "draws", "gradient_squares", "so_far"},
    "int64[::1]": {"a_order", "b_order", "found", "labels", "order", "partners", "stopped"},
    "int64[:, ::1]": {"layers", "table", "units"},
    "boolean": {
        "fresh", "last", "may_stop", "noisy", "of_squares", "only_norms", "per_layer", "squared",
        "wants_delta", "wants_gradient", "wants_losses",
    },
    "float64": {"gamma", "scale"},
    "{0}": {"deviation", "penalty"},
    f"UniTuple({{0}}, {N_CONSTANTS})": {"k"},
    "int64": {
        "a_capacity", "a_rows", "b_capacity", "b_rows", "block_rows", "blocks", "capacity", "clip",
        "columns", "count_step", "draw", "first", "first_example", "first_row", "how_far", "loss",
        "norm_columns", "number", "purpose", "rows", "seed", "size", "step", "stream", "stride",
        "weight_step",
    },
}  # fmt: skip
_TYPES = {name: kind for kind, names in _NAMES.items() for name in names}


def signature(kernel, dtype):
    """The types of a kernel's arguments, for networks of `dtype`."""
    names = inspect.signature(kernel.py_func).parameters
    return f"void({', '.join(_TYPES[name].format(dtype) for name in names)})"


_DROPPING = {False: "", True: ", dropping"}


def _tiles_of_examples(dtype):
    """All tiles and widths that are chosen on an H100."""
    for width, rows in product(range(32, 1024, 32), (1, 2200, 10_000)):
        plan = Plan((DenseOp(1, width, "identity"),), "squared_error", dtype.name)
        tile, width_kept = for_examples(Layout(plan, ("identity",)), rows, H100)
        if width_kept:
            yield tile, width_kept


def kernels(dtype):
    """A name, the kernel, and the threads of a block, for each kernel for networks of `dtype`."""
    dtype = np.dtype(dtype)
    for (tile, width), drops in product(sorted(set(_tiles_of_examples(dtype))), _DROPPING):
        name = f"examples, {tile.rows} x {tile.columns}, width {width}{_DROPPING[drops]}"
        yield name, examples.examples_kernel(dtype, tile, width, drops, drops), tile.threads
    for tile in OF_PARAMETERS:
        size, blocks = f"{tile.rows} x {tile.columns}", parameters.block_gradients_kernel
        yield f"block gradients, {size}", blocks(dtype, tile), tile.threads
        yield f"gradient, {size}", parameters.parameters_kernel(dtype, tile, -1), tile.threads
    for (rule, (name, slots, centered)), tile in product(enumerate(RULES), OF_PARAMETERS):
        kind = f"{name}, {slots} state arrays{', centered' * centered}"
        kernel = parameters.parameters_kernel(dtype, tile, rule)
        yield f"parameters, {tile.rows} x {tile.columns}, {kind}", kernel, tile.threads
    for drops, kind in _DROPPING.items():
        forward = dense.forward_kernel(dtype, OF_LAYER, drops=drops)
        yield f"forward{kind}", forward, OF_LAYER.threads
    yield "change along", dense.forward_kernel(dtype, OF_LAYER, activated=False), OF_LAYER.threads
    yield "backward", dense.backward_kernel(dtype, OF_LAYER), OF_LAYER.threads
    yield "loss", dense.loss_kernel(dtype), dense.LOSS_THREADS
    yield "weigh", per_example.weigh_kernel(dtype), per_example.THREADS
    yield "example gradients", per_example.example_gradients_kernel, per_example.THREADS
    yield "inner products", per_example.inner_products_kernel(dtype), per_example.THREADS
    yield "gram", gram.gram_kernel(dtype, gram.TILE), gram.TILE.threads
    yield "batch sums", batch_sums.batch_sums_kernel, batch_sums.THREADS
    yield "block squares", batch_sums.block_squares_kernel(dtype), batch_sums.THREADS
    yield "gradient squares", batch_sums.gradient_squares_kernel, batch_sums.THREADS
    yield "masks of examples", dropout.drop_examples_kernel, dropout.THREADS
    yield "finite", finite.find_kernel, finite.THREADS
    yield "noise", noise.fill_kernel, noise.THREADS
    if dtype == np.float64:  # what these draw is the same for all networks
        yield "uniform", philox.fill_uniform_kernel, philox.THREADS
        yield "permutation", philox.fill_partners_kernel, philox.THREADS
