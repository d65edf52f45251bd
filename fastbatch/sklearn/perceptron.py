"""What the classifier and the regressor share: scikit-learn's contract around a network."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from fastbatch import arrays
from fastbatch.constraints import one_of
from fastbatch.layers import Dense, Dropout, Layer
from fastbatch.network import Network
from fastbatch.run import DivergenceError
from fastbatch.sklearn.lbfgs import minimise
from fastbatch.sklearn.objective import Data, Objective, joined, parted
from fastbatch.sklearn.parameters import CONSTRAINTS
from fastbatch.sklearn.stochastic import begin_curves, descend
from fastbatch.sklearn.threads import threads_at_most

Array = NDArray[Any]

MONITORS = ("losses", "gradient_norms")


class BaseMLP(BaseEstimator, ABC):
    """An estimator whose parameters are `coefs_` and `intercepts_`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    hidden_layer_sizes: Any
    activation: str
    solver: str
    alpha: float
    batch_size: Any
    max_iter: int
    shuffle: bool
    random_state: Any
    warm_start: bool
    early_stopping: bool
    validation_fraction: float
    dropout: float
    n_threads: int | None
    callbacks: Sequence[Any]
    monitor: Sequence[str]

    coefs_: list[Array]
    intercepts_: list[Array]

    def _keep(self, arguments: dict[str, Any]) -> None:
        """Keep the constructor's arguments as they are: they are looked at by `fit`."""
        for name, value in arguments.items():
            if name != "self":
                setattr(self, name, value)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on examples and targets, from new parameters unless `warm_start`.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples, n_features)
            float32 is computed with in float32, anything else in float64.
        y : array_like, shape (n_samples,) or (n_samples, n_outputs)
            Labels, columns of 0 and 1 for several labels at once, or numbers to predict.
        sample_weight : array_like, shape (n_samples,), optional
            An example of weight 2 is one that was observed twice.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=False)

    @abstractmethod
    def _check_examples(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, reset: bool
    ) -> Data:
        """What is to be learnt, with targets as the network takes them."""

    @abstractmethod
    def _columns(self, y: Array) -> int:
        """How many outputs such targets need."""

    @abstractmethod
    def _output_activation(self) -> str:
        """What makes predictions of what the network computes."""

    @abstractmethod
    def _network_loss(self) -> str:
        """The loss as a `Network` calls it."""

    @abstractmethod
    def _score(self, outputs: Array, data: Data) -> float:
        """The score of raw outputs, the higher the better."""

    def _read(self, X: Any, y: Any, reset: bool, **options: Any) -> tuple[Array, Array]:
        """X and y as scikit-learn checks them."""
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=(np.float64, np.float32),
            order="C",
            multi_output=True,
            reset=reset,
            **options,
        )
        if issparse(y):  # columns of 0 and 1
            y = y.toarray()
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool) -> Self:
        sizes = self._hidden_sizes()
        for name in self.monitor:
            one_of("monitor", name, MONITORS)
        for option, need in ("dropout", "needs steps that differ"), ("callbacks", "need epochs"):
            if self.solver == "lbfgs" and getattr(self, option):
                raise ValueError(f"{option} {need}, found solver='lbfgs': take 'adam' or 'sgd'")
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        data = self._check_examples(X, y, sample_weight, incremental, first)
        random_state = check_random_state(self.random_state)
        self.n_outputs_ = self._columns(data.y)
        if first:
            self._initialize([data.X.shape[1], *sizes, self.n_outputs_], data.X.dtype, random_state)
        network = self._network()
        theta = joined(self.coefs_, self.intercepts_)
        objective = Objective(network, float(self.alpha))
        with threads_at_most(self.n_threads):
            try:
                if self.solver == "lbfgs":
                    theta = minimise(self, objective, theta, data)
                else:
                    theta = descend(self, objective, theta, data, random_state, incremental)
            except (DivergenceError, FloatingPointError) as error:
                raise ValueError(
                    "Solver produced non-finite parameter weights. The input data may contain "
                    "large values and need to be preprocessed."
                ) from error
            self.coefs_, self.intercepts_ = parted(network, theta)
            self._inspect(objective, theta, data)
        return self

    def _hidden_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return sizes

    def _initialize(self, widths: list[int], dtype: Any, random_state: Any) -> None:
        """Draw parameters, uniform after Glorot & Bengio 2010, in the order of scikit-learn."""
        self.n_layers_ = len(widths)
        self.out_activation_ = self._output_activation()
        self.t_ = 0
        self.coefs_, self.intercepts_ = [], []
        for inputs, outputs in pairwise(widths):
            factor = 2.0 if self.activation in ("logistic", "sigmoid") else 6.0
            bound = np.sqrt(factor / (inputs + outputs))
            weight = random_state.uniform(-bound, bound, (inputs, outputs))
            bias = random_state.uniform(-bound, bound, outputs)
            self.coefs_.append(weight.astype(dtype))
            self.intercepts_.append(bias.astype(dtype))
        if self.solver != "lbfgs":
            begin_curves(self)

    def _network(self) -> Network:
        """The network of `coefs_`, whoever has set them."""
        activation = "sigmoid" if self.activation == "logistic" else self.activation
        *hidden, outputs = (weight.shape[1] for weight in self.coefs_)
        layers: list[Layer] = []
        for units in hidden:
            layers.append(Dense(units, activation))
            if self.dropout:
                layers.append(Dropout(self.dropout))
        layers.append(Dense(outputs))
        dtype = "float32" if self.coefs_[0].dtype == np.float32 else "float64"
        return Network(layers, self.coefs_[0].shape[0], self._network_loss(), dtype)

    def _inspect(self, objective: Objective, theta: Array, data: Data) -> None:
        """Look at each example as `monitor` says, with the parameters found."""
        network = objective.network
        if "losses" in self.monitor:
            self.example_losses_ = objective.reported(network.losses(theta, data.X, data.y))
            self.example_losses_ += objective.offsets(data.y)  # whose dtype would be float64
        if "gradient_norms" in self.monitor:
            norms = network.gradient_norms(theta, data.X, data.y)
            self.example_gradient_norms_ = objective.factor * norms

    def _outputs(self, X: Any) -> Array:
        """What the network computes before the output activation, (n_samples, n_outputs)."""
        check_is_fitted(self)
        X = validate_data(
            self, X, accept_sparse="csr", dtype=(np.float64, np.float32), order="C", reset=False
        )
        with threads_at_most(self.n_threads):
            return self._network().predict(joined(self.coefs_, self.intercepts_), X)

    def _is_stochastic(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
            )
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def checked_weights(sample_weight: Any, X: Array) -> Array | None:
    """Weights (N,), of which none is negative and one is positive, or None."""
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight)
    if weights.ndim == 0:
        weights = np.full(X.shape[0], weights)
    if not weights.any():
        raise ValueError("sample_weight is zero everywhere: at least one weight must be positive")
    return arrays.sample_weights(weights, X.shape[0], str(X.dtype))
