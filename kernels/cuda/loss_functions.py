"""Losses: those that are a sum over the outputs, each a pair of a number's loss and derivative.

What takes a whole row of outputs, cross entropy and the sums themselves, is in `loss_and_delta`.
"""

from . import elementary
from .toolkit import absolute, add, function, mul, select, sub


@function
def squared_error(p, y):
    """(p - y)^2."""
    d = sub(p, y)
    return mul(d, d), add(d, d)


@function
def absolute_error(p, y):
    """|p - y|, with derivative 0 at 0."""
    d = sub(p, y)
    return absolute(d), select(d > 0.0, 1.0, select(d < 0.0, -1.0, d))


@function
def huber(p, y):
    """d^2 / 2 up to |d| = 1, |d| - 1/2 beyond (Huber 1964)."""
    d = sub(p, y)
    size = absolute(d)
    slope = select(d > 1.0, 1.0, select(d < -1.0, -1.0, d))
    return select(size > 1.0, sub(size, 0.5), mul(0.5, mul(d, d))), slope


@function
def binary_cross_entropy(p, y):
    """softplus(p) - p y: minus the log-likelihood of y under logit p."""
    return sub(elementary.softplus(p), mul(p, y)), sub(elementary.sigmoid(p), y)


@function
def poisson(p, y):
    """exp(p) - y p: minus the log-likelihood of count y under log-rate p, up to log(y!)."""
    rate = elementary.exp(p)
    return sub(rate, mul(y, p)), sub(rate, y)


NAMES = (
    "squared_error", "absolute_error", "huber", "binary_cross_entropy", "poisson",
    "cross_entropy_of_labels", "cross_entropy_of_probabilities",
)  # fmt: skip

CROSS_ENTROPY_OF_LABELS = NAMES.index("cross_entropy_of_labels")
SELECTED_OUTPUT = len(NAMES)  # a loss to take the Jacobian of the outputs with


@function
def elementwise(number, p, y):
    """Loss and derivative of one prediction, by the number in NAMES, which is below 5."""
    if number == 0:
        return squared_error(p, y)
    if number == 1:
        return absolute_error(p, y)
    if number == 2:
        return huber(p, y)
    if number == 3:
        return binary_cross_entropy(p, y)
    return poisson(p, y)


def number_of(loss, targets):
    """Number of the loss of that name for targets of that kind: integer labels or values."""
    if loss == "cross_entropy":
        loss += "_of_labels" if targets.dtype.kind == "i" else "_of_probabilities"
    return NAMES.index(loss)
