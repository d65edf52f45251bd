"""A network, its data and its parameters on the device, and the launches that make up a step."""

from typing import Any, NamedTuple

import numpy as np

from . import dropout, loss_functions, per_example, tiles
from .activations import NAMES
from .batch_sums import (
    THREADS,
    batch_sums_kernel,
    block_squares_kernel,
    blocks_of,
    gradient_squares_kernel,
)
from .dense import LOSS_THREADS, backward_kernel, forward_kernel, loss_kernel
from .dropout import drop_examples_kernel
from .examples import ONLY_LOSSES, ONLY_OUTPUTS, WITH_DELTAS, examples_kernel
from .lanes import lanes_of
from .layout import ENTERING_STRIDE, GROUP, INPUTS, OUTPUTS, Layout, round_up
from .optimizers import N_CONSTANTS, rule_of
from .parameters import block_gradients_kernel, parameters_kernel
from .per_example import AUTOMATIC, HARD, weigh_kernel
from .philox import bits_of
from .toolkit import as_device_array, empty, is_device_array, limits, to_device

_CHUNK_ELEMENTS = 1 << 26  # activations kept between the two sweeps: 256 MiB of float32
_PARTIALS_ELEMENTS = 1 << 26  # gradients of blocks kept between the two sweeps


def flat(array):
    """An array as kernels take it: flat, on the device, where it lies if that is there."""
    array = as_device_array(array) if is_device_array(array) else to_device(array)
    return array.reshape(array.size)


