"""Dropout, as a user has it: while training, and where it is asked for."""

import numpy as np
import pytest

import fastbatch as fb
from fastbatch.claims.claim import CHANCE, standard_errors
from fastbatch.claims.variational import differences

LAYERS = [
    fb.Dropout(0.2),
    *(fb.Dense(9, "tanh"), fb.Dropout(0.5)),
    *(fb.Dense(7, "relu"), fb.Dropout(0.3)),
    fb.Dense(3),
]
PLAIN = [layer for layer in LAYERS if isinstance(layer, fb.Dense)]
PARAMETERS = 4 * 9 + 9 + 9 * 7 + 7 + 7 * 3 + 3
CLIPS = [fb.PerExampleClip(0.5), fb.PerExampleClip([0.1, 0.2, 0.3], per_layer=True)]


@pytest.fixture
def net(backend):
    return fb.Network(LAYERS, 4, "cross_entropy", "float64", backend)


@pytest.fixture
def plain(backend):
    return fb.Network(PLAIN, 4, "cross_entropy", "float64", backend)


@pytest.fixture
def data(classes):
    X, y = classes
    return X.astype("float64"), y


def test_a_network_does_not_drop_unless_told_to(net, plain, data):
    X, y = data
    theta = net.init(0)
    np.testing.assert_array_equal(net.predict(theta, X), plain.predict(theta, X))
    gradient = plain.value_and_grad(theta, X, y)[1]
    np.testing.assert_array_equal(net.value_and_grad(theta, X, y)[1], gradient)
    assert (net.n_parameters, net.outputs) == (PARAMETERS, 3)
    assert [name for name in net.unflatten(theta) if "weight" in name] == [
        f"{layer}.weight" for layer in (1, 3, 5)
    ]


def test_a_thinned_network_is_a_function_of_its_draw(net, data):
    theta = net.init(0)
    losses = [net.with_dropout(draw).losses(theta, *data) for draw in (0, 1, 0)]
    np.testing.assert_array_equal(losses[0], losses[2])
    assert (losses[0] != losses[1]).mean() > 0.9
    assert net.with_dropout(7).with_draw(0) == net.with_dropout(0) != net.with_draw(0) == net


def test_a_gradient_equals_central_differences_with_the_masks_held_fixed(net, data):
    X, y = data
    X, y = X[:30], y[:30]
    thinned, theta, weights = net.with_dropout(3), net.init(0) + 0.1, np.arange(30) % 3
    _, gradient = thinned.value_and_grad(theta, X, y, weights)
    expected = differences(lambda t: thinned.value_and_grad(t, X, y, weights)[0], theta)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)


def test_what_is_told_of_examples_is_that_of_their_gradients(net, data):
    thinned, theta, X, y = net.with_dropout(3), net.init(0), data[0][:30], data[1][:30]
    gradients = thinned.per_example_gradients(theta, X, y)
    parts = np.split(gradients, [4 * 9 + 9, 4 * 9 + 9 + 9 * 7 + 7], axis=1)
    norms = np.stack([np.linalg.norm(part, axis=1) for part in parts], axis=1)
    found = thinned.gradient_norms(theta, X, y, per_layer=True)
    np.testing.assert_allclose(found, norms, rtol=1e-12, atol=1e-15)
    found = thinned.gradient_norms(theta, X, y)
    np.testing.assert_allclose(found, np.linalg.norm(gradients, axis=1), rtol=1e-12)
    gram = thinned.gradient_gram(theta, X, y)
    np.testing.assert_allclose(gram, gradients @ gradients.T, rtol=1e-9, atol=1e-12)
    along = thinned.directional_derivatives(theta, X, y, theta)
    np.testing.assert_allclose(along, gradients @ theta, rtol=1e-9, atol=1e-12)
    variance = thinned.gradient_statistics(theta, X, y).variance
    np.testing.assert_allclose(variance, gradients.var(axis=0, ddof=1), rtol=1e-9, atol=1e-12)
    for which, block in thinned.iterate_per_example_gradients(theta, X, y, rows=7):
        np.testing.assert_array_equal(block, gradients[which])


@pytest.mark.parametrize("clip", CLIPS)
def test_clipped_training_clips_the_gradients_of_the_thinned_networks(net, data, clip):
    X, y = data
    theta = net.init(0)
    trainer = fb.Trainer(net, fb.SGD(1.0), batch_size=90, seed=5, theta=theta, clip=clip)
    trainer.fit(X, y)
    options = {"per_layer": clip.per_layer}
    gradient, _ = net.with_dropout(5).clipped_gradient(theta, X, y, clip.max_norm, **options)
    np.testing.assert_allclose(trainer.theta, theta - gradient, rtol=1e-12, atol=1e-15)


