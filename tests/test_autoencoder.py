"""Networks that draw samples, as a user has them: a variational autoencoder is one of them."""

import numpy as np
import pytest

import fastbatch as fb
from fastbatch.claims.claim import CHANCE
from fastbatch.claims.variational import differences

LAYERS = [fb.Dense(9, "tanh"), fb.Dense(4), fb.GaussianSample(2), fb.Dense(7, "relu"), fb.Dense(5)]


@pytest.fixture
def autoencoder(backend):
    return fb.Network(LAYERS, 5, "binary_cross_entropy", "float64", backend)


@pytest.fixture(name="X")
def examples():
    return np.random.default_rng(3).random((40, 5))


def linear(backend, latent=3, draw=0):
    """An encoder of a single layer, and a decoder of a single layer that has squared error."""
    layers = [fb.Dense(2 * latent), fb.GaussianSample(latent), fb.Dense(4)]
    return fb.Network(layers, 2, "squared_error", "float64", backend, draw)


def expectation(net, theta, X, y):
    """Of the loss of `linear`, each (N,): the noise is integrated out.

    ``|W z + b - y|^2`` is in expectation that of the mean of z, and the variance of each element of
    z times the squared norm of its row of W.
    """
    p = net.unflatten(theta)
    mean, log_variance = np.split(X @ p["0.weight"] + p["0.bias"], 2, axis=1)
    weight, variance = p["2.weight"], np.exp(log_variance)
    error = mean @ weight + p["2.bias"] - y
    spread = variance @ (weight**2).sum(axis=1)
    divergence = (mean**2 + variance - log_variance - 1).sum(axis=1) / 2
    return (error**2).sum(axis=1) + spread + divergence


def test_names_count_the_layers_and_those_without_parameters_have_none(autoencoder):
    theta = autoencoder.init(0)
    named = autoencoder.unflatten(theta)
    assert [name for name in named if "weight" in name] == [
        f"{layer}.weight" for layer in (0, 1, 3, 4)
    ]
    np.testing.assert_array_equal(autoencoder.flatten(named), theta)


def test_the_parts_of_a_network_make_the_whole(autoencoder, X):
    theta = autoencoder.init(1)
    (encoder, first), (decoder, last) = autoencoder.part(0, 2), autoencoder.part(-2)
    assert (encoder.outputs, decoder.inputs, decoder.n_parameters) == (4, 2, 61)
    assert encoder.n_parameters + decoder.n_parameters == autoencoder.n_parameters
    sampler, rest = autoencoder.part(0, 3)
    z = sampler.predict(theta[rest], X)
    np.testing.assert_allclose(decoder.predict(theta[last], z), autoencoder.predict(theta, X))
    mean, log_variance = np.split(encoder.predict(theta[first], X), 2, axis=1)
    eps = (z - mean) / np.exp(log_variance / 2)
    assert abs(eps.mean()) < 4 / np.sqrt(eps.size) and 0.5 < eps.std() < 1.5
    with pytest.raises(ValueError, match="at least one layer"):
        autoencoder.part(2, 2)


def test_a_draw_is_a_function_of_its_number(autoencoder, X):
    theta = autoencoder.init(0)
    losses = [autoencoder.with_draw(draw).losses(theta, X, X) for draw in (0, 1, 0)]
    np.testing.assert_array_equal(losses[0], losses[2])
    assert not (losses[0] == losses[1]).any()
    assert autoencoder.with_draw(0) == autoencoder != autoencoder.with_draw(1)


def test_gradients_of_blocks_have_the_noise_of_the_whole(autoencoder, X):
    theta = autoencoder.init(0)
    whole = autoencoder.per_example_gradients(theta, X, X)
    for which, block in autoencoder.iterate_per_example_gradients(theta, X, X, rows=7):
        np.testing.assert_array_equal(block, whole[which])


def test_a_gradient_equals_central_differences_with_the_noise_held_fixed(autoencoder, X):
    theta, weights = autoencoder.init(0), np.arange(40) % 3
    _, gradient = autoencoder.value_and_grad(theta, X, X, weights)
    expected = differences(lambda t: autoencoder.value_and_grad(t, X, X, weights)[0], theta)
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-9)


def test_the_first_step_of_a_trainer_follows_the_gradient_of_its_seed(autoencoder, X):
    theta = autoencoder.init(0)
    trainer = fb.Trainer(
        autoencoder, fb.SGD(1.0), batch_size=40, seed=77, sampler="sequential", theta=theta
    )
    trainer.fit(X, X)
    value, gradient = autoencoder.with_draw(77).value_and_grad(theta, X, X)
    np.testing.assert_array_equal(trainer.theta, theta - gradient)
    np.testing.assert_allclose(trainer.history[0].loss, value, rtol=1e-15)


