"""What a network is to every backend: a tuple of layers, a loss and a dtype, nothing more."""

from dataclasses import dataclass


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
class Plan:
    """The whole network; theta is the layers' parameters in order, each in C order."""

    layers: tuple[DenseOp, ...]
    loss: str
    dtype: str

    @property
    def inputs(self):
        """Width of an example."""
        return self.layers[0].inputs

    @property
    def outputs(self):
        """Width of a prediction."""
        return self.layers[-1].outputs

    @property
    def size(self):
        """Number of parameters, P."""
        return sum(layer.size for layer in self.layers)
