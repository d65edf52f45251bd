"""The measured side of ``bench.gpu``, which only somebody with a GPU can run in earnest."""

import re

import numpy as np
import pytest

from bench import gpu
from bench.cells import Cell

CELL = Cell("bench", (3, 4, 2), ("relu", "identity"), "cross_entropy", 12, batch_size=4)


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """One turn of an epoch for us alone, and nothing counted, which takes a compiler."""
    monkeypatch.setattr(gpu, "ROUNDS", 1)
    monkeypatch.setattr(gpu, "SECONDS", 0.0)
    monkeypatch.setattr(gpu, "SETTLING", 0.0)
    monkeypatch.setattr(gpu, "launches", lambda cell: [])


def test_a_step_is_timed():
    found, wrong = gpu.measured([CELL])
    assert wrong == []
    head, _, row = found.splitlines()
    assert head == "| cell | floor of an H100 | fastbatch | PyTorch, eager | JAX, jitted |"
    assert re.fullmatch(r"\| 3-4-2, 4 \| 0\.00 \| [\d,.]+ \| - \| - \|", row)
    assert [bool(reason) for reason in gpu.absences().values()] == [False, True, True]


def test_other_bits_are_told_and_not_timed(monkeypatch):
    start = gpu.start

    def spoiled(cell, backend):
        training = start(cell, backend)
        if backend == "cuda":
            theta = training.theta
            theta[-1] += np.float32(0.25)
            training.theta = theta
        return training

    monkeypatch.setattr(gpu, "start", spoiled)
    found, wrong = gpu.measured([CELL])
    assert len(found.splitlines()) == 2
    assert len(wrong) == 1
    assert re.match(r"3-4-2, 4: \d+ of 26 parameters differ, by 0\.2\d* at most", wrong[0])
