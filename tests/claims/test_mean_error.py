"""The gradient of the mean error is measured, and the gradient itself would not pass for it."""

import pytest

from fastbatch.claims.mean_error import SERIES, gradient_of_mean_error, mean_error
from fastbatch.kernels.reference import value_and_gradient


def true(plan, theta, X, y):
    return value_and_gradient(plan, theta, X, y, None, 1 / len(X))[1]


@pytest.fixture(scope="module")
def claim():
    return mean_error()


def test_the_gradient_of_the_mean_error_is_something_else(claim):
    assert claim.holds


def test_it_is_right_only_of_one_example_or_of_equal_inputs(claim):
    angles = {
        table.headings[0]: {row[0]: row[1] for row in table.rows} for table in claim.tables[1:-1]
    }
    assert set(angles) == {"depth", "activation", "batch", "spread"}
    near = {(name, value) for name in angles for value in angles[name] if angles[name][value] < 0.1}
    assert near == {("batch", 1), ("spread", 0.0)}
    assert list(angles["spread"].values()) == sorted(angles["spread"].values())


def test_following_it_teaches_less(claim):
    (_, right), (_, wrong) = claim.tables[-1].rows
    assert right > 0.95 > 0.8 > wrong


@pytest.fixture
def some_batches(monkeypatch):
    """A single series."""
    few = {"batch": tuple(setting for setting in SERIES["batch"] if setting.batch < 32)}
    monkeypatch.setattr("fastbatch.claims.mean_error.SERIES", few)
    assert mean_error().holds


def test_the_gradient_itself_is_not_something_else(some_batches):
    assert not mean_error(true).holds


def test_one_that_is_wrong_for_single_examples_too_fails(some_batches):
    assert not mean_error(lambda *data: 1.001 * gradient_of_mean_error(*data)).holds
