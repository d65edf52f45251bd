"""Samplers: which examples a batch has, how often, and that the mean gradient stays what it is."""

from itertools import permutations, product
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import fastbatch as fb
from fastbatch import backends, samplers
from fastbatch.backends import Batches
from fastbatch.kernels.reference import philox
from fastbatch.samplers import SAMPLERS, sampling

REFERENCE = backends.load("reference")


def prefer_last(losses, norms):
    """A sampler's weights that do not depend on anything."""
    return np.arange(len(losses))


def epoch_of(sampler, examples, batch_size, *, epoch=0, seed=0, weights=None, kernels=REFERENCE):
    """The `Batches` of an epoch of a training that nobody runs."""
    X = np.empty((examples, 1))
    options = sampling(sampler, kernels, X, weights, batch_size=batch_size, seed=seed)
    unknown = np.full(examples, np.nan)
    training = SimpleNamespace(
        epoch=epoch,
        batches=-(-examples // batch_size),
        example_losses=unknown,
        example_norms=unknown,
        probabilities=None,
    )
    return options["sampler"](training)


def rows_of(batches, examples, batch_size):
    """The rows of each batch."""
    rows = np.arange(examples) if batches.rows is None else batches.rows
    if batches.starts is None:
        return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    return np.split(rows, batches.starts[1:-1])


def included(sampler, examples, batch_size, epochs, **options):
    """How often each example is in each batch of some epochs, (batches, examples)."""
    counts = []
    for epoch in range(epochs):
        batches = epoch_of(sampler, examples, batch_size, epoch=epoch, **options)
        for rows in rows_of(batches, examples, batch_size):
            counts.append(np.bincount(rows, minlength=examples))
    return np.array(counts)


def test_purposes_are_counted_as_the_backends_count_them():
    assert samplers.SAMPLES == philox.SAMPLES


@pytest.mark.parametrize("sampler", [*SAMPLERS, prefer_last])
@pytest.mark.parametrize(("examples", "batch_size"), [(2, 1), (10, 3), (10, 10), (4, 9), (64, 8)])
def test_samples_are_what_kernels_take(sampler, examples, batch_size):
    batches = epoch_of(sampler, examples, batch_size)
    parts = rows_of(batches, examples, batch_size)
    assert len(parts) == -(-examples // batch_size)
    for array in batches.rows, batches.starts:
        assert array is None or (array.dtype == np.int64 and array.flags.c_contiguous)
    assert all(((rows >= 0) & (rows < examples)).all() for rows in parts)


@pytest.mark.parametrize("sampler", ["replacement", "poisson", prefer_last])
def test_both_backends_draw_the_same_samples(sampler):
    weights = np.linspace(0, 1, 100)
    one, other = (
        epoch_of(sampler, 100, 7, epoch=3, seed=2**64 - 1, weights=weights, kernels=kernels)
        for kernels in (REFERENCE, backends.load("cpu"))
    )
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("sampler", ["shuffle", "replacement", "poisson", prefer_last])
def test_epochs_and_seeds_differ(sampler):
    seen = {
        epoch_of(sampler, 40, 10, epoch=epoch, seed=seed).rows.tobytes()
        for epoch in range(3)
        for seed in range(3)
    }
    assert len(seen) == 9


def test_a_shuffle_is_the_permutation_of_the_epoch():
    batches = epoch_of("shuffle", 50, 8, epoch=5, seed=11)
    np.testing.assert_array_equal(batches.rows, REFERENCE.permutation(50, 11, 5))
    assert batches[1:] == (None, None, None)


def test_in_sequence_nothing_is_drawn():
    assert epoch_of("sequential", 50, 8) == Batches()


# With replacement


def test_with_replacement_all_batches_are_full_and_all_examples_are_equal():
    counts = included("replacement", 10, 4, epochs=2000)  # 3 batches in each
    assert (counts.sum(axis=1) == 4).all()
    assert stats.chisquare(counts.sum(axis=0)).pvalue > 1e-3
    # In a batch, an example occurs as often as four draws from ten bring it.
    expected = stats.binom(4, 0.1).pmf(range(5)) * counts.size
    observed = np.bincount(counts.ravel(), minlength=5)
    assert (abs(observed - expected) < 4 * np.sqrt(expected)).all()


# Poisson


def one_by_one(examples, batch_size, seed, longest_gap):
    """Poisson samples, each trial on its own: a draw goes on as long as it is below the power."""
    batches = -(-examples // batch_size)
    miss = 1.0 - min(batch_size, examples) / examples
    draws = iter(REFERENCE.uniform(20_000, seed, 0, philox.SAMPLES).tolist())
    parts, trial = [[] for _ in range(batches)], -1
    while True:
        draw, power, gap = next(draws), miss, 0
        while draw < power and gap < longest_gap:
            gap += 1
            power *= miss
        is_hit = gap < longest_gap
        trial += gap + is_hit
        if trial >= examples * batches:
            return parts
        if is_hit:
            parts[trial // examples].append(trial % examples)


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**64 - 1))
def test_poisson_samples_are_those_of_trials_one_by_one(examples, batch_size, seed):
    batches = epoch_of("poisson", examples, batch_size, seed=seed)
    found = [rows.tolist() for rows in rows_of(batches, examples, batch_size)]
    assert found == one_by_one(examples, batch_size, seed, longest_gap=1 << 16)


@pytest.mark.parametrize(
    "rate", [1.0, 1 - 2.0**-53, 0.9, 0.5, 1 / 3, 0.01, 1e-4, 1e-6, 1e-9, 1e-12, 2.0**-53]
)
def test_powers_decide_where_logarithms_are_in_doubt(rate):
    """Draws at the powers and next to them, with 0 and the largest and smallest there are."""
    miss = 1.0 - rate
    powers = np.cumprod(np.full(1 << 16, miss))
    edges = powers[:: 1 + len(powers) // 5000]
    near = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, 1)])
    draws = np.append(near, [0, 2.0**-53, 1 - 2.0**-53])
    draws = draws[(draws < 1) & ((draws == 0) | (draws >= 2.0**-53))]
    not_above = np.searchsorted(powers[::-1], np.maximum(draws, 2.0**-54), side="right")
    np.testing.assert_array_equal(samplers._gaps(draws, miss), len(powers) - not_above)


