"""A penalty on large weights: `Trainer(l2=...)`."""

import numpy as np
import pytest

import fastbatch as fb
from fastbatch.claims.variational import differences
from fastbatch.trainer import MONITORS

LAYERS = [fb.Dense(9, "tanh"), fb.Dense(3)]


@pytest.fixture
def net(backend):
    return fb.Network(LAYERS, 4, "cross_entropy", "float64", backend)


def weights_only(net, theta):
    """The same vector with 0 in place of the biases."""
    named = net.unflatten(theta)
    return net.flatten({name: part * name.endswith("weight") for name, part in named.items()})


def one_step(net, X, y, l2, sample_weight=None, **options):
    """A trainer after one step of length 1 with all examples, and where it began."""
    theta = net.init(3) + 0.1  # biases, too
    trainer = fb.Trainer(net, fb.SGD(1.0), batch_size=len(X), theta=theta, l2=l2, **options)
    trainer.fit(X, y, sample_weight=sample_weight)
    return trainer, theta


@pytest.mark.parametrize("scaled", ["mean", "poisson"])
def test_a_step_follows_the_gradient_of_losses_and_penalty(net, classes, scaled):
    X, y = classes
    w = np.linspace(0, 2, 90)
    sampler = "poisson" if scaled == "poisson" else "shuffle"  # which takes all of them
    trainer, theta = one_step(net, X, y, 5.0, w, sampler=sampler)

    def objective(theta):
        penalty = 5.0 / 2 * np.sum(weights_only(net, theta) ** 2)
        return (w @ net.losses(theta, X, y) + penalty) / w.sum()

    np.testing.assert_allclose(
        theta - trainer.theta, differences(objective, theta), rtol=1e-7, atol=1e-9
    )


def test_biases_are_left_alone(net, classes):
    free, theta = one_step(net, *classes, 0.0)
    held, _ = one_step(net, *classes, 9.0)
    pull = weights_only(net, theta)
    np.testing.assert_array_equal(held.theta[pull == 0], free.theta[pull == 0])
    np.testing.assert_allclose(free.theta - held.theta, 9.0 / 90 * pull, rtol=1e-12, atol=1e-15)


def test_what_is_reported_does_not_hold_it(net, classes):
    free, _ = one_step(net, *classes, 0.0, monitor=MONITORS)
    held, _ = one_step(net, *classes, 9.0, monitor=MONITORS)
    for name in "loss", "noise_scale", "gradient_norms":
        assert getattr(held.history[0], name) == getattr(free.history[0], name)


def test_clipping_does_not_reach_it_and_noise_comes_on_top(net, classes):
    options = {"clip": fb.PerExampleClip(1e-3), "noise": fb.GaussianNoise(7.0)}
    free, theta = one_step(net, *classes, 0.0, **options)
    held, _ = one_step(net, *classes, 9.0, **options)
    pull = 9.0 / 90 * weights_only(net, theta)
    np.testing.assert_allclose(free.theta - held.theta, pull, rtol=1e-12, atol=1e-15)


def test_batches_that_differ_in_weight_divide_it_by_theirs(net, classes):
    X, y = classes
    trainer = fb.Trainer(net, fb.SGD(0.1), batch_size=60, sampler="sequential", l2=4.0)
    trainer.fit(X, y)
    theta = net.init(0)
    for rows in slice(0, 60), slice(60, 90):
        gradient = net.value_and_grad(theta, X[rows], y[rows], reduction="sum")[1]
        gradient += 4.0 * weights_only(net, theta)
        theta = theta - 0.1 * gradient / len(y[rows])
    np.testing.assert_allclose(trainer.theta, theta, rtol=1e-12)


def test_a_linear_network_becomes_ridge_regression(backend):
    rng = np.random.default_rng(5)
    X, alpha = rng.normal(size=(60, 3)) + 1, 8.0
    y = X @ [1.0, -2.0, 0.5] + 3 + 0.1 * rng.normal(size=60)
    net = fb.Network([fb.Dense(1)], 3, "squared_error", "float64", backend)
    trainer = fb.Trainer(net, fb.SGD(0.05), batch_size=60, l2=2 * alpha)
    trainer.fit(X, y, epochs=3000)
    centred = X - X.mean(axis=0)
    expected = np.linalg.solve(centred.T @ centred + alpha * np.eye(3), centred.T @ y)
    intercept = y.mean() - X.mean(axis=0) @ expected
    np.testing.assert_allclose(trainer.theta, [*expected, intercept], rtol=1e-9)


def test_without_it_nothing_changes(net, classes):
    plain, _ = one_step(net, *classes, 0.0)
    trainer = fb.Trainer(net, fb.SGD(1.0), batch_size=90, theta=net.init(3) + 0.1)
    trainer.fit(*classes)
    np.testing.assert_array_equal(plain.theta, trainer.theta)
