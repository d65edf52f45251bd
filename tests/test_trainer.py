"""Training goes on from where the trainer stands, and says what it did."""

import pickle
import threading

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

import fastbatch as fb
from fastbatch import backends, run, samplers
from fastbatch.backends import Batches
from fastbatch.trainer import MONITORS

REFERENCE = backends.load("reference")


def fitted(net, data, *, epochs=3, optimizer=None, **options):
    trainer = fb.Trainer(net, optimizer or fb.Adam(0.01), batch_size=16, seed=2)
    trainer.fit(*data, epochs=epochs, **options)
    return trainer


def assert_same_bits(one, other):
    np.testing.assert_array_equal(one.theta, other.theta)
    assert (one.step, one.epoch) == (other.step, other.epoch)
    assert [record.loss for record in one.history] == [record.loss for record in other.history]


def assert_same_state(one, other):
    """All that changes in training."""
    for name, value in vars(one._state).items():
        np.testing.assert_array_equal(value, getattr(other._state, name), err_msg=name)


def test_training_learns(classifier, classes):
    trainer = fitted(classifier, classes, epochs=30, validation=classes)
    assert trainer.history[-1].loss < 0.3 * trainer.history[0].loss
    assert trainer.history[-1].validation_metric > 0.9


def test_history_counts_epochs_and_steps_over_all_calls(classifier, classes):
    trainer = fitted(classifier, classes, epochs=2)  # 90 examples in 6 batches, the last of 10
    records = trainer.fit(*classes)
    assert [(r.epoch, r.step) for r in trainer.history] == [(1, 6), (2, 12), (3, 18)]
    assert records == trainer.history[2:]
    assert (trainer.epoch, trainer.step) == (3, 18)
    assert all(r.seconds > 0 and r.examples_per_second > 0 for r in records)
    assert records[0].validation_loss is None and records[0].validation_metric is None


def test_several_calls_are_one(classifier, classes):
    together = fitted(classifier, classes, epochs=5)
    apart = fitted(classifier, classes, epochs=2)
    apart.fit(*classes)
    apart.fit(*classes, epochs=2)
    assert_same_bits(apart, together)


def test_the_length_of_slices_does_not_matter(classifier, classes, monkeypatch):
    together = fitted(classifier, classes)
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)
    assert_same_bits(fitted(classifier, classes), together)


