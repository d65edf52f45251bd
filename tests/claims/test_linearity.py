"""The mean of the gradients is the gradient of the mean loss; other things are not."""

import numpy as np
import pytest
import wrong

from fastbatch.claims.linearity import angle, linearity, of_mean_loss
from fastbatch.losses import LOSSES


@pytest.fixture(scope="module")
def claim():
    return linearity()


def test_the_mean_of_the_gradients_is_the_gradient_of_the_mean_loss(claim):
    assert claim.holds
    exact, rounded, _ = claim.tables
    assert {entry for row in exact.rows for entry in row[1:]} == {0}
    assert [row[0] for row in rounded.rows] == list(LOSSES)


def test_derivatives_by_x_are_what_differs(claim):
    (_, ours, theirs, near), (_, *lengths, far) = claim.tables[2].rows
    assert ours == theirs and near == "0.0000 degrees"
    assert lengths[0] != lengths[1] and float(far.split()[0]) > 1


def test_the_gradient_of_the_mean_error_fails():
    assert not linearity(wrong.mean_error).holds


@pytest.mark.parametrize("factor", [1 + 1e-5, 2.0])
def test_a_gradient_that_is_off_by_a_factor_fails(factor):
    assert not linearity(lambda *data: factor * of_mean_loss(*data)).holds


def test_small_angles_are_accurate():
    assert angle(np.array([1.0, 0.0]), np.array([1.0, 1e-12])) == pytest.approx(np.degrees(1e-12))
    assert angle(np.array([1.0, 0.0]), np.array([-2.0, 0.0])) == 180
