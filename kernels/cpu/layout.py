"""Where everything lies: a plan becomes integer tables, which the kernels interpret.

All numbers of a run live in one buffer of the network's dtype, the arena.  Matrices are cut into
*panels*: PANEL_VECTORS vectors wide (64 float32), rows one after the other, so that a product
walks through memory in order whatever the widths.  A panel of a layer with fewer columns is as
narrow as they allow.  Padding of parameters and deltas holds zeros and stays zero; what stands in
the padding of activations is never used.

Weights lie in panels of their output columns; under the input rows, padded to whole vectors,
comes the bias.  All layers but the first have a transposed copy, in panels of input columns,
for the backward product.  Gradient and optimizer slots repeat the layout of the weights.
"""

from math import prod

import numpy as np

from ..plan import DenseOp, DropoutOp
from .simd import VECTOR_BYTES

PANEL_VECTORS = 4

DENSE, GAUSSIAN_SAMPLE = range(2)  # kinds of layers
NOISE_GROUPS = 1 << 16  # of columns, that the noise of a layer, or its masks, may have
# Panels of input rows in a unit of a sparse layer. Each unit looks up, in 35 ns, where each example
# comes to it; larger ones would not fit the L2 cache. A step of bench.text takes 1.9 ms, with 8
# panels 2.5.
SPARSE_UNIT = 16

LAYER = np.dtype(
    [
        (name, np.int64)
        for name in (
            "kind",
            "inputs",
            "outputs",
            "sparse",  # whether rows of a sparse X enter it, which are in no workspace
            "activation",
            "input",  # place of the entering activations in a workspace
            "input_stride",  # elements from row to row in one of their panels
            "output",  # place of the leaving activations
            "delta",  # place of d loss / d z; until the backward sweep f'(z) stands there
            "stride",  # elements from row to row in a panel of weights, output or delta
            "panels",  # of the output columns
            "bias_row",  # of a panel of weights: the inputs, padded to whole vectors
            "weights",  # place in the packed parameters
            "flat",  # place in the flat parameters
            "transposed",  # place in the arena, -1 in the first layer
            "transposed_rows",  # outputs padded to whole vectors
            "first_row",  # its parameters' number among the rows of all layers, biases included
            "first_block",  # likewise among blocks: a panel's weights by `lanes` rows, its bias
            # Of samples:
            "deviation",  # place of what is not their mean
            "first_group",  # of columns of noise
            # Of dropout:
            "dropped",  # of the 2**32 words that decide on an entering element: so many drop it
            "first_mask",  # group of columns of masks
        )
    ]
)

# A unit of the parameters sweep: `rows` input rows from `row` on, by one output panel. Layers count
# without those that have no parameters.
UNIT = np.dtype([(name, np.int64) for name in ("layer", "panel", "row", "rows", "has_bias")])


