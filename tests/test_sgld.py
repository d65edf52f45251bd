"""Langevin dynamics: a step is that of the paper, and the chain has the distribution it should."""

import numpy as np
import pytest
from scipy.special import expit

import fastbatch as fb
from fastbatch import backends, run
from fastbatch.claims import langevin
from fastbatch.claims.claim import CHANCE, standard_errors
from fastbatch.claims.langevin import posterior, sample, stationary, z_scores
from fastbatch.samplers import SAMPLERS, sampling

REFERENCE = backends.load("reference")


@pytest.fixture
def line():
    """Noisy values of a linear function of two variables, and weights."""
    return *langevin.line(), np.array([1.0, 0.0, 2.0, 0.5] * 3)


def linear(backend="cpu", dtype="float64"):
    return fb.Network([fb.Dense(1)], 2, "squared_error", dtype, backend)


# A step


def prefer_large(losses, norms):
    return np.nan_to_num(norms, nan=1.0) + 0.1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sampler", [*SAMPLERS, prefer_large])
def test_a_step_is_equation_4_of_welling_and_teh(backend, line, sampler, weighted):
    X, y, weights = line
    weights = weights if weighted else None
    net = fb.Network([fb.Dense(3, "tanh"), fb.Dense(1)], 2, "squared_error", "float64", backend)
    schedule = fb.PowerDecay(0.01, b=2, gamma=0.6)
    optimizer = fb.SGLD(schedule, prior_precision=0.7, temperature=0.3)
    trainer = fb.Trainer(net, optimizer, batch_size=5, seed=9, sampler=sampler)
    theta = trainer.theta
    samples = trainer.sample(X, y, 3, sample_weight=weights)  # of which the last batch may be short

    batches = drawn(sampler, X, weights)
    w = np.ones(12) if weights is None else weights
    for step, found in enumerate(samples.theta):
        rows = batches.rows[batches.starts[step] : batches.starts[step + 1]]
        if sampler == "poisson":
            scale, w_rows = 12 / 5, w[rows]
        elif callable(sampler):
            scale, w_rows = w.sum() / 5, batches.weights[rows]
        else:
            scale, w_rows = 12 / len(rows), w[rows]
        gradient = 0.7 * theta
        for row, weight in zip(rows, w_rows, strict=True):
            _, g = net.value_and_grad(theta, X[[row]], y[[row]], reduction="sum")
            gradient += scale * weight * g
        eps = schedule(step)
        xi = -REFERENCE.gaussian_noise(net.plan, 9, step)
        theta = theta - eps / 2 * gradient + np.sqrt(eps * 0.3) * xi
        np.testing.assert_allclose(found, theta, rtol=1e-12, atol=1e-14)


def drawn(sampler, X, weights):
    """The batches of the first epoch, with nothing left out."""

    class Epoch:
        epoch, batches, probabilities = 0, 3, None
        example_losses = example_norms = np.full(12, np.nan)

    options = sampling(sampler, REFERENCE, X, weights, batch_size=5, seed=9)
    batches = options["sampler"](Epoch)
    rows = np.arange(12) if batches.rows is None else batches.rows
    starts = np.array([0, 5, 10, 12]) if batches.starts is None else batches.starts
    return batches._replace(rows=rows, starts=starts)


def test_without_temperature_it_is_gradient_descent_on_the_sum(backend, line):
    X, y, _ = line
    net = linear(backend)
    sgld = fb.Trainer(net, fb.SGLD(2e-3, prior_precision=1.2, temperature=0), batch_size=12)
    sgd = fb.Trainer(net, fb.SGD(12e-3, weight_decay=0.1), batch_size=12)
    for trainer in sgld, sgd:
        trainer.fit(X, y, epochs=20)
    np.testing.assert_allclose(sgld.theta, sgd.theta, rtol=1e-12)


def test_a_step_of_size_0_moves_nothing(backend, line):
    X, y, _ = line
    trainer = fb.Trainer(linear(backend), fb.SGLD(0.0))
    theta = trainer.theta
    trainer.fit(X, y, epochs=3)
    np.testing.assert_array_equal(trainer.theta, theta)


