"""Mini-batch gradient descent, many steps of which are launched without looking back."""

from contextlib import suppress
from typing import NamedTuple

import numpy as np

from ..plan import Batches
from .optimizers import constants, noise_deviations
from .philox import bits_of
from .session import Session, Sums, Update
from .toolkit import to_device

# What steps, epochs and other data change, beside what is on the device.
_CHANGING = (
    "epoch", "step", "batch", "batches", "_first_batch", "loss_sum", "weight_sum", "variance_sum",
    "signal_sum", "example_losses", "example_norms", "probabilities",
)  # fmt: skip


def _recorded(name, doc):
    """An attribute that is read as a copy of what is on the device, and copied there."""

    def get(self):
        kept = getattr(self, name)
        return None if kept is None else kept.copy_to_host()

    def put(self, values):
        kept = getattr(self, name)
        if kept is not None and values is not None:
            kept.copy_to_device(np.ascontiguousarray(values, kept.dtype))

    return property(get, put, doc=doc)


class _Step(NamedTuple):
    """A step as the host sees it."""

    start: int  # of its examples, in the order
    stop: int
    weight: float  # the sum of theirs
    squares: float  # and of their squares
    scale: float
    update: Update


class Training:
    """A run of `optimizer` over batches of `X`, `y`, `weights`.

    What the host has to know of a step, its weights, its scale and the constants of its update, is
    known before; what it wants to know of many, their losses and how many were taken, is read
    after the last of them.
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
        self._plan, self._optimizer, self._sampler = plan, optimizer, sampler
        self._scale, self._noise, self._l2 = scale, noise, l2
        self._batch_size = batch_size = min(batch_size, len(X) or batch_size)
        self._finds_noise_scale = "noise_scale" in monitor
        self._session = session = Session(plan, optimizer)
        if clip is not None or monitor:
            session.treat_each(clip)
        unknown = np.full(len(X), np.nan, plan.dtype)
        self._example_losses = to_device(unknown) if "losses" in monitor else None
        self._example_norms = to_device(unknown) if "gradient_norms" in monitor else None
        session.reserve(batch_size, batch_size)
        self.epoch = self.step = self.batch = 0
        self.loss_sum = self.weight_sum = self.variance_sum = self.signal_sum = 0.0
        self._bind(X, y, weights)
        self._take(Batches(), None)
        session.record(self._example_losses, self._example_norms)

    example_losses = _recorded("_example_losses", "Loss of each example when last seen, (N,).")
    example_norms = _recorded("_example_norms", "Norm of its gradient then, (N,).")

    @property
    def theta(self):
        """Parameters, (P,), a copy."""
        return self._session.layout.unpack(self._session.theta.copy_to_host())

    @theta.setter
    def theta(self, theta):
        self._session.set_theta(theta)

    @property
    def slots(self):
        """State arrays of the optimizer, (slots, P), a copy."""
        count, layout = self._session.n_slots, self._session.layout
        packed = self._session.slots.copy_to_host().reshape(-1, layout.parameters)
        slots = np.empty((count, layout.plan.size), layout.dtype)
        for slot, ours in zip(slots, packed[:count], strict=True):
            slot[:] = layout.unpack(ours)
        return slots

    @slots.setter
    def slots(self, slots):
        if self._session.n_slots:
            packed = [self._session.layout.pack(slot) for slot in slots]
            self._session.slots.copy_to_device(np.concatenate(packed))

    def rebind(self, X, y, weights, rows=None, first_batch=0):
        """Go on with other data, which have the batches of the epoch from `first_batch` on.

        `rows` is the order in which they take the examples.
        """
        self._bind(X, y, weights, first_batch)
        self._take(Batches(rows), self._batches_epoch)

    def _bind(self, X, y, weights, first_batch=0):
        """Let these be the data, from that batch of the epoch on; `_take` has order and weights."""
        self._data, self._first_batch = (X, y, weights), first_batch
        self._examples = len(X)
        self._session.bind(X, y)
        self.batches = first_batch + -(-len(X) // self._batch_size)

    def advance(self, learning_rates):
        """Run a step for each of `learning_rates` (float64), at most to the end of the epoch.

        Returns the number of steps done; fewer than asked where the loss of the next is not finite.
        """
        if self._sampler is not None and self._batches_epoch != self.epoch:
            self._take(self._sampler(self), self.epoch)
        most = max(min(len(learning_rates), self.batches - self.batch), 0)
        steps = self._steps(learning_rates[:most])
        session, sums = self._session, Sums(max(most, 1), self._finds_noise_scale)
        session.stopped.copy_to_device(np.zeros(1, np.int64))
        launched = 0
        try:
            for step in steps:
                session.step(step.start, step.stop, step.scale, sums, launched, step.update)
                launched += 1
        except BaseException:  # counters and parameters are those of one step, if it can be told
            with suppress(Exception):  # a lost device must not hide the error that lost it
                self._count(steps[:launched], sums)
            raise
        return self._count(steps, sums)

    @np.errstate(over="ignore")  # what does not fit becomes infinite, and the next loss will tell
    def _steps(self, rates):
        """The steps at these rates from here on."""
        dtype, starts = np.dtype(self._plan.dtype), self._batches.starts
        noisy, seed, deviations = self._noise is not None, 0, np.zeros(len(rates))
        if noisy:
            level, seed = self._noise
            if self._optimizer.name == "sgld":
                deviations = noise_deviations(self._optimizer, rates)
        steps = []
        all_constants = constants(self._optimizer, self.step, rates).astype(dtype)
        for number, own in enumerate(all_constants):
            batch = self.batch - self._first_batch + number
            start, stop = batch * self._batch_size, (batch + 1) * self._batch_size
            if starts is not None:
                start, stop = int(starts[batch]), int(starts[batch + 1])
            stop = min(stop, self._positions)
            weight, squares = self._weight_sums(start, stop)
            scale = self._scale
            if scale is None:
                scale = 1.0 / weight if weight else 0.0
            elif scale == "sum":
                scale = self._examples / (stop - start) if stop > start else 0.0
            deviation = deviations[number]
            if noisy and self._optimizer.name != "sgld":
                deviation = scale * level
            update = Update(
                tuple(own),
                dtype.type(scale * self._l2),
                dtype.type(deviation),
                self.step + number,
                bits_of(seed),
                noisy,
            )
            steps.append(_Step(start, stop, weight, squares, scale, update))
        return steps

    def _weight_sums(self, start, stop):
        """Sums of the weights at these positions and of their squares, in float64, in their order.

        NumPy's cumulative sums go from one to the next, its sums do not.
        """
        if self._weights is None:
            return float(stop - start), float(stop - start)
        rows = slice(start, stop) if self._batches.rows is None else self._batches.rows[start:stop]
        weights = self._weights[rows].astype(np.float64)
        if not len(weights):
            return 0.0, 0.0
        return float(np.cumsum(weights)[-1]), float(np.cumsum(weights * weights)[-1])

    def _count(self, steps, sums):
        """Look at what these steps have left, and count those that were taken."""
        stopped = int(self._session.stopped.copy_to_host()[0])
        done = stopped - 1 if stopped else len(steps)
        losses, squares = sums.losses.copy_to_host(), sums.squares.copy_to_host()
        if self._finds_noise_scale:
            of_gradients = sums.of_gradients.copy_to_host()
        for number, step in enumerate(steps[:done]):
            self.loss_sum += float(losses[number])
            self.weight_sum += step.weight
            if self._finds_noise_scale:
                self._estimate_noise(step, float(squares[number]), float(of_gradients[number]))
        self.step += done
        self.batch += done
        return done

    def _estimate_noise(self, step, square_sum, of_gradient):
        """Add this batch's unbiased estimates of the gradients' variance and squared mean.

        McCandlish et al. 2018, "An empirical model of large-batch training", appendix A.1, here
        with weights: where p are those divided by their sum and q is the sum of the squares of p,
        the mean of squared norms expects ``|G|^2 + tr``, that of the mean ``|G|^2 + q tr``.
        """
        total = step.weight * step.weight
        q = step.squares / total if total > 0.0 else 1.0
        if q >= 1.0:
            return
        of_mean = of_gradient / (total * step.scale * step.scale)
        mean = square_sum / step.weight
        self.variance_sum += (mean - of_mean) / (1.0 - q)
        self.signal_sum += (of_mean - q * mean) / (1.0 - q)

    def _take(self, batches, epoch):
        """Let these be the batches of the epoch."""
        rows, starts = batches.rows, batches.starts
        self._weights = self._data[2] if batches.weights is None else batches.weights
        self._session.take_order(rows)
        self._session.weigh_by(self._weights)
        if starts is not None and len(starts) > 1:
            self._session.reserve(int(np.diff(starts).max()), self._batch_size)
        self._positions = self._examples if rows is None else len(rows)
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
        return bool(np.isfinite(self.theta).all())

    def snapshot(self):
        """Copy of everything that a step changes."""
        values = {name: getattr(self, name) for name in _CHANGING}
        state = self._session.theta.copy_to_host(), self._session.slots.copy_to_host()
        return values, state, (self._batches, self._batches_epoch), self._data

    def restore(self, snapshot):
        """Stand again where `snapshot` was taken."""
        values, (theta, slots), batches, data = snapshot
        self._session.theta.copy_to_device(theta)
        self._session.slots.copy_to_device(slots)
        if data is not self._data:
            self._bind(*data)
        self._take(*batches)
        for name, value in values.items():
            setattr(self, name, value)
