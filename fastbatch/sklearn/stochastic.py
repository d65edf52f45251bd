"""The solvers `adam` and `sgd`, around what a `Trainer` does."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from fastbatch.run import DivergenceError
from fastbatch.sklearn.descent import Descent
from fastbatch.sklearn.epochs import Epochs
from fastbatch.sklearn.objective import Data, Objective, joined

Array = NDArray[Any]

_LEVEL = 5  # of warnings: who has called fit


def begin_curves(estimator: Any) -> None:
    """Let the estimator know of no epoch."""
    early = estimator.early_stopping
    estimator.loss_, estimator.loss_curve_ = np.nan, []
    estimator.best_loss_ = None if early else np.inf
    estimator.validation_scores_ = [] if early else None
    estimator.best_validation_score_ = -np.inf if early else None
    estimator._no_improvement_count = 0
    if early:
        estimator._best_theta = joined(estimator.coefs_, estimator.intercepts_)


def descend(
    estimator: Any,
    objective: Objective,
    theta: Array,
    data: Data,
    random_state: Any,
    incremental: bool,
) -> Array:
    """Begin at theta and return where it ends, or with early stopping the best place.

    Raises
    ------
    DivergenceError
        If losses are not finite, unless there is a best place to return to.
    """
    early = estimator.early_stopping
    validation = None
    if early:
        data, validation = _split(estimator, data, random_state)
    if not hasattr(estimator, "loss_curve_") or early == (estimator.best_loss_ is not None):
        begin_curves(estimator)  # warm starts go on, but not from other options
    descent = getattr(estimator, "_optimizer", None)
    if not (incremental and descent is not None and descent.fits(objective)):
        descent = Descent(estimator, objective, theta, random_state)
    trainer = descent.trainer
    trainer.theta, trainer.l2 = theta, objective.l2
    trainer.batch_size = _batch_size(estimator.batch_size, len(data))
    epochs = Epochs(estimator, descent, objective, data, validation)
    estimator.n_iter_ = 0
    estimator._optimizer = None  # unless it ends whole: amid an epoch it fits no other data
    seen = None  # by callbacks
    if validation is not None and estimator.callbacks:
        seen = validation.X, validation.y
    first_step = trainer.step
    try:
        descent.run(
            data,
            random_state if estimator.shuffle else None,
            epochs=1 if incremental else estimator.max_iter,
            callbacks=[epochs, *estimator.callbacks],
            validation=seen,
        )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=_LEVEL)
    except DivergenceError:
        if not early:
            raise
        epochs.diverged()
        warnings.warn(
            f"Stochastic Optimizer: the loss of iteration {estimator.n_iter_} is not finite. The "
            "parameters of the best validation score are kept: lower learning_rate_init, or scale "
            "the data.",
            ConvergenceWarning,
            stacklevel=_LEVEL,
        )
    else:
        if trainer.step - first_step == estimator.n_iter_ * epochs.batches:
            estimator._optimizer = descent
        if estimator.n_iter_ == estimator.max_iter and not (epochs.converged or incremental):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=_LEVEL,
            )
    return estimator._best_theta if early else trainer.theta


def _split(estimator: Any, data: Data, random_state: Any) -> tuple[Data, Data]:
    """Set examples aside, the same as scikit-learn does."""
    arrays = [data.X, data.y] if data.weights is None else [data.X, data.y, data.weights]
    one_logit = estimator.out_activation_ == "logistic" and estimator.n_outputs_ == 1
    parts = train_test_split(
        *arrays,
        random_state=random_state,
        test_size=estimator.validation_fraction,
        stratify=data.y if one_logit else None,  # more than two classes theirs does not stratify
    )
    training, validation = Data(*parts[::2]), Data(*parts[1::2])
    if len(validation) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your "
            "dataset."
        )
    for part, done in (training, "trained on"), (validation, "set aside by early_stopping"):
        if part.total == 0.0:
            raise ValueError(
                f"sample_weight is 0 for all examples that would be {done}: give another "
                "validation_fraction or random_state"
            )
    return training, validation


def _batch_size(asked: Any, examples: int) -> int:
    if asked == "auto":
        return min(200, examples)
    if asked > examples:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=_LEVEL + 1,
        )
    return min(int(asked), examples)
