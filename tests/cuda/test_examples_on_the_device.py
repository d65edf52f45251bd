"""Examples that lie on the device already are used there, by whatever library they were made."""

import numpy as np
import pytest
from numba import cuda
from numba.cuda.cudadrv.driver import CudaAPIError
from numba.cuda.simulator.kernel import FakeCUDAKernel

import fastbatch as fb
from fastbatch import backends
from fastbatch.commands import doctor
from fastbatch.kernels.cuda import toolkit
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


class OfAnotherDevice(OfAnotherLibrary):
    def __dlpack_device__(self):
        return 2, 1


class OfAnUnreadableKind:
    """A tensor of PyTorch that requires a gradient."""

    @property
    def __cuda_array_interface__(self):
        raise RuntimeError("it requires grad.\nUse detach")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (OfAnotherDevice(X), "it lies on device 1, but in use is 0"),
        (OfAnUnreadableKind(), "it requires grad"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(values, reason):
    net = network()
    for ask in (
        lambda: net.losses(net.init(), values, LABELS),
        lambda: net.losses(net.init(), X, values),
    ):
        with pytest.raises(TypeError, match=rf"cannot be read as an array, found .* \({reason}\)"):
            ask()


def test_examples_are_let_go_of_after_an_answer():
    net, kept = network(), backends.load("cuda").evaluation._kept
    for ask in net.losses, net.gradient_norms, net.value_and_grad, net.per_example_gradients:
        ask(net.init(), to_device(X), LABELS)
        assert kept.session.X is None


class OutOfMemoryError(CudaAPIError):
    code = 2  # as the driver numbers it; the simulator's errors have no code


def test_less_is_possible_where_memory_was_too_small_for_more(monkeypatch):
    def take(shape, dtype):
        if shape > 1000:
            raise OutOfMemoryError
        return device_array(shape, dtype)

    device_array, net = cuda.device_array, network()
    many = np.tile(X, (100, 1))
    net.losses(net.init(), X, LABELS)
    monkeypatch.setattr(cuda, "device_array", take)
    with pytest.raises(MemoryError, match="has no room for 28,800 bytes more"):
        net.losses(net.init(), many, np.tile(LABELS, 100))
    found = net.losses(net.init(), many[:30], np.tile(LABELS, 5))
    np.testing.assert_array_equal(found, np.tile(network("cpu").losses(net.init(), X, LABELS), 5))


def test_a_device_that_runs_no_kernel_is_a_reason(monkeypatch):
    def fail(*arguments):
        raise CudaAPIError("[222] UNSUPPORTED_PTX_VERSION. And more")

    monkeypatch.setattr(toolkit, "SIMULATED", False)
    monkeypatch.setattr(toolkit, "limits", lambda: toolkit.H100)
    assert toolkit.why_not() is None
    monkeypatch.setattr(FakeCUDAKernel, "__call__", fail)
    assert toolkit.why_not() == (
        "no kernel runs on the CUDA device, its driver may be older than the compiler "
        "([222] UNSUPPORTED_PTX_VERSION)"
    )


def test_the_doctor_lists_the_devices():
    assert ("CUDA", "Numba's CUDA simulator") in list(
        doctor.machine(backends.load("cpu").describe())
    )
