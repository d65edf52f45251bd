"""What the mean error drops in a linear model is the covariance, and nothing else passes for it."""

import pytest

from fastbatch.claims.covariance import covariance
from fastbatch.claims.mean_error import gradient_of_mean_error
from fastbatch.kernels.reference import value_and_gradient


def true(plan, theta, X, y):
    return value_and_gradient(plan, theta, X, y, None, 1 / len(X))[1]


def nearly_dropped(*data):
    return (1 + 1e-9) * gradient_of_mean_error(*data)


def test_a_linear_model_drops_the_covariance():
    assert covariance().holds


@pytest.mark.parametrize("averaged", [true, nearly_dropped])
def test_nothing_else_drops_exactly_that(averaged):
    assert not covariance(averaged).holds
