"""Layers as a user describes them: what they compute and how they begin."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.backends import DenseOp, DropoutOp, GaussianSampleOp
from fastbatch.constraints import integer, one_of, real

# Half of a rectifier's outputs are zero, so its weights begin larger.
RECTIFIERS = ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus")
ACTIVATIONS = ("identity", *RECTIFIERS, "sigmoid", "tanh")

_WIDEST = 1 << 22  # beyond it masks would be those of the next Dropout, two layers on


@dataclass(frozen=True)
class Dense:
    """A fully connected layer, ``activation(a @ weight + bias)``.

    The weight has shape (inputs, units), the bias (units,).

    Parameters
    ----------
    units : int
        Number of outputs, at least 1.
    activation : str
        ``"identity"``, ``"relu"``, ``"leaky_relu"`` (slope 0.01), ``"elu"`` (alpha 1), ``"gelu"``
        (exact, by erf), ``"silu"``, ``"softplus"``, ``"sigmoid"`` or ``"tanh"``.

    Raises
    ------
    ValueError, TypeError
        If `units` is not a positive integer or the activation is unknown.

    Examples
    --------
    >>> Dense(128, "relu")
    Dense(units=128, activation='relu')
    >>> Dense(128, "rleu")
    Traceback (most recent call last):
    ValueError: unknown activation 'rleu': did you mean 'relu'? known are identity, relu, ...
    """

    units: int
    activation: str = "identity"

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", integer("units", self.units, 1))
        one_of("activation", self.activation, ACTIVATIONS)

    def operation(self, inputs: int) -> DenseOp:
        """The layer as the backends see it, for examples of width `inputs`."""
        return DenseOp(inputs, self.units, self.activation)

    def initial(
        self, inputs: int, uniform: Callable[[int], NDArray[np.float64]]
    ) -> dict[str, NDArray[Any]]:
        """Initial parameters by name, made from ``uniform(count)``, numbers in [0, 1).

        Weights are uniform in [-bound, bound): with ``bound = sqrt(6 / inputs)`` for rectifiers
        (He et al. 2015, "Delving deep into rectifiers", eq. 10) and ``sqrt(6 / (inputs +
        units))`` for all others (Glorot & Bengio 2010, "Understanding the difficulty of training
        deep feedforward neural networks", eq. 16). Biases are zero.
        """
        fan = inputs if self.activation in RECTIFIERS else inputs + self.units
        weight = (2.0 * uniform(inputs * self.units) - 1.0) * np.sqrt(6.0 / fan)
        return {"weight": weight.reshape(inputs, self.units), "bias": np.zeros(self.units)}


@dataclass(frozen=True)
class GaussianSample:
    """A draw from a normal distribution, ``mean + exp(log_variance / 2) * eps``.

    The layer before gives `latent` means and, behind them, as many logarithms of variances; eps is
    standard normal noise. To each example's loss it adds the Kullback-Leibler divergence of that
    distribution from the standard normal one, ``sum(mean**2 + exp(log_variance) - log_variance -
    1) / 2``, so that an encoder, this and a decoder make a variational autoencoder (Kingma &
    Welling 2014, "Auto-encoding variational Bayes", equation 10 and appendix B). There are no
    parameters.

    Parameters
    ----------
    latent : int
        Number of outputs, at least 1.

    Raises
    ------
    ValueError, TypeError
        If `latent` is not a positive integer.

    Notes
    -----
    While training, eps depends on the trainer's seed, on the step and on the row of X; elsewhere
    on the network's `draw` and on the row of X (`Network.with_draw`).

    Examples
    --------
    >>> from fastbatch import Network
    >>> layers = [Dense(4), GaussianSample(2), Dense(3)]
    >>> Network(layers, inputs=3, loss="squared_error").n_parameters
    25
    >>> Network([Dense(3), GaussianSample(2)], inputs=3, loss="squared_error")
    Traceback (most recent call last):
    ValueError: GaussianSample(latent=2) takes 4 inputs, 2 means and as many logarithms of ...
    """

    latent: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "latent", integer("latent", self.latent, 1))

    @property
    def units(self) -> int:
        """Number of outputs."""
        return self.latent

    def operation(self, inputs: int) -> GaussianSampleOp:
        """The layer as the backends see it, for examples of width `inputs`."""
        if inputs != 2 * self.latent:
            raise ValueError(
                f"{self} takes {2 * self.latent} inputs, {self.latent} means and as many "
                f"logarithms of variances, found {inputs}: put Dense({2 * self.latent}) before it"
            )
        return GaussianSampleOp(inputs, self.latent)

    def initial(
        self, inputs: int, uniform: Callable[[int], NDArray[np.float64]]
    ) -> dict[str, NDArray[Any]]:
        """There are no parameters."""
        return {}


@dataclass(frozen=True)
class Dropout:
    """Sets elements to 0 at random while training, each with probability `rate`.

    The others are multiplied by ``1 / (1 - rate)``, so that what the next layer gets is right on
    average (Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
    overfitting"). It stands before the layer whose inputs it drops: at the beginning, or behind any
    other layer but the last. There are no parameters.

    Parameters
    ----------
    rate : float
        In [0, 1), rounded to a multiple of ``2**-32``; 0 does nothing.

    Raises
    ------
    ValueError, TypeError
        If `rate` is not a number in [0, 1).

    Notes
    -----
    The steps of a `Trainer` drop; a network itself, and so validation and predictions, does not,
    unless it is told to by `Network.with_dropout`. Which elements are dropped depends on the
    trainer's seed or the network's `draw`, the step, the row of X, layer and column, and on nothing
    else.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbatch import Network
    >>> net = Network([Dropout(0.5), Dense(1)], 4, "huber", backend="reference")
    >>> theta, X = np.array([1, 2, 4, 8, 0]), np.ones((1, 4))
    >>> net.predict(theta, X), net.with_dropout(0).predict(theta, X)
    (array([[15.]], dtype=float32), array([[4.]], dtype=float32))
    """

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", real("rate", self.rate, 0.0, 1.0))

    def operation(self, inputs: int) -> DropoutOp:
        """The layer as the backends see it, for examples of width `inputs`."""
        if inputs > _WIDEST:
            raise ValueError(
                f"{self} takes at most {_WIDEST} inputs, found {inputs}: put it behind a Dense"
            )
        return DropoutOp(inputs, self.rate)

    def initial(
        self, inputs: int, uniform: Callable[[int], NDArray[np.float64]]
    ) -> dict[str, NDArray[Any]]:
        """There are no parameters."""
        return {}


Layer = Dense | GaussianSample | Dropout
