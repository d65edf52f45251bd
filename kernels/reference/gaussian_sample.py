"""A normal distribution drawn from: ``z = mean + exp(log_variance / 2) * eps``.

Kingma and Welling 2014, "Auto-encoding variational Bayes": with eps held fixed, z has derivatives
by mean and log-variance (their section 2.4). The divergence of the distribution from the standard
normal one joins the example's loss (their equation 10 and appendix B). What enters the layer is the
means, and behind them as many logarithms of variances.
"""

import numpy as np

from .noise import normal_rows
from .philox import LATENTS

GROUPS = 1 << 16  # of columns, that the noise of a layer may have: other layers take others


def noise(plan, number, rows, step):
    """Standard normal numbers for layer `number`, (len(rows), outputs)."""
    outputs, dtype = plan.layers[number].outputs, np.dtype(plan.dtype)
    rows = plan.first_row + rows
    return normal_rows(rows, outputs, plan.draw, step, dtype, LATENTS, number * GROUPS)


def forward(
    a,  # (B, 2 outputs)
    eps,  # (B, outputs)
):
    """The sample z, and what of it is not the mean, both (B, outputs)."""
    mean, log_variance = np.split(a, 2, axis=1)
    deviation = np.exp(log_variance / 2) * eps
    return mean + deviation, deviation


def divergence(
    a,  # (B, 2 outputs)
):
    """The Kullback-Leibler divergence of each example's distribution from the standard one, (B,).

    ``sum(mean**2 + exp(log_variance) - log_variance - 1) / 2``.
    """
    mean, log_variance = np.split(a, 2, axis=1)
    return (mean * mean + (np.expm1(log_variance) - log_variance)).sum(axis=1) / 2


def backward(
    delta,  # (B, outputs), the derivative of each example's loss by z
    deviation,  # (B, outputs), from `forward`
):
    """The derivative of each example's loss by what entered the layer, (B, 2 outputs)."""
    return np.concatenate([delta, delta * deviation / 2], axis=1)


def divergence_gradient(
    a,  # (B, 2 outputs)
):
    """The derivative of `divergence` by what entered the layer, (B, 2 outputs)."""
    mean, log_variance = np.split(a, 2, axis=1)
    return np.concatenate([mean, np.expm1(log_variance) / 2], axis=1)
