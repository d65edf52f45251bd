"""The solvers `adam` and `sgd`: a `Trainer` that steps as scikit-learn means them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.optimizers import SGD, Adam, Optimizer
from fastbatch.samplers import Order
from fastbatch.sklearn.objective import Data, Objective
from fastbatch.trainer import Trainer

Array = NDArray[Any]

_LEAST_RATE = 1e-6  # where scikit-learn's adaptive rate ends
# Of the first rate: that moves nothing, and a velocity in float32 can be divided by it.
_STANDSTILL = 1e-15


class Descent:
    """A trainer and its learning rate; lasts from one `partial_fit` to the next.

    `options` is the estimator.
    """

    def __init__(self, options: Any, objective: Objective, theta: Array, random_state: Any) -> None:
        self._first_rate = self.learning_rate = float(options.learning_rate_init)
        self._mode = options.learning_rate if options.solver == "sgd" else "constant"
        self._power = float(options.power_t)
        self._factor = objective.factor  # of scikit-learn's gradient to ours
        optimizer: Optimizer
        if options.solver == "adam":  # whose steps do not depend on the scale of gradients
            optimizer = Adam(
                self.learning_rate,
                beta1=options.beta_1,
                beta2=options.beta_2,
                eps=options.epsilon / self._factor,
            )
        else:
            momentum = float(options.momentum)
            nesterov = bool(options.nesterovs_momentum and momentum)
            optimizer = SGD(self._rate, momentum=momentum, nesterov=nesterov)
        # Of what is dropped; else no number is drawn that theirs would not draw.
        seed = int(random_state.randint(2**31)) if options.dropout else 0
        self.trainer = Trainer(
            objective.network, optimizer, seed=seed, theta=theta, l2=objective.l2
        )

    def fits(self, objective: Objective) -> bool:
        """Whether it can go on with this objective: only the penalty may be another."""
        return self.trainer.network == objective.network

    def run(self, data: Data, random_state: Any, **options: Any) -> None:
        """Train, by scikit-learn's orders if there is a `random_state`, else as examples stand."""
        trainer, rows = self.trainer, np.arange(len(data))

        def next_order(examples: int, epoch: int) -> Array:
            nonlocal rows
            rows = rows[random_state.permutation(examples)]  # of the order before, as theirs
            return rows

        trainer.sampler = "sequential" if random_state is None else Order(next_order)
        try:
            trainer.fit(data.X, data.y, sample_weight=data.weights, **options)
        finally:
            trainer.sampler = "sequential"  # lets go of the orders
            trainer.history.clear()

    def end_epoch(self, examples: int) -> None:
        """Let the rate fall, after so many examples in all."""
        if self._mode == "invscaling":
            self._change_to(self._first_rate / (examples + 1) ** self._power)

    def give_up(self) -> tuple[bool, str]:
        """What to do when nothing improves: whether to stop, and scikit-learn's words for it."""
        if self._mode != "adaptive":
            return True, "Stopping."
        if self.learning_rate <= _LEAST_RATE:
            return True, "Learning rate too small. Stopping."
        self._change_to(self.learning_rate / 5.0)
        return False, f"Setting learning rate to {self.learning_rate:f}"

    def _rate(self, step: int) -> float:
        return self._factor * self.learning_rate

    def _change_to(self, rate: float) -> None:
        """Go on with another rate.

        scikit-learn's velocity has the rate in it, v <- momentum * v - rate * g, and keeps its size
        here; ours is multiplied by the rate at each step.
        """
        rate = max(rate, _STANDSTILL * self._first_rate)
        if self.trainer.optimizer.slots:
            self.trainer.slots = self.trainer.slots * (self.learning_rate / rate)
        self.learning_rate = rate
