"""What scikit-learn does after each epoch: curves, the best so far, and whether to stop."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.history import EpochRecord
from fastbatch.sklearn.descent import Descent
from fastbatch.sklearn.objective import Data, Objective
from fastbatch.trainer import Trainer

Array = NDArray[Any]


class Epochs:
    """A callback that keeps the attributes of an estimator.

    Parameters
    ----------
    estimator : BaseMLP
    descent : Descent
    objective : Objective
    data : Data
    validation : Data or None
        Scored after each epoch.
    """

    def __init__(
        self,
        estimator: Any,
        descent: Descent,
        objective: Objective,
        data: Data,
        validation: Data | None,
    ) -> None:
        self._estimator, self._descent, self._objective = estimator, descent, objective
        self._examples, self._total, self._validation = len(data), data.total, validation
        self.batches = -(-len(data) // descent.trainer.batch_size)
        self._penalty = objective.penalty(descent.trainer.theta)
        self._offset = objective.offset(data)
        self.converged = False

    def __call__(self, trainer: Trainer, record: EpochRecord) -> bool:
        """Look at a finished epoch; True ends training."""
        estimator = self._estimator
        estimator.n_iter_ += 1
        estimator.t_ += self._examples
        theta = trainer.theta
        penalty = self._objective.penalty(theta)
        # The sum of those before its steps, as if each step had changed it by the same.
        steps, before = self.batches, self._penalty
        penalties, self._penalty = (steps + 1) / 2 * before + (steps - 1) / 2 * penalty, penalty
        loss = self._objective.reported(record.loss) + self._offset
        estimator.loss_ = loss + penalties / self._total
        estimator.loss_curve_.append(estimator.loss_)
        self._say(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        improved = self._compare_loss() if self._validation is None else self._compare_score(theta)
        estimator._no_improvement_count = 0 if improved else estimator._no_improvement_count + 1
        self._descent.end_epoch(estimator.t_)
        if estimator._no_improvement_count > estimator.n_iter_no_change:
            self.converged, words = self._descent.give_up()
            what = "Training loss" if self._validation is None else "Validation score"
            self._say(
                f"{what} did not improve more than tol={estimator.tol:f} for "
                f"{estimator.n_iter_no_change} consecutive epochs. {words}"
            )
            if not self.converged:
                estimator._no_improvement_count = 0
        return self.converged

    def diverged(self) -> None:
        """Write down an epoch whose loss was not finite."""
        estimator = self._estimator
        estimator.n_iter_ += 1
        estimator.loss_ = np.nan
        estimator.loss_curve_.append(np.nan)
        estimator.validation_scores_.append(np.nan)

    def _compare_loss(self) -> bool:
        estimator = self._estimator
        improved = not estimator.loss_ > estimator.best_loss_ - estimator.tol
        estimator.best_loss_ = min(estimator.best_loss_, estimator.loss_)
        return improved

    def _compare_score(self, theta: Array) -> bool:
        assert self._validation is not None
        estimator = self._estimator
        outputs = self._objective.network.predict(theta, self._validation.X, check_finite=False)
        score = estimator._score(outputs, self._validation)
        estimator.validation_scores_.append(score)
        self._say(f"Validation score: {score:f}")
        improved = not score < estimator.best_validation_score_ + estimator.tol
        if score > estimator.best_validation_score_:
            estimator.best_validation_score_ = score
            estimator._best_theta = theta
        return improved

    def _say(self, words: str) -> None:
        if self._estimator.verbose:
            print(words)  # scikit-learn's interface, not ours
