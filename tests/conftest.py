"""What most tests of the package begin with: a backend, and small data sets."""

import numpy as np
import pytest

import fastbatch as fb


@pytest.fixture(params=["reference", "cpu"])
def backend(request):
    return request.param


@pytest.fixture
def classes():
    """90 points of 4 features in 3 classes that a small network can tell apart."""
    rng = np.random.default_rng(1)
    y = np.arange(90) % 3
    X = rng.normal(size=(90, 4)) + 2.0 * np.eye(3, 4)[y]
    return X.astype(np.float32), y


@pytest.fixture
def classifier(backend):
    return fb.Network(
        [fb.Dense(9, "relu"), fb.Dense(5, "tanh"), fb.Dense(3)],
        inputs=4,
        loss="cross_entropy",
        backend=backend,
    )