def test_gaps_longer_than_the_table_go_on_with_the_next_draw(monkeypatch):
    monkeypatch.setattr(samplers, "_LONGEST_GAP", 3)
    samplers._powers.cache_clear()
    try:
        for seed in range(50):
            batches = epoch_of("poisson", 30, 2, seed=seed)
            found = [rows.tolist() for rows in rows_of(batches, 30, 2)]
            assert found == one_by_one(30, 2, seed, longest_gap=3)
        sizes = included("poisson", 30, 2, epochs=400).sum(axis=1)  # 6000 batches
        assert abs(sizes.mean() - 2) < 5 * np.sqrt(2 * 14 / 15 / 6000)
    finally:
        samplers._powers.cache_clear()


def test_poisson_batches_are_binomial_and_examples_independent():
    examples, batch_size, epochs = 20, 5, 4000
    chance = batch_size / examples
    inside = included("poisson", examples, batch_size, epochs)  # (16000, 20)
    n = len(inside)
    assert inside.max() == 1

    sizes = inside.sum(axis=1)
    assert abs(sizes.mean() - 5) < 4 * np.sqrt(20 * chance * (1 - chance) / n)
    observed = np.bincount(np.minimum(sizes, 12), minlength=13)
    binomial = stats.binom(examples, chance)
    expected = n * np.append(binomial.pmf(range(12)), binomial.sf(11))
    assert stats.chisquare(observed, expected).pvalue > 1e-3

    often = inside.sum(axis=0)
    deviations = (often - n * chance) / np.sqrt(n * chance * (1 - chance))
    assert abs(deviations).max() < 4
    # All 210 pairs within a batch, and each example with itself in the batch before.
    centred = (inside - chance) / np.sqrt(chance * (1 - chance))
    pairs = (centred.T @ centred)[np.triu_indices(examples, 1)] / np.sqrt(n)
    before = (centred[1:] * centred[:-1]).sum(axis=0) / np.sqrt(n)
    assert abs(pairs).max() < 4.5 and abs(before).max() < 4.5
    assert stats.kstest(pairs, "norm").pvalue > 1e-3