def test_without_shuffling_a_step_is_the_gradient_of_the_next_rows(classifier, classes):
    X, y = classes
    theta = classifier.init(seed=0)
    trainer = fb.Trainer(classifier, fb.SGD(0.1), batch_size=60, sampler="sequential")
    (record,) = trainer.fit(X, y)
    expected, losses = theta.astype(float), []
    for rows in slice(0, 60), slice(60, 90):
        losses.extend(classifier.losses(expected, X[rows], y[rows]))
        expected = expected - 0.1 * classifier.value_and_grad(expected, X[rows], y[rows])[1]
    np.testing.assert_allclose(trainer.theta, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(record.loss, np.mean(losses), rtol=1e-5)


def test_a_batch_larger_than_the_data_is_all_of_them(classifier, classes):
    whole = fb.Trainer(classifier, batch_size=90, sampler="sequential")
    larger = fb.Trainer(classifier, batch_size=10**9, sampler="sequential")
    whole.fit(*classes, epochs=3)
    larger.fit(*classes, epochs=3)
    assert_same_bits(larger, whole)


def test_shuffling_depends_on_the_seed(classifier, classes):
    theta = classifier.init(seed=0)
    one, same, other = (fb.Trainer(classifier, seed=seed, theta=theta) for seed in (1, 1, 2))
    for trainer in one, same, other:
        trainer.fit(*classes)
    assert_same_bits(one, same)
    assert (one.theta != other.theta).any()


def test_an_example_of_weight_zero_might_as_well_be_garbage(classifier, classes):
    X, y = classes
    weights = np.ones(90)
    weights[::7] = 0
    garbage = X.copy()
    garbage[::7] = np.nan
    expected = fitted(classifier, (X, y), sample_weight=weights)
    found = fitted(classifier, (garbage, y), sample_weight=weights, check_finite=False)
    assert_same_bits(found, expected)


def test_the_loss_of_an_epoch_is_a_weighted_mean(classifier, classes):
    weights = np.linspace(0.1, 2, 90)
    trainer = fb.Trainer(classifier, batch_size=90)
    (record,) = trainer.fit(*classes, sample_weight=weights)
    value, _ = classifier.value_and_grad(classifier.init(seed=0), *classes, weights)
    np.testing.assert_allclose(record.loss, value, rtol=1e-6)


def test_fewer_examples_than_a_batch_with_weight_do_not_spoil_a_run(classifier, classes):
    weights = np.zeros(90)
    weights[4] = 1.0  # most batches weigh nothing
    trainer = fitted(classifier, classes, sample_weight=weights)
    assert np.isfinite(trainer.theta).all() and trainer.step == 18


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "predictions", "score"),
    [
        ("cross_entropy", 3, lambda y: y, lambda p: p.argmax(axis=1), accuracy_score),
        ("cross_entropy", 3, lambda y: np.eye(3)[y], lambda p: np.eye(3)[p.argmax(1)], None),
        ("binary_cross_entropy", 1, lambda y: y > 0, lambda p: p[:, 0] > 0, accuracy_score),
        ("squared_error", 1, lambda y: y * 0.5, lambda p: p, r2_score),
        ("huber", 2, lambda y: np.stack([y, y**2], axis=1), lambda p: p, r2_score),
        ("poisson", 1, lambda y: y, np.exp, r2_score),
    ],
)
def test_validation_agrees_with_scikit_learn(
    backend, classes, loss, outputs, targets, predictions, score
):
    X, y = classes[0], targets(classes[1])
    net = fb.Network([fb.Dense(6, "tanh"), fb.Dense(outputs)], 4, loss, backend=backend)
    trainer = fitted(net, (X, y), validation=(X[:50], y[:50]))
    record = trainer.history[-1]
    expected = (score or accuracy_score)(y[:50], predictions(trainer.predict(X[:50])))
    np.testing.assert_allclose(record.validation_metric, expected, rtol=1e-6)
    np.testing.assert_allclose(
        record.validation_loss, net.losses(trainer.theta, X[:50], y[:50]).mean(), rtol=1e-6
    )
    assert record.metric_name == net.metric_name == ("r2" if score is r2_score else "accuracy")


def test_validation_in_parts_is_the_same(classifier, classes, monkeypatch):
    expected = fitted(classifier, classes, validation=classes)
    monkeypatch.setattr("fastbatch.trainer.validation.EVALUATION", 7 * classifier.n_parameters)
    found = fitted(classifier, classes, validation=classes)
    for one, other in zip(found.history, expected.history, strict=True):
        assert one.validation_loss == other.validation_loss
        assert one.validation_metric == other.validation_metric


def test_r2_of_a_constant_target_follows_scikit_learn(backend):
    net = fb.Network([fb.Dense(1)], 1, "squared_error", backend=backend)
    X, y = np.zeros((3, 1)), np.ones(3)
    for bias, expected in (1.0, 1.0), (2.0, 0.0):
        trainer = fb.Trainer(net, fb.SGD(0.0), theta=[0.0, bias])
        assert trainer.fit(X, y, validation=(X, y))[0].validation_metric == expected


@pytest.mark.parametrize(
    "lr",
    [fb.Cosine(0.02, steps=15), fb.LinearWarmup(9, 0.02), lambda step: 0.02 / (1 + step)],
    ids=["cosine", "warm-up", "function"],
)
def test_the_schedule_sets_the_rate_of_each_step(classifier, classes, lr):
    trainer = fitted(classifier, classes, optimizer=fb.SGD(lr))
    by_hand = fb.Trainer(classifier, fb.SGD(0.0), batch_size=16, seed=2)
    state = by_hand._training(*classifier.check_examples(*classes), None)
    for step in range(18):
        if step and step % 6 == 0:
            state.next_epoch()
        state.advance(np.array([lr(step)]))
    np.testing.assert_array_equal(trainer.theta, state.theta)


