"""What is wrong, in the form in which the claims take what is right."""

from fastbatch.kernels.reference.mean_error import gradient_of_mean_error


def mean_error(network, theta, X, y):
    """One mean error back-propagated, in place of the mean gradient."""
    return gradient_of_mean_error(network.plan, theta, X, y)
