"""How much the gradients of examples agree: mean, variance, noise scale."""

from dataclasses import dataclass
from math import inf, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.backends import Plan

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class GradientStatistics:
    """Mean and spread of the gradients g_i of N examples.

    The examples have weights p_i that sum to 1, equal ones unless sample weights are given, and
    ``q = sum_i p_i**2``. The variance, and what rests on it, is that of the distribution the
    examples come from; it is NaN with fewer than two examples of positive weight.

    Attributes
    ----------
    loss : float
        ``sum_i p_i loss_i``.
    mean : ndarray, shape (P,)
        The mean gradient, ``m = sum_i p_i g_i``.
    variance : ndarray, shape (P,)
        Of each element, without bias: ``sum_i p_i (g_i - m)**2 / (1 - q)``. It is a difference of
        two sums, so what is far below eps times the squared mean is lost.
    norms : ndarray, shape (N,)
        ``|g_i|``; 0 for an example of weight 0.
    cosines : ndarray, shape (N,)
        Of the angles between g_i and m: negative where a small step against m increases the
        example's loss. 0 where one of the two is 0.
    weights : ndarray, shape (N,)
        The p_i.

    Examples
    --------
    >>> from fastbatch import Dense, Network
    >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
    >>> statistics = net.gradient_statistics([2, 1], [[0], [0]], [0, -1])  # of (0, 2) and (0, 4)
    >>> statistics.mean, statistics.variance
    (array([0., 3.], dtype=float32), array([0., 2.], dtype=float32))
    >>> statistics.noise_scale
    0.25
    """

    loss: float
    mean: Array
    variance: Array
    norms: Array
    cosines: Array
    weights: Array

    @property
    def signal_to_noise(self) -> Array:
        """The mean over the standard deviation of each element, without sign; 0 for a mean of 0."""
        deviation = np.sqrt(self.variance)
        with np.errstate(divide="ignore"):
            return np.divide(
                abs(self.mean), deviation, out=np.zeros_like(deviation), where=self.mean != 0
            )

    @property
    def mean_squared_norm(self) -> float:
        """``sum_i p_i |g_i|**2``."""
        return float(self.weights @ self.norms.astype(np.float64) ** 2)

    @property
    def squared_mean_norm(self) -> float:
        """The squared norm of the true mean, estimated without bias: so it may be negative."""
        squared = float(np.sum(self.mean.astype(np.float64) ** 2))
        return squared - float(self.weights @ self.weights) * self.total_variance

    @property
    def total_variance(self) -> float:
        """The sum of all variances, the trace of the covariance matrix."""
        return float(self.variance.sum(dtype=np.float64))

    @property
    def noise_scale(self) -> float:
        """The batch size above which more examples hardly improve a step.

        The simple noise scale, `total_variance` over `squared_mean_norm`: McCandlish et al. 2018,
        "An empirical model of large-batch training", eq. 2.9. Infinite where noise hides the mean,
        NaN of one example.
        """
        return noise_scale(self.total_variance, self.squared_mean_norm)


def noise_scale(variance: float, signal: float) -> float:
    """The ratio of the two, each an unbiased estimate or a sum of such.

    Examples
    --------
    >>> noise_scale(6.0, 2.0), noise_scale(6.0, -2.0), noise_scale(0.0, 0.0)
    (3.0, inf, nan)
    """
    if signal > 0:
        return variance / signal
    return inf if variance > 0 else nan


def gradient_statistics(
    kernels: Any, plan: Plan, theta: Array, X: Array, y: Array, weights: Array | None
) -> GradientStatistics:
    """Compute them without a matrix of gradients; all arguments as kernels want them."""
    p = np.ones(len(X)) if weights is None else weights.astype(np.float64)
    scale = 1.0 / float(p.sum())
    p /= p.sum()
    loss, mean = kernels.value_and_gradient(plan, theta, X, y, weights, scale)
    second = kernels.second_moments(plan, theta, X, y, weights, scale)
    norms = np.where(p > 0, kernels.gradient_norms(plan, theta, X, y), 0)
    along = np.where(p > 0, kernels.inner_products(plan, theta, X, y, mean), 0)

    rest = 1.0 - float(p @ p) or np.nan  # of a single example nothing can be said
    with np.errstate(over="ignore", invalid="ignore"):
        squared_mean = mean.astype(np.float64) ** 2
        variance = np.maximum(second - squared_mean, 0) / rest
        lengths = norms * np.sqrt(squared_mean.sum())
        cosines = np.divide(along, lengths, out=np.zeros_like(lengths), where=lengths != 0)
    cosines = np.clip(cosines, -1, 1).astype(norms.dtype)
    return GradientStatistics(loss, mean, variance.astype(mean.dtype), norms, cosines, p)
