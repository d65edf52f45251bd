"""The finder sees at which rates the loss falls, and leaves the trainer as it was."""

import sys

import numpy as np
import pytest

import fastbatch as fb
from fastbatch import learning_rate
from fastbatch.learning_rate import RangeTest


def finder(net, **options):
    return fb.Trainer(net, options.pop("optimizer", fb.SGD()), batch_size=16, seed=2, **options)


def test_each_loss_is_that_of_the_step_before_which_it_is_taken(classifier, classes):
    found = fb.find_learning_rate(finder(classifier), *classes, low=1e-3, high=1e-1, steps=20)
    np.testing.assert_allclose(found.lr, np.geomspace(1e-3, 1e-1, 20), rtol=1e-12)
    rates = np.append(found.lr, [0.0])
    trainer = finder(classifier, optimizer=fb.SGD(lambda step: rates[step]), monitor=["losses"])
    one_epoch = trainer.fit(*classes)  # six steps
    assert found.losses[:6] @ [16, 16, 16, 16, 16, 10] / 90 == pytest.approx(one_epoch[0].loss)
    trainer.fit(*classes)
    assert found.losses[6:12] @ [16, 16, 16, 16, 16, 10] / 90 == pytest.approx(
        trainer.history[1].loss
    )


def test_losses_may_be_negative():
    """Minus the log-likelihood of large counts, but for their factorials."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = rng.poisson(np.exp(3 + X[:, 0] / 2))
    net = fb.Network([fb.Dense(1)], 2, "poisson", dtype="float64", backend="reference")
    trainer = fb.Trainer(net, fb.SGD(), batch_size=200, theta=[0.5, 0.0, 3.0])
    found = fb.find_learning_rate(trainer, X, y, low=1e-6, high=1e2, steps=100)
    assert found.losses[0] < 0
    assert found.losses.min() < found.losses[0]  # it did not end at once
    assert found.losses[-1] > found.losses.min() + abs(found.losses.min())
    assert 1e-5 < found.suggestion < 0.1


def test_the_trainer_stays_as_it_is(classifier, classes):
    trainer, expected = (finder(classifier, optimizer=fb.Adam(0.01)) for _ in range(2))
    for one in trainer, expected:
        one.fit(*classes)
    fb.find_learning_rate(trainer, *classes)
    for one in trainer, expected:
        one.fit(*classes)
    assert trainer.history[1].loss == expected.history[1].loss
    np.testing.assert_array_equal(trainer.theta, expected.theta)
    assert (trainer.step, trainer.optimizer) == (expected.step, expected.optimizer)


def test_it_goes_on_from_where_the_trainer_stands(classifier, classes):
    trainer = finder(classifier)
    before = fb.find_learning_rate(trainer, *classes).losses[:6].mean()
    trainer.optimizer = fb.SGD(0.1)
    trainer.fit(*classes, epochs=30)
    assert fb.find_learning_rate(trainer, *classes).losses[:6].mean() < 0.5 * before


def test_it_finds_where_gradient_descent_on_a_parabola_diverges():
    """Each step multiplies the error by 1 - 2 lr: it is least at 1 / 2 and grows beyond 1."""
    net = fb.Network([fb.Dense(1)], 1, "squared_error", backend="reference", dtype="float64")
    trainer = fb.Trainer(net, fb.SGD(), batch_size=1, theta=[0, 1])
    found = fb.find_learning_rate(trainer, [[0.0]], [0.0], low=1e-4, high=100, steps=300)
    error = np.cumprod(np.append(1.0, 1 - 2 * found.lr[:-1]))
    np.testing.assert_allclose(found.losses, error**2, rtol=1e-9, atol=1e-300)
    assert found.lr[-1] < 100  # it exploded
    assert 0.5 < found.lr[found.smoothed.argmin()] < 2


def test_a_trainer_that_is_running_is_refused(classifier, classes):
    search = lambda trainer, record: fb.find_learning_rate(trainer, *classes)  # noqa: E731
    with pytest.raises(RuntimeError, match="running already"):
        finder(classifier).fit(*classes, callbacks=[search])


def test_a_loss_that_is_not_finite_is_the_end():
    net = fb.Network([fb.Dense(1)], 1, "squared_error", backend="reference")
    X = np.full((1, 1), 1e8)
    found = fb.find_learning_rate(fb.Trainer(net, theta=[1, 0]), X, [0.0], low=1e-3, high=1e30)
    assert np.isfinite(found.losses).all() and len(found.losses) < 200
    with pytest.raises(fb.DivergenceError):
        fb.find_learning_rate(fb.Trainer(net, theta=[1e30, 0]), X, [0.0])


def test_empty_batches_are_left_out(classes):
    X, y = classes
    net = fb.Network([fb.Dense(3)], 4, "cross_entropy", backend="reference")
    trainer = fb.Trainer(net, fb.SGD(), batch_size=1, sampler="poisson")
    found = fb.find_learning_rate(trainer, X, y, low=1e-4, high=1e-2)
    assert 100 < len(found.lr) == len(found.losses) == len(found.smoothed) < 180
    assert np.isfinite(found.smoothed).all() and (found.losses > 0).all()


def test_many_steps_are_smoothed_a_few_times_only(monkeypatch):
    looks, smooth = [], learning_rate._smooth
    monkeypatch.setattr(
        learning_rate, "_smooth", lambda *losses: looks.append(losses) or smooth(*losses)
    )
    net = fb.Network([fb.Dense(1)], 1, "squared_error", backend="reference", dtype="float64")
    trainer = fb.Trainer(net, fb.SGD(), batch_size=1, theta=[0, 1])
    found = fb.find_learning_rate(trainer, [[0.0]], [0.0], low=1e-4, high=100, steps=500)
    assert len(looks) <= 200 and found.smoothed.shape == found.lr.shape
    assert found.lr[-1] < 100  # it is seen to explode all the same


def test_a_trainer_that_adds_noise_is_refused(classifier, classes):
    private = {"sampler": "poisson", "clip": fb.PerExampleClip(1.0), "noise": fb.GaussianNoise(1.0)}
    with pytest.raises(ValueError, match="privacy_spent does not count"):
        fb.find_learning_rate(finder(classifier, **private), *classes)


def test_the_suggestion_trains(classifier, classes):
    for optimizer in fb.SGD, fb.Adam:
        found = fb.find_learning_rate(finder(classifier, optimizer=optimizer()), *classes)
        trainer = finder(classifier, optimizer=optimizer(found.suggestion))
        history = trainer.fit(*classes, epochs=20)
        assert history[-1].loss < 0.5 * history[0].loss


def test_the_suggestion_is_not_below_the_first_rate():
    lr = np.array([0.1, 0.2])
    assert RangeTest(lr, lr, lr).suggestion == 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 0.0}, "low must be"),
        ({"low": 1.0, "high": 1.0}, "high must be"),
        ({"steps": 1}, "steps must be"),
        ({"sample_weight": [1.0]}, "sample_weight must have shape"),
    ],
)
def test_what_does_not_fit_is_refused(classes, options, message):
    net = fb.Network([fb.Dense(3)], 4, "cross_entropy", backend="reference")
    with pytest.raises(ValueError, match=message):
        fb.find_learning_rate(fb.Trainer(net), *classes, **options)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_picture_shows_the_suggestion(kind, tmp_path):
    lr = np.geomspace(1e-4, 1, 50)
    losses = 1 + np.log10(lr / 0.03) ** 2
    found = RangeTest(lr, losses, losses)
    path = tmp_path / f"rates.{kind}"
    found.plot(path)
    again = tmp_path / "again" / path.name
    again.parent.mkdir()
    found.plot(again)
    assert path.read_bytes() == again.read_bytes()
    if kind == "svg":
        assert f"suggestion {found.suggestion:.2g}" in path.read_text()
    else:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_drawn_is_refused(tmp_path, monkeypatch):
    found = RangeTest(*np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"expected a name that ends with \.png or \.svg"):
        found.plot(tmp_path / "rates.bmp")
    monkeypatch.setattr("fastbatch.pictures.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbatch\[plot\]'"):
        found.plot(tmp_path / "rates.png")
    assert not list(tmp_path.iterdir())
