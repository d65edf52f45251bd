"""Networks and trainers on the backend "cuda" are those of the CPU, to the last bit."""

import numpy as np
import pytest

import fastbatch as fb
from fastbatch import verification
from fastbatch.commands import main
from fastbatch.verification import CASES

X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
y = np.arange(30) % 3


def network(backend, **options):
    layers = [fb.Dense(7, "relu"), fb.Dropout(0.3), fb.Dense(5, "tanh"), fb.Dense(3)]
    return fb.Network(layers, inputs=4, loss="cross_entropy", backend=backend, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_gives_what_it_gives_on_the_cpu(dtype):
    ours, theirs = network("cuda", dtype=dtype), network("cpu", dtype=dtype)
    theta = theirs.init(seed=3)
    np.testing.assert_array_equal(ours.init(seed=3), theta)
    found = []
    for net in (ours, theirs):
        statistics = net.gradient_statistics(theta, X, y)
        found.append(
            [
                net.predict(theta, X),
                net.with_dropout(7).predict(theta, X),
                net.with_dropout(7).gradient_norms(theta, X, y),
                net.losses(theta, X, y),
                *net.value_and_grad(theta, X, y, sample_weight=np.arange(30)),
                *net.value_and_grad(theta, X[:4], y[:4], reduction="none"),
                net.gradient_norms(theta, X, y),
                *net.clipped_gradient(theta, X, y, max_norm=0.5),
                statistics.mean,
                statistics.variance,
                statistics.noise_scale,
            ]
        )
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_trainer_trains_as_on_the_cpu(tmp_path):
    found = []
    for backend in ("cuda", "cpu"):
        options = {"batch_size": 8, "seed": 1, "monitor": ["losses"]}
        trainer = fb.Trainer(network(backend), fb.Adam(0.01), **options)
        trainer.fit(X, y, epochs=1, validation=(X, y))
        trainer.save(tmp_path / backend)
        trainer = fb.Trainer.load(tmp_path / backend)
        assert trainer.network.backend == backend
        trainer.fit(X, y, epochs=1)
        records = [(r.loss, r.validation_loss, r.validation_metric) for r in trainer.history]
        found.append([trainer.theta, trainer.slots, trainer.example_losses, trainer.predict(X)])
        found[-1].append(np.array(records, float))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("first", "then"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_goes_on_elsewhere_to_the_same_bits(first, then, tmp_path):
    expected = fb.Trainer(network("cpu"), batch_size=8, seed=1)
    expected.fit(X, y, epochs=2)
    trainer = fb.Trainer(network(first), batch_size=8, seed=1)
    trainer.fit(X, y)
    trainer.save(tmp_path / "model")
    trainer = fb.Trainer.load(tmp_path / "model", backend=then)
    trainer.fit(X, y)
    assert trainer.network.backend == then
    np.testing.assert_array_equal(trainer.theta, expected.theta)


def test_verification_passes_over_what_there_is_not(monkeypatch, capsys):
    cases = [CASES["1-1 huber x1"], *(c for c in CASES.values() if not c.suits("cuda"))]
    monkeypatch.setattr(verification, "CASES", {case.name: case for case in cases})
    monkeypatch.setattr(verification, "DTYPES", ["float32"])
    monkeypatch.setattr(verification, "OPTIMIZERS", {"sgd": fb.SGD(0.1)})
    monkeypatch.setattr(verification, "random_errors", lambda kernels: ())
    assert len(cases) > 1
    assert main(["verify", "--backend", "cuda"]) == 0
    assert "all within their bounds" in capsys.readouterr().out


def test_data_that_come_in_batches():
    batches = [(X[i : i + 8], y[i : i + 8]) for i in range(0, 30, 8)]
    thetas = []
    for backend in ("cuda", "cpu"):
        trainer = fb.Trainer(network(backend), fb.SGD(0.1, momentum=0.9), batch_size=8, seed=1)
        trainer.fit(batches=batches)
        thetas.append(trainer.theta)
    np.testing.assert_array_equal(*thetas)