@pytest.mark.parametrize("batch_size", [6, 7, 10**9])
def test_a_poisson_batch_of_all_has_all(batch_size):
    batches = epoch_of("poisson", 6, batch_size)
    np.testing.assert_array_equal(batches.rows, range(6))
    np.testing.assert_array_equal(batches.starts, [0, 6])


def test_poisson_batches_may_be_empty():
    sizes = included("poisson", 3, 1, epochs=2000).sum(axis=1)
    assert abs((sizes == 0).mean() - 8 / 27) < 4 * np.sqrt(8 / 27 * 19 / 27 / 6000)
    assert (sizes == 3).any()


def test_more_hits_than_expected_are_drawn_for():
    always = SimpleNamespace(uniform=lambda count, *_: np.full(count, 1 - 2.0**-53))
    batches = epoch_of("poisson", 1000, 1, kernels=always)
    np.testing.assert_array_equal(batches.starts, 1000 * np.arange(1001))
    np.testing.assert_array_equal(batches.rows, np.tile(np.arange(1000), 1000))


def test_few_of_very_many_are_drawn_at_the_right_rate():
    sizes = np.diff(epoch_of("poisson", 300_000, 3000).starts)
    assert len(sizes) == 100
    assert abs(sizes.mean() - 3000) < 4 * np.sqrt(3000 / 100)
    assert 0.6 < sizes.var() / (3000 * 0.99) < 1.5  # chi-squared of 99 degrees, beyond 1e-3


# Weights of a user's own


def test_examples_are_drawn_in_proportion_to_their_weights():
    counts = included(prefer_last, 8, 4, epochs=3000)
    assert (counts.sum(axis=1) == 4).all()
    often = counts.sum(axis=0)
    assert often[0] == 0
    expected = 24_000 * np.arange(8) / 28
    assert stats.chisquare(often[1:], expected[1:]).pvalue > 1e-3


@pytest.mark.parametrize(("draw", "row"), [(0.0, 1), (0.25, 2), (1 - 2.0**-53, 2)])
def test_even_the_draws_at_the_ends_take_no_example_of_weight_0(draw, row):
    kernels = SimpleNamespace(uniform=lambda count, *_: np.full(count, draw))
    batches = epoch_of(lambda losses, norms: [0, 1, 3, 0], 4, 4, kernels=kernels)
    np.testing.assert_array_equal(batches.rows, [row] * 4)


def test_what_is_drawn_often_weighs_little():
    weights = np.array([0.0, 2.0, 1.0, 5.0])
    batches = epoch_of(lambda losses, norms: [4, 4, 0, 8], 4, 2, weights=weights)
    np.testing.assert_array_equal(batches.probabilities, [0.25, 0.25, 0, 0.5])
    # w / (W p), with W = 8; what is never drawn weighs nothing
    np.testing.assert_array_equal(batches.weights, [0, 1, 0, 1.25])


@pytest.mark.parametrize("scale", [1e-310, 1.0, 1e308])
def test_weights_of_any_magnitude_will_do(scale):
    p = epoch_of(lambda losses, norms: np.array([1.0, 1.5, 0.5]) * scale, 3, 1).probabilities
    np.testing.assert_allclose(p, [1 / 3, 1 / 2, 1 / 6], rtol=1e-12)


def test_a_weight_that_no_float32_can_hold_does_no_harm():
    options = sampling(
        lambda losses, norms: [1e-60, 1], REFERENCE, np.empty((2, 1), "float32"), None,
        batch_size=2, seed=0,
    )  # fmt: skip
    training = SimpleNamespace(
        epoch=0, batches=1, example_losses=None, example_norms=None, probabilities=None
    )
    batches = options["sampler"](training)
    np.testing.assert_array_equal(batches.weights, np.float32([np.inf, 0.5]))
    np.testing.assert_array_equal(batches.rows, [1, 1])


# What a step follows on average