def test_state_arrays_are_a_copy_and_can_be_set(backend):
    net = fb.Network([fb.Dense(2)], 3, "squared_error", backend=backend)
    X = np.arange(24.0).reshape(8, 3) / 24

    def double(trainer, record):
        trainer.slots = trainer.slots * 2.0

    def run(callbacks):
        trainer = fb.Trainer(net, fb.SGD(0.1, momentum=0.5), batch_size=4, theta=np.ones(8))
        trainer.fit(X, X[:, :2], callbacks=callbacks)
        return trainer

    plain, disturbed = run([]), run([double])
    np.testing.assert_array_equal(disturbed.slots, 2 * plain.slots)
    disturbed.slots[:] = 0.0
    np.testing.assert_array_equal(disturbed.slots, 2 * plain.slots)
    disturbed.slots = plain.slots
    for trainer in plain, disturbed:
        trainer.fit(X, X[:, :2])
    np.testing.assert_array_equal(disturbed.theta, plain.theta)
    with pytest.raises(ValueError, match=r"slots must have shape \(1, 8\), found \(8,\)"):
        plain.slots = np.zeros(8)
    with pytest.raises(ValueError, match="slots hold NaN"):
        plain.slots = plain.slots * np.nan


def test_theta_is_a_copy_and_can_be_set(classifier, classes):
    trainer = fb.Trainer(classifier, theta=classifier.init(seed=5))
    trainer.theta[:] = 0
    np.testing.assert_array_equal(trainer.theta, classifier.init(seed=5))
    trainer.theta = np.zeros(classifier.n_parameters)
    assert not trainer.theta.any() and trainer.theta.dtype == np.float32
    np.testing.assert_array_equal(trainer.predict(classes[0]), np.zeros((90, 3)))


def test_a_trainer_lets_go_of_the_data_and_can_be_pickled(classifier, classes):
    trainer = fitted(classifier, classes)
    size = len(pickle.dumps(trainer))
    assert size < 20_000
    other = pickle.loads(pickle.dumps(trainer))
    for each in trainer, other:
        each.fit(*classes)
    assert_same_bits(other, trainer)


def test_fit_within_fit_is_refused(classifier, classes):
    trainer = fb.Trainer(classifier)
    with pytest.raises(RuntimeError, match="this trainer is running already"):
        trainer.fit(*classes, callbacks=[lambda trainer, record: trainer.fit(*classes)])
    assert len(trainer.fit(*classes)) == 1


def test_an_error_amid_an_epoch_is_raised_each_time():
    net = fb.Network([fb.Dense(1)], 1, "squared_error", "float64", "reference")
    trainer = fb.Trainer(net, fb.SGD(), theta=[1, 0])

    def broken():
        yield from [([[1.0]], [1.0], [1e289])] * 2
        raise LookupError

    for _ in range(2):  # the trainer is not taken to be running
        with pytest.raises(LookupError):
            trainer.fit(batches=broken)
    assert trainer.step == 2


def test_another_optimizer_must_keep_as_much_state(classifier, classes):
    trainer = fitted(classifier, classes)  # by Adam
    trainer.optimizer = fb.SGLD()
    with pytest.raises(ValueError, match="sgld keeps 0 state arrays, the optimizer before kept 2"):
        trainer.fit(*classes)
    trainer.optimizer = fb.AdamW()
    assert len(trainer.fit(*classes)) == 1


class Logistic(fb.Network):
    """A network with a constructor of its own."""

    def __init__(self, features):
        super().__init__([fb.Dense(3)], features, "cross_entropy")


def test_subclasses_of_network_can_be_trained():
    X, y = np.eye(3), np.arange(3)
    assert len(fb.Trainer(Logistic(3)).fit(X, y)) == 1


def test_trainers_in_threads_get_the_same_bits(classifier, classes):
    expected = fitted(classifier, classes, epochs=5)
    results = [None] * 4

    def work(index):
        results[index] = fitted(classifier, classes, epochs=5)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for trainer in results:
        assert_same_bits(trainer, expected)


# Divergence


