"""Mini-batch gradient descent that stands at a step boundary whenever Python looks."""

import numpy as np

from .job import TRAIN
from .philox import shuffle
from .session import Session
from .threads import get_threads


def _counter(name, kind, doc):
    def get(self):
        return kind(self._session.job[name])

    def put(self, value):
        self._session.job[name] = value

    return property(get, put, doc=doc)


class Training:
    """A run of `optimizer` over batches of `X`, `y`, `weights`.

    Parameters, state and counters are changed by the kernels themselves, step by step, so an
    exception between two calls, Ctrl-C included, finds them all of one step.
    """

    def __init__(self, plan, optimizer, X, y, weights, *, batch_size, seed, shuffle):
        batch_size = min(batch_size, len(X))
        self.batches = -(-len(X) // batch_size)
        self.epoch = 0  # its number keys the shuffle
        self._seed = np.uint64(seed)
        self._order = np.empty(len(X), np.int64) if shuffle else None
        self._partners = np.empty(16, np.int64)  # room for the shuffle
        self._ordered = None  # the epoch whose order stands in _order
        self._session = Session(plan, get_threads(), batch_size, optimizer)
        self._session.bind(TRAIN, X, y, weights)
        self._session.job["normalise"] = True
        if shuffle:
            self._session.job["order"] = self._order.ctypes.data

    step = _counter("step", int, "Steps done in all.")
    batch = _counter("batch", int, "Batches of this epoch done.")
    loss_sum = _counter("loss_sum", float, "Weighted losses of this epoch so far, summed.")
    weight_sum = _counter("weight_sum", float, "Weights of this epoch so far, summed.")

    @property
    def theta(self):
        """Parameters, (P,), a copy."""
        return self._session.flat("theta")

    @theta.setter
    def theta(self, theta):
        self._session.set_theta(theta)

    @property
    def slots(self):
        """State arrays of the optimizer, (slots, P), a copy."""
        count, size = self._session.slots, self._session.layout.plan.size
        slots = np.empty((count, size), self._session.layout.dtype)
        for number in range(count):
            slots[number] = self._session.flat("slots", number)
        return slots

    @slots.setter
    def slots(self, slots):
        for number, slot in enumerate(slots):
            self._session.layout.pack(slot, self._session.region("slots", number))

    def advance(self, learning_rates):
        """Run a step for each of `learning_rates` (float64), at most to the end of the epoch.

        Returns the number of steps done; fewer than asked where the loss of the next is not finite.
        """
        if self._order is not None and self._ordered != self.epoch:
            self._ordered = None
            shuffle(self._order, self._partners, self._seed, self.epoch)
            self._ordered = self.epoch
        self._session.job["rates"] = learning_rates.ctypes.data
        return self._session.run(min(len(learning_rates), self.batches - self.batch))

    def next_epoch(self):
        """Go on to the first batch of the next epoch."""
        self.epoch += 1
        self.batch, self.loss_sum, self.weight_sum = 0, 0.0, 0.0

    def is_finite(self):
        """Whether all parameters are finite numbers."""
        theta = self._session.region("theta")
        # A sum that is finite says so at a tenth of the cost.
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(theta.sum()) or np.isfinite(theta).all())

    def _counters(self):
        return self.epoch, self.step, self.batch, self.loss_sum, self.weight_sum

    def snapshot(self):
        """Copy of everything that a step changes."""
        return self._counters(), self._session.state.copy()

    def restore(self, snapshot):
        """Stand again where `snapshot` was taken."""
        counters, self._session.state[...] = snapshot
        self.epoch, self.step, self.batch, self.loss_sum, self.weight_sum = counters