each_reduction = pytest.mark.parametrize("reduction", ["mean", "sum"])
each_weighting = pytest.mark.parametrize(
    "weights", [None, np.array([1.0, 0.0, 2.5]), np.array([3.0, 1.0, 0.5])]
)


def mean_step(sampler, draws, weights, reduction):
    """What a step changes in theta, on average over all possible batches, and what it should.

    `draws` are pairs of rows and their probability.
    """
    net = fb.Network([fb.Dense(2, "tanh"), fb.Dense(1)], 2, "squared_error", "float64", "reference")
    rng = np.random.default_rng(0)
    theta = rng.normal(size=net.n_parameters)
    X, y = rng.normal(size=(3, 2)), rng.normal(size=(3, 1))
    batches = epoch_of(sampler, 3, 2, weights=weights)
    options = sampling(
        sampler, REFERENCE, X, weights, batch_size=2, seed=0, reduction=reduction
    )  # fmt: skip
    mean, total = np.zeros_like(theta), 0.0
    for rows, probability in draws:
        one = batches._replace(rows=np.array(rows, int), starts=np.array([0, len(rows), len(rows)]))
        training = REFERENCE.Training(
            net.plan, fb.SGD(), X, y, weights, **options | {"sampler": lambda _, one=one: one}
        )
        training.theta = theta
        training.advance(np.array([1.0]))
        mean += probability * (training.theta - theta)
        total += probability
    assert abs(total - 1) < 1e-12
    return mean, -net.value_and_grad(theta, X, y, weights, reduction)[1]


@each_reduction
@each_weighting
@pytest.mark.parametrize("preferences", [(1, 1, 1), (1, 2, 5), (0.01, 3, 1)])
def test_steps_of_weighted_samples_are_unbiased(preferences, weights, reduction):
    p = np.array(preferences) / sum(preferences)
    draws = [(pair, p[list(pair)].prod()) for pair in product(range(3), repeat=2)]
    mean, truth = mean_step(lambda losses, norms: preferences, draws, weights, reduction)
    np.testing.assert_allclose(mean, truth, rtol=1e-12, atol=1e-14)


@each_reduction
@each_weighting
def test_steps_of_poisson_samples_are_unbiased(weights, reduction):
    draws = []
    for inside in product([0, 1], repeat=3):
        chances = np.where(inside, 2 / 3, 1 / 3)
        draws.append((np.flatnonzero(inside), chances.prod()))
    mean, truth = mean_step("poisson", draws, weights, reduction)
    np.testing.assert_allclose(mean, truth, rtol=1e-12, atol=1e-14)


def test_steps_of_samples_with_replacement_are_unbiased():
    draws = [(pair, 1 / 9) for pair in product(range(3), repeat=2)]
    mean, truth = mean_step("replacement", draws, None, "mean")
    np.testing.assert_allclose(mean, truth, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [1, 2], ids=["the last batch", "a full batch"])
@pytest.mark.parametrize(
    ("sampler", "draw"),
    [("shuffle", permutations), ("replacement", lambda rows, size: product(rows, repeat=size))],
)
@each_weighting
def test_sums_over_a_batch_are_unbiased_whatever_its_size(sampler, draw, size, weights):
    """Not so its weighted mean, which divides by the weights that happen to be in it."""
    batches = list(draw(range(3), size))
    draws = [(rows, 1 / len(batches)) for rows in batches]
    mean, truth = mean_step(sampler, draws, weights, "sum")
    np.testing.assert_allclose(mean, truth, rtol=1e-12, atol=1e-14)
    if weights is not None:
        mean, truth = mean_step(sampler, draws, weights, "mean")
        assert abs(mean - truth).max() > 0.01


