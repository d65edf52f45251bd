"""`MLPRegressor`."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from fastbatch.sklearn.objective import Data
from fastbatch.sklearn.perceptron import BaseMLP, checked_weights

Array = NDArray[Any]


class MLPRegressor(RegressorMixin, BaseMLP):
    """A multi-layer perceptron that predicts numbers; takes the place of scikit-learn's own.

    Parameters, attributes and results are those of ``sklearn.neural_network.MLPRegressor``.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}
        Half of the squared error; or half of the Poisson deviance, for targets that are not
        negative, where the network's output is the logarithm of the prediction.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, \
power_t, max_iter, shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, \
early_stopping, validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, max_fun, \
dropout, n_threads, callbacks, monitor
        As for `MLPClassifier`.

    Attributes
    ----------
    out_activation_ : {"identity", "exp"}
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_scores_, \
best_validation_score_, n_iter_, t_, n_features_in_, n_layers_, n_outputs_, feature_names_in_, \
example_losses_, example_gradient_norms_
        As for `MLPClassifier`; validation scores are R^2. Squared errors of several outputs are
        stated as their mean, as in scikit-learn, while gradients are those of their sum.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(n_samples=200, n_features=5, random_state=1)
    >>> net = MLPRegressor(solver="lbfgs", max_iter=500, tol=1, random_state=1).fit(X, y)
    >>> net.score(X, y) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    loss: str

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        n_threads: int | None = None,
        callbacks: Sequence[Any] = (),
        monitor: Sequence[str] = (),
    ) -> None:
        self._keep(locals())

    @available_if(BaseMLP._is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch more; the optimizer goes on from where it was.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: ArrayLike) -> Array:
        """Return predictions.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_outputs)
        """
        predictions = self._predictions(self._outputs(X))
        return predictions.ravel() if predictions.shape[1] == 1 else predictions

    def _predictions(self, outputs: Array) -> Array:
        return np.exp(outputs) if self.loss == "poisson" else outputs

    def _check_examples(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, reset: bool
    ) -> Data:
        X, y = self._read(X, y, reset, y_numeric=True)
        return Data(X, y.reshape(len(y), -1), checked_weights(sample_weight, X))

    def _columns(self, y: Array) -> int:
        return y.shape[1]

    def _output_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _network_loss(self) -> str:
        return self.loss

    def _score(self, outputs: Array, data: Data) -> float:
        """R^2, averaged over the outputs."""
        predictions = self._predictions(outputs)
        if not np.isfinite(predictions).all():
            return np.nan
        return float(r2_score(data.y, predictions, sample_weight=data.weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
