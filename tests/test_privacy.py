"""Noise is as large as it says, and so is what it costs and buys."""

import math
import pickle
import sys

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

import fastbatch as fb
from fastbatch import backends
from fastbatch.privacy import Ledger

X, Y = np.linspace(-1, 1, 20).reshape(-1, 1), np.linspace(0, 3, 20)


def network(backend="reference", dtype="float64"):
    return fb.Network([fb.Dense(3, "tanh"), fb.Dense(1)], 1, "squared_error", dtype, backend)


def private(net=None, *, batch_size=5, multiplier=1.0, **options):
    """A trainer whose privacy can be accounted for."""
    defaults = {
        "sampler": "poisson",
        "clip": fb.PerExampleClip(1.0),
        "noise": fb.GaussianNoise(multiplier),
        "seed": 7,
    }
    return fb.Trainer(net or network(), fb.SGD(0.1), batch_size=batch_size, **defaults | options)


# The noise


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "clip",  # each lets a gradient have a norm of 0.5 at most
    [
        fb.PerExampleClip(0.5),
        fb.PerExampleClip(0.5, automatic=True),
        fb.PerExampleClip(0.5, per_layer=True),
        fb.PerExampleClip([0.3, 0.4], per_layer=True),
    ],
)
@pytest.mark.parametrize("sampler", ["sequential", "poisson"])
@pytest.mark.parametrize("seed", [None, 2**64 - 1])
def test_a_step_differs_from_one_without_noise_by_the_noise(backend, dtype, clip, sampler, seed):
    net = network(backend, dtype)
    steps = []
    for noise in None, fb.GaussianNoise(3.0, seed):
        trainer = fb.Trainer(
            net, fb.SGD(0.1), batch_size=8, seed=7, sampler=sampler, clip=clip, noise=noise
        )
        training = trainer._training(*net.check_examples(X, Y), None)
        training.step = 41
        training.advance(np.array([0.1]))
        steps.append(training.theta.astype(float))
    kernels = backends.load(backend)
    standard = kernels.gaussian_noise(net.plan, 7 if seed is None else seed, 41).astype(float)
    expected = -0.1 / 8 * 3.0 * 0.5 * standard
    # Of theta, which is below 2, and of the noise, below 0.02 times 7, with a rounding each.
    np.testing.assert_allclose(
        steps[1] - steps[0], expected, rtol=0, atol=4 * np.finfo(dtype).eps * 2
    )


def test_a_batch_without_examples_is_noise(backend):
    net = network(backend)
    for seed in range(100):  # one in four
        trainer = private(net, batch_size=1, seed=seed)
        training = trainer._training(*net.check_examples(X[:2], Y[:2]), None)
        before = training.theta
        training.advance(np.array([0.5]))
        if training.weight_sum == 0:
            break
    assert training.weight_sum == training.loss_sum == 0
    noise = backends.load(backend).gaussian_noise(net.plan, seed, 0)
    np.testing.assert_allclose(training.theta - before, -0.5 * noise, rtol=1e-13, atol=1e-15)


def test_each_step_has_noise_of_its_own(backend):
    """A learning rate of 1 on gradients that are all 0: theta is the sum of all noise."""
    net = network(backend)
    theta = np.zeros(net.n_parameters)
    trainer = fb.Trainer(
        net, fb.SGD(1.0), batch_size=20, theta=theta, sampler="sequential", seed=3,
        clip=fb.PerExampleClip(1e-6), noise=fb.GaussianNoise(1e6),
    )  # fmt: skip
    trainer.fit(X, Y, epochs=5)
    noise = [backends.load(backend).gaussian_noise(net.plan, 3, step) for step in range(5)]
    np.testing.assert_allclose(trainer.theta, -np.sum(noise, axis=0) / 20, atol=5e-6)


def test_private_training_learns(backend):
    rng = np.random.default_rng(0)
    y = np.arange(3000) % 3
    points = rng.normal(size=(3000, 4)) + 3.0 * np.eye(3, 4)[y]
    net = fb.Network([fb.Dense(16, "tanh"), fb.Dense(3)], 4, "cross_entropy", backend=backend)
    trainer = private(net, batch_size=150, multiplier=1.0)
    trainer.optimizer = fb.SGD(0.5)
    trainer.fit(points, y, epochs=10, validation=(points, y))
    assert trainer.history[-1].validation_metric > 0.95
    assert trainer.privacy_spent(1e-4) < 4


def test_secure_seeds_do_not_repeat():
    seeds = {fb.secure_seed() for _ in range(100)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**64 for seed in seeds) and max(seeds) > 2**60
    fb.Trainer(network(), seed=max(seeds))


# What it has spent


def direct(mechanisms, delta):
    """By a call of dp-accounting itself."""
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant()
    for rate, multiplier, steps in mechanisms:
        accountant.compose(PoissonSampledDpEvent(rate, GaussianDpEvent(multiplier)), steps)
    return accountant.get_epsilon(delta)


def test_before_the_first_step_nothing_is_spent():
    assert private().privacy_spent(1e-5) == 0.0


def test_the_steps_that_were_taken_are_what_is_spent():
    trainer = private(multiplier=1.3)
    trainer.fit(X, Y, epochs=6)
    assert trainer.step == 24
    assert trainer.privacy_spent(1e-4) == direct([(0.25, 1.3, 24)], 1e-4)


