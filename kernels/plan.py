"""What every backend is told: a network, sparse examples, and the batches of an epoch."""

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

BLOCK = 128  # the most examples in a block, see Plan.block; changes the bits
BLOCKED_PARAMETERS = 131072  # the most parameters with which there are blocks; changes the bits


@dataclass(frozen=True)
class DenseOp:
    """``activation(a @ weight + bias)`` with a weight of shape (inputs, outputs)."""

    inputs: int
    outputs: int
    activation: str

    @property
    def shapes(self):
        """Shapes of the parameters, by name, in the order in which they lie in theta."""
        return {"weight": (self.inputs, self.outputs), "bias": (self.outputs,)}

    @property
    def size(self):
        """Number of parameters."""
        return (self.inputs + 1) * self.outputs


@dataclass(frozen=True)
class GaussianSampleOp:
    """``mean + exp(log_variance / 2) * eps``: means enter, then as many logarithms of variances.

    To each example's loss comes the divergence of that normal distribution from the standard one.
    """

    inputs: int  # twice the outputs
    outputs: int

    @property
    def shapes(self):
        """There are no parameters."""
        return {}

    @property
    def size(self):
        """Number of parameters."""
        return 0


@dataclass(frozen=True)
class DropoutOp:
    """Each element 0 with probability `rate`, else times `scale`; of a plan that is `dropping`."""

    inputs: int
    rate: float

    @property
    def outputs(self):
        """What enters leaves."""
        return self.inputs

    @property
    def shapes(self):
        """There are no parameters."""
        return {}

    @property
    def size(self):
        """Number of parameters."""
        return 0

    @property
    def dropped(self):
        """How many of the 2**32 words that decide on an element drop it."""
        return min(round(self.rate * 2**32), 2**32 - 1)

    @property
    def scale(self):
        """What an element that stays is multiplied by, so that means are what they were."""
        return 2.0**32 / (2**32 - self.dropped)


@dataclass(frozen=True)
class Plan:
    """The whole network; theta is the layers' parameters in order, each in C order.

    Noise and masks of an example depend on `draw`, on the training step (0 outside of training) and
    on its row in X, counted from `first_row`. Two plans that differ in these only are equal, so
    that they share what was prepared for one.
    """

    layers: tuple[DenseOp | GaussianSampleOp | DropoutOp, ...]
    loss: str
    dtype: str
    draw: int = field(default=0, compare=False)  # in [0, 2**64)
    first_row: int = field(default=0, compare=False)  # where X is a later part of a whole
    dropping: bool = field(default=False, compare=False)  # else a DropoutOp does nothing

    @property
    def inputs(self):
        """Width of an example."""
        return self.layers[0].inputs

    @property
    def outputs(self):
        """Width of a prediction."""
        return self.layers[-1].outputs

    @cached_property
    def parametric(self):
        """The layers that have parameters, and so a part of each gradient."""
        return tuple(layer for layer in self.layers if layer.size)

    @cached_property
    def size(self):
        """Number of parameters, P."""
        return sum(layer.size for layer in self.layers)

    def block(self, batch_size):
        """Examples whose gradients are summed apart first, 0 if those of a batch are not.

        They are even in number and, but for the last, as long as each other, so that two workers
        have as much to do.
        """
        if batch_size <= BLOCK or self.size > min(BLOCKED_PARAMETERS, BLOCK * batch_size):
            return 0
        blocks = 2 * -(-batch_size // (2 * BLOCK))
        return -(-batch_size // (4 * blocks)) * 4  # see kernels.cpu.phases._add_losses

    def skips_zeros(self, X):
        """Whether the first layer does without the zeros of `X`: not where it is partly dropped."""
        first = self.layers[0]
        dropped = self.dropping and isinstance(first, DropoutOp) and first.dropped > 0
        return isinstance(X, SparseRows) and not dropped

    def products(self, X):
        """About how many multiply-adds an example of `X` takes on its way to the outputs."""
        if not self.skips_zeros(X):
            return self.size
        stored = int(X.indptr[-1] - X.indptr[0])
        zeros = self.inputs - stored // max(len(X), 1)
        return self.size - zeros * self.parametric[0].outputs

    def __hash__(self):
        return self._hash

    def __getstate__(self):  # hashes of strings are other ones in another process
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def _hash(self):
        return hash((self.layers, self.loss, self.dtype))


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Examples that are mostly zeros, as compressed sparse rows: only the other numbers are there.

    Row i has ``data[k]`` in column ``indices[k]``, k from ``indptr[i]`` to ``indptr[i + 1]``. Its
    columns ascend.
    """

    data: Any
    indices: Any  # int32 or int64
    indptr: Any  # int64 (rows + 1,)
    columns: int

    @property
    def shape(self):
        """Rows and columns, as if the zeros were there."""
        return len(self), self.columns

    @property
    def dtype(self):
        """Of the numbers."""
        return self.data.dtype

    @property
    def nbytes(self):
        """The memory that the numbers and their places take."""
        return self.data.nbytes + self.indices.nbytes + self.indptr.nbytes

    def __len__(self):
        return len(self.indptr) - 1

    def copy(self):
        """The same in arrays of its own."""
        arrays = self.data.copy(), self.indices.copy(), self.indptr.copy()
        return SparseRows(*arrays, self.columns)

    def __getitem__(self, part):
        """The rows of a slice without a step; nothing is copied."""
        start, stop, _ = part.indices(len(self))
        indptr = self.indptr[start : max(start, stop) + 1]
        return SparseRows(self.data, self.indices, indptr, self.columns)


class Batches(NamedTuple):
    """The batches of an epoch, as a sampler makes them; None stands for what is usual."""

    rows: Any = None  # int64: the examples, one batch after the other; or all in order
    starts: Any = None  # int64 (batches + 1,): where in rows each batch begins; or every batch_size
    weights: Any = None  # (N,), in place of the data's
    probabilities: Any = None  # float64 (N,): what rows were drawn by, kept for resuming
