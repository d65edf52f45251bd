"""The record that tells the kernels what to do, and how far they have come."""

import ctypes

import numpy as np

from .jit import jit
from .layout import LAYER, UNIT
from .memory import pointer
from .subroutine import record

# Modes.
OUTPUTS, LOSSES, EXAMPLE_GRADIENTS, NORMS, INNER_PRODUCTS, TRAIN, FACTORS, GRAM = range(8)
# Scales of a batch's sum: given once for all; 1 / its weights; N / its number of examples.
GIVEN, BY_WEIGHT, BY_COUNT = range(3)

_INTEGERS = (
    "mode",
    "loss",  # number of the loss in loss_functions.NAMES
    "rule",  # number of the update in optimizers.RULES, -1 for none
    "workers",  # queues into which phases are cut
    # Addresses of subroutines.
    "work",
    "examples_unit",
    "parameters_unit",
    "evaluation_unit",
    "product",
    "activate",
    "loss_and_delta",
    "update",
    "weigh",
    "add_noise",
    "gram_unit",
    "draw_sample",
    "add_divergence",
    "sample_backward",
    "drop",
    "sparse_product",
    "sparse_gradient",
    "give_way",  # the system's: another thread may have the core
    "where",  # the system's: on which core this is
    "allowed_cores",  # the system's: on which cores it may be
    "allow_cores",  # the system's
    # Addresses of the buffer and of the tables.
    "address",  # of the job itself
    "team",  # the words by which workers agree
    "arena",
    "layers",
    "n_layers",
    "parametric",  # the layers that have parameters
    "n_parametric",
    "units",
    "n_units",
    "bounds",  # int64: queue q has the units from bounds[q] to bounds[q + 1]
    # Data: addresses, 0 where there is none.
    "examples",
    "X",  # (examples, inputs); of a sparse X the numbers that it holds, row by row, and
    "indices",  # their columns,
    "wide_indices",  # whether those are int64 and not int32,
    "row_starts",  # int64 (examples + 1,): the first number of each row; 0 for a dense X
    "targets",  # int64 (examples,) or (examples, outputs)
    "in_place",  # whether the first layer reads X itself, with no copy of its rows
    "check",  # whether to look for numbers in X that are not finite
    "not_finite",  # whether there were any
    "weights",  # (examples,), or a single 1 for all
    "loss_weights",  # the same, or whether they are not 0 where weights come later
    "weight_step",  # 1, or 0 for all the same
    "order",  # int64: the rows of an epoch's batches, one after the other
    "starts",  # int64 (batches + 1,): where in the order batches begin; 0: every batch_size
    "rates",  # float64, the learning rates of the steps to come
    "out",  # (examples, ...): where an evaluation leaves its result
    "example_losses",  # (examples,): where training leaves them
    "example_norms",  # (examples, norm_columns): the norms of their gradients
    "norm_columns",  # 1, or one for each layer
    "other",  # address of the job that has the columns of a Gram matrix
    "out_stride",  # from row to row of that
    # What becomes of each example's gradient before they are summed.
    "per_example",  # whether scale and weights are only then multiplied with
    "clip",  # HARD, AUTOMATIC, or 0
    "per_layer",  # whether each layer's part is clipped for itself
    "squared",  # whether the gradients are squared, element by element
    "noise_scale",  # whether to find out what it is
    "noisy",  # whether Gaussian noise is added to the sum; SGLD says how much, or noise_level
    "noise_seed",
    # Which noise samples in the network and masks are made from, see plan.Plan.
    "dropping",
    "draw",
    "first_example",
    # Places in the arena.
    "theta",
    "slots",
    "direction",  # packed, of an evaluation: inner products with it are asked for
    "gradient",
    "partials",  # packed gradients of blocks
    "losses",  # of a chunk's examples, times their weights
    "constants",  # of the update, this step
    "zeros",  # a panel's row of them
    "ones",
    "max_norms",  # bounds of clipping: one for each layer
    "noise_std",  # of the noise of this step
    "squares",  # of a chunk's clipped gradients, times their weights
    "gradient_squares",  # sums of squares of blocks of the batch's gradient, see LAYER
    "workspace",  # of the first worker
    "workspace_size",  # from worker to worker; 0 where they share one
    "scratch",  # of the first worker
    "scratch_size",
    # Sizes.
    "lanes",  # of a vector
    "parameters",  # packed
    "blocks",  # of the gradient, see LAYER
    "flat_parameters",
    "batch_size",
    "capacity",  # rows of a workspace
    "tile",  # rows that go through all layers together
    "chunk",  # the most examples between two parameters sweeps
    "past_caches",  # whether transposed weights are written there, since no cache would hold them
    "scaling",  # GIVEN, or how the scale is worked out step by step
    "block",  # examples whose gradients are summed apart first; 0: those of a chunk at once
    "steps",  # that are wanted of this run
    # The phase at hand, and its chunk by the position in the order.
    "phase",
    "units_of_phase",
    "first",
    "rows",
    "is_first",
    "is_last",
    # Progress.
    "step",
    "batch",
    "done",  # steps of this run
)
_FLOATS = (
    "scale",  # of the weighted sum of a batch
    "loss_scale",  # the same, or 1 where it comes later
    "gamma",  # of automatic clipping
    "noise_level",  # standard deviation of the noise, before the scale
    "l2",  # what half of the weights' squares come with to a batch's losses, before the scale
    "square_sum",  # of the batch's clipped gradients, weighted
    "variance_sum",  # of the gradients, over the steps of this epoch: see per_example
    "signal_sum",
    "batch_loss",
    "batch_weight",
    "loss_a",  # four sums of the batch's losses so far
    "loss_b",
    "loss_c",
    "loss_d",
    "loss_sum",
    "weight_sum",
    # Hyper-parameters of the optimizer.
    "momentum",
    "nesterov",
    "beta1",
    "beta2",
    "alpha",
    "eps",
    "weight_decay",
    "lr_decay",
    "prior_precision",
    "temperature",
)
LAYER_BYTES, _UNIT_BYTES = LAYER.itemsize, UNIT.itemsize
JOB = np.dtype([(name, np.int64) for name in _INTEGERS] + [(name, np.float64) for name in _FLOATS])