def test_fits_on_data_of_other_sizes_add_up():
    trainer = private(multiplier=2.0)
    trainer.fit(X, Y, epochs=2)  # 4 steps each
    trainer.fit(X[:4], Y[:4], epochs=3)  # all in every batch
    trainer.fit(X, Y)
    found = trainer.privacy_spent(1e-4)
    np.testing.assert_allclose(found, direct([(0.25, 2.0, 12), (1.0, 2.0, 3)], 1e-4), rtol=1e-6)


def test_callbacks_see_what_is_spent_so_far():
    spent = []

    def account(trainer, record):
        spent.append(trainer.privacy_spent(0.01))

    private(multiplier=4.0).fit(X, Y, epochs=3, callbacks=[account])
    assert spent == [direct([(0.25, 4.0, steps)], 0.01) for steps in (4, 8, 12)]


def test_steps_that_were_taken_back_are_not_counted():
    trainer = private()
    trainer.fit(X, Y)
    trainer.optimizer = fb.SGD(lambda step: 0.1 if step < 9 else 1e300)
    with pytest.raises(fb.DivergenceError):
        trainer.fit(X, Y, epochs=9)
    assert trainer.step < 12
    assert trainer.privacy_spent(1e-3) == direct([(0.25, 1.0, trainer.step)], 1e-3)


@pytest.mark.parametrize("delta", [1e-6, 1e-3, 0.1])
@pytest.mark.parametrize("multiplier", [1.0, 4.0])
def test_with_all_examples_in_a_batch_it_is_the_gaussian_mechanism(multiplier, delta):
    """Whose curve is known exactly: Balle & Wang 2018, "Improving the Gaussian mechanism", thm 8.

    Steps are as one with the root of their number as sensitivity.
    """
    trainer = private(batch_size=20, multiplier=multiplier)
    trainer.fit(X, Y, epochs=9)
    s = math.sqrt(9) / multiplier

    def excess(epsilon):
        first, second = norm.cdf(s / 2 - epsilon / s), norm.logcdf(-s / 2 - epsilon / s)
        return first - math.exp(epsilon + second) - delta

    truth = brentq(excess, 0, 100)
    # What dp-accounting rounds is rounded up, to multiples of 1e-4.
    assert truth - 1e-9 <= trainer.privacy_spent(delta) < truth + 1e-3


def test_a_value_from_the_tests_of_the_accountant():
    ledger = Ledger([(0, (0.2, 0.5))])
    assert abs(ledger.epsilon(3, delta=0.15594) - 1) < 1e-3


def test_the_example_of_tensorflow_privacy():
    """MNIST in its tutorial: 60 epochs in batches of 256 of 60,000, 2.92 by moments.

    Privacy loss distributions give a tighter bound; a fourth less is what such a bound gains.
    """
    ledger = Ledger([(0, (256 / 60_000, 1.12))])
    assert 0.75 * 2.92 < ledger.epsilon(60 * 60_000 // 256, delta=1e-5) < 2.92


def test_without_noise_nothing_is_hidden():
    trainer = private(multiplier=0.0)
    trainer.fit(X, Y)
    assert trainer.privacy_spent(1e-5) == math.inf


def test_an_epsilon_of_delta_zero_is_infinite():
    trainer = private()
    trainer.fit(X, Y)
    assert trainer.privacy_spent(0) == math.inf


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "shuffle"}, "sampler='poisson' only, found 'shuffle'"),
        ({"sampler": "replacement"}, "sampler='poisson' only"),
        ({"sampler": lambda losses, norms: np.ones(20)}, "sampler='poisson' only"),
        ({"noise": None}, "without clip and noise nothing hides an example"),
        ({"noise": None, "clip": None}, "without clip and noise"),
    ],
)
def test_what_cannot_be_accounted_for_is_refused(options, message):
    trainer = private(**options)
    trainer.fit(X, Y)
    with pytest.raises(ValueError, match=message):
        trainer.privacy_spent(1e-5)


@pytest.mark.parametrize("delta", [-0.1, 1.0, math.nan])
def test_delta_is_a_probability(delta):
    with pytest.raises(ValueError, match="delta must be"):
        private().privacy_spent(delta)


def test_weights_cannot_be_accounted_for_ever_after():
    trainer = private()
    trainer.fit(X, Y)
    trainer.fit(X, Y, sample_weight=np.ones(20))
    trainer.fit(X, Y)
    with pytest.raises(ValueError, match="some steps were taken with sample_weight"):
        trainer.privacy_spent(1e-5)


def test_steps_of_another_sampler_are_not_forgotten(tmp_path):
    trainer = private(sampler="shuffle")
    trainer.fit(X, Y)
    trainer.save(tmp_path / "shuffled")
    loaded = fb.Trainer.load(tmp_path / "shuffled", sampler="poisson")
    loaded.fit(X, Y)
    with pytest.raises(ValueError, match="or other options"):
        loaded.privacy_spent(1e-5)


def test_what_was_spent_is_saved(tmp_path):
    trainer = private(multiplier=4.0)
    trainer.fit(X, Y, epochs=2)
    trainer.fit(X[:10], Y[:10])
    trainer.save(tmp_path / "private")
    loaded = fb.Trainer.load(tmp_path / "private")
    assert loaded.noise == trainer.noise and loaded.clip == trainer.clip
    expected = direct([(0.25, 4.0, 12), (0.5, 4.0, 2)], 1e-5)
    for each in trainer, loaded, pickle.loads(pickle.dumps(trainer)):
        each.fit(X, Y)
        assert each.privacy_spent(1e-5) == expected


def test_without_the_extra_one_sentence_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbatch\[privacy\]'"):
        private().privacy_spent(1e-5)
