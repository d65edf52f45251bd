"""The backend "cuda" where there is no CUDA device: one sentence says so, and all else works."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numba import cuda
from numba.core import types
from numba.core.sigutils import normalize_signature
from numba.cuda import compiler, dispatcher
from numba.cuda.cudadrv import driver
from numba.cuda.cudadrv.driver import CudaAPIError
from scipy.sparse import csr_array

import fastbatch as fb
from fastbatch import arrays, backends
from fastbatch.commands import doctor, main
from fastbatch.kernels.cuda import compiling, dense, finite, toolkit
from fastbatch.kernels.cuda.tiles import Tile


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


def test_a_network_that_was_pickled_elsewhere_is_refused_when_it_is_used(no_device):
    net = fb.Network([fb.Dense(1)], 1, "huber", backend="reference")
    object.__setattr__(net, "backend", "cuda")
    net = pickle.loads(pickle.dumps(net))
    message = r"^backend 'cuda' cannot be used here, .*; or take backend='cpu'$"
    for use in (
        net.init,
        lambda: net.predict([1, 2], [[3]]),
        lambda: fb.Trainer(net, theta=[1, 2]).fit([[1]], [2]),
    ):
        with pytest.raises(ValueError, match=message):
            use()
    assert replace(net, backend="reference").predict([1, 2], [[3]]).item() == 5


def test_a_compiler_for_the_device_is_missed(no_device, monkeypatch):
    monkeypatch.setattr(cuda, "cuda_error", lambda: None)
    assert toolkit.why_not() == "libNVVM, which compiles for the device, was not found"


def raises(error):
    def function(*arguments):
        raise error

    return function


@pytest.mark.parametrize("ask", [toolkit.to_device, lambda X: toolkit.empty(X.shape, X.dtype)])
def test_a_device_without_room_says_for_how_much(ask, monkeypatch):
    full, ill = CudaAPIError(2, "OUT_OF_MEMORY"), CudaAPIError(700, "ILLEGAL_ADDRESS")
    for error, expected, message in (
        (full, MemoryError, "no room for 24,000 bytes more: give fewer .*, to fit as batches="),
        (ill, CudaAPIError, "700"),
    ):
        device = SimpleNamespace(to_device=raises(error), device_array=raises(error))
        monkeypatch.setattr(toolkit, "cuda", device)
        with pytest.raises(expected, match=message):
            ask(np.zeros((1000, 3)))


def test_the_limits_of_a_device_have_the_names_that_numba_knows(monkeypatch):
    device = object.__new__(driver.Device)
    device.id = 0
    monkeypatch.setattr(driver, "driver", SimpleNamespace(cuDeviceGetAttribute=lambda *_: 0))
    monkeypatch.setattr(cuda, "get_current_device", lambda: device)
    assert toolkit.limits() == (0, 0)


def test_few_blocks_are_no_reason_to_warn():
    finite.find_kernel[1, 32]  # configured, not launched


def test_numba_understands_a_kernel(monkeypatch):
    """Numba's own numba.cuda or numba-cuda, whichever is here; all are compiled in bench."""
    here = SimpleNamespace(compute_capability=(9, 0))
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: here)
    kernel = dense.backward_kernel(np.dtype("float32"), Tile(32, 64, 16))
    arguments, _ = normalize_signature(compiling.signature(kernel, "float32"))
    compiler.compile_cuda(kernel.py_func, types.void, arguments, cc=(9, 0))


@pytest.mark.parametrize("fails", ["is_available", "get_current_device"])
def test_a_device_that_cannot_be_used_is_a_reason(no_device, monkeypatch, fails):
    def fail():
        raise driver.CudaAPIError(101, "Call to cuDeviceGet fails. And\nmore")

    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, fails, fail)
    expected = "the CUDA device cannot be used ([101] Call to cuDeviceGet fails)"
    assert toolkit.why_not() == backends.why_no_cuda() == expected


def test_memory_of_a_device_is_taken_where_it_lies(monkeypatch):
    """After waiting for who writes it; later copies of it are waited for, too."""
    done = []
    monkeypatch.setattr(cuda, "synchronize", lambda: done.append("waited"))
    monkeypatch.setattr(cuda, "as_cuda_array", lambda value, sync: SimpleNamespace(stream=5))
    assert toolkit.as_device_array(OnDevice()).stream == 0
    assert done == ["waited"]


def test_a_numba_without_cuda_is_a_reason(no_device, monkeypatch):
    def load(name):
        raise ImportError("no module\nof this name. Install it.")

    monkeypatch.setattr(backends, "_module", load)
    assert backends.why_no_cuda() == "no module of this name"


def test_the_doctor_tells_the_reason(no_device):
    facts = dict(doctor.machine(backends.load("cpu").describe()))
    assert facts["CUDA"] == "none: no CUDA device was found (There is no driver)"


def test_layers_that_it_does_not_have_are_refused_first(no_device):
    layers = [fb.Dense(2), fb.GaussianSample(1), fb.Dense(1)]
    with pytest.raises(ValueError, match=r"takes Dense and Dropout .*, found Gauss.*: use 'cpu'"):
        fb.Network(layers, 1, "huber", backend="cuda")


@pytest.fixture
def from_a_gpu(no_device, tmp_path):
    """A model that was saved where there was a device, and examples."""
    trainer = fb.Trainer(fb.Network([fb.Dense(1)], 2, "huber", backend="reference"))
    trainer.fit([[1, 2], [3, 4]], [5, 6])
    object.__setattr__(trainer.network, "backend", "cuda")
    trainer.save(tmp_path / "model")
    (tmp_path / "data.csv").write_text("a,b\n1,2\n3,4\n")
    return str(tmp_path / "model"), str(tmp_path / "data.csv")


def test_a_model_of_a_device_is_loaded_with_another_backend(from_a_gpu):
    path, _ = from_a_gpu
    with pytest.raises(fb.CheckpointError) as refused:
        fb.Trainer.load(path)
    assert str(refused.value).startswith(
        f"{path} must be loaded with backend='cpu': backend 'cuda' cannot be used here, no CUDA "
    )
    trainer = fb.Trainer.load(path, backend="reference")
    assert trainer.network.backend == "reference"
    assert len(trainer.fit([[1, 2], [3, 4]], [5, 6])) == 1
    with pytest.raises(ValueError, match=r"^backend 'cuda' cannot be used here"):
        fb.Trainer.load(path, backend="cuda")
    with pytest.raises(ValueError, match=r"^unknown backend 'gpu'"):
        fb.Trainer.load(path, backend="gpu")


def test_a_model_is_not_loaded_with_a_backend_that_lacks_its_layers(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "why_no_cuda", lambda: None)
    layers = [fb.Dense(2), fb.GaussianSample(1)]
    fb.Trainer(fb.Network(layers, 2, "huber", backend="reference")).save(tmp_path / "model")
    with pytest.raises(fb.CheckpointError, match=r"must be loaded with .*'cpu': .* takes"):
        fb.Trainer.load(tmp_path / "model", backend="cuda")


def test_commands_say_so_too(from_a_gpu, capsys):
    path, data = from_a_gpu
    assert main(["predict", path, data]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "must be loaded with backend='cpu'" in line
    assert main(["predict", path, data, "--backend", "reference"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["history", path]) == 0
    assert main(["verify", "--backend", "cuda"]) == 2
    assert "backend 'cuda' cannot be used here" in capsys.readouterr().err


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