def test_a_trainer_drops_by_its_seed_and_validates_without(net, plain, data):
    theta = net.init(0)
    trainer = fb.Trainer(
        net, fb.SGD(1.0), batch_size=90, seed=77, sampler="sequential", theta=theta
    )
    (record,) = trainer.fit(*data, validation=data)
    value, gradient = net.with_dropout(77).value_and_grad(theta, *data)
    np.testing.assert_array_equal(trainer.theta, theta - gradient)
    np.testing.assert_allclose(record.loss, value, rtol=1e-15)
    assert record.validation_loss == plain.losses(trainer.theta, *data).mean()
    np.testing.assert_array_equal(trainer.predict(data[0]), plain.predict(trainer.theta, data[0]))


def test_each_step_has_masks_of_its_own(net, data):
    trainer = fb.Trainer(net, fb.SGD(0.0), batch_size=90, sampler="sequential")
    trainer.fit(*data, epochs=3)
    assert len({record.loss for record in trainer.history}) == 3


def test_a_rate_of_0_trains_like_no_layer_at_all(plain, data, backend):
    layers = [fb.Dropout(0.0), PLAIN[0], fb.Dropout(0.0), PLAIN[1], PLAIN[2]]
    net = fb.Network(layers, 4, "cross_entropy", "float64", backend)
    trained = []
    for each in net, plain:
        trainer = fb.Trainer(each, batch_size=16, theta=plain.init(0))
        trainer.fit(*data, epochs=2)
        trained.append(trainer.theta)
    np.testing.assert_array_equal(*trained)


def test_training_goes_on_from_a_checkpoint_to_the_same_bits(net, data, tmp_path):
    def trainer():
        return fb.Trainer(net.with_dropout(3), batch_size=16, seed=2**63, sampler="poisson")

    whole = trainer()
    whole.fit(*data, epochs=4)
    half = trainer()
    half.fit(*data, epochs=2)
    half.save(tmp_path / "half")
    loaded = fb.Trainer.load(tmp_path / "half")
    assert loaded.network == net.with_dropout(3)
    loaded.fit(*data, epochs=2)
    np.testing.assert_array_equal(loaded.theta, whole.theta)


def test_a_part_of_a_network_may_begin_with_dropout(net, plain, data):
    theta = net.init(0)
    (body, first), (head, last) = net.part(0, 4), net.part(4)
    inner = body.predict(theta[first], data[0])
    np.testing.assert_allclose(
        head.predict(theta[last], inner), plain.predict(theta, data[0]), rtol=1e-12, atol=1e-15
    )
    with pytest.raises(ValueError, match="cannot be the last layer"):
        net.part(0, 3)


def test_a_layer_so_wide_that_another_would_have_its_masks_is_refused():
    assert fb.Network([fb.Dropout(0.5), fb.Dense(1)], 1 << 22, "huber").inputs == 1 << 22
    with pytest.raises(ValueError, match=r"Dropout\(rate=0.5\) takes at most 4194304 inputs"):
        fb.Network([fb.Dropout(0.5), fb.Dense(1)], (1 << 22) + 1, "huber")


def test_losses_and_gradients_are_right_on_average(backend):
    """Within chance of the closed form: ``|W (m x) + b - y|^2`` grows by the variance of m."""
    rate, n = 0.3, 20_000
    layers = [fb.Dropout(rate), fb.Dense(4)]
    net = fb.Network(layers, 3, "squared_error", "float64", backend).with_dropout(5)
    rng = np.random.default_rng(0)
    theta, x, y = rng.normal(size=net.n_parameters), rng.normal(size=3), rng.normal(size=4)

    def expectation(theta):
        p = net.unflatten(theta)
        error = x @ p["1.weight"] + p["1.bias"] - y
        spread = rate / (1 - rate) * x**2 @ (p["1.weight"] ** 2).sum(axis=1)
        return error @ error + spread

    X, Y = np.tile(x, (n, 1)), np.tile(y, (n, 1))  # rows differ in their masks alone
    losses, gradients = net.losses(theta, X, Y), net.per_example_gradients(theta, X, Y)
    truth = np.append(expectation(theta), differences(expectation, theta))
    errors = standard_errors(np.column_stack([losses, gradients]), truth)
    assert (abs(errors) <= CHANCE).all()


def test_training_with_dropout_learns(net, data):
    trainer = fb.Trainer(net, fb.Adam(0.02), batch_size=16)
    history = trainer.fit(*data, epochs=60, validation=data)
    assert history[-1].validation_metric > 0.8
    assert history[-1].validation_loss < history[-1].loss  # without dropout it is easier
