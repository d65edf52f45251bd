"""The loss functions, each ``name(p, y) -> (losses, delta)``.

Predictions p have shape (B, K) and so have the targets y, but for labels. Returned are the loss
of each example, shape (B,), summed over K and never averaged, and its derivative by p, shape
(B, K). As with the activations, p may be complex.
"""

import numpy as np

from .activations import magnitude, sigmoid


def squared_error(p, y):
    """``(p - y)**2``."""
    error = p - y
    return (error * error).sum(axis=1), 2 * error


def absolute_error(p, y):
    """``|p - y|``, with derivative 0 at 0."""
    error = p - y
    return magnitude(error).sum(axis=1), np.sign(error.real)


def huber(p, y):
    """``d**2 / 2`` where |d| <= 1, else ``|d| - 1 / 2``, of d = p - y (Huber, 1964)."""
    error = p - y
    clipped = np.where(abs(error.real) <= 1, error, np.sign(error.real))
    return (clipped * (error - clipped / 2)).sum(axis=1), clipped  # both branches in one formula


def cross_entropy(p, y):
    """``y (logsumexp(p) - p)``: minus the log-probability that softmax(p) gives to y.

    Targets are probabilities (B, K) or integer labels (B,); a label is the probability 1 of one
    class.
    """
    if y.ndim == 1:
        y = np.eye(p.shape[1], dtype=p.dtype)[y]
    shifted = p - p.real.max(axis=1, keepdims=True)  # softmax is the same, exp cannot overflow
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=1, keepdims=True)
    surprise = np.log(total) - shifted
    # A class of probability 0 adds nothing even where its surprise is infinite.
    losses = (y * surprise).sum(axis=1, where=y != 0)
    return losses, exponentials / total * y.sum(axis=1, keepdims=True) - y


def binary_cross_entropy(p, y):
    """``max(p, 0) - p y + log(1 + exp(-|p|))``: K independent yes-or-no questions, p the logits."""
    above = np.where(p.real <= 0, 0, p)
    # The first two terms cancel exactly for y = 1, so they go first: a small loss keeps its digits.
    losses = above - p * y + np.log1p(np.exp(-magnitude(p)))
    return losses.sum(axis=1), sigmoid(p)[0] - y


def poisson(p, y):
    """``exp(p) - y p``: minus the log-likelihood of a count y at log-rate p, less ``log(y!)``."""
    rate = np.exp(p)
    return (rate - y * p).sum(axis=1), rate - y


LOSSES = {
    loss.__name__: loss
    for loss in (
        squared_error,
        absolute_error,
        huber,
        cross_entropy,
        binary_cross_entropy,
        poisson,
    )
}