def round_up(n, multiple):
    """The least multiple that is not below n."""
    return -(-n // multiple) * multiple


class Layout:
    """Tables and places for `plan`; sizes count elements of its dtype, places start at 0.

    If `sparse`, the first layer reads the rows of a sparse X where they lie; nothing of that may be
    dropped.
    """

    def __init__(self, plan, activations, sparse=False):
        self.plan = plan
        self.dtype = np.dtype(plan.dtype)
        self.lanes = VECTOR_BYTES // self.dtype.itemsize
        self.panel = PANEL_VECTORS * self.lanes
        # Dropout is no layer here, but a part of that behind it.
        self.layers = np.zeros(sum(not isinstance(op, DropoutOp) for op in plan.layers), LAYER)
        rows = iter(self.layers)
        entering = 0, 0
        for number, op in enumerate(plan.layers):
            if isinstance(op, DropoutOp):
                entering = op.dropped, number * NOISE_GROUPS
                continue
            row = next(rows)
            row["dropped"], row["first_mask"] = entering
            entering = 0, 0
            row["kind"] = DENSE if isinstance(op, DenseOp) else GAUSSIAN_SAMPLE
            row["inputs"], row["outputs"] = op.inputs, op.outputs
            row["input_stride"], row["stride"] = self._stride(op.inputs), self._stride(op.outputs)
            row["panels"] = self._panels(op.outputs)
            row["first_group"] = number * NOISE_GROUPS
        self.sparse = self.layers[0]["sparse"] = sparse
        self._dense = [row for row in self.layers if row["kind"] == DENSE]
        self._packed_shapes = []  # place, shape of the panels, place in the flat order, widths
        weights = flat = first_row = blocks = 0
        for row, op in zip(self._dense, plan.parametric, strict=True):
            inputs, outputs = op.inputs, op.outputs
            bias_row = round_up(inputs, self.lanes)
            shape = self._panels(outputs), bias_row + 1, self._stride(outputs)
            row["activation"] = activations.index(op.activation)
            row["bias_row"], row["transposed_rows"] = bias_row, round_up(outputs, self.lanes)
            row["weights"], row["flat"] = weights, flat
            row["first_row"], row["first_block"] = first_row, blocks
            self._packed_shapes.append((weights, shape, flat, inputs, outputs))
            weights += prod(shape)
            flat += op.size
            first_row += inputs + 1
            blocks += shape[0] * (bias_row // self.lanes + 1)
        self.parameters = weights
        self.blocks = blocks
        # Input rows in the largest unit of each layer.
        self._heights = [self.panel * (SPARSE_UNIT if row["sparse"] else 1) for row in self._dense]
        self.unit_rows = max(self._heights)
        # Row width of everything that an example leaves behind in a workspace.
        widths = [
            (2 if row["kind"] == DENSE else 3) * self._padded(row["outputs"]) for row in self.layers
        ]
        self.width = int(sum(widths)) + (0 if self.sparse else self._padded(plan.inputs))

    def _stride(self, columns):
        return min(self.panel, round_up(columns, self.lanes))

    def _panels(self, columns):
        return -(-columns // self.panel)

    def _padded(self, columns):
        return self._stride(columns) * self._panels(columns)

    def place_workspace(self, capacity):
        """Place activations and deltas of `capacity` examples; return the size of a workspace."""
        place = 0

        def take(columns):
            nonlocal place
            taken, place = place, place + self._padded(columns) * capacity
            return taken

        leaving = 0 if self.sparse else take(self.plan.inputs)
        for row in self.layers:
            columns = int(row["outputs"])
            row["input"], row["output"], row["delta"] = leaving, take(columns), take(columns)
            if row["kind"] == GAUSSIAN_SAMPLE:
                row["deviation"] = take(columns)
            leaving = row["output"]
        return place

    def place_transposed(self, start):
        """Place the transposed weights from `start` on; return where they end."""
        self._dense[0]["transposed"] = -1
        self._transposed_shapes = []
        for row, (_, _, flat, inputs, outputs) in zip(
            self._dense[1:], self._packed_shapes[1:], strict=True
        ):
            shape = self._panels(inputs), round_up(outputs, self.lanes), self._stride(inputs)
            row["transposed"] = start
            self._transposed_shapes.append((start, shape, flat, inputs, outputs))
            start += prod(shape)
        return start

    def parametric(self):
        """The rows of `layers` that have parameters: a copy, of when everything has its place."""
        return self.layers[self.layers["kind"] == DENSE]

    def units(self, workers):
        """The parameters sweep as a table of units, and the bounds of each worker's share."""
        heights = np.array(self._heights)
        units = self._units(heights)
        while len(units) < 8 * workers and max(heights) > self.lanes:
            heights = np.maximum(heights // 2, self.lanes)
            units = self._units(heights)
        outputs = self.parametric()["outputs"][units["layer"]]
        columns = np.minimum(outputs - units["panel"] * self.panel, self.panel)
        cost = (units["rows"] + units["has_bias"]) * -(-columns // self.lanes)
        middle = np.cumsum(cost) - cost / 2
        shares = np.arange(workers + 1) * (cost.sum() / workers)
        return units, np.searchsorted(middle, shares)

    def _units(self, heights):
        return np.array(
            [
                (layer, panel, row, min(rows, op.inputs - row), row + rows >= op.inputs)
                for layer, (op, rows) in enumerate(zip(self.plan.parametric, heights, strict=True))
                for panel in range(self._panels(op.outputs))
                for row in range(0, op.inputs, rows)
            ],
            UNIT,
        )

    def pack(self, flat, packed):
        """Copy flat parameters (P,) into `packed`, whose padding holds zeros."""
        for weights, source in self._pieces(packed, flat):
            weights[...] = source

    def unpack(self, packed, flat):
        """Copy packed parameters back into `flat` (P,)."""
        for weights, target in self._pieces(packed, flat):
            target[...] = weights

    def _pieces(self, packed, flat):
        """Views of the same weights and biases in the packed and in the flat order."""
        for weights, shape, start, inputs, outputs in self._packed_shapes:
            panels = packed[weights : weights + prod(shape)].reshape(shape)
            weight = flat[start : start + inputs * outputs].reshape(inputs, outputs)
            bias = flat[start + inputs * outputs :]
            for panel, first in zip(panels, range(0, outputs, self.panel), strict=True):
                stop = min(first + self.panel, outputs)
                yield panel[:inputs, : stop - first], weight[:, first:stop]
                yield panel[-1, : stop - first], bias[first:stop]

    def pack_transposed(self, flat, arena):
        """Copy flat parameters (P,) to the transposed weights in `arena`."""
        for transposed, shape, start, inputs, outputs in self._transposed_shapes:
            panels = arena[transposed : transposed + prod(shape)].reshape(shape)
            weight = flat[start : start + inputs * outputs].reshape(inputs, outputs)
            for panel, first in zip(panels, range(0, inputs, self.panel), strict=True):
                stop = min(first + self.panel, inputs)
                panel[:outputs, : stop - first] = weight[first:stop].T
