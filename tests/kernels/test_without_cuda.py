"""The backend "cuda" where there is no CUDA device: one sentence says so, and all else works."""

import numpy as np
import pytest
from numba import cuda
from scipy.sparse import csr_array

import fastbatch as fb
from fastbatch import arrays, backends
from fastbatch.commands import doctor
from fastbatch.kernels.cuda import toolkit


@pytest.fixture
def no_device(monkeypatch):
    """No device, for a reason that CUDA tells in lines."""
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    monkeypatch.setattr(cuda, "cuda_error", lambda: "\nThere is no\ndriver.\nInstall one.\n")
    backends.why_no_cuda.cache_clear()
    yield
    backends.why_no_cuda.cache_clear()


def test_the_backend_is_refused_in_one_sentence(no_device):
    with pytest.raises(ValueError) as refused:
        fb.Network([fb.Dense(1)], 1, "huber", backend="cuda")
    assert str(refused.value) == (
        "backend 'cuda' cannot be used here, no CUDA device was found (There is no driver): it "
        "needs a CUDA device, its driver and the extra cuda, pip install 'fastbatch[cuda]'; or "
        "take backend='cpu'"
    )


def test_a_compiler_for_the_device_is_missed(no_device, monkeypatch):
    monkeypatch.setattr(cuda, "cuda_error", lambda: None)
    assert toolkit.why_not() == "libNVVM, which compiles for the device, was not found"


def test_a_numba_without_cuda_is_a_reason(no_device, monkeypatch):
    def load(name):
        raise ImportError("no module of this name")

    monkeypatch.setattr(backends, "load", load)
    assert backends.why_no_cuda() == "no module of this name"


def test_the_doctor_tells_the_reason(no_device):
    facts = dict(doctor.machine(backends.load("cpu").describe()))
    assert facts["CUDA"] == "none: no CUDA device was found (There is no driver)"


def test_layers_that_it_does_not_have_are_refused_first(no_device):
    for layer in fb.GaussianSample(1), fb.Dropout(0.5):
        layers = [fb.Dense(2), layer, fb.Dense(1)]
        with pytest.raises(ValueError, match=r"takes Dense layers only, found .*: use 'cpu'"):
            fb.Network(layers, 1, "huber", backend="cuda")


def test_sparse_examples_are_refused():
    with pytest.raises(TypeError, match=r"^X is sparse, which backend 'cuda' does not read: use"):
        arrays.matrix("X", csr_array(np.eye(2)), 2, "float32", finite=True, backend="cuda")


class OnDevice:
    """What an array of another library is like: it must not be copied without being asked."""

    __cuda_array_interface__ = {"shape": (2, 1), "typestr": "<f4", "data": (0, True), "version": 3}  # noqa: RUF012

    def __array__(self, dtype=None, copy=None):
        raise TypeError("implicit copies are not allowed")


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_examples_on_a_device_are_for_that_backend_only(backend):
    net = fb.Network([fb.Dense(1)], 1, "huber", backend=backend)
    message = f"^X lies on a CUDA device, which backend '{backend}' does not read: copy it"
    for ask in (
        lambda: net.losses(net.init(), OnDevice(), [1, 2]),
        lambda: net.predict(net.init(), OnDevice()),
        lambda: fb.Trainer(net).fit(OnDevice(), [1, 2]),
    ):
        with pytest.raises(TypeError, match=message):
            ask()


def test_targets_on_a_device_cannot_be_copied_without_one(no_device):
    net = fb.Network([fb.Dense(1)], 1, "huber", backend="reference")
    with pytest.raises(TypeError, match=r"^y cannot be read .*\(implicit copies are not allowed\)"):
        net.losses(net.init(), [[1], [2]], OnDevice())
