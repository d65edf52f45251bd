"""Mini-batch training, one step after the other: shuffle, gather, gradient, update."""

import math

import numpy as np

from .network import weighted_sums
from .optimizers import update
from .philox import permutation

STATE = "theta", "slots", "step", "epoch", "batch", "loss_sum", "weight_sum"


class Training:
    """A training run that can be stopped after any step, and resumed to the same bits.

    Parameters
    ----------
    plan : Plan
    optimizer
        Its `name`, its number of `slots` and its hyper-parameters.
    X : ndarray, shape (N, inputs)
    y : ndarray, shape (N, K), or of int64 labels, shape (N,)
    weights : ndarray, shape (N,), or None
    batch_size : int
    seed : int
        Of the shuffles; in [0, 2**64).
    shuffle : bool
        Whether every epoch takes the examples in an order of its own, or all as they stand.

    Attributes
    ----------
    theta : ndarray, shape (P,)
        A copy. Zeros at first: set it before the first step.
    slots : ndarray, shape (optimizer.slots, P)
        The optimizer's state, a copy. Zeros at first.
    step, epoch, batch : int
        Steps done in all, the current epoch, and steps done in it.
    loss_sum, weight_sum : float
        Over the examples of the current epoch so far; each loss is of the theta before its step.
    batches : int
        Steps in an epoch. The last batch may be smaller than the others.

    Examples
    --------
    The mean of two numbers, by two epochs of one step each:

    >>> from types import SimpleNamespace
    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(1, 1, "identity"),), "squared_error", "float64")
    >>> sgd = SimpleNamespace(name="sgd", slots=0, momentum=0.0, nesterov=False, weight_decay=0.0)
    >>> X, y = np.zeros((2, 1)), np.array([[1.0], [3.0]])
    >>> training = Training(plan, sgd, X, y, None, batch_size=2, seed=0, shuffle=True)
    >>> training.advance(np.array([0.5]))
    1
    >>> training.loss_sum, training.weight_sum, training.theta
    (10.0, 2.0, array([0., 2.]))
    >>> training.next_epoch()
    >>> training.advance(np.array([0.5])), training.loss_sum
    (1, 2.0)
    """

    def __init__(self, plan, optimizer, X, y, weights, *, batch_size, seed, shuffle):
        self._plan = plan
        self._optimizer = optimizer
        self._X = X
        self._y = y
        self._weights = np.ones(len(X), dtype=X.dtype) if weights is None else weights
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._order_epoch, self._order = None, np.arange(len(X))
        self._theta = np.zeros(plan.size, dtype=plan.dtype)
        self._slots = np.zeros((optimizer.slots, plan.size), dtype=plan.dtype)
        self.step = 0
        self.epoch = 0
        self.batch = 0
        self.loss_sum = 0.0
        self.weight_sum = 0.0

    @property
    def theta(self):
        """The parameters, a copy."""
        return self._theta.copy()

    @theta.setter
    def theta(self, theta):
        self._theta[:] = theta

    @property
    def slots(self):
        """The optimizer's state, a copy."""
        return self._slots.copy()

    @slots.setter
    def slots(self, slots):
        self._slots[:] = slots

    @property
    def batches(self):
        """Steps in an epoch."""
        return math.ceil(len(self._X) / self._batch_size)

    def advance(self, learning_rates):
        """Take one step for each learning rate, but none beyond the end of the epoch.

        A step whose loss is not finite is not taken, nor any after it.

        Parameters
        ----------
        learning_rates : ndarray, float64

        Returns
        -------
        int
            The number of steps taken.
        """
        before = self.step
        for lr in learning_rates[: self.batches - self.batch].tolist():
            rows = self._rows()
            weights = self._weights[rows]
            weight_sum = float(weights.sum(dtype=np.float64))
            loss_sum, gradient = weighted_sums(
                self._plan,
                self._theta,
                self._X[rows],
                self._y[rows],
                weights,
                scale=1 / weight_sum if weight_sum else 0.0,
            )
            if not math.isfinite(loss_sum):
                break
            update(self._theta, self._slots, gradient, self._optimizer, lr, self.step)
            self.step += 1
            self.batch += 1
            self.loss_sum += loss_sum
            self.weight_sum += weight_sum
        return self.step - before

    def next_epoch(self):
        """Go to the start of the next epoch."""
        self.epoch += 1
        self.batch = 0
        self.loss_sum = 0.0
        self.weight_sum = 0.0

    def is_finite(self):
        """Whether all parameters are finite numbers."""
        return bool(np.isfinite(self._theta).all())

    def snapshot(self):
        """All that changes in training, for `restore`."""
        return {name: getattr(self, name) for name in STATE}

    def restore(self, snapshot):
        """Return to where `snapshot` was taken."""
        for name in STATE:
            setattr(self, name, snapshot[name])

    def _rows(self):
        """The rows of the current batch."""
        if self._shuffle and self._order_epoch != self.epoch:
            self._order = permutation(len(self._X), self._seed, self.epoch)
            self._order_epoch = self.epoch
        start = self.batch * self._batch_size
        return self._order[start : start + self._batch_size]