class Job(ctypes.Structure):
    """A JOB in Python's hands, which takes a tenth of the time that NumPy needs for a field."""

    __slots__ = ()  # a name that is no field is an error
    _fields_ = [
        *((name, ctypes.c_int64) for name in _INTEGERS),
        *((name, ctypes.c_double) for name in _FLOATS),
    ]
    __getitem__ = ctypes.Structure.__getattribute__
    __setitem__ = ctypes.Structure.__setattr__


@jit
def layer_at(job, number):
    """A layer's row of the LAYER table."""
    return record(job.layers + number * LAYER_BYTES, LAYER)


@jit
def parametric_at(job, number):
    """Likewise, of the layers that have parameters."""
    return record(job.parametric + number * LAYER_BYTES, LAYER)


@jit
def unit_at(job, number):
    """A row of the UNIT table."""
    return record(job.units + number * _UNIT_BYTES, UNIT)


@jit
def places_of(layer, unit):
    """Where a unit's weights start in the packed parameters, and its bias."""
    panel = layer.weights + unit.panel * (layer.bias_row + 1) * layer.stride
    return panel + unit.row * layer.stride, panel + layer.bias_row * layer.stride


@jit
def example_at(job, position):
    """Row of the data set at a position of the epoch."""
    return pointer(job.order, np.int64)[position] if job.order != 0 else position


@jit
def weight_of(job, example, like):
    """Weight of an example, in the dtype that the pointer `like` names."""
    return pointer(job.weights, like)[example * job.weight_step]


@jit
def loss_weight_of(job, example, like):
    """What its loss and delta are multiplied by at once: its weight, or whether that is not 0."""
    return pointer(job.loss_weights, like)[example * job.weight_step]
