"""Steps along scaled mini-batch sums, with noise of the right size, sample from the posterior."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbatch.claims.claim import CHANCE, Claim, Table
from fastbatch.layers import Dense
from fastbatch.network import Network
from fastbatch.optimizers import SGLD, Optimizer
from fastbatch.posterior import PosteriorSamples, effective_sample_size
from fastbatch.trainer import Trainer

Array = NDArray[Any]

PRECISION = 1.0  # of the prior
EXAMPLES = 12
STEP_SIZES = {12: (0.04, 0.02, 0.01, 0.005), 3: (0.01, 0.005, 0.0025)}  # by batch size


def line() -> tuple[Array, Array]:
    """Noisy values of a linear function of two variables; the noise has variance 1/2."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(EXAMPLES, 2)) + 0.5
    return X, X @ [1.0, -2.0] + rng.normal(scale=np.sqrt(0.5), size=EXAMPLES)


def with_bias(X: Array) -> Array:
    """The inputs, and a 1 for the bias."""
    return np.column_stack([X, np.ones(len(X))])


def posterior(X: Array, y: Array, precision: float) -> tuple[Array, Array]:
    """Mean and covariance of linear regression: likelihood exp(-(y - f)**2), Gaussian prior."""
    A = with_bias(X)
    covariance: Array = np.linalg.inv(2 * A.T @ A + precision * np.eye(A.shape[1]))
    return 2 * covariance @ A.T @ y, covariance


def stationary(
    X: Array, y: Array, precision: float, eps: float, batch_size: int | None = None
) -> Array:
    """Covariance that a chain settles to, of all examples or of batches with replacement.

    Around the mean m, which is the posterior's, ``d <- (1 - eps / 2 P) d + sqrt(eps) xi - eps / 2
    (N / n sum g - its mean)`` with the posterior's precision P. So the covariance C of d is the
    fixed point of ``(1 - eps / 2 P) C (1 - eps / 2 P) + eps + eps**2 / 4 V``, where V is the mean
    covariance of the scaled sum, which itself depends on C. Of all examples, V is 0 and ``C = (P -
    eps / 4 P**2)**-1``.
    """
    A = with_bias(X)
    identity = np.eye(A.shape[1])
    mean, C = posterior(X, y, precision)
    shrink = identity - eps / 2 * np.linalg.inv(C)
    hessian, residuals, slope = 2 * A.T @ A, A @ mean - y, precision * mean
    for _ in range(3000):
        V: Array = 0 * C
        if batch_size is not None:
            squares = residuals**2 + np.einsum("ij,jk,ik->i", A, C, A)
            V = len(A) * (4 * (A.T * squares) @ A) - hessian @ C @ hessian - np.outer(slope, slope)
            V /= batch_size
        C = shrink @ C @ shrink + eps * identity + eps**2 / 4 * V
    return C


def z_scores(samples: PosteriorSamples, mean: Array, covariance: Array) -> Array:
    """Estimates of means and covariances less the truth, in units of their Monte Carlo error."""
    deviations = samples.theta - mean
    i, j = np.triu_indices(len(mean))
    moments = np.column_stack([deviations, deviations[:, i] * deviations[:, j]])
    truth = np.concatenate([np.zeros(len(mean)), covariance[i, j]])
    with np.errstate(divide="ignore", invalid="ignore"):  # a chain that stands still is wrong
        error = np.sqrt(moments.var(axis=0) / effective_sample_size(moments))
        scores: Array = (moments.mean(axis=0) - truth) / error
    return scores


def sample(
    X: Array,  # (N, inputs)
    y: Array,  # (N,)
    loss: str,
    optimizer: Optimizer,
    batch_size: int,
    sampler: Any,
    samples: int,
    thinning: int,
    *,
    burn_in: int = 2000,
    dtype: str = "float64",
    sample_weight: ArrayLike = 1.0,
    **options: Any,
) -> PosteriorSamples:
    """Samples of a linear model; in sequence, batches of N examples are all of them.

    They are there a hundred times with weights of 1/100, which changes nothing but the length of
    an epoch, and so the time that it takes.
    """
    network = Network([Dense(1)], X.shape[1], loss, dtype)
    trainer = Trainer(network, optimizer, batch_size=batch_size, sampler=sampler, **options)
    weights = np.tile(np.broadcast_to(sample_weight, len(X)) / 100, 100)
    copies = np.tile(X, (100, 1)), np.tile(y, 100)
    return trainer.sample(
        *copies, samples, burn_in=burn_in, thinning=thinning, sample_weight=weights
    )