def _blocks(n, size):
    return -(-n // size)


class Update(NamedTuple):
    """What a step's update needs, worked out beforehand; numbers are of the network's dtype."""

    constants: tuple  # of the rule
    penalty: Any  # on large weights, times the scale
    deviation: Any  # of the noise
    step: int = 0  # which noise is added, and which masks are drawn
    seed: int = 0
    noisy: bool = False


class Sums:
    """What so many steps leave on the device: sums over their batches, in float64."""

    def __init__(self, steps, squares_gradients=False):
        self.losses, self.squares = empty(steps, np.float64), empty(steps, np.float64)
        self.of_gradients = empty(steps, np.float64) if squares_gradients else None


class Session:
    """Memory and tables for `plan`; updates are by `optimizer`, without one there are none.

    `bind` gives it data, `reserve` the room for a batch.  What it launches is done one after the
    other, and nothing waits for it but who reads results.
    """

    def __init__(self, plan, optimizer=None):
        self.layout = layout = Layout(plan, NAMES)
        self.rule = -1 if optimizer is None else rule_of(optimizer)
        self.n_slots = 0 if optimizer is None else optimizer.slots
        self.layers = to_device(layout.layers)
        self.update_tile = tiles.for_parameters(layout, limits())
        units = layout.units(self.update_tile.rows, self.update_tile.columns)
        self.units, self._n_units = to_device(units), len(units)
        self.theta = self._zeros(layout.parameters)
        self.slots = self._zeros(max(self.n_slots, 1) * layout.parameters)
        self._gradient = self._zeros(layout.parameters)
        self._nothing, self.one = self._zeros(1), to_device(np.ones(1, layout.dtype))
        self._no_labels, self.stopped = (to_device(np.zeros(1, np.int64)) for _ in range(2))
        self._so_far = to_device(np.zeros(5))
        zero = layout.dtype.type(0)
        self._no_update = Update((zero,) * N_CONSTANTS, zero, zero)
        self.capacity, self._partials, self._square_blocks = 0, self._nothing, None
        self.take_masks_of(plan)
        self.treat_each_as_it_is()
        self.record()

    def _zeros(self, size):
        return to_device(np.zeros(size, self.layout.dtype))

    def take_masks_of(self, plan):
        """Let masks be those of `plan`, which may differ in draw and first row."""
        self._draw, self._first_example = bits_of(plan.draw), plan.first_row

    # --- data and memory ------------------------------------------------------------------

    def reserve(self, rows, batch_size=None):
        """Make room for so many rows, or for as many as are worked on at once.

        A `batch_size` decides about the form of the reduction over examples, which shows in the
        bits: so it depends on that and on the plan alone.
        """
        layout = self.layout
        self.chunk = max(_CHUNK_ELEMENTS // layout.width // GROUP * GROUP, GROUP)
        self.block = 0 if batch_size is None else layout.plan.block(batch_size)
        if self.block:
            blocks = min(self.chunk // self.block, _PARTIALS_ELEMENTS // layout.parameters)
            self.chunk = max(blocks, 1) * self.block
        rows = min(round_up(max(rows, 1), GROUP), self.chunk)
        if rows > self.capacity:
            self._make_room(rows)
        size = _blocks(rows, self.block) * layout.parameters if self.block else 0
        if size > self._partials.size:
            self._partials = empty(size, layout.dtype)

    def _make_room(self, rows):
        """Let the workspace have so many rows."""
        layout, dtype = self.layout, self.layout.dtype
        self.capacity = 0  # whatever is short of memory, no kernel takes the old arrays for these
        self.activations = self.deltas = None  # what they take is free before there are new ones
        self.activations, self.deltas = (empty(rows * layout.width, dtype) for _ in range(2))
        self.losses, self._squares = (empty(rows, dtype) for _ in range(2))
        self._parts = empty(rows * len(layout.layers), dtype)
        self.tile, self.width = tiles.for_examples(layout, rows, limits())
        self.capacity = rows

    def bind(self, X, y, weights=None, order=None):
        """Work on these data from now on; each of the last three may be None.

        Without targets the loss is an output, see loss_functions.SELECTED_OUTPUT.
        """
        self.X = self._labels = self._targets = None  # free before the next are there
        self.X, self.loss = flat(X), loss_functions.SELECTED_OUTPUT
        self._labels, self._targets = self._no_labels, self._nothing
        if y is not None:
            self.loss = loss_functions.number_of(self.layout.plan.loss, y)
            if self.loss == loss_functions.CROSS_ENTROPY_OF_LABELS:
                self._labels = flat(y)
            else:
                self._targets = flat(y)
        self._n_examples = len(X)
        self.take_order(order)
        self.weigh_by(weights)

    def take_order(self, order):
        """Let batches take the examples in this order, or as they stand."""
        self.order = flat(np.arange(self._n_examples) if order is None else order)

    def weigh_by(self, weights):
        """Weigh the examples by these, or all by 1."""
        self._weights = self._counts = self.one
        self._weight_step = int(weights is not None)
        if weights is not None:
            self._weights = self._counts = flat(weights)
            if self._per_example:  # weights come later, but for those that are 0
                self._counts = to_device((weights != 0).astype(self.layout.dtype))

    def release(self):
        """Let go of the data, whose memory others may want; `bind` gives new ones."""
        self.X = self.order = self._labels = self._targets = self._weights = self._counts = None
        self.record()

    def set_theta(self, theta):
        """Take over flat parameters."""
        self.theta.copy_to_device(self.layout.pack(theta))

    def gradient(self):
        """The gradient that was summed last, (P,)."""
        return self.layout.unpack(self._gradient.copy_to_host())

    # --- each example's gradient ----------------------------------------------------------

    def treat_each_as_it_is(self):
        """Sum gradients as they are."""
        self._per_example = self._squared = self._per_layer = False
        self._clip, self._gamma = 0, 0.0
        self._max_norms = to_device(np.ones(len(self.layout.layers), self.layout.dtype))

    def treat_each(self, clip=None, squared=False):
        """Clip or square the gradient of each example, before they are weighed and summed."""
        self.treat_each_as_it_is()
        self._per_example, self._squared = True, squared
        if clip is not None:
            bounds = np.empty(len(self.layout.layers), self.layout.dtype)
            bounds[:] = clip.bounds(len(bounds))
            self._clip = AUTOMATIC if clip.automatic else HARD
            self._per_layer, self._gamma = clip.per_layer, clip.gamma
            self._max_norms = to_device(bounds)

    def record(self, losses=None, norms=None):
        """Leave the loss of each example, and norms of its gradient, in these on the device.

        Norms have a column for each layer, or one for all.
        """
        self._example_losses, self._example_norms = losses, norms
        self._norm_columns = 0 if norms is None else norms.size // max(self._n_examples, 1)

    # --- the sweeps -----------------------------------------------------------------------

    def sweep_examples(self, how_far, first, rows, scale=1.0, step=0):
        """Take `rows` examples, from position `first` of the order, through all layers and back."""
        layout, tile, workspace = self.layout, self.tile, (self.capacity, first, rows)
        dtype, data = layout.dtype, (self.order, self._counts, self._weight_step)
        masks = step, self._draw, self._first_example
        wants_delta = how_far == WITH_DELTAS
        if layout.drops_examples:
            threads = rows * int(layout.layers[0, ENTERING_STRIDE]) // GROUP
            drop_examples_kernel[_blocks(threads, dropout.THREADS), dropout.THREADS](
                self.stopped, self.layers, self.X, *data, self.activations, *workspace, *masks
            )
        if self.width:
            kernel = examples_kernel(dtype, tile, self.width, layout.drops, layout.drops_examples)
            kernel[_blocks(rows, tile.rows), tile.threads](
                how_far, self.stopped, self.layers, self.theta, self.X, *data, self.loss,
                self._labels, self._targets, float(scale), self.activations, self.deltas,
                self.losses, *workspace, *masks,
            )  # fmt: skip
            return
        kernel = forward_kernel(dtype, tile, drops=layout.drops)
        for number in range(len(layout.layers)):
            kernel[self._grid(rows, number, OUTPUTS), tile.threads](
                self.stopped, self.layers, number, self.theta, self.X, *data, self.activations,
                self.activations, self.deltas, *workspace, wants_delta, *masks,
            )  # fmt: skip
        if how_far == ONLY_OUTPUTS:
            return
        few = LOSS_THREADS // lanes_of(dtype)
        loss_kernel(dtype)[_blocks(rows, few), LOSS_THREADS](
            self.stopped, self.layers, self.loss, self._labels, self._targets, *data, float(scale),
            self.activations, self.deltas, self.losses, *workspace, wants_delta,
        )  # fmt: skip
        if how_far == ONLY_LOSSES:
            return
        kernel = backward_kernel(dtype, tile)
        for number in range(len(layout.layers) - 1, 0, -1):
            kernel[self._grid(rows, number, INPUTS), tile.threads](
                self.stopped, self.layers, number, self.theta, self.deltas, self.capacity, rows
            )

    def _grid(self, rows, number, side):
        columns = int(self.layout.layers[number, side])
        return _blocks(rows, self.tile.rows), _blocks(columns, self.tile.columns)

    def change_along(self, direction, first, rows, out):
        """Leave how a step in the packed `direction` changes each layer's pre-activations."""
        kernel = forward_kernel(self.layout.dtype, self.tile, activated=False)
        for number in range(len(self.layout.layers)):
            kernel[self._grid(rows, number, OUTPUTS), self.tile.threads](
                self.stopped, self.layers, number, direction, self.X, self.order, self._counts,
                self._weight_step, self.activations, out, self.deltas, self.capacity, first, rows,
                False, 0, 0, 0,
            )  # fmt: skip

    def weigh(self, first, rows, scale=1.0, only_norms=False):
        """Norms, clipping, weights and scale, after the sweep that left these examples."""
        few = per_example.THREADS // lanes_of(self.layout.dtype)
        losses, norms = self._example_losses, self._example_norms
        weigh_kernel(self.layout.dtype)[_blocks(rows, few), per_example.THREADS](
            self.stopped, self.layers, self.X, self.order, self._weights, self._weight_step,
            self.activations, self.deltas, self.losses, self._squares, self._parts,
            self._nothing if losses is None else losses, losses is not None,
            self._nothing if norms is None else norms, self._norm_columns,
            self._max_norms, self._clip, self._per_layer, self._gamma, self._squared, float(scale),
            self.capacity, first, rows, only_norms,
        )  # fmt: skip

    def _sum_batch(self, sums, number, rows, fresh, last):
        """Go on with the sums of the batch of that number in this call."""
        batch_sums_kernel[1, THREADS](
            self.stopped, self.losses, self._squares, self._so_far, sums.losses, sums.squares,
            number, rows, fresh, last, self.rule >= 0, sums.of_gradients is not None,
        )  # fmt: skip

    def _sweep_parameters(self, first, rows, fresh, last, wants_gradient, update):
        """Sum gradients, and with the last chunk update theta and slots."""
        dtype, tile, blocks = self.layout.dtype, self.update_tile, 0
        data = self.X, self.order, self._counts, self._weight_step, self.activations, self.deltas
        if self.block and rows:
            blocks = _blocks(rows, self.block)
            block_gradients_kernel(dtype, tile)[(blocks, self._n_units), tile.threads](
                self.stopped, self.layers, self.units, *data, self._partials,
                self.layout.parameters, self.capacity, first, rows, self.block, self._squared,
            )  # fmt: skip
        parameters_kernel(dtype, tile, self.rule)[self._n_units, tile.threads](
            self.stopped, self.layers, self.units, *data, self._partials, self.theta, self.slots,
            self._gradient, self.layout.parameters, self.capacity, first, rows, blocks,
            self._squared, fresh, last, wants_gradient, update.step, update.seed, update.penalty,
            update.deviation, update.noisy, update.constants,
        )  # fmt: skip

    def step(self, start, stop, scale, sums, number=0, update=None):
        """Sum the gradients of the examples at these positions, and update.

        What is summed over the batch is left in `sums`, for the step of that `number` in a call.
        """
        if update is None:
            update = self._no_update
        wants_gradient = self.rule < 0 or sums.of_gradients is not None
        for first in range(start, max(stop, start + 1), self.chunk):
            rows, fresh = min(self.chunk, stop - first), first == start
            last = first + rows == stop
            if rows:
                own = 1.0 if self._per_example else scale
                self.sweep_examples(WITH_DELTAS, first, rows, own, update.step)
                if self._per_example:
                    self.weigh(first, rows, scale)
            self._sum_batch(sums, number, rows, fresh, last)
            self._sweep_parameters(first, rows, fresh, last, wants_gradient, update)
        if sums.of_gradients is not None:
            self._square_gradient(sums, number)

    def _square_gradient(self, sums, number):
        """Find the squared norm of the gradient that the last step has left."""
        if self._square_blocks is None:
            blocks = blocks_of(self.layout)
            self._square_blocks, self._block_sums = to_device(blocks), self._zeros(len(blocks))
        blocks, of_blocks = self._square_blocks, self._block_sums
        block_squares_kernel(self.layout.dtype)[len(blocks), lanes_of(self.layout.dtype)](
            self.stopped, self.layers, blocks, self._gradient, of_blocks
        )
        gradient_squares_kernel[1, THREADS](self.stopped, of_blocks, sums.of_gradients, number)