def growing(backend, lr):
    """Each step multiplies theta by about -lr; float32 ends at 3e38, so the loss soon after."""
    net = fb.Network([fb.Dense(1)], 1, "squared_error", backend=backend)
    return fb.Trainer(net, fb.SGD(lr), batch_size=1, sampler="sequential", theta=[1.0, 0.0])


def test_divergence_names_the_step_and_keeps_the_parameters_before_it(backend):
    X, y = np.ones((5, 1)), np.zeros(5)
    trainer = growing(backend, 50.0)
    with pytest.raises(fb.DivergenceError, match=r"the loss of step \d+ is not finite") as caught:
        trainer.fit(X, y, epochs=100)
    bad = caught.value.step
    assert bad > 5 and trainer.step == bad - 1
    assert trainer.epoch == len(trainer.history) == (bad - 1) // 5
    # The same steps, counted out one by one:
    stepwise = growing(backend, 50.0)
    for _ in range(bad - 1):
        stepwise.fit(X[:1], y[:1])
    np.testing.assert_array_equal(trainer.theta, stepwise.theta)
    assert np.isfinite(trainer.network.losses(trainer.theta, X, y)).all()
    with pytest.raises(fb.DivergenceError) as again:
        trainer.fit(X, y)
    assert again.value.step == bad
    assert pickle.loads(pickle.dumps(caught.value)).step == bad


@pytest.mark.parametrize("interval", [0.0, 1e9])
def test_the_way_back_is_the_same_from_any_snapshot(backend, monkeypatch, interval):
    monkeypatch.setattr(run, "SNAPSHOT_SECONDS", interval)
    expected = growing(backend, 50.0)
    X, y = np.ones((5, 1)), np.zeros(5)
    with pytest.raises(fb.DivergenceError):
        expected.fit(X, y, epochs=100)
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)
    trainer = growing(backend, 50.0)
    with pytest.raises(fb.DivergenceError):
        trainer.fit(X, y, epochs=100)
    assert_same_bits(trainer, expected)


def test_divergence_at_the_first_step_of_an_epoch_takes_back_that_the_last_has_ended(backend):
    X, y = np.ones((5, 1)), np.zeros(5)
    with pytest.raises(fb.DivergenceError) as caught:
        growing(backend, 50.0).fit(X, y, epochs=100)
    batches = next(n for n in range(2, 50) if caught.value.step % n == 0)
    trainer = growing(backend, 50.0)
    with pytest.raises(fb.DivergenceError):
        trainer.fit(np.ones((batches, 1)), np.zeros(batches), epochs=100)
    assert trainer.step == caught.value.step - 1
    assert trainer.epoch == len(trainer.history) == caught.value.step // batches - 1


def test_divergence_at_once_keeps_what_was_there(backend):
    trainer = growing(backend, 1.0)
    trainer.theta = [1e30, 0.0]
    with pytest.raises(fb.DivergenceError, match="step 0") as caught:
        trainer.fit([[1.0]], [0.0])
    assert caught.value.step == trainer.step == 0
    np.testing.assert_array_equal(trainer.theta, np.float32([1e30, 0.0]))


def test_parameters_lost_in_the_last_step_of_all_are_noticed(backend):
    trainer = growing(backend, 1e30)
    trainer.theta = [1e15, 0.0]
    with pytest.raises(fb.DivergenceError, match="step 1"):
        trainer.fit([[1.0]], [0.0])
    np.testing.assert_array_equal(trainer.theta, np.float32([1e15, 0.0]))
    assert trainer.history == []


def test_the_way_back_does_not_lead_behind_what_a_callback_has_changed(backend):
    trainer = growing(backend, 50.0)

    def reset_once(trainer, record):
        if record.epoch == 3:
            trainer.theta = [2.0, 0.0]

    with pytest.raises(fb.DivergenceError) as caught:
        trainer.fit(np.ones((2, 1)), np.zeros(2), epochs=100, callbacks=[reset_once])
    expected = growing(backend, 50.0)
    expected.theta = [2.0, 0.0]
    for _ in range(6, caught.value.step - 1):
        expected.fit([[1.0]], [0.0])
    np.testing.assert_array_equal(trainer.theta, expected.theta)