def test_validation_is_the_mean_of_the_losses_in_parts_too(autoencoder, X, monkeypatch):
    monkeypatch.setattr("fastbatch.trainer.validation.EVALUATION", 7 * autoencoder.n_parameters)
    trainer = fb.Trainer(autoencoder, fb.SGD(0.1), batch_size=9)
    (record,) = trainer.fit(X, X, validation=(X, X))
    losses = autoencoder.losses(trainer.theta, X, X)
    assert record.validation_loss == losses.mean()


def test_losses_and_gradients_are_right_on_average(backend):
    """Within chance of the closed form; claim 11 has batches and scales."""
    net, n = linear(backend, draw=5), 20_000
    rng = np.random.default_rng(0)
    theta, x, y = rng.normal(size=net.n_parameters) / 2, rng.normal(size=2), rng.normal(size=4)
    X, Y = np.tile(x, (n, 1)), np.tile(y, (n, 1))  # rows differ in their noise alone
    losses, gradients = net.losses(theta, X, Y), net.per_example_gradients(theta, X, Y)
    found = np.column_stack([losses, gradients])
    truth = np.append(
        expectation(net, theta, X[:1], Y[:1]),
        differences(lambda t: expectation(net, t, X[:1], Y[:1])[0], theta),
    )
    errors = found.std(axis=0) / np.sqrt(n)
    assert (abs(found.mean(axis=0) - truth) <= CHANCE * errors + 1e-9).all()


def test_training_goes_on_from_a_checkpoint_to_the_same_bits(autoencoder, X, tmp_path):
    def trainer():
        return fb.Trainer(autoencoder.with_draw(3), batch_size=16, seed=2**63, sampler="poisson")

    whole = trainer()
    whole.fit(X, X, epochs=4)
    half = trainer()
    half.fit(X, X, epochs=2)
    half.save(tmp_path / "half")
    loaded = fb.Trainer.load(tmp_path / "half")
    assert loaded.network == autoencoder.with_draw(3)
    loaded.fit(X, X, epochs=2)
    np.testing.assert_array_equal(loaded.theta, whole.theta)


def test_clipping_and_norms_count_the_layers_with_parameters(autoencoder, X):
    theta = autoencoder.init(0)
    norms = autoencoder.gradient_norms(theta, X, X, per_layer=True)
    gradients = autoencoder.per_example_gradients(theta, X, X)
    sizes = [op.size for op in autoencoder.plan.layers if op.size]
    parts = np.split(gradients, np.cumsum(sizes)[:-1], axis=1)
    expected = np.stack([np.linalg.norm(part, axis=1) for part in parts], axis=1)
    np.testing.assert_allclose(norms, expected, rtol=1e-12)
    clip = fb.PerExampleClip([0.1, 0.2, 0.3, 0.4], per_layer=True)
    trainer = fb.Trainer(autoencoder, clip=clip, noise=fb.GaussianNoise(0.5), sampler="poisson")
    assert np.isfinite(trainer.fit(X, X)[0].loss)
    with pytest.raises(ValueError, match="4"):
        fb.Trainer(autoencoder, clip=fb.PerExampleClip([0.1] * 5, per_layer=True))


def test_statistics_are_those_of_the_gradients(autoencoder, X):
    theta = autoencoder.init(0)
    statistics = autoencoder.gradient_statistics(theta, X, X)
    gradients = autoencoder.per_example_gradients(theta, X, X)
    np.testing.assert_allclose(statistics.mean, gradients.mean(axis=0), rtol=1e-9, atol=1e-12)
    variance = gradients.var(axis=0, ddof=1)
    np.testing.assert_allclose(statistics.variance, variance, rtol=1e-9, atol=1e-12)


def test_training_lowers_the_bound(backend):
    rng = np.random.default_rng(0)
    X = (rng.random((400, 2)) @ rng.normal(size=(2, 8)) > 0).astype(float)
    layers = [fb.Dense(16, "tanh"), fb.Dense(4), fb.GaussianSample(2), fb.Dense(8)]
    net = fb.Network(layers, 8, "binary_cross_entropy", backend=backend)
    history = fb.Trainer(net, fb.Adam(0.02)).fit(X, X, epochs=20)
    entropy = 8 * np.log(2)  # of a decoder that knows nothing
    assert history[-1].loss < 0.6 * entropy
