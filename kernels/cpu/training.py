"""Mini-batch gradient descent that stands at a step boundary whenever Python looks."""

import math

import numpy as np

from ..plan import Batches
from .job import BY_COUNT, BY_WEIGHT, GIVEN, TRAIN
from .session import Session
from .threads import get_threads

# What a step or an epoch changes, beside the session's state.
_CHANGING = (
    "epoch", "step", "batch", "loss_sum", "weight_sum", "variance_sum", "signal_sum",
    "example_losses", "example_norms", "probabilities",
)  # fmt: skip


def _entry(name, kind, doc):
    def get(self):
        return kind(self._session.job[name])

    def put(self, value):
        self._session.job[name] = value

    return property(get, put, doc=doc)


def _recorded(name, doc):
    def get(self):
        return None if self._recorded[name] is None else self._recorded[name].copy()

    def put(self, values):
        if values is not None and self._recorded[name] is not None:
            self._recorded[name][:] = values

    return property(get, put, doc=doc)


class Training:
    """A run of `optimizer` over batches of `X`, `y`, `weights`.

    Parameters, state and counters are changed by the kernels themselves, step by step, so an
    exception between two calls, Ctrl-C included, finds them all of one step.
    """

    def __init__(
        self,
        plan,
        optimizer,
        X,
        y,
        weights,
        *,
        batch_size,
        sampler=None,
        scale=None,
        clip=None,
        noise=None,
        l2=0.0,
        monitor=(),
    ):
        self._batch_size = batch_size = min(batch_size, len(X) or batch_size)
        self._data, self._first_batch = (X, y, weights), 0
        self.batches = -(-len(X) // batch_size)
        self.epoch = 0
        self.probabilities = None
        self._sampler = sampler
        self._weights = weights
        self._batches, self._batches_epoch = Batches(), None  # and the epoch that they are of
        self._recorded = dict.fromkeys(("example_losses", "example_norms"))
        for name, asked in ("example_losses", "losses"), ("example_norms", "gradient_norms"):
            if asked in monitor:
                self._recorded[name] = np.full(len(X), np.nan, plan.dtype)
        self._options = plan, optimizer, scale, clip, noise, l2, monitor
        self._session = self._session_for_data()

    def _session_for_data(self):
        """A session for data of the kind at hand, sparse or dense."""
        plan, optimizer, scale, clip, noise, l2, monitor = self._options
        # Of batches that differ in size few have more than six standard deviations more.
        more = 0 if self._sampler is None else math.isqrt(36 * self._batch_size)
        sparse = plan.skips_zeros(self._data[0])
        session = Session(
            plan, get_threads(), self._batch_size, optimizer, more=more, sparse=sparse
        )
        session.bind(TRAIN, *self._data)
        job = session.job
        job["scaling"] = {None: BY_WEIGHT, "sum": BY_COUNT}.get(scale, GIVEN)
        if job["scaling"] == GIVEN:
            job["scale"] = scale
        if clip is not None or monitor:
            session.treat_each(clip)
        if noise is not None:
            session.add_noise(*noise)
        job["l2"] = l2
        job["noise_scale"] = "noise_scale" in monitor
        for name, values in self._recorded.items():
            job[name] = 0 if values is None else values.ctypes.data
        job["norm_columns"] = 1
        return session

    step = _entry("step", int, "Steps done in all.")
    loss_sum = _entry("loss_sum", float, "Weighted losses of this epoch so far, summed.")
    weight_sum = _entry("weight_sum", float, "Weights of this epoch so far, summed.")
    variance_sum = _entry("variance_sum", float, "Estimates of tr(Sigma), summed over its steps.")
    signal_sum = _entry("signal_sum", float, "Estimates of |G|^2, likewise.")
    example_losses = _recorded("example_losses", "Loss of each example when last seen, (N,).")
    example_norms = _recorded("example_norms", "Norm of its gradient then, (N,).")

    @property
    def batch(self):
        """Batches of this epoch done."""
        return self._first_batch + self._session.job["batch"]

    @batch.setter
    def batch(self, batch):
        self._session.job["batch"] = batch - self._first_batch

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

    def rebind(self, X, y, weights, rows=None, first_batch=0):
        """Go on with other data, which have the batches of the epoch from `first_batch` on.

        `rows` is the order in which they take the examples.
        """
        batch = self.batch
        self._data, self._first_batch = (X, y, weights), first_batch
        self._weights = weights
        layout = self._session.layout
        if layout.plan.skips_zeros(X) == layout.sparse:
            self._session.rebind(X, y, weights)
        else:
            values, state = self._values(), self._session.state
            self._session = self._session_for_data()
            self._put(values, state)
        self._take(Batches(rows), self._batches_epoch)
        self.batches = first_batch - (-len(X) // self._batch_size)
        self.batch = batch

    def advance(self, learning_rates):
        """Run a step for each of `learning_rates` (float64), at most to the end of the epoch.

        Returns the number of steps done; fewer than asked where the loss of the next is not finite.
        """
        if self._sampler is not None and self._batches_epoch != self.epoch:
            self._take(self._sampler(self), self.epoch)
        self._session.job["rates"] = learning_rates.ctypes.data
        return self._session.run(min(len(learning_rates), self.batches - self.batch))

    def _take(self, batches, epoch):
        """Let these be the batches of the epoch."""
        job = self._session.job
        rows, starts = batches.rows, batches.starts
        job["order"] = 0 if rows is None else rows.ctypes.data
        job["starts"] = 0 if starts is None else starts.ctypes.data
        self._session.weigh_by(self._weights if batches.weights is None else batches.weights)
        self.probabilities = batches.probabilities
        self._batches, self._batches_epoch = batches, epoch

    def next_epoch(self):
        """Go on to the first batch of the next epoch."""
        self.epoch += 1
        self.batches, self._first_batch = self.batches - self._first_batch, 0
        self.batch, self.loss_sum, self.weight_sum = 0, 0.0, 0.0
        self.variance_sum, self.signal_sum, self.probabilities = 0.0, 0.0, None

    def is_finite(self):
        """Whether all parameters are finite numbers."""
        theta = self._session.region("theta")
        # A sum that is finite says so at a tenth of the cost.
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(theta.sum()) or np.isfinite(theta).all())

    def snapshot(self):
        """Copy of everything that a step changes."""
        data = self._data, self._first_batch
        batches = self._batches, self._batches_epoch
        return self._values(), self._session.state.copy(), batches, data

    def restore(self, snapshot):
        """Stand again where `snapshot` was taken."""
        values, state, batches, (data, first_batch) = snapshot
        self.rebind(*data, first_batch=first_batch)
        self._take(*batches)
        self._put(values, state)

    def _values(self):
        return {name: getattr(self, name) for name in _CHANGING}

    def _put(self, values, state):
        self._session.state[...] = state
        for name, value in values.items():
            setattr(self, name, value)
