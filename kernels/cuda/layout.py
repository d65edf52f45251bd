"""Where everything lies: a plan becomes tables of integers, which the kernels interpret.

A matrix is `stride` elements from row to row: its columns rounded up to GROUP of them, so that 128
bits (or twice as many) are read at once.  Padding holds zeros and stays zero.  A layer's parameters
are the rows of its weights and, below, its bias; gradient and optimizer slots repeat that.  What
leaves a layer stands in one array, its deltas at the same place of another, and until the backward
sweep f'(z) stands there.
"""

import numpy as np

GROUP = 4  # elements that a thread reads or writes at once
BLOCK = 128  # examples whose gradients are summed before blocks are; as on the CPU
BLOCKED_PARAMETERS = 131072  # the most parameters with which blocks are used; as on the CPU

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
) = range(10)

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
        self.layers = np.zeros((len(plan.layers), 10), np.int64)
        weights = flat = leaving = first_row = 0
        entering = -1, plan.inputs
        for row, op in zip(self.layers, plan.layers, strict=True):
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

    def units(self, rows, columns):
        """The parameters as a table of tiles of at most that many rows, biases included."""
        return np.array(
            [
                (number, row, column)
                for number, op in enumerate(self.plan.layers)
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
        for row, op in zip(self.layers, self.plan.layers, strict=True):
            rows = op.inputs + 1
            theirs = flat[row[FLAT] :][: op.size].reshape(rows, op.outputs)
            ours = packed[row[WEIGHTS] :][: rows * row[STRIDE]].reshape(rows, row[STRIDE])
            yield theirs, ours[:, : op.outputs]