@pytest.mark.parametrize("sampler", ["poisson", "replacement", lambda losses, norms: np.arange(9)])
def test_every_example_has_its_share_in_the_long_run(sampler):
    """That is its weight over the sum of all, of the coefficients by which a step multiplies it."""
    weights = np.arange(9) / 2
    if sampler == "replacement":
        weights = None  # it divides by the weight that a batch happens to have
    shares = np.zeros(9)
    epochs = 3000
    for epoch in range(epochs):
        batches = epoch_of(sampler, 9, 3, epoch=epoch, weights=weights)
        w = np.ones(9) if weights is None else weights
        w = w if batches.weights is None else batches.weights
        shares += np.bincount(batches.rows, minlength=9) * w
    options = sampling(sampler, REFERENCE, np.empty((9, 1)), weights, batch_size=3, seed=0)
    shares *= (options["scale"] or 1 / 3) / (3 * epochs)
    truth = np.full(9, 1 / 9) if weights is None else weights / weights.sum()
    # An example is drawn some 3000 times or more: a relative deviation of 0.018.
    np.testing.assert_allclose(shares, truth, rtol=5 * 0.018)


# In a trainer


def test_a_function_sees_what_the_last_epochs_have_shown(classifier, classes):
    seen = []

    def watch(losses, norms):
        seen.append((losses, norms))
        return np.arange(90) < 45

    trainer = fb.Trainer(classifier, fb.SGD(0.0), batch_size=30, sampler=watch)
    trainer.fit(*classes, epochs=4)
    assert len(seen) == 4
    assert np.isnan(seen[0]).all()
    losses, norms = seen[-1]
    assert np.isnan(losses[45:]).all() and np.isnan(norms[45:]).all()
    known = np.isfinite(losses)
    assert known.sum() > 40
    np.testing.assert_array_equal(np.isfinite(norms), known)
    theta = trainer.theta
    np.testing.assert_allclose(losses[known], classifier.losses(theta, *classes)[known], rtol=1e-5)
    np.testing.assert_allclose(
        norms[known], classifier.gradient_norms(theta, *classes)[known], rtol=1e-5
    )
    np.testing.assert_array_equal(trainer.example_losses[known], losses[known])


@pytest.mark.parametrize("sampler", [*SAMPLERS, prefer_last])
def test_with_every_sampler_training_learns(classifier, classes, sampler):
    trainer = fb.Trainer(classifier, fb.Adam(0.01), batch_size=15, sampler=sampler)
    trainer.fit(*classes, epochs=30, validation=classes)
    assert trainer.step == 180
    assert trainer.history[-1].validation_metric > 0.9
    assert trainer.history[-1].loss < 0.5


@pytest.mark.parametrize("sampler", ["poisson", "replacement", prefer_last])
def test_the_loss_of_an_epoch_is_a_mean_over_what_was_drawn(classifier, classes, sampler):
    X, y = classes
    trainer = fb.Trainer(classifier, fb.SGD(0.0), batch_size=16, sampler=sampler, seed=3)
    (record,) = trainer.fit(X, y)
    batches = epoch_of(sampler, 90, 16, seed=3)
    weights = np.ones(90) if batches.weights is None else batches.weights
    losses = classifier.losses(trainer.theta, X, y)
    expected = np.average(losses[batches.rows], weights=weights[batches.rows])
    np.testing.assert_allclose(record.loss, expected, rtol=1e-5)


def test_an_epoch_of_empty_batches_has_no_loss(backend):
    net = fb.Network([fb.Dense(1)], 1, "squared_error", backend=backend)
    X, y = np.ones((2, 1)), np.ones(2)
    for seed in range(100):  # each with probability (1 / 2)**4
        trainer = fb.Trainer(net, batch_size=1, sampler="poisson", seed=seed, theta=[1, 2])
        (record,) = trainer.fit(X, y)
        if np.isnan(record.loss):
            break
    assert np.isnan(record.loss) and record.step == 2
    np.testing.assert_array_equal(trainer.theta, [1, 2])
    assert len(epoch_of("poisson", 2, 1, seed=seed).rows) == 0


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (
            lambda n: np.ones(n - 1),
            ValueError,
            r"weights must have shape \(90,\), .* found \(89,\)",
        ),
        (lambda n: 1.0, ValueError, r"must have shape \(90,\), .* found \(\)"),
        (lambda n: None, TypeError, "the sampler's weights must hold real numbers"),
        (lambda n: np.full(n, np.nan), ValueError, r"weights\[0\] is nan, expected finite .* NaN"),
        (lambda n: np.append(np.ones(n - 1), np.inf), ValueError, r"weights\[89\] is inf"),
        (lambda n: np.arange(n) - 1, ValueError, r"weights\[0\] is -1.0, expected no negative"),
        (lambda n: np.zeros(n), ValueError, "weights are 0 everywhere"),
    ],
)
def test_bad_weights_stop_before_the_epoch_and_nothing_is_lost(
    classifier, classes, answer, error, message
):
    def sampler(losses, norms):
        calls.append(1)
        return answer(len(losses)) if len(calls) == 3 else prefer_last(losses, norms)

    calls = []
    trainer = fb.Trainer(classifier, batch_size=16, sampler=sampler)
    with pytest.raises(error, match=message):
        trainer.fit(*classes, epochs=5)
    assert (trainer.epoch, trainer.step, len(trainer.history)) == (2, 12, 2)
    trainer.fit(*classes, epochs=3)
    expected = fb.Trainer(classifier, batch_size=16, sampler=prefer_last)
    expected.fit(*classes, epochs=5)
    np.testing.assert_array_equal(trainer.theta, expected.theta)


