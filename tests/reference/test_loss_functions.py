"""The losses by hand, at their edges, and their derivatives by complex step."""

import numpy as np
import pytest

from fastbatch.kernels.reference.loss_functions import LOSSES

every_loss = pytest.mark.parametrize("name", LOSSES)
LOG2 = np.log(2)


@pytest.mark.parametrize(
    ("name", "p", "y", "loss", "delta"),
    [
        ("squared_error", [3, -1], [1, 1], 8, [4, -4]),
        ("absolute_error", [3, -1, 2], [1, 1, 2], 4, [1, -1, 0]),
        ("huber", [0.5, 3, -1, 2], [0, 1, 1, 1], 0.125 + 1.5 + 1.5 + 0.5, [0.5, 1, -1, 1]),
        ("cross_entropy", [0, 0], [0.25, 0.75], LOG2, [0.25, -0.25]),
        ("cross_entropy", [0, 0], [1, 1], 2 * LOG2, [0, 0]),
        ("cross_entropy", [np.log(3), 0], [0, 1], np.log(4), [0.75, -0.75]),
        ("cross_entropy", [7], [1], 0, [0]),
        ("binary_cross_entropy", [0, 0], [1, 0], 2 * LOG2, [-0.5, 0.5]),
        ("poisson", [0, LOG2], [3, 1], 1 + 2 - LOG2, [-2, 1]),
    ],
)
def test_by_hand(name, p, y, loss, delta):
    losses, deltas = LOSSES[name](np.array([p], float), np.array([y], float))
    np.testing.assert_allclose(losses, [loss], rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(deltas, [delta], rtol=1e-15, atol=1e-15)


@every_loss
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 1), (4, 3)])
def test_delta_equals_the_complex_step(name, shape):
    rng = np.random.default_rng(0)
    p, y = 2 * rng.normal(size=shape), rng.uniform(size=shape)
    _, delta = LOSSES[name](p, y)
    for k in range(shape[1]):
        step = 1e-30j * np.eye(shape[1])[k]
        np.testing.assert_allclose(
            LOSSES[name](p + step, y)[0].imag / 1e-30, delta[:, k], rtol=1e-13, atol=1e-15
        )


@every_loss
def test_float32_stays_float32(name):
    losses, delta = LOSSES[name](np.ones((2, 3), "float32"), np.ones((2, 3), "float32"))
    assert losses.dtype == delta.dtype == np.float32
    assert losses.shape == (2,) and delta.shape == (2, 3)


@every_loss
def test_nan_is_seen(name):
    losses, _ = LOSSES[name](np.array([[np.nan, 0.0], [0.0, 0.0]]), np.array([[0.0, 1], [0, 1]]))
    assert np.isnan(losses[0]) and np.isfinite(losses[1])


def test_labels_are_probabilities_of_one():
    p = np.random.default_rng(1).normal(size=(5, 3))
    labels = np.array([0, 2, 1, 1, 0])
    for by_label, by_probability in zip(
        LOSSES["cross_entropy"](p, labels),
        LOSSES["cross_entropy"](p, np.eye(3)[labels]),
        strict=True,
    ):
        np.testing.assert_array_equal(by_label, by_probability)


def test_cross_entropy_neither_overflows_nor_loses_a_small_loss():
    p = np.array([[1e4, 0, -1e4], [50, 0, 0]])
    losses, delta = LOSSES["cross_entropy"](p, np.array([2, 0]))
    np.testing.assert_allclose(losses, [2e4, 2 * np.exp(-50)], rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(delta[0], [1, 0, -1])


def test_a_class_of_probability_zero_adds_nothing_even_if_it_is_impossible():
    largest = np.finfo(float).max
    p = np.array([[largest, -largest], [largest, -largest]])
    with np.errstate(over="ignore", invalid="ignore"):
        losses, delta = LOSSES["cross_entropy"](p, np.array([0, 1]))
    np.testing.assert_array_equal(losses, [0, np.inf])
    np.testing.assert_array_equal(delta, [[0, 0], [1, -1]])


def test_binary_cross_entropy_neither_overflows_nor_loses_a_small_loss():
    p, y = np.array([[1e4], [-1e4], [40], [-40]]), np.array([[0.0], [1], [1], [0]])
    losses, _ = LOSSES["binary_cross_entropy"](p, y)
    np.testing.assert_allclose(losses, [1e4, 1e4, np.exp(-40), np.exp(-40)], rtol=1e-14)
