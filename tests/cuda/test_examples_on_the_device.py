"""Examples that lie on the device already are used there, by whatever library they were made."""

import numpy as np
import pytest

import fastbatch as fb
from fastbatch import backends
from fastbatch.commands import doctor
from fastbatch.kernels.cuda.toolkit import to_device

X = np.array([[3, 1], [-2, 5], [0, 7], [4, -6], [1, 1], [2, 9]], np.float32)
LABELS = np.array([0, 1, 1, 0, 1, 0])
WEIGHTS = np.array([1, 2, 0, 3, 1, 2], np.float32)


class OfAnotherLibrary:
    """An array on the device that has the interface, and nothing else that NumPy could use."""

    def __init__(self, values):
        self._values = values
        self.__cuda_array_interface__ = {**values.__array_interface__, "stream": None}

    def __len__(self):
        return len(self._values)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("implicit copies are not allowed")


def network(backend="cuda", **options):
    return fb.Network([fb.Dense(5, "tanh"), fb.Dense(2)], 2, "cross_entropy", **options,
                      backend=backend)  # fmt: skip


def fitted(net, X, y, weights, **options):
    trainer = fb.Trainer(net, fb.Adam(0.1), batch_size=4, seed=3, **options)
    history = trainer.fit(X, y, sample_weight=weights, epochs=2, validation=(X, y))
    return trainer.theta, [record.loss for record in history]


@pytest.mark.parametrize("on_device", [to_device, OfAnotherLibrary])
def test_training_has_the_bits_of_the_cpu(on_device):
    theta, losses = fitted(network("cpu"), X, LABELS, WEIGHTS)
    data = map(on_device, (X, LABELS, WEIGHTS))
    own_theta, own_losses = fitted(network(), *data)
    np.testing.assert_array_equal(own_theta, theta)
    assert own_losses == losses


@pytest.mark.parametrize("on_device", [to_device, OfAnotherLibrary])
def test_questions_are_answered_about_examples_on_the_device(on_device):
    net, cpu = network(), network("cpu")
    theta, there = net.init(seed=1), on_device(X)
    for ask in (
        lambda net, X: net.predict(theta, X),
        lambda net, X: net.value_and_grad(theta, X, LABELS, WEIGHTS)[1],
        lambda net, X: net.gradient_norms(theta, X, LABELS),
        lambda net, X: net.gradient_gram(theta, X, LABELS, X, LABELS),
        lambda net, X: net.gradient_statistics(theta, X, LABELS).variance,
    ):
        np.testing.assert_array_equal(ask(net, there), ask(cpu, X))


def test_examples_on_the_device_are_used_in_place(monkeypatch):
    copied = []
    session = backends.load("cuda").session
    monkeypatch.setattr(session, "to_device", lambda a: copied.append(a.shape) or to_device(a))
    net, there = network(), to_device(X)
    net.losses(net.init(), there, LABELS)
    assert X.shape not in copied and (X.size,) not in copied
    net.losses(net.init(), X, LABELS)
    assert X.shape in copied


@pytest.mark.parametrize("check", ["predict", "losses", "fit"])
def test_numbers_on_the_device_must_be_finite(check):
    spoiled = X.copy()
    spoiled[4, 1] = np.inf
    net, there = network(), to_device(spoiled)
    ask = {
        "predict": lambda: net.predict(net.init(), there),
        "losses": lambda: net.losses(net.init(), there, LABELS),
        "fit": lambda: fb.Trainer(net).fit(there, LABELS),
    }
    with pytest.raises(ValueError, match=r"^X\[4, 1\] is inf, expected finite numbers"):
        ask[check]()


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (X.astype(np.float64), TypeError, "must be of dtype float32 and C-contiguous, found float"),
        (np.asfortranarray(X), TypeError, "found float32 in another order: convert it there"),
        (X[:, :1].copy(), ValueError, r"X must have shape \(N, 2\), found \(6, 1\)"),
        (X[:, 0].copy(), ValueError, r"X must be a matrix of shape \(N, 2\), found shape \(6,\)"),
    ],
)
def test_other_arrays_on_the_device_are_refused(values, error, message):
    with pytest.raises(error, match=message):
        network().losses(network().init(), OfAnotherLibrary(values), LABELS)


def test_the_doctor_lists_the_devices():
    assert ("CUDA", "Numba's CUDA simulator") in list(
        doctor.machine(backends.load("cpu").describe())
    )