def test_clipped_gradients_are_summed_all_the_same(backend, line):
    X, y, _ = line
    net = linear(backend)
    clip = fb.PerExampleClip(0.5)
    trainer = fb.Trainer(
        net, fb.SGLD(0.01, prior_precision=0, temperature=0), batch_size=4, clip=clip,
        sampler="sequential",
    )  # fmt: skip
    theta = trainer.theta
    (found,) = trainer.sample(X, y, 1).theta
    gradient, _ = net.clipped_gradient(theta, X[:4], y[:4], 0.5, scale=12 / 4)
    np.testing.assert_allclose(found, theta - 0.005 * gradient, rtol=1e-12)


def test_noise_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="noise and SGLD do not go together"):
        fb.Trainer(
            linear(), fb.SGLD(), clip=fb.PerExampleClip(1.0), noise=fb.GaussianNoise(1.0)
        )  # fmt: skip
    private = fb.Trainer(linear(), clip=fb.PerExampleClip(1.0), noise=fb.GaussianNoise(1.0))
    private.optimizer = fb.SGLD()
    with pytest.raises(ValueError, match="noise and SGLD do not go together"):
        private.fit([[0.0, 0.0]], [0.0])


def test_chains_of_other_seeds_are_others(backend, line):
    X, y, _ = line
    ends = [
        fb.Trainer(linear(backend), fb.SGLD(1e-3), seed=seed, theta=[0, 0, 0])
        for seed in (0, 1, 2**64 - 1)
    ]
    thetas = {trainer.sample(X, y, 1).theta.tobytes() for trainer in ends}
    assert len(thetas) == 3


# The distribution of a chain


