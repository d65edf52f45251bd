"""Trainings give today what they gave when golden.json was written, to the last bit."""

import json

import pytest
from make_golden import FILE, record
from training_runs import RUNS

from fastbatch.verification import DTYPES

GOLDEN = json.loads(FILE.read_text())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RUNS)
def test_training_gives_the_recorded_losses_and_parameters(name, dtype):
    assert record(RUNS[name], dtype) == GOLDEN[f"{name}, {dtype}"]


def test_nothing_is_recorded_that_is_not_run():
    assert set(GOLDEN) == {f"{name}, {dtype}" for name in RUNS for dtype in DTYPES}