def test_divergence_just_after_a_callback_has_set_theta_goes_back_to_before_that(backend):
    trainer, expected = growing(backend, 0.1), growing(backend, 0.1)

    def spoil(trainer, record):
        if record.epoch == 3:
            trainer.theta = [1e30, 0.0]

    with pytest.raises(fb.DivergenceError) as caught:
        trainer.fit(np.ones((2, 1)), np.zeros(2), epochs=100, callbacks=[spoil])
    assert caught.value.step == 6 and trainer.step == 5
    for _ in range(5):
        expected.fit([[1.0]], [0.0])
    np.testing.assert_array_equal(trainer.theta, expected.theta)


def test_the_way_back_ends_where_data_have_been_spoiled_meanwhile(backend):
    X, trainer = np.ones((2, 1), np.float32), growing(backend, 0.1)
    with pytest.raises(fb.DivergenceError, match="step 2"):
        trainer.fit(X, np.zeros(2), epochs=3, callbacks=[lambda *_: X.fill(np.nan)])
    assert np.isfinite(trainer.theta).all()


SAMPLERS = [*samplers.SAMPLERS, lambda losses, norms: np.nan_to_num(norms, nan=1.0) + 0.1]
CLIPS = [
    fb.PerExampleClip(0.5),
    fb.PerExampleClip(0.5, per_layer=True),
    fb.PerExampleClip([0.2, 0.1, 0.4], per_layer=True),
    fb.PerExampleClip(0.5, automatic=True, gamma=0.1),
    fb.PerExampleClip(0.5, automatic=True, per_layer=True),
]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("interval", [0.0, 1e9])
def test_the_way_back_is_the_way_there(classifier, classes, monkeypatch, sampler, interval):
    """Divergence leaves what an interruption one step earlier would have left."""
    monkeypatch.setattr(run, "SNAPSHOT_SECONDS", interval)
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)

    def trained(last, error):
        def lr(step):
            if step == last:
                raise KeyboardInterrupt
            return 0.1 if step < 20 else 3e38

        trainer = fb.Trainer(
            classifier, fb.SGD(lr), batch_size=16, seed=5, sampler=sampler,
            clip=fb.PerExampleClip(1.0), noise=fb.GaussianNoise(0.1), monitor=MONITORS,
        )  # fmt: skip
        with pytest.raises(error):
            trainer.fit(*classes, epochs=9)
        return trainer

    diverged = trained(None, fb.DivergenceError)
    assert 20 <= diverged.step < 24 and diverged.step % 6  # amid the fourth epoch
    stopped = trained(diverged.step, KeyboardInterrupt)
    assert_same_bits(diverged, stopped)
    assert_same_state(diverged, stopped)


# Clipping


def clipped_by_hand(gradients, clip, sizes):
    """Each gradient, clipped; `sizes` are those of the layers."""
    parts = np.split(gradients, np.cumsum(sizes)[:-1], axis=1) if clip.per_layer else [gradients]
    for part, bound in zip(parts, clip.bounds(len(sizes)), strict=True):
        norms = np.sqrt((part**2).sum(axis=1, keepdims=True))
        part *= bound / (norms + clip.gamma) if clip.automatic else 1 / np.maximum(1, norms / bound)
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("weighted", [False, True])
def test_clipped_training_is_a_loop_over_clipped_gradients(backend, classes, clip, weighted):
    layers = [fb.Dense(9, "relu"), fb.Dense(5, "tanh"), fb.Dense(3)]
    net = fb.Network(layers, 4, "cross_entropy", "float64", backend)
    X, y = classes
    weights = np.linspace(0, 2, 90) if weighted else np.ones(90)
    trainer = fb.Trainer(net, fb.SGD(0.5), batch_size=20, seed=4, clip=clip)
    trainer.fit(X, y, epochs=2, sample_weight=weights if weighted else None)

    theta = net.init(seed=4)
    sizes = [layer.size for layer in net.plan.layers]
    for epoch in range(2):
        order = REFERENCE.permutation(90, 4, epoch)
        for rows in np.split(order, [20, 40, 60, 80]):
            gradients = net.per_example_gradients(theta, X[rows], y[rows])
            w = weights[rows]
            theta = theta - 0.5 / w.sum() * w @ clipped_by_hand(gradients, clip, sizes)
    np.testing.assert_allclose(trainer.theta, theta, rtol=1e-10, atol=1e-12)