def chain(
    X, y, optimizer, batch_size=12, sampler="sequential", samples=20_000, thinning=8, **options
):
    """Samples of linear regression; in sequence, each batch is all 12 examples."""
    return sample(
        X, y, "squared_error", optimizer, batch_size, sampler, samples, thinning, **options
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("eps", [0.004, 0.04])
def test_of_all_examples_the_covariance_is_that_of_theory(line, eps, dtype):
    X, y, _ = line
    mean, exact = posterior(X, y, 1.0)
    biased = stationary(X, y, 1.0, eps)
    np.testing.assert_allclose(
        biased, np.linalg.inv(np.linalg.inv(exact) @ (np.eye(3) - eps / 4 * np.linalg.inv(exact))),
        rtol=1e-9,
    )  # fmt: skip
    samples = chain(X, y, fb.SGLD(eps), dtype=dtype)
    assert abs(z_scores(samples, mean, biased)).max() < CHANCE
    if eps == 0.04:  # 60 % off: the test would notice
        assert abs(z_scores(samples, mean, exact)).max() > 10


@pytest.mark.parametrize("eps", [0.002, 0.01])
def test_of_batches_the_covariance_is_that_of_theory(line, eps):
    X, y, _ = line
    mean, exact = posterior(X, y, 1.0)
    samples = chain(X, y, fb.SGLD(eps), 3, "replacement")
    assert abs(z_scores(samples, mean, stationary(X, y, 1.0, eps, 3))).max() < CHANCE
    if eps == 0.01:
        assert abs(z_scores(samples, mean, exact)).max() > 10


@pytest.mark.parametrize("sampler", ["shuffle", "poisson", "replacement", prefer_large])
def test_with_small_steps_every_sampler_has_the_posterior(line, sampler):
    X, y, weights = line
    weights = weights + 0.5
    root = np.sqrt(weights)[:, None]
    A = np.column_stack([X, np.ones(12)]) * root
    covariance = np.linalg.inv(2 * A.T @ A + np.eye(3))
    mean = 2 * covariance @ A.T @ (root[:, 0] * y)
    samples = chain(X, y, fb.SGLD(3e-4), 6, sampler, 10_000, 40, sample_weight=weights)
    assert abs(z_scores(samples, mean, covariance)).max() < CHANCE


def test_temperature_scales_the_covariance(line):
    X, y, _ = line
    mean, _ = posterior(X, y, 1.0)
    samples = chain(X, y, fb.SGLD(0.004, temperature=0.25))
    covariance = 0.25 * stationary(X, y, 1.0, 0.004)
    assert abs(z_scores(samples, mean, covariance)).max() < CHANCE


def test_of_falling_steps_the_mean_weighed_by_their_sizes_scatters_less(line):
    """Welling & Teh, equation 11; late samples lie close together, and there are many of them."""
    X, y, _ = line
    mean, _ = posterior(X, y, 1.0)
    schedule = fb.PowerDecay(0.16, b=10, gamma=0.9)
    plain, weighed = [], []
    for seed in range(60):
        samples = chain(
            X, y, fb.SGLD(schedule), samples=2000, thinning=5, burn_in=0, seed=seed, theta=mean
        )
        plain.append(samples.mean())
        weights = schedule(samples.steps - 1)
        weighed.append(np.average(samples.theta, axis=0, weights=weights))
    assert abs(standard_errors(np.array(weighed), mean)).max() < CHANCE
    assert np.mean(np.var(plain, axis=0) / np.var(weighed, axis=0)) > 1.5


def metropolis(log_density, start, deviations, steps, seed):
    """Many chains by random-walk Metropolis, (steps, chains, P)."""
    rng = np.random.default_rng(seed)
    theta, density, visited = start, log_density(start), []
    for _ in range(steps):
        proposal = theta + deviations * rng.normal(size=theta.shape)
        of_proposal = log_density(proposal)
        accepted = np.log(rng.random(len(theta))) < of_proposal - density
        theta = np.where(accepted[:, None], proposal, theta)
        density = np.where(accepted, of_proposal, density)
        visited.append(theta)
    return np.array(visited)


def test_logistic_regression_agrees_with_metropolis():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = (rng.random(60) < expit(X @ [1.5, -1.0] + 0.5)).astype(float)
    A = np.column_stack([X, np.ones(60)])

    def log_density(theta):
        logits = theta @ A.T
        return (logits * y - np.logaddexp(0, logits)).sum(axis=1) - 0.5 * (theta**2).sum(axis=1)

    chains = metropolis(log_density, np.zeros((400, 3)), 0.45, 1500, seed=1)[300:]
    means = np.concatenate([chains, chains**2], axis=2).mean(axis=0)  # of each chain, (400, 6)
    truth, error = means.mean(axis=0), means.std(axis=0, ddof=1) / 20

    net = fb.Network([fb.Dense(1)], 2, "binary_cross_entropy", "float64")
    found, copies = [], (np.tile(X, (20, 1)), np.tile(y, 20))  # as in `sample`
    for seed in range(20):
        trainer = fb.Trainer(net, fb.SGLD(2e-3), batch_size=20, seed=seed)
        weights = np.full(1200, 1 / 20)
        samples = trainer.sample(
            *copies, 1500, burn_in=3000, thinning=20, sample_weight=weights
        )  # fmt: skip
        found.append(np.concatenate([samples.theta, samples.theta**2], axis=1).mean(axis=0))
    found, scatter = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(20)
    assert (abs(found - truth) < CHANCE * np.hypot(error, scatter)).all()
    # The errors are a small part of the posterior's own width, so that this says something.
    assert (np.hypot(error, scatter)[:3] < 0.04 * np.sqrt(truth[3:] - truth[:3] ** 2)).all()


# Sampling as a run of the trainer


def test_samples_are_the_parameters_of_their_steps(backend, line):
    X, y, _ = line
    sampled, trained = (
        fb.Trainer(linear(backend), fb.SGLD(1e-3), batch_size=5, seed=4) for _ in range(2)
    )
    samples = sampled.sample(X, y, 4, burn_in=3, thinning=3)
    np.testing.assert_array_equal(samples.steps, [6, 9, 12, 15])
    for epoch in range(1, 6):  # of three steps
        trained.fit(X, y)
        if epoch >= 2:
            np.testing.assert_array_equal(samples.theta[epoch - 2], trained.theta)
    assert (sampled.step, sampled.epoch, len(sampled.history)) == (15, 5, 5)
    for one, other in zip(sampled.history, trained.history, strict=True):
        assert (one.epoch, one.step, one.loss) == (other.epoch, other.step, other.loss)


def test_the_next_call_goes_on_without_another_burn_in(backend, line):
    X, y, _ = line
    whole, parts = (fb.Trainer(linear(backend), fb.SGLD(1e-3), batch_size=5) for _ in range(2))
    expected = whole.sample(X, y, 7, burn_in=10, thinning=4)
    samples = parts.sample(X, y, 3, burn_in=10, thinning=4)
    assert parts.samples is samples
    samples = samples + parts.sample(X, y, 4, burn_in=10, thinning=4)
    np.testing.assert_array_equal(samples.steps, expected.steps)
    np.testing.assert_array_equal(samples.theta, expected.theta)


def stopping(last):
    """A schedule in whose evaluation Ctrl-C arrives."""

    def step_size(step):
        if step == last:
            raise KeyboardInterrupt
        return 1e-3

    return step_size


@pytest.mark.parametrize("last", [0, 3, 6, 14, 15, 16, 21])
def test_interrupted_sampling_keeps_what_it_has_and_goes_on_to_the_same_bits(
    backend, line, monkeypatch, tmp_path, last
):
    X, y, _ = line
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)
    options = {"burn_in": 4, "thinning": 5}
    expected = fb.Trainer(linear(backend), fb.SGLD(1e-3), batch_size=5)
    whole = expected.sample(X, y, 5, **options)

    trainer = fb.Trainer(linear(backend), fb.SGLD(stopping(last)), batch_size=5)
    with pytest.raises(KeyboardInterrupt):
        trainer.sample(X, y, 5, **options)
    first = trainer.samples
    assert trainer.step == last and len(first) == last // 5
    trainer.save(tmp_path / "amid")
    trainer.optimizer = fb.SGLD(1e-3)
    loaded = fb.Trainer.load(tmp_path / "amid", optimizer=fb.SGLD(1e-3))
    for each in trainer, loaded:
        samples = first + each.sample(X, y, 5 - len(first), **options)
        np.testing.assert_array_equal(samples.steps, whole.steps)
        np.testing.assert_array_equal(samples.theta, whole.theta)
        assert (each.step, each.epoch) == (25, 8)
        assert [r.loss for r in each.history] == [r.loss for r in expected.history]


