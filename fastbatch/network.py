"""A network: layers and a loss as a function of one flat vector of parameters."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastbatch import arrays, backends
from fastbatch.backends import Plan
from fastbatch.constraints import flag, integer, one_of, real
from fastbatch.layers import Dense, Dropout, Layer
from fastbatch.losses import LOSSES
from fastbatch.per_example import PerExampleQuantities

Array = NDArray[Any]

DTYPES = ("float32", "float64")
REDUCTIONS = ("mean", "sum", "none")
SEEDS = 1 << 64


@dataclass(frozen=True, init=False)
class Network(PerExampleQuantities):
    """Layers and a loss; holds no parameters, they come as one vector theta of length P.

    Parameters
    ----------
    layers : sequence of Dense, GaussianSample and Dropout
        At least one, a Dense before any GaussianSample. The last one makes the outputs: for the
        losses on logits or log-rates leave its activation the identity.
    inputs : int
        Number of features of an example.
    loss : str
        Summed over the K outputs of an example, not halved. ``"squared_error"``,
        ``"absolute_error"``, ``"huber"`` (delta 1); ``"cross_entropy"`` of logits, with integer
        labels (N,) or probabilities (N, K) as targets; ``"binary_cross_entropy"`` of logits, with
        targets in [0, 1]; ``"poisson"`` of log-rates, with counts as targets.
    dtype : {"float32", "float64"}
        Of parameters and arithmetic.
    backend : {"cpu", "reference", "cuda"}
        Who computes: the compiled kernels, plain NumPy, slow and easy to read, or an NVIDIA GPU,
        which takes `Dense` and `Dropout` layers only.
    draw : int
        In [0, 2**64): which noise `GaussianSample` has, see `with_draw`, and what is dropped.
    dropping : bool
        Whether `Dropout` drops, see `with_dropout`.

    Raises
    ------
    ValueError, TypeError
        If a name is unknown, a size is not a positive integer or a layer does not fit the one
        before.

    Notes
    -----
    Arrays of the network's dtype that are C-contiguous are used in place and never written to;
    others are converted, at each call. Examples X have shape (N, inputs), targets y have shape
    (N, K), or (N,) if K is 1. Instead of an array, X may be one of SciPy's sparse matrices, which
    is never made dense. Results have the network's dtype where nothing else is said. Every method
    refuses NaN and infinities in X and y; ``check_finite=False`` saves that look at the data. What
    was pickled on a machine with a GPU computes on another as
    ``dataclasses.replace(network, backend="cpu")``.

    Examples
    --------
    >>> net = Network([Dense(3, "tanh"), Dense(1)], inputs=2, loss="squared_error",
    ...               dtype="float64", backend="reference")
    >>> net.n_parameters
    13
    >>> theta = net.init(seed=0)
    >>> net.predict(theta, [[1.0, 2.0], [3.0, 4.0]]).shape
    (2, 1)

    SciPy's optimizers take it as it is:

    >>> from scipy.optimize import minimize
    >>> X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    >>> fit = minimize(net.value_and_grad, theta, args=(X, y), jac=True, method="L-BFGS-B")
    >>> bool(fit.fun < 1e-4)
    True
    """

    layers: tuple[Layer, ...]
    inputs: int
    loss: str
    dtype: str = "float32"
    backend: str = "cpu"
    draw: int = 0
    dropping: bool = False

    def __init__(
        self,
        layers: Iterable[Layer],
        inputs: int,
        loss: str,
        dtype: DTypeLike = "float32",
        backend: str = "cpu",
        draw: int = 0,
        dropping: bool = False,
    ) -> None:
        if isinstance(layers, Layer) or not isinstance(layers, Iterable):
            raise TypeError(f"layers must be a list of layers, found {layers!r}")
        layers = tuple(layers)
        _check_order(layers)
        for name, value in {
            "layers": layers,
            "inputs": integer("inputs", inputs, 1),
            "loss": one_of("loss", loss, LOSSES),
            "dtype": one_of("dtype", _dtype_name(dtype), DTYPES),
            "backend": one_of("backend", backend, backends.BACKENDS),
            "draw": integer("draw", draw, 0, SEEDS),
            "dropping": flag("dropping", dropping),
        }.items():
            object.__setattr__(self, name, value)
        self._check_backend()

    def _check_backend(self) -> None:
        """Refuse layers that do not fit together, or a backend that cannot have them."""
        for layer, operation in zip(self.layers, self.plan.layers, strict=True):
            if not backends.takes(self.backend, operation):
                raise backends.UnusableBackendError(
                    f"backend {self.backend!r} takes Dense and Dropout layers only, found {layer}: "
                    "use 'cpu'"
                )
        backends.check(self.backend)

    @property
    def outputs(self) -> int:
        """Number of outputs of an example, K.

        Examples
        --------
        >>> Network([Dense(3)], inputs=2, loss="cross_entropy").outputs
        3
        """
        return int(self.plan.outputs)

    @property
    def n_parameters(self) -> int:
        """Number of parameters, P.

        Examples
        --------
        >>> Network([Dense(3)], inputs=2, loss="cross_entropy").n_parameters
        9
        """
        return int(self.plan.size)

    @property
    def metric_name(self) -> str:
        """What the ``validation_metric`` of an `EpochRecord` is: ``"accuracy"`` or ``"r2"``.

        Examples
        --------
        >>> Network([Dense(3)], inputs=2, loss="cross_entropy").metric_name
        'accuracy'
        """
        return LOSSES[self.loss].metric_name

    @cached_property
    def plan(self) -> Plan:
        """The network as the backends see it.

        Examples
        --------
        >>> Network([Dense(3)], inputs=2, loss="cross_entropy").plan.layers
        (DenseOp(inputs=2, outputs=3, activation='identity'),)
        """
        operations: list[Any] = []
        inputs = self.inputs
        for layer in self.layers:
            operations.append(layer.operation(inputs))
            inputs = operations[-1].outputs
        noise = {"draw": self.draw, "dropping": self.dropping}
        return Plan(tuple(operations), self.loss, self.dtype, **noise)

    def with_draw(self, draw: int) -> "Network":
        """Return the same network with other noise.

        What a network with `GaussianSample` computes is a function of theta, X, y and `draw`: it
        gives the same again until it gets another draw. The noise of an example depends on its row,
        so where rows of X are computed apart, they have other noise than together. A `Trainer`
        draws by its seed, at each step anew.

        Parameters
        ----------
        draw : int
            In [0, 2**64).

        Returns
        -------
        Network

        Raises
        ------
        ValueError, TypeError
            If `draw` is no integer in that range.

        Examples
        --------
        >>> from fastbatch import GaussianSample
        >>> net = Network([Dense(2), GaussianSample(1)], 1, "huber", backend="reference")
        >>> theta = np.zeros(4)  # mean 0 and variance 1, whatever comes in
        >>> [round(net.with_draw(draw).predict(theta, [[5]]).item(), 3) for draw in (0, 1, 0)]
        [-0.155, -1.798, -0.155]
        """
        return replace(self, draw=draw)

    def with_dropout(self, draw: int) -> "Network":
        """Return the same network, whose `Dropout` layers drop.

        Outputs, losses, and all gradients are then those of one thinned network for each example, a
        function of theta, X, y and `draw`, which gives the same again until it gets another draw.
        Means and variances of predictions over many draws are known as Monte Carlo dropout (Gal &
        Ghahramani 2016, "Dropout as a Bayesian approximation"). As for `with_draw`, a mask depends
        on the row, and `GaussianSample` has the noise of the same draw.

        Parameters
        ----------
        draw : int
            In [0, 2**64).

        Returns
        -------
        Network

        Raises
        ------
        ValueError, TypeError
            If `draw` is no integer in that range.

        Examples
        --------
        >>> from fastbatch import Dropout
        >>> layers = [Dense(100, "relu"), Dropout(0.5), Dense(1)]
        >>> net = Network(layers, 1, "squared_error", backend="reference")
        >>> theta, X = net.init(seed=0), [[1], [2]]
        >>> draws = [net.with_dropout(draw).predict(theta, X) for draw in range(200)]
        >>> error = abs(np.mean(draws, axis=0) - net.predict(theta, X))
        >>> bool((error < 4 * np.std(draws, axis=0) / 200**0.5).all())
        True
        """
        return replace(self, draw=draw, dropping=True)

    def part(self, start: int, stop: int | None = None) -> tuple["Network", slice]:
        """Return some layers as a network of their own, and where its parameters lie in theta.

        Such as the encoder of a variational autoencoder, which gives means and log-variances, or
        its decoder. A layer that has another number in the part has other noise or other masks.

        Parameters
        ----------
        start, stop : int
            The layers ``layers[start:stop]``.

        Returns
        -------
        network : Network
            With the loss of the whole.
        where : slice

        Raises
        ------
        ValueError
            If there is no such layer, or a network cannot begin or end with it.

        Examples
        --------
        >>> from fastbatch import GaussianSample
        >>> net = Network([Dense(4), GaussianSample(2), Dense(3, "sigmoid")], 3, "squared_error")
        >>> decoder, where = net.part(2)
        >>> decoder.layers, decoder.inputs, where
        ((Dense(units=3, activation='sigmoid'),), 2, slice(16, 25, None))
        """
        start, stop, _ = slice(start, stop).indices(len(self.layers))
        operations = self.plan.layers
        first = sum(operation.size for operation in operations[:start])
        size = sum(operation.size for operation in operations[start:stop])
        inputs = operations[start].inputs if start < stop else self.inputs
        part = replace(self, layers=self.layers[start:stop], inputs=inputs)
        return part, slice(first, first + size)

    def init(self, seed: int = 0) -> Array:
        """Draw initial parameters.

        He uniform where rectifiers follow, else Glorot uniform, and zero biases (`Dense.initial`
        names the sources); Philox, keyed by seed and layer, so every backend gives the same.
        `Dropout` is not counted: with it and without, a network begins the same.

        Parameters
        ----------
        seed : int
            In [0, 2**64).

        Returns
        -------
        ndarray, shape (P,)

        Raises
        ------
        ValueError, TypeError
            If `seed` is no integer in that range.

        Examples
        --------
        >>> net = Network([Dense(1)], inputs=2, loss="huber", backend="reference")
        >>> net.init(seed=1).shape
        (3,)
        """
        seed = integer("seed", seed, 0, SEEDS)
        kernels = backends.load(self.backend)
        named, stream = {}, 0
        for index, (layer, operation) in enumerate(zip(self.layers, self.plan.layers, strict=True)):
            uniform = partial(kernels.uniform, seed=seed, stream=stream)
            for name, values in layer.initial(operation.inputs, uniform).items():
                named[f"{index}.{name}"] = values
            stream += not isinstance(layer, Dropout)
        return self.flatten(named)

    def unflatten(self, theta: ArrayLike) -> dict[str, Array]:
        """Name the parts of a flat vector: parameters, or their gradient.

        Parameters
        ----------
        theta : array_like, shape (P,)

        Returns
        -------
        dict of ndarray
            ``"0.weight"`` (inputs, units), ``"0.bias"`` (units,), ``"1.weight"`` and so on, in
            the order in which they lie in theta. Views: writing to them changes theta.

        Raises
        ------
        ValueError, TypeError
            If theta is not a vector of P numbers.

        Examples
        --------
        >>> net = Network([Dense(2)], inputs=3, loss="huber")
        >>> {name: part.shape for name, part in net.unflatten(np.arange(8.0)).items()}
        {'0.weight': (3, 2), '0.bias': (2,)}
        """
        theta = arrays.parameters(theta, self.n_parameters)
        return {name: theta[where].reshape(shape) for name, shape, where in self._parts()}

    def flatten(self, named: Mapping[str, ArrayLike]) -> Array:
        """Join named parameters to one new vector, the way back from `unflatten`.

        Parameters
        ----------
        named : mapping of array_like
            Exactly the keys of `unflatten`, in any order.

        Returns
        -------
        ndarray, shape (P,)
            In the network's dtype.

        Raises
        ------
        ValueError, TypeError
            If a part is missing, unknown, or has another shape.

        Examples
        --------
        >>> net = Network([Dense(1)], inputs=2, loss="huber")
        >>> net.flatten({"0.weight": [[1], [2]], "0.bias": [3]})
        array([1., 2., 3.], dtype=float32)
        """
        theta = np.empty(self.n_parameters, dtype=self.dtype)
        expected = [name for name, _, _ in self._parts()]
        for name in named:
            one_of("parameter", name, expected)
        for name, shape, where in self._parts():
            if name not in named:
                raise ValueError(f"parameter {name!r} of shape {shape} is missing")
            part = arrays.numeric(name, named[name])
            if part.shape != shape:
                raise ValueError(f"parameter {name!r} must have shape {shape}, found {part.shape}")
            theta[where] = part.reshape(-1)
        return theta

    def predict(self, theta: ArrayLike, X: ArrayLike, *, check_finite: bool = True) -> Array:
        """Compute the raw outputs: logits or log-rates for the losses that take them.

        Parameters
        ----------
        theta : array_like, shape (P,)
        X : array_like, shape (N, inputs)
            N may be 0.
        check_finite : bool

        Returns
        -------
        ndarray, shape (N, K)

        Raises
        ------
        ValueError, TypeError
            If an argument has the wrong shape, kind or range.

        Examples
        --------
        >>> net = Network([Dense(1)], inputs=2, loss="huber", backend="reference")
        >>> net.predict([1, 2, 3], [[10, 20]])
        array([[53.]], dtype=float32)
        """
        converted = self._inputs("X", X, False)
        theta, kernels = self._parameters(theta), backends.load(self.backend)
        try:  # the kernels look while they read X anyway
            return kernels.outputs(self.plan, theta, converted, check=check_finite)
        except FloatingPointError:
            self._inputs("X", X, True)  # says what is wrong where
            raise

    def losses(
        self, theta: ArrayLike, X: ArrayLike, y: ArrayLike, *, check_finite: bool = True
    ) -> Array:
        """Compute the loss of each example.

        Parameters
        ----------
        theta : array_like, shape (P,)
        X : array_like, shape (N, inputs)
            N may be 0.
        y : array_like, shape (N, K) or (N,)
        check_finite : bool

        Returns
        -------
        ndarray, shape (N,)

        Raises
        ------
        ValueError, TypeError
            If an argument has the wrong shape, kind or range.

        Examples
        --------
        >>> net = Network([Dense(1)], inputs=2, loss="squared_error", backend="reference")
        >>> net.losses([1, 2, 3], [[10, 20], [0, 0]], [50, 3])
        array([9., 0.], dtype=float32)
        """
        X, y = self.check_examples(X, y, check_finite=check_finite)
        return backends.load(self.backend).losses(self.plan, self._parameters(theta), X, y)

    def value_and_grad(
        self,
        theta: ArrayLike,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
        scale: float | None = None,
        *,
        check_finite: bool = True,
    ) -> tuple[Any, Array]:
        """Compute ``scale * sum_i w_i loss_i`` and its gradient in theta.

        Parameters
        ----------
        theta : array_like, shape (P,)
        X : array_like, shape (N, inputs)
        y : array_like, shape (N, K) or (N,)
        sample_weight : array_like, shape (N,), optional
            The weights ``w_i``, 1 if not given. Weight 2 is the same as the example twice.
        reduction : {"mean", "sum", "none"}
            ``scale`` is ``1 / sum_i w_i`` for the mean, 1 for the sum, and for ``"none"``, where
            nothing is summed and both results have a leading axis of length N.
        scale : float, optional
            Overrides the scale of the reduction: ``N_total / N`` for Langevin sampling, ``1 /
            expected_batch_size`` for differential privacy.
        check_finite : bool

        Returns
        -------
        value : float, or ndarray of shape (N,)
        gradient : ndarray, shape (P,) or (N, P)
            In the dtype of theta if that is float32 or float64, so that SciPy's optimizers keep
            their own; else in the network's.

        Raises
        ------
        ValueError, TypeError
            If an argument has the wrong shape, kind or range, or there is no example.

        Examples
        --------
        >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
        >>> theta, X, y = np.array([2.0, 1.0]), [[1], [2]], [3, 2]
        >>> net.value_and_grad(theta, X, y)
        (4.5, array([6., 3.]))
        >>> net.value_and_grad(theta, X, y, reduction="none")[1]
        array([[ 0.,  0.],
               [12.,  6.]])
        """
        one_of("reduction", reduction, REDUCTIONS)
        if scale is not None:
            scale = real("scale", scale, -np.inf)
        X, y = self.check_examples(X, y, check_finite=check_finite)
        arrays.not_empty(X)
        weights = arrays.sample_weights(sample_weight, len(X), self.dtype)
        if scale is None and reduction == "mean":
            scale = 1.0 / float(len(X) if weights is None else weights.sum(dtype=np.float64))
        elif scale is None:
            scale = 1.0
        kernels, parameters = backends.load(self.backend), self._parameters(theta)
        if reduction == "none":
            value = kernels.losses(self.plan, parameters, X, y)
            gradient = kernels.per_example_gradients(self.plan, parameters, X, y)
            if weights is not None or scale != 1.0:
                ones = np.ones(len(X), self.dtype)
                coefficients = (ones if weights is None else weights) * scale
                value = _scaled(value, coefficients)
                gradient = _scaled(gradient, coefficients[:, np.newaxis])
        else:
            value, gradient = kernels.value_and_gradient(
                self.plan, parameters, X, y, weights, scale
            )
        return value, self._like(theta, gradient)

    def check_examples(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        names: tuple[str, str] = ("X", "y"),
        check_finite: bool = True,
    ) -> tuple[Array, Array]:
        """Check examples and targets and convert them to what this network computes with.

        Parameters
        ----------
        X : array_like, shape (N, inputs)
        y : array_like, shape (N, K) or (N,)
        names : pair of str
            What messages call them.
        check_finite : bool

        Returns
        -------
        X : ndarray, shape (N, inputs)
        y : ndarray, shape (N, K), or of int64 labels, shape (N,)
            The arguments themselves, or views of them, where they already fit.

        Raises
        ------
        ValueError, TypeError
            With what was expected, what was found, and the cure.

        Examples
        --------
        >>> net = Network([Dense(3)], inputs=2, loss="cross_entropy")
        >>> net.check_examples([[1, 2]], [3])
        Traceback (most recent call last):
        ValueError: y[0] is 3, expected labels in [0, 3), one for each unit of the last layer: ...
        """
        X = self._inputs(names[0], X, check_finite)
        shape, loss = (len(X), self.outputs), LOSSES[self.loss]
        y = arrays.targets(names[1], y, shape, self.dtype, loss, finite=check_finite)
        return X, y

    def _parameters(self, theta: ArrayLike) -> Array:
        """`theta` as kernels want it."""
        return arrays.native(arrays.parameters(theta, self.n_parameters), self.dtype)

    def _like(self, theta: ArrayLike, gradient: Array) -> Array:
        """`gradient` in the dtype of `theta` if the user's arithmetic may go on in that."""
        dtype = getattr(theta, "dtype", None)
        return gradient.astype(dtype if dtype in DTYPES else self.dtype, copy=False)

    def _parts(self) -> Iterator[tuple[str, tuple[int, ...], slice]]:
        """Name, shape and place in theta of each parameter array."""
        start = 0
        for index, operation in enumerate(self.plan.layers):
            for name, shape in operation.shapes.items():
                stop = start + prod(shape)
                yield f"{index}.{name}", shape, slice(start, stop)
                start = stop


def _check_order(layers: tuple[Layer, ...]) -> None:
    """Raise unless such layers may follow one another."""
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(
                f"a layer must be a Dense, a GaussianSample or a Dropout, found {layer!r}"
            )
    if not layers:
        raise ValueError("layers must hold at least one layer, found none: add Dense(outputs)")
    if isinstance(layers[-1], Dropout):
        raise ValueError(f"{layers[-1]} cannot be the last layer: put a Dense behind it")
    for layer, following in pairwise(layers):
        if isinstance(layer, Dropout) and isinstance(following, Dropout):
            raise ValueError(f"{following} stands behind another Dropout: make them one")
    first = next(layer for layer in layers if not isinstance(layer, Dropout))
    if not isinstance(first, Dense):
        raise ValueError(f"{first} cannot be the first layer: put a Dense before it")


def _dtype_name(dtype: DTypeLike) -> str:
    try:
        return np.dtype(dtype).name
    except TypeError:
        return str(dtype)


def _scaled(values: Array, coefficients: Array) -> Array:
    """Their product, where a coefficient of 0 gives 0 whatever it meets."""
    return np.multiply(values, coefficients, out=np.zeros_like(values), where=coefficients != 0)