def test_a_bound_that_no_gradient_reaches_changes_nothing(classifier, classes):
    free = fitted(classifier, classes)
    bounded = fb.Trainer(
        classifier, fb.Adam(0.01), batch_size=16, seed=2, clip=fb.PerExampleClip(1e6)
    )
    bounded.fit(*classes, epochs=3)
    np.testing.assert_allclose(bounded.theta, free.theta, rtol=1e-3, atol=1e-5)


# Monitoring


@pytest.mark.parametrize("clip", [None, *CLIPS])
def test_losses_and_norms_are_those_before_the_last_step_of_each_example(backend, classes, clip):
    layers = [fb.Dense(9, "relu"), fb.Dense(5, "tanh"), fb.Dense(3)]
    net = fb.Network(layers, 4, "cross_entropy", backend=backend)
    X, y = classes
    weights = np.linspace(0, 2, 90)
    trainer = fb.Trainer(net, fb.SGD(0.1), batch_size=30, seed=1, clip=clip, monitor=MONITORS)
    trainer.fit(X, y, sample_weight=weights)
    again = fb.Trainer(net, fb.SGD(0.1), batch_size=30, seed=1, clip=clip)
    training = again._training(*net.check_examples(X, y), weights.astype("float32"))
    for rows in np.split(REFERENCE.permutation(90, 1, 0), [30, 60]):
        seen, theta = rows[weights[rows] > 0], training.theta
        gradients = net.per_example_gradients(theta, X[seen], y[seen])
        norms = np.sqrt((gradients.astype(float) ** 2).sum(axis=1))
        losses = net.losses(theta, X[seen], y[seen])
        np.testing.assert_allclose(trainer.example_losses[seen], losses, rtol=1e-5)
        np.testing.assert_allclose(trainer.example_norms[seen], norms, rtol=1e-5)
        training.advance(np.array([0.1]))
    assert np.isnan(trainer.example_losses[0]) and np.isnan(trainer.example_norms[0])
    expected = np.quantile(trainer.example_norms[1:].astype(float), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(trainer.history[-1].gradient_norms, expected, rtol=1e-6)


def test_what_is_not_monitored_is_none(classifier, classes):
    trainer = fitted(classifier, classes)
    assert trainer.example_losses is None and trainer.example_norms is None
    record = trainer.history[-1]
    assert record.noise_scale is None and record.gradient_norms is None


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_monitoring_changes_training_by_rounding_at_most(classifier, classes, sampler):
    options = {"batch_size": 16, "sampler": sampler}
    plain = fb.Trainer(classifier, **options)
    watched = fb.Trainer(classifier, **options, monitor=MONITORS)
    for trainer in plain, watched:
        trainer.fit(*classes, epochs=3)
    np.testing.assert_allclose(watched.theta, plain.theta, rtol=1e-5, atol=1e-6)
    assert watched.history[-1].noise_scale is not None


def test_other_data_begin_with_unknown_losses(classifier, classes):
    X, y = classes
    trainer = fb.Trainer(classifier, batch_size=8, monitor=["losses"], sampler="replacement")
    trainer.fit(X, y)
    trainer.fit(X[:40], y[:40])
    assert trainer.example_losses.shape == (40,) and np.isnan(trainer.example_losses).any()


def test_what_is_kept_of_examples_is_a_copy(classifier, classes):
    trainer = fb.Trainer(classifier, monitor=["losses", "gradient_norms"])
    trainer.fit(*classes)
    trainer.example_losses[:] = 0
    trainer.example_norms[:] = 0
    assert (trainer.example_losses > 0).all() and (trainer.example_norms > 0).all()


def estimates(kernels, clip, pairs, weights):
    """Sums of the estimates of tr(Sigma) and |G|^2 over batches of two, theta staying where it is.

    Returned with the gradients of the three examples, as they are clipped.
    """
    layers = [fb.Dense(3, "tanh"), fb.Dense(3, "tanh"), fb.Dense(2)]
    net = fb.Network(layers, 2, "squared_error", "float64", "reference")
    rng = np.random.default_rng(3)
    theta, X, y = (rng.normal(size=size) for size in (net.n_parameters, (3, 2), (3, 2)))
    everyone = Batches(np.ravel(pairs), 2 * np.arange(len(pairs) + 1), weights)
    count = 2 * len(pairs)  # the examples must fill as many batches
    training = kernels.Training(
        net.plan, fb.SGD(), np.resize(X, (count, 2)), np.resize(y, (count, 2)), None,
        batch_size=2, sampler=lambda training: everyone, clip=clip, monitor=["noise_scale"],
    )  # fmt: skip
    training.theta = theta
    assert training.advance(np.zeros(len(pairs))) == len(pairs)
    gradients = net.per_example_gradients(theta, X, y)
    if clip is not None:
        gradients = clipped_by_hand(gradients, clip, [layer.size for layer in net.plan.layers])
    return training.variance_sum, training.signal_sum, gradients


@pytest.mark.parametrize("clip", [None, *CLIPS])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 0.5)])
def test_estimates_of_the_noise_scale_are_unbiased(backend, clip, weights):
    """Over all pairs of three gradients, the first of a pair having one weight, the second another.

    Examples 3 to 5 are 0 to 2 once more.
    """
    pairs = [(i, 3 + j) for i in range(3) for j in range(3)]
    each = np.repeat(weights, 3)
    variance, signal, g = estimates(
        backends.load(backend), clip, pairs, np.append(each, np.zeros(12))
    )
    mean = g.mean(axis=0)
    np.testing.assert_allclose(variance / 9, ((g - mean) ** 2).sum(axis=1).mean(), rtol=1e-12)
    np.testing.assert_allclose(signal / 9, mean @ mean, rtol=1e-11)