def test_a_diverging_chain_keeps_its_finite_samples(backend, line):
    X, y, _ = line
    trainer = fb.Trainer(linear(backend, "float32"), fb.SGLD(1.0), batch_size=12)
    with pytest.raises(fb.DivergenceError):
        trainer.sample(X, y, 10_000)
    assert 0 < len(trainer.samples) == trainer.step
    assert np.isfinite(trainer.samples.theta).all()
    np.testing.assert_array_equal(trainer.samples.theta[-1], trainer.theta)


def test_any_optimizer_may_be_sampled(classifier, classes):
    trainer = fb.Trainer(classifier, fb.Adam(0.01), batch_size=30)
    samples = trainer.sample(*classes, 20, burn_in=100)
    averaged = classifier.losses(samples.mean(), *classes).mean()
    assert averaged < 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "samples must be"),
        ({"samples": 1, "burn_in": -1}, "burn_in must be"),
        ({"samples": 1, "thinning": 0}, "thinning must be"),
        ({"samples": 1, "sample_weight": [1.0]}, "sample_weight must have shape"),
    ],
)
def test_what_cannot_be_sampled_is_refused_and_nothing_is_done(line, arguments, message):
    X, y, _ = line
    trainer = fb.Trainer(linear("reference"), fb.SGLD(1e-3))
    with pytest.raises(ValueError, match=message):
        trainer.sample(X, y, **arguments)
    assert trainer.step == 0 and trainer.samples is None
