"""`MLPClassifier`."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import unique_labels

from fastbatch.sklearn.labels import Labels
from fastbatch.sklearn.objective import Data
from fastbatch.sklearn.perceptron import BaseMLP, checked_weights

Array = NDArray[Any]


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A multi-layer perceptron that classifies; takes the place of scikit-learn's own.

    Parameters, attributes and results are those of ``sklearn.neural_network.MLPClassifier``: the
    same initial parameters, orders of examples and splits are drawn from `random_state`.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Units of each hidden layer.
    activation : str
        ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, or another that `fastbatch.Dense`
        takes, such as ``"gelu"``.
    solver : {"adam", "sgd", "lbfgs"}
        The last takes all examples at once, which suits small data.
    alpha : float
        Half of this times the squared norm of the weights, over the sum of the example weights of a
        batch, is added to the loss.
    batch_size : int or "auto"
        ``min(200, n_samples)`` if ``"auto"``.
    learning_rate : {"constant", "invscaling", "adaptive"}
        Of `sgd`: as it is; divided by ``(examples seen + 1)**power_t``; or divided by 5 each time
        that training would else stop for want of progress.
    learning_rate_init, power_t : float
    max_iter : int
        Epochs at most; iterations of `lbfgs`.
    shuffle : bool
        Whether each epoch has an order of its own.
    random_state : int, RandomState or None
    tol : float
        Training stops when loss, or validation score, has not improved by this much for
        `n_iter_no_change` epochs in a row; `lbfgs`, when no gradient is larger.
    verbose : bool or int
        Whether to print the loss of each iteration.
    warm_start : bool
        Whether `fit` goes on from the parameters that are there.
    momentum, nesterovs_momentum : float, bool
        Of `sgd`.
    early_stopping : bool
        Whether to set a `validation_fraction` of the examples aside, score them after each epoch
        and keep the parameters of the best.
    validation_fraction : float
    beta_1, beta_2, epsilon : float
        Of `adam`. Epsilon as in algorithm 1 of its paper; scikit-learn's counts for up to 32 times
        as much in the first thousand steps.
    n_iter_no_change : int
    max_fun : int
        Evaluations of `lbfgs`.
    dropout : float
        The probability with which `adam` and `sgd` leave out each unit of a hidden layer in a step.
    class_weight : dict, list of dict, "balanced" or None
        Weights of classes, with which sample weights are multiplied.
    n_threads : int or None
        How many threads work, of the whole process while this one trains or predicts; the fewest
        that are asked for where several estimators do. Results do not depend on it.
    callbacks : list or tuple of callable
        Called after each epoch of `adam` and `sgd` with the `fastbatch.Trainer` and the
        `fastbatch.EpochRecord`; a true answer ends training. With `early_stopping` the record has
        validation loss and metric.
    monitor : list or tuple of str
        What to find out about each example after training: ``"losses"``, ``"gradient_norms"``.

    Attributes
    ----------
    classes_ : ndarray
    coefs_, intercepts_ : list of ndarray
        Weights and biases by layer; predictions are made from what is in these lists.
    loss_, best_loss_ : float
    loss_curve_, validation_scores_ : list of float
        By epoch.
    best_validation_score_ : float or None
    n_iter_, t_ : int
        Epochs of the last fit, and examples seen in all.
    n_features_in_, n_layers_, n_outputs_ : int
    feature_names_in_ : ndarray
    out_activation_ : {"logistic", "softmax"}
    example_losses_, example_gradient_norms_ : ndarray, shape (n_samples,)
        Of all examples that `fit` was given, with the parameters found, if monitored.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> X = StandardScaler().fit_transform(X)
    >>> net = MLPClassifier(8, "gelu", solver="lbfgs", alpha=0.1, random_state=0).fit(X, y)
    >>> net.score(X, y) > 0.95
    True
    >>> net.predict_proba(X[:2]).shape
    (2, 3)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    classes_: Array

    def __init__(
        self,
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
        class_weight: Any = None,
        n_threads: int | None = None,
        callbacks: Sequence[Any] = (),
        monitor: Sequence[str] = (),
    ) -> None:
        self._keep(locals())

    @available_if(BaseMLP._is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch more; the optimizer goes on from where it was.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array_like, optional
            All labels that will ever come; needed by the first call.

        Returns
        -------
        self
        """
        if classes is None and not hasattr(self, "classes_"):
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if classes is not None:
            known = unique_labels(classes)
            if not hasattr(self, "classes_"):
                self._labels, self.classes_ = Labels.of(y, known), known
            elif not np.array_equal(self.classes_, known):
                raise ValueError(
                    f"`classes={known!r}` is not the same as on last call to partial_fit, was: "
                    f"{self.classes_!r}"
                )
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: ArrayLike) -> Array:
        """Return the most probable labels.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_classes)
        """
        outputs = self._outputs(X)
        return self._labels.named(self._labels.decide(outputs))

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
            In the order of `classes_`. Rows sum to 1 unless an example may have several labels.
        """
        return self._probabilities(self._outputs(X), softmax, expit)

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return the logarithms of the probabilities, finite also where these are 0.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
        """
        return self._probabilities(self._outputs(X), log_softmax, log_expit)

    def _probabilities(self, outputs: Array, of_classes: Any, of_one: Any) -> Array:
        labels = self._labels
        if labels.is_softmax:
            probabilities: Array = of_classes(outputs, axis=1)
        elif labels.multilabel:
            probabilities = of_one(outputs)
        else:
            probabilities = of_one(np.hstack([-outputs, outputs]))[:, : len(labels.classes)]
        return probabilities

    def _check_examples(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, reset: bool
    ) -> Data:
        X, y = self._read(X, y, reset)
        labels = found = Labels.of(y)
        if hasattr(self, "classes_") and (self.warm_start or incremental):
            labels = self._labels
            if self.warm_start and set(found.classes) != set(labels.classes):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {labels.classes}, `y` has {found.classes}"
                )
            if len(np.setdiff1d(found.classes, labels.classes)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {labels.classes}."
                    f" 'y' has {found.classes}."
                )
        weights = checked_weights(sample_weight, X)
        if self.class_weight is not None:
            if incremental and self.class_weight == "balanced":
                raise ValueError(
                    "class_weight 'balanced' is not supported for partial_fit, which does not see "
                    "all of y: give weights by compute_class_weight('balanced', classes=..., y=...)"
                )
            of_classes = compute_sample_weight(self.class_weight, y)
            weights = of_classes if weights is None else weights * of_classes
            weights = checked_weights(weights, X)
        data = Data(X, labels.targets(y), weights)
        self._labels, self.classes_ = labels, labels.classes
        return data

    def _columns(self, y: Array) -> int:
        return self._labels.outputs

    def _output_activation(self) -> str:
        return "softmax" if self._labels.is_softmax else "logistic"

    def _network_loss(self) -> str:
        return "cross_entropy" if self._labels.is_softmax else "binary_cross_entropy"

    def _score(self, outputs: Array, data: Data) -> float:
        """Share of examples all of whose labels are right."""
        if not np.isfinite(outputs).all():
            return np.nan
        right = self._labels.decide(outputs) == data.y
        if right.ndim == 2:
            right = right.all(axis=1)
        return float(np.average(right, weights=data.weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
