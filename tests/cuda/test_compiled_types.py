"""Kernels are compiled without a device for the types that they are launched with."""

import inspect

import numpy as np
import pytest
from numba import typeof
from numba.core.sigutils import normalize_signature
from numba.cuda.simulator.kernel import FakeCUDAKernel
from twin_problems import answers

import fastbatch as fb
from fastbatch.kernels import cuda
from fastbatch.kernels.cuda import compiling, evaluation, tiles
from fastbatch.kernels.cuda.tiles import Tile
from fastbatch.verification import DROPOUT, DTYPES, Case

CASE = Case("types", (3, 5, 2), ("tanh", "identity"), "cross_entropy", 4)
BLOCKED = Case("blocked types", (1, 1), ("identity",), "squared_error", 130)
DROPPING = Case(
    "dropping types", (3, 3, 5, 5, 2), (DROPOUT, "tanh", DROPOUT, "identity"), "cross_entropy", 4
)
EVERYTHING = {
    "clip": fb.PerExampleClip(0.5),
    "noise": (0.1, 5),
    "l2": 0.5,
    "monitor": ("losses", "gradient_norms", "noise_scale"),
}


def code(kernel):
    """What all kernels have in common that one function makes, for tiles and dtypes."""
    return inspect.unwrap(kernel.py_func).__code__


@pytest.fixture
def launches(monkeypatch):
    """The kernels that are launched, with their arguments, each kind of them once."""
    found, launch = {}, FakeCUDAKernel.__call__

    def note(kernel, *arguments):
        types = tuple(typeof(getattr(value, "_ary", value)) for value in arguments)
        found[code(kernel), types] = kernel
        launch(kernel, *arguments)

    monkeypatch.setattr(FakeCUDAKernel, "__call__", note)
    monkeypatch.setattr(evaluation, "_kept", type(evaluation._kept)())
    return found


def train(case, dtype, optimizer, **options):
    theta, X, y, weights = case.data(dtype)
    training = cuda.Training(case.plan(dtype), optimizer, X, y, weights, **options)
    training.theta = theta
    assert training.advance(np.array([0.1])) == 1


@pytest.mark.parametrize("width", [0, 32])
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_that_is_launched_is_compiled_for_its_types(dtype, width, launches, monkeypatch):
    monkeypatch.setattr(tiles, "for_examples", lambda *_: (Tile(8, 32, 16), width))
    answers(cuda, CASE.plan(dtype), *CASE.data(dtype))
    train(CASE, dtype, fb.RMSprop(momentum=0.9, centered=True), batch_size=3, **EVERYTHING)
    train(BLOCKED, dtype, fb.SGD(0.1), batch_size=130)
    train(DROPPING, dtype, fb.SGD(0.1), batch_size=4)
    cuda.permutation(3, 0, 0), cuda.uniform(3, 0, 0), cuda.gaussian_noise(CASE.plan(dtype), 0, 0)
    cuda.all_finite(cuda.toolkit.to_device(np.zeros(3, dtype)))
    compiled = {
        code(kernel): normalize_signature(compiling.signature(kernel, of))[0]
        for of in ("float64", dtype)
        for _, kernel, _ in compiling.kernels(of)
    }
    assert len(launches) > 10
    for (place, types), kernel in launches.items():
        names = inspect.signature(kernel.py_func).parameters
        for name, launched, expected in zip(names, types, compiled[place], strict=True):
            assert launched == expected, f"{name} of {place}"
