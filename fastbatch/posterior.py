"""Samples of a posterior distribution, and what they say of parameters and of predictions."""

from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbatch import arrays
from fastbatch.network import Network

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What each of S parameter vectors predicts for N examples.

    Parameters
    ----------
    values : ndarray, shape (S, N, K)
        Probabilities, rates, or the network's outputs: see `PosteriorSamples.predict`.
    """

    values: Array

    def mean(self) -> Array:
        """Mean over the samples, (N, K): of probabilities or rates, the predictive distribution's.

        Examples
        --------
        >>> Predictions(np.array([[[1.0]], [[3.0]]])).mean()
        array([[2.]])
        """
        mean: Array = self.values.mean(axis=0, dtype=np.float64)
        return mean

    def variance(self) -> Array:
        """Variance over the samples, (N, K): how little the data have said there.

        A target has the variance of its own noise beside it.

        Examples
        --------
        >>> Predictions(np.array([[[1.0]], [[3.0]]])).variance()
        array([[1.]])
        """
        variance: Array = self.values.var(axis=0, dtype=np.float64)
        return variance

    def quantiles(self, q: ArrayLike) -> Array:
        """Quantiles over the samples, shape of q + (N, K), as ``numpy.quantile``.

        Examples
        --------
        >>> Predictions(np.arange(5.0).reshape(5, 1, 1)).quantiles([0.25, 0.5]).ravel()
        array([1., 2.])
        """
        quantiles: Array = np.quantile(self.values, np.asarray(q, np.float64), axis=0)
        return quantiles


def effective_sample_size(values: Array) -> Array:
    """How many independent samples would tell each column's mean as well, (K,).

    Parameters
    ----------
    values : ndarray, shape (S, K)
        In the order in which a chain has visited them.

    Examples
    --------
    Ten times the same number tells no more than one:

    >>> values = np.random.default_rng(0).normal(size=(1000, 1)).repeat(10, axis=0)
    >>> abs(effective_sample_size(values) / 1000 - 1) < 0.5
    array([ True])
    """
    if len(values) < 2:
        raise ValueError(f"effective_sample_size needs at least 2 samples, found {len(values)}")
    length = isqrt(len(values))
    batches = values[: len(values) // length * length].astype(np.float64)
    means = batches.reshape(-1, length, values.shape[1]).mean(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        size: Array = len(batches) * batches.var(axis=0) / (length * means.var(axis=0, ddof=1))
    size[np.ptp(batches, axis=0) == 0] = np.nan  # where rounding may have left a variance
    return size


@dataclass(frozen=True, eq=False)
class PosteriorSamples:
    """Parameters that a chain has passed through, as ``Trainer.sample`` collects them.

    Samples of several chains are added: ``one + other``.

    Parameters
    ----------
    network : Network
    theta : ndarray, shape (S, P)
    steps : ndarray of int64, shape (S,)
        How many steps the trainer had done at each.

    Examples
    --------
    The mean of five numbers with noise of variance 1/2, given a flat prior:

    >>> from fastbatch import SGLD, Dense, Network, Trainer
    >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
    >>> trainer = Trainer(net, SGLD(0.05), batch_size=5, theta=[0, 2])
    >>> X, y = [[0], [0], [0], [0], [0]], [1.8, 1.9, 2.0, 2.1, 2.2]
    >>> samples = trainer.sample(X, y, 400, thinning=5)
    >>> samples.theta.shape
    (400, 2)
    >>> abs(samples.mean() - [0, 20 / 11]) < 0.1
    array([ True,  True])
    >>> samples.predict(X).quantiles([0.05, 0.95]).shape
    (2, 5, 1)
    """

    network: Network
    theta: Array
    steps: Array

    def __len__(self) -> int:
        return len(self.theta)

    def __add__(self, other: "PosteriorSamples") -> "PosteriorSamples":
        if not isinstance(other, PosteriorSamples):
            return NotImplemented
        if other.network != self.network:
            raise ValueError("samples can be added if they are of one network, found two")
        return PosteriorSamples(
            self.network,
            np.concatenate([self.theta, other.theta]),
            np.concatenate([self.steps, other.steps]),
        )

    def mean(self) -> Array:
        """Mean of the parameters, (P,), in float64; each sample counts for the same.

        Where steps become shorter, samples should count by their step's size: ``np.average(theta,
        axis=0, weights=schedule(steps - 1))`` (Welling & Teh 2011, equation 11).
        """
        self._check_not_empty()
        mean: Array = self.theta.mean(axis=0, dtype=np.float64)
        return mean

    def covariance(self) -> Array:
        """Covariance of the parameters, (P, P), in float64: a mean, divided by S, not S - 1."""
        centred = self.theta - self.mean()
        covariance: Array = centred.T @ centred / len(self)
        return covariance

    def effective_sample_size(self) -> Array:
        """How many independent samples would tell each parameter's mean as well, (P,).

        By the means of isqrt(S) samples in a row: Flegal & Jones 2010, "Batch means and spectral
        variance estimators in Markov chain Monte Carlo". Of one chain; NaN of what never moves.

        Raises
        ------
        ValueError
            For fewer than 2 samples.
        """
        return effective_sample_size(self.theta)

    def predict(self, X: ArrayLike) -> Predictions:
        """Predict with all samples.

        Parameters
        ----------
        X : array_like, shape (N, inputs)

        Returns
        -------
        Predictions
            Of shape (S, N, K): for ``"cross_entropy"`` and ``"binary_cross_entropy"`` of
            probabilities, for ``"poisson"`` of rates, else of the network's outputs.

        Raises
        ------
        ValueError, TypeError
            If X has the wrong shape or kind, or numbers that are not finite, or there is no sample.
        """
        self._check_not_empty()
        net = self.network
        X = arrays.matrix("X", X, net.inputs, net.dtype, finite=True, backend=net.backend)
        values = np.empty((len(self), len(X), net.outputs), net.dtype)
        for theta, value in zip(self.theta, values, strict=True):
            value[:] = net.predict(theta, X, check_finite=False)
        return Predictions(_responses(net.loss, values))

    def _check_not_empty(self) -> None:
        if not len(self):
            raise ValueError("there are no samples, the chain is in its burn-in: sample again")


class Chain:
    """Collects the parameters of some steps of a training when it comes by.

    Parameters
    ----------
    network : Network
    steps : ndarray of int64, shape (S,)
        In ascending order.
    """

    def __init__(self, network: Network, steps: Array) -> None:
        self._network, self._steps = network, steps
        self._theta = np.empty((len(steps), network.n_parameters), network.dtype)
        self._count = 0

    @property
    def is_complete(self) -> bool:
        """Whether no sample is missing."""
        return self._count == len(self._steps)

    def distance(self, training: Any) -> int:
        """How many steps there are to the next sample."""
        return int(self._steps[self._count]) - int(training.step)

    def visit(self, training: Any) -> None:
        """Take a sample if one is due."""
        if not self.distance(training):
            self._theta[self._count] = training.theta
            self._count += 1

    def samples(self, until: int) -> PosteriorSamples:
        """Those taken, but none after step `until`, to which a training may have gone back."""
        count = min(self._count, int(np.searchsorted(self._steps, until, side="right")))
        return PosteriorSamples(self._network, self._theta[:count], self._steps[:count])


def _responses(loss: str, outputs: Array) -> Array:
    """What outputs (..., K) of a network mean: probabilities, rates, or just what they are."""
    responses = outputs
    if loss == "cross_entropy":
        from scipy.special import softmax  # half of what every command would take to start

        responses = softmax(outputs, axis=-1)
    elif loss == "binary_cross_entropy":
        from scipy.special import expit

        responses = expit(outputs)
    elif loss == "poisson":
        with np.errstate(over="ignore"):
            responses = np.exp(outputs)
    return responses
