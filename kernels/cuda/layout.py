"""Where everything lies: a plan becomes tables of integers, which the kernels interpret.

A matrix is `stride` elements from row to row: its columns rounded up to GROUP of them, so that 128
bits (or twice as many) are read at once.  Padding holds zeros and stays zero.  A layer's parameters
are the rows of its weights and, below, its bias; gradient and optimizer slots repeat that.  What
leaves a layer stands in one array, its deltas at the same place of another, and until the backward
sweep f'(z) stands there.  Examples are read where they lie, but if some of their elements are
dropped, they stand, masked, before what leaves the first layer.
"""

import numpy as np

from ..plan import DropoutOp

GROUP = 4  # elements that a thread reads or writes at once
MASK_GROUPS = 1 << 16  # of columns, that the masks of a layer may have; as on the CPU

# Columns of the table of layers.
(
    INPUTS,
    OUTPUTS,
    STRIDE,  # elements from row to row of weights, activations that leave, and deltas
    ACTIVATION,  # its number
    WEIGHTS,  # where its parameters begin in the packed ones, and
    FLAT,  # in the flat ones
    LEAVING,  # columns of all layers before: times the rows of a workspace, where those begin
    ENTERING,  # likewise of what enters, -1 for X, and
    ENTERING_STRIDE,
    FIRST_ROW,  # the number of its first row among the rows of all layers, biases included
    DROPPED,  # of the 2**32 words that decide on an entering element: so many drop it, and
    SCALE,  # by the number with these bits the others multiply it
    FIRST_MASK,  # group of columns of masks
) = range(13)

# Columns of the table of units: so the parameters are cut into tiles.
LAYER, ROW, COLUMN = range(3)


def round_up(n, multiple):
    """The least multiple that is not below n."""
    return -(-n // multiple) * multiple


class Layout:
    """Tables and places for `plan`; sizes count elements of its dtype."""

    def __init__(self, plan, activations):
        self.plan = plan
        self.dtype = np.dtype(plan.dtype)
        self.layers = np.zeros((len(plan.parametric), 13), np.int64)
        self._place_masks()
        weights = flat = leaving = first_row = 0
        entering = -1, plan.inputs
        if self.drops_examples:
            leaving = round_up(plan.inputs, GROUP)
            entering = 0, leaving
        for row, op in zip(self.layers, plan.parametric, strict=True):
            stride = round_up(op.outputs, GROUP)
            row[INPUTS], row[OUTPUTS], row[STRIDE] = op.inputs, op.outputs, stride
            row[ACTIVATION] = activations.index(op.activation)
            row[WEIGHTS], row[FLAT], row[LEAVING] = weights, flat, leaving
            row[ENTERING], row[ENTERING_STRIDE] = entering
            row[FIRST_ROW] = first_row
            entering = leaving, stride
            weights += (op.inputs + 1) * stride
            flat += op.size
            leaving += stride
            first_row += op.inputs + 1
        self.parameters = weights  # packed
        self.width = leaving  # of all that leaves the layers for an example

    def _place_masks(self):
        """Dropout is no layer here, but a part of that behind it, while the plan is dropping."""
        behind = 0
        for number, op in enumerate(self.plan.layers):
            if not isinstance(op, DropoutOp):
                behind += 1
            elif self.plan.dropping and op.dropped:
                row = self.layers[behind]
                row[DROPPED], row[FIRST_MASK] = op.dropped, number * MASK_GROUPS
                row[SCALE] = self.dtype.type(op.scale).view(f"i{self.dtype.itemsize}")
        drops = self.layers[:, DROPPED] > 0
        self.drops_examples, self.drops = bool(drops[0]), bool(drops[1:].any())

    def units(self, rows, columns):
        """The parameters as a table of tiles of at most that many rows, biases included."""
        return np.array(
            [
                (number, row, column)
                for number, op in enumerate(self.plan.parametric)
                for row in range(0, op.inputs + 1, rows)
                for column in range(0, op.outputs, columns)
            ],
            np.int64,
        )

    def pack(self, flat):
        """Flat parameters (P,) as packed ones."""
        packed = np.zeros(self.parameters, self.dtype)
        for theirs, ours in self._pieces(flat, packed):
            ours[...] = theirs
        return packed

    def unpack(self, packed):
        """Packed parameters as flat ones, (P,)."""
        flat = np.empty(self.plan.size, self.dtype)
        for theirs, ours in self._pieces(flat, packed):
            theirs[...] = ours
        return flat

    def _pieces(self, flat, packed):
        """Views of the same weights, with the bias below, in the flat and in the packed order."""
        for row, op in zip(self.layers, self.plan.parametric, strict=True):
            rows = op.inputs + 1
            theirs = flat[row[FLAT] :][: op.size].reshape(rows, op.outputs)
            ours = packed[row[WEIGHTS] :][: rows * row[STRIDE]].reshape(rows, row[STRIDE])
            yield theirs, ours[:, : op.outputs]
