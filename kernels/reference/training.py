"""Mini-batch training, one step after the other: gather, gradients, clip, sum, noise, update."""

import math

import numpy as np

from ..plan import Batches
from . import sparse
from .network import backpropagate, gradient_sum, parameters
from .noise import gaussian_noise
from .optimizers import noise_deviation, update
from .per_example import clipped, norms

STATE = (
    *("theta", "slots", "step", "epoch", "batch", "loss_sum", "weight_sum"),
    *("variance_sum", "signal_sum", "example_losses", "example_norms", "probabilities"),
)
DATA = "_X", "_y", "_weights", "_examples", "_first_batch"


def _array(name, doc):
    """An attribute that is read as a copy, and copied from what is assigned to it."""

    def get(self):
        kept = getattr(self, name)
        return None if kept is None else kept.copy()

    def put(self, array):
        kept = getattr(self, name)
        if kept is not None:
            kept[:] = array

    return property(get, put, doc=doc)


class Training:
    """A training run that can be stopped after any step, and resumed to the same bits.

    Parameters
    ----------
    plan : Plan
    optimizer
        Its `name`, its number of `slots` and its hyper-parameters.
    X : ndarray or SparseRows, shape (N, inputs)
        N may be 0 where `rebind` gives the data.
    y : ndarray, shape (N, K), or of int64 labels, shape (N,)
    weights : ndarray, shape (N,), or None
    batch_size : int
    sampler : callable, optional
        Called with this training when the first step of an epoch is due, or the first one at all,
        and returns the epoch's `Batches`. None: all examples in order.
    scale : float or "sum", optional
        A step follows ``scale * sum_i w_i g_i``. None: 1 / sum_i w_i, or 0 if that sum is 0.
        "sum": N / n in a batch of n examples, as if it were all N.
    clip : optional
        What becomes of each g_i before the sum: see `per_example.clipped`.
    noise : pair, optional
        A standard deviation and a seed: to the sum is added as much Gaussian noise, times `scale`.
        None as deviation: the noise of the optimizer "sgld".
    l2 : float
        To the sum of a batch's losses comes ``l2 / 2`` times the sum of the squares of all weights,
        biases left out, but not to `loss_sum`; so ``scale * l2 * weight`` to its gradient.
    monitor : sequence of str
        Of "losses", "gradient_norms" and "noise_scale": which of the attributes below are kept.

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
        Steps in an epoch, or until the end of the data that `rebind` has given. The last batch may
        be smaller than the others.
    example_losses, example_norms : ndarray, shape (N,), or None
        The loss of each example when it was last in a batch, before the step and without its
        weight, and the norm of its gradient before clipping; a copy. NaN where it never was.
    variance_sum, signal_sum : float
        Over the steps of the current epoch: unbiased estimates of the total variance of the
        gradients, tr(Sigma), and of the squared norm of their mean, |G|**2; their ratio is the
        gradient noise scale (McCandlish et al. 2018, "An empirical model of large-batch training").
    probabilities : ndarray, shape (N,), or None
        The sampler's, of the current epoch.

    Examples
    --------
    The mean of two numbers, by two epochs of one step each:

    >>> from types import SimpleNamespace
    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(1, 1, "identity"),), "squared_error", "float64")
    >>> sgd = SimpleNamespace(name="sgd", slots=0, momentum=0.0, nesterov=False, weight_decay=0.0)
    >>> X, y = np.zeros((2, 1)), np.array([[1.0], [3.0]])
    >>> training = Training(plan, sgd, X, y, None, batch_size=2)
    >>> training.advance(np.array([0.5]))
    1
    >>> training.loss_sum, training.weight_sum, training.theta
    (10.0, 2.0, array([0., 2.]))
    >>> training.next_epoch()
    >>> training.advance(np.array([0.5])), training.loss_sum
    (1, 2.0)
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
        self._plan = plan
        self._optimizer = optimizer
        self._bind(X, y, weights, 0)
        self._batch_size = batch_size
        self._sampler = sampler
        self._scale = scale
        self._clip = clip
        self._noise = noise
        self._l2 = l2
        self._finds_noise_scale = "noise_scale" in monitor
        self._theta = np.zeros(plan.size, dtype=plan.dtype)
        self._slots = np.zeros((optimizer.slots, plan.size), dtype=plan.dtype)
        unknown = np.full(len(X), np.nan, dtype=plan.dtype)
        self._example_losses = unknown.copy() if "losses" in monitor else None
        self._example_norms = unknown.copy() if "gradient_norms" in monitor else None
        self.step = 0
        self.epoch = 0
        self._begin_epoch()

    theta = _array("_theta", "The parameters, a copy.")
    slots = _array("_slots", "The optimizer's state, a copy.")
    example_losses = _array("_example_losses", "The last loss of each example, a copy.")
    example_norms = _array("_example_norms", "The last norm of each example's gradient, a copy.")

    @property
    def batches(self):
        """Steps in an epoch."""
        return self._first_batch + math.ceil(self._examples / self._batch_size)

    def rebind(self, X, y, weights, rows=None, first_batch=0):
        """Go on with other data, which have the batches of the epoch from `first_batch` on.

        Parameters
        ----------
        X, y, weights
            As before.
        rows : ndarray of int64, shape (N,), optional
            The order in which batches take the examples.
        first_batch : int
            At most `batch`.
        """
        self._bind(X, y, weights, first_batch)
        self._epoch_batches = Batches(rows)

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
            if not self._take_step(lr):
                break
        return self.step - before

    def next_epoch(self):
        """Go to the start of the next epoch."""
        self.epoch += 1
        self._first_batch = 0
        self._begin_epoch()

    def is_finite(self):
        """Whether all parameters are finite numbers."""
        return bool(np.isfinite(self._theta).all())

    def snapshot(self):
        """All that changes in training, for `restore`."""
        return {name: getattr(self, name) for name in (*DATA, *STATE, "_epoch_batches")}

    def restore(self, snapshot):
        """Return to where `snapshot` was taken."""
        for name, value in snapshot.items():
            setattr(self, name, value)

    def _bind(self, X, y, weights, first_batch):
        self._examples = len(X)
        self._X, self._y, self._first_batch = sparse.examples(X), y, first_batch
        self._weights = np.ones(len(X), dtype=X.dtype) if weights is None else weights

    def _begin_epoch(self):
        self.batch = 0
        self.loss_sum = 0.0
        self.weight_sum = 0.0
        self.variance_sum = 0.0
        self.signal_sum = 0.0
        self.probabilities = None
        self._epoch_batches = None

    @np.errstate(over="ignore", invalid="ignore")  # as in `network`: the loss will tell
    def _take_step(self, lr):
        """Whether the step could be taken: from a finite loss."""
        batch, weights = self._batch()
        rows, weights = batch[weights != 0], weights[weights != 0]  # for 0 * inf is not 0
        weight_sum = float(weights.sum(dtype=np.float64))
        scale = self._scale
        if scale is None:
            scale = 1 / weight_sum if weight_sum else 0.0
        elif scale == "sum":
            scale = self._examples / len(batch) if len(batch) else 0.0

        losses, layers = backpropagate(
            self._plan, self._theta, self._X[rows], self._y[rows], rows, self.step
        )
        loss_sum = float(np.sum(weights * losses, dtype=np.float64))
        if not math.isfinite(loss_sum):
            return False
        if self._example_losses is not None:
            self._example_losses[rows] = losses
        if self._example_norms is not None:
            self._example_norms[rows] = norms(layers, per_layer=False)

        if self._clip is not None:
            layers, _ = clipped(layers, self._clip)
        gradient = gradient_sum(layers, scale * weights)
        if self._finds_noise_scale and len(rows) > 1:
            self._compare_gradients(layers, weights.astype(np.float64) / weight_sum)
        if self._l2:
            self._add_penalty(gradient, scale)
        if self._noise is not None:
            deviation, seed = self._noise
            if deviation is None:
                deviation = noise_deviation(self._optimizer, lr)
            else:
                deviation *= scale
            gradient += deviation * gaussian_noise(self._plan, seed, self.step)

        update(self._theta, self._slots, gradient, self._optimizer, lr, self.step)
        self.step += 1
        self.batch += 1
        self.loss_sum += loss_sum
        self.weight_sum += weight_sum
        return True

    def _add_penalty(self, gradient, scale):
        """Add the gradient of the penalty on large weights."""
        parts = parameters(self._plan, gradient), parameters(self._plan, self._theta)
        for (g_weight, _), (weight, _) in zip(*parts, strict=True):
            g_weight += scale * self._l2 * weight

    def _compare_gradients(self, layers, p):
        """Add to the sums what the gradients g of a batch, of weights p, tell of each other.

        With ``q = sum p**2``, the expectation of ``sum p |g|**2`` is ``|G|**2 + tr(Sigma)``, and
        that of ``|sum p g|**2`` is ``|G|**2 + q tr(Sigma)``: two equations for the two unknowns
        (McCandlish et al. 2018, appendix A.1, with weights).
        """
        q = float(p @ p)
        if q == 1:  # all others weigh nothing beside one
            return
        mean_square = float(p @ norms(layers, per_layer=False).astype(np.float64) ** 2)
        square_mean = float(np.sum(gradient_sum(layers, p).astype(np.float64) ** 2))
        self.variance_sum += (mean_square - square_mean) / (1 - q)
        self.signal_sum += (square_mean - q * mean_square) / (1 - q)

    def _batch(self):
        """The rows of the current batch and their weights."""
        if self._epoch_batches is None:
            self._epoch_batches = Batches() if self._sampler is None else self._sampler(self)
            self.probabilities = self._epoch_batches.probabilities
        rows, starts, weights, _ = self._epoch_batches
        if rows is None:
            rows = np.arange(self._examples)
        if starts is None:
            starts = np.arange(self.batches + 1) * self._batch_size  # slices end with the rows
        if weights is None:
            weights = self._weights
        batch = self.batch - self._first_batch
        rows = rows[starts[batch] : starts[batch + 1]]
        return rows, weights[rows]