@pytest.mark.parametrize("kernels", [REFERENCE, backends.load("cpu")], ids=["reference", "cpu"])
def test_an_order_of_your_own_is_followed_and_knows_the_epoch(kernels):
    def rotated(examples, epoch):
        return np.roll(np.arange(examples, dtype=np.int32), epoch)

    batches = epoch_of(samplers.Order(rotated), 7, 3, epoch=2, kernels=kernels)
    assert [list(rows) for rows in rows_of(batches, 7, 3)] == [[5, 6, 0], [1, 2, 3], [4]]


def test_training_backwards_is_training_on_reversed_data(backend):
    net = fb.Network([fb.Dense(4, "tanh"), fb.Dense(1)], 2, "squared_error", backend=backend)
    X = np.random.default_rng(0).normal(size=(20, 2))
    backwards = fb.Trainer(net, sampler=fb.Order(lambda N, epoch: np.arange(N)[::-1]), batch_size=6)
    backwards.fit(X, X[:, 0], epochs=3)
    reverse = fb.Trainer(net, sampler="sequential", batch_size=6)
    reverse.fit(X[::-1], X[::-1, 0], epochs=3)
    np.testing.assert_array_equal(backwards.theta, reverse.theta)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64", ">i8"])
def test_an_order_of_any_integers_will_do(dtype):
    batches = epoch_of(samplers.Order(lambda N, epoch: np.arange(N, dtype=dtype)[::-1]), 3, 2)
    assert batches.rows.dtype == np.dtype("int64") and batches.rows.tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    "rows",
    [
        *([0, 1], [0, 1, 1], [0, 1, 3], [-1, 0, 1], [0.0, 1.0, 2.0], [[0, 1, 2]]),
        *([0, 1, 10**13], [0, 1, 2**64 - 1]),
    ],
    ids=str,
)
def test_an_order_that_is_none_is_refused(rows):
    with pytest.raises(ValueError, match="each of the numbers 0 to 2 once"):
        epoch_of(samplers.Order(lambda examples, epoch: rows), 3, 2)


@pytest.mark.parametrize("function", [lambda losses: losses, fb.Constant(0.1), samplers.Order])
def test_a_function_of_anything_else_is_refused_at_once(function):
    net = fb.Network([fb.Dense(1)], 1, "huber", backend="reference")
    with pytest.raises(TypeError, match="does not take two arguments, the losses and the norms"):
        fb.Trainer(net, sampler=function)


@pytest.mark.parametrize("function", [np.maximum, max, lambda *both: both[0]])
def test_functions_that_may_take_losses_and_norms_are_taken(function):
    assert samplers.check(function) is function


def test_a_saved_order_has_to_be_given_again(tmp_path):
    net = fb.Network([fb.Dense(1)], 1, "huber", backend="reference")
    order = fb.Order(lambda N, epoch: np.arange(N))
    fb.Trainer(net, sampler=order).save(tmp_path / "net")
    with pytest.raises(fb.CheckpointError, match="give load sampler="):
        fb.Trainer.load(tmp_path / "net")
    assert fb.Trainer.load(tmp_path / "net", sampler=order).sampler is order
