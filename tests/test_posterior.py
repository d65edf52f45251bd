"""What samples say: moments, their Monte Carlo error, and predictions."""

import numpy as np
import pytest
from scipy.special import expit, softmax

import fastbatch as fb
from fastbatch.posterior import effective_sample_size


def network(loss="squared_error", outputs=2, **options):
    return fb.Network([fb.Dense(outputs)], 3, loss, backend="reference", **options)


def samples_of(net, count=50, seed=0):
    theta = np.random.default_rng(seed).normal(size=(count, net.n_parameters))
    return fb.PosteriorSamples(net, theta.astype(net.dtype), np.arange(count))


def autoregressive(rho, count, columns, seed):
    """Columns of ``x_t = rho x_{t-1} + noise``, of variance 1."""
    rng = np.random.default_rng(seed)
    x = np.empty((count, columns))
    x[0] = rng.normal(size=columns)
    for t in range(1, count):
        x[t] = rho * x[t - 1] + np.sqrt(1 - rho**2) * rng.normal(size=columns)
    return x


def test_moments_are_those_of_numpy_in_float64():
    samples = samples_of(network())
    assert samples.mean().dtype == samples.covariance().dtype == np.float64
    exact = samples.theta.astype(np.float64)
    np.testing.assert_allclose(samples.mean(), exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(samples.covariance(), np.cov(exact.T, bias=True), rtol=1e-10)


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.5, 0.9])
def test_the_effective_sample_size_of_autoregression_is_that_of_theory(rho):
    x = autoregressive(rho, 40_000, 8, seed=3)
    size = effective_sample_size(x)
    # Each is one over a mean of 199 squares: a relative deviation of 0.1; batches of 200 are
    # long enough for correlations over some 10.
    np.testing.assert_allclose(size / len(x), (1 - rho) / (1 + rho), rtol=0.45)
    assert np.mean(size) / len(x) == pytest.approx((1 - rho) / (1 + rho), rel=0.16)


def test_what_never_moves_has_no_effective_sample_size():
    samples = samples_of(network())
    samples.theta[:, 2] = 0.1  # whose sums are rounded
    size = samples.effective_sample_size()
    assert np.isnan(size[2]) and np.isfinite(np.delete(size, 2)).all()
    with pytest.raises(ValueError, match="at least 2 samples, found 1"):
        samples_of(network(), 1).effective_sample_size()


@pytest.mark.parametrize(
    ("loss", "response"),
    [
        ("squared_error", lambda p: p),
        ("absolute_error", lambda p: p),
        ("huber", lambda p: p),
        ("cross_entropy", lambda p: softmax(p, axis=1)),
        ("binary_cross_entropy", expit),
        ("poisson", np.exp),
    ],
)
def test_predictions_are_those_of_each_sample(loss, response):
    net = network(loss)
    samples, X = samples_of(net), np.random.default_rng(1).normal(size=(4, 3))
    each = np.array([response(net.predict(theta, X)) for theta in samples.theta])
    predictions = samples.predict(X)
    assert predictions.values.shape == (50, 4, 2) and predictions.values.dtype == net.dtype
    np.testing.assert_allclose(predictions.values, each, rtol=1e-5)
    exact = predictions.values.astype(np.float64)
    np.testing.assert_allclose(predictions.mean(), exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(predictions.variance(), exact.var(axis=0), rtol=1e-9)
    q = [0.05, 0.5, 0.95]
    np.testing.assert_allclose(predictions.quantiles(q), np.quantile(exact, q, axis=0), rtol=1e-5)
    assert predictions.quantiles(0.5).shape == (4, 2)


def test_samples_of_two_chains_are_added():
    net = network()
    one, other = samples_of(net, 3), samples_of(net, 4, seed=1)
    both = one + other
    assert len(both) == 7
    np.testing.assert_array_equal(both.theta, np.concatenate([one.theta, other.theta]))
    np.testing.assert_array_equal(both.steps, [0, 1, 2, 0, 1, 2, 3])
    with pytest.raises(ValueError, match="of one network, found two"):
        one + samples_of(network("huber"))
    with pytest.raises(TypeError, match="unsupported operand"):
        one + 1


def test_predictions_check_their_examples():
    with pytest.raises(ValueError, match=r"X must have shape \(N, 3\), found \(2, 2\)"):
        samples_of(network()).predict(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"X\[0, 0\] is nan"):
        samples_of(network()).predict(np.full((2, 3), np.nan))


@pytest.mark.parametrize("ask", [fb.PosteriorSamples.mean, fb.PosteriorSamples.covariance])
def test_without_samples_nothing_can_be_said(ask):
    with pytest.raises(ValueError, match="there are no samples, the chain is in its burn-in"):
        ask(samples_of(network(), count=0))
    with pytest.raises(ValueError, match="there are no samples, the chain is in its burn-in"):
        samples_of(network(), count=0).predict(np.zeros((2, 3)))