def langevin(optimizer: Callable[[float], Optimizer] = SGLD) -> Claim:
    """Sample from linear regression, by several step sizes, and from logistic regression."""
    X, y = line()
    mean, exact = posterior(X, y, PRECISION)
    rows, drawn = [], {}
    for batch_size, sizes in STEP_SIZES.items():
        whole = batch_size == EXAMPLES
        how = batch_size, "sequential" if whole else "replacement"
        for eps in sizes:
            thinning = round(0.08 / eps)  # as much time of the diffusion for each
            samples = sample(X, y, "squared_error", optimizer(eps), *how, 8000, thinning)
            drawn[batch_size, eps] = samples
            theory = stationary(X, y, PRECISION, eps, None if whole else batch_size)
            excess, expected = (
                float(np.trace(C @ np.linalg.inv(exact)) / len(C) - 1)
                for C in (samples.covariance(), theory)
            )
            scores = z_scores(samples, mean, theory)
            rows.append((batch_size, eps, excess, expected, float(abs(scores).max())))
    logistic = _logistic(optimizer)
    return Claim(
        "Scaled mini-batch sums and noise make samples of the posterior",
        "Stochastic gradient Langevin dynamics steps along N / n times the sum over a batch and "
        "adds noise of variance eps. For linear regression, its samples have the posterior's mean, "
        "and its covariance but for an excess that is, to first order, in proportion to the step "
        "size eps; elsewhere the mean is off by as much.",
        (
            Table(
                f"Linear regression on {EXAMPLES} examples: the samples' covariance over that of "
                "the posterior, less 1",
                (
                    "batch size",
                    "step size",
                    "found",
                    "by theory",
                    "largest of 9 differences in standard errors",
                ),
                tuple(rows),
            ),
            Table(
                "Logistic regression in batches of 10: moments of the posterior",
                ("", "found", "by integration", "difference in standard errors"),
                logistic,
            ),
        ),
        holds=all(row[-1] < CHANCE for row in rows)
        and all(abs(row[-1]) < CHANCE for row in logistic),
        draw=lambda figure: _draw(figure, rows, drawn[3, 0.0025], mean, exact),
    )


def _logistic(optimizer: Callable[[float], Optimizer]) -> tuple[tuple[Any, ...], ...]:
    """Moments of weight and bias, sampled with small steps, and by the sum over a grid."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 1))
    y = (rng.random(40) < 1 / (1 + np.exp(-2 * X[:, 0]))).astype(float)
    how = optimizer(0.004), 10, "replacement"
    samples = sample(X, y, "binary_cross_entropy", *how, 12_000, thinning=30)

    axis = np.linspace(-4, 8, 301)
    weight, bias = np.meshgrid(axis, axis, indexing="ij")
    logits = weight[..., None] * X[:, 0] + bias[..., None]
    log_density = (logits * y - np.logaddexp(0, logits)).sum(axis=-1)
    density = np.exp(log_density - PRECISION / 2 * (weight**2 + bias**2))
    density /= density.sum()
    grid = np.array([weight.ravel(), bias.ravel()])
    mean = grid @ density.ravel()
    covariance = (grid - mean[:, None]) * density.ravel() @ (grid - mean[:, None]).T

    deviations, upper = samples.theta - mean, np.triu_indices(2)
    second = deviations.T @ deviations / len(samples)  # about the mean that is true
    moments, truth = [*samples.mean(), *second[upper]], [*mean, *covariance[upper]]
    names = ("mean weight", "mean bias", "variance of the weight", "covariance", "of the bias")
    scores = z_scores(samples, mean, covariance)
    found = zip(names, moments, truth, scores, strict=True)
    return tuple((name, *(float(number) for number in numbers)) for name, *numbers in found)


def _draw(figure: Any, rows: Any, samples: PosteriorSamples, mean: Array, exact: Array) -> None:
    """The excess by step size, and some samples around the posterior's ellipse."""
    left, right = figure.subplots(1, 2)
    for color, batch_size in zip(("C0", "C1"), STEP_SIZES, strict=True):
        _, eps, found, theory, _ = zip(*(r for r in rows if r[0] == batch_size), strict=True)
        what = "all examples" if batch_size == EXAMPLES else f"batches of {batch_size}"
        left.plot(eps, theory, "-", color=color)
        left.plot(eps, found, "o", color=color, label=what)
    left.set_title("excess of the covariance (lines: theory)", fontsize="medium")
    left.set(xlim=(0, None), ylim=(0, None))
    left.set_xlabel("step size")
    left.legend()
    right.plot(*samples.theta[::32, :2].T, ".", markersize=2, label="samples")
    circle = np.exp(2j * np.pi * np.linspace(0, 1, 100))
    root = np.linalg.cholesky(exact[:2, :2])
    ellipse = mean[:2, None] + 2.146 * root @ [circle.real, circle.imag]  # 90 % are inside
    right.plot(*ellipse, color="black", label="90 % of the posterior")
    right.set_xlabel("first weight")
    right.set_ylabel("second weight")
    right.margins(y=0.2)  # for the legend
    right.legend()
