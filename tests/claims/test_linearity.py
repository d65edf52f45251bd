"""The mean of the gradients is the gradient of the mean loss; other things are not."""

import numpy as np
import pytest
import wrong

from fastbatch.claims.linearity import DTYPES, _worst, angle, linearity, of_mean_loss
from fastbatch.layers import Dense
from fastbatch.losses import LOSSES


@pytest.fixture(scope="module")
def claim():
    return linearity()


def test_the_mean_of_the_gradients_is_the_gradient_of_the_mean_loss(claim):
    assert claim.holds
    exact, rounded, _ = claim.tables
    assert {entry for row in exact.rows for entry in row[1:]} == {0}
    assert [row[:2] for row in rounded.rows] == [(loss, d) for loss in LOSSES for d in DTYPES]


def test_derivatives_by_x_are_what_differs(claim):
    (_, *by_theta, near), (_, *by_x, far) = claim.tables[2].rows
    assert by_theta[0] == pytest.approx(by_theta[1], rel=1e-12) and near < 1e-6
    assert by_x[0] != pytest.approx(by_x[1], rel=0.01) and far > 1


@pytest.fixture
def one_loss(monkeypatch):
    """The claim by a single loss, since what is wrong is so with any."""
    monkeypatch.setattr("fastbatch.claims.linearity.LOSSES", ["squared_error"])


def test_the_gradient_of_the_mean_error_fails(one_loss):
    def mean_error(network, *data):  # which there is of dense layers
        dense = all(isinstance(layer, Dense) for layer in network.layers)
        return (wrong.mean_error if dense else of_mean_loss)(network, *data)

    assert not linearity(mean_error).holds


@pytest.mark.parametrize("factor", [1 + 1e-5, 2.0])
def test_a_gradient_that_is_off_by_a_factor_fails(factor, one_loss):
    def off(*data):
        return factor * of_mean_loss(*data)

    assert not linearity(off).holds
    for dtype in DTYPES:
        assert _worst("squared_error", dtype, off)[-1] > 1  # where numbers are rounded, too


def test_small_angles_are_accurate():
    assert angle(np.array([1.0, 0.0]), np.array([1.0, 1e-12])) == pytest.approx(np.degrees(1e-12))
    assert angle(np.array([1.0, 0.0]), np.array([-2.0, 0.0])) == 180