def test_estimates_of_the_noise_scale_are_the_formula(backend):
    w = np.array([3.0, 0.5, 0.0, 1.0])
    variance, signal, g = estimates(
        backends.load(backend), None, [(0, 1), (2, 0)], w
    )  # the second batch has but one example of positive weight
    p = w[:2] / w[:2].sum()
    q = p @ p
    square, mean = p @ (g[:2] ** 2).sum(axis=1), p @ g[:2]
    np.testing.assert_allclose(variance, (square - mean @ mean) / (1 - q), rtol=1e-12)
    np.testing.assert_allclose(signal, (mean @ mean - q * square) / (1 - q), rtol=1e-12)


def test_the_noise_scale_of_an_epoch_is_the_ratio_of_its_sums(classifier, classes):
    trainer = fb.Trainer(classifier, fb.SGD(0.0), batch_size=10, monitor=["noise_scale"])
    first, second = trainer.fit(*classes, epochs=2)
    training = trainer._training(*classifier.check_examples(*classes), None)
    training.epoch = 0
    training.advance(np.zeros(9))
    assert first.noise_scale == training.variance_sum / training.signal_sum
    assert second.noise_scale != first.noise_scale
    g = classifier.per_example_gradients(trainer.theta, *classes).astype(float)
    mean = g.mean(axis=0)
    truth = ((g - mean) ** 2).sum() / 89 / (mean @ mean)
    assert 0.5 < first.noise_scale / truth < 2


@pytest.mark.parametrize(("batch_size", "examples"), [(1, 5), (3, 1)])
def test_without_two_examples_in_a_batch_there_is_no_noise_scale(
    classifier, classes, batch_size, examples
):
    trainer = fb.Trainer(classifier, batch_size=batch_size, monitor=["noise_scale"])
    (record,) = trainer.fit(*(array[:examples] for array in classes))
    assert np.isnan(record.noise_scale)


def test_the_package_knows_its_version():
    assert fb.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'Adan'"):
        _ = fb.Adan
