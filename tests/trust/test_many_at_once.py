"""Trainings at once, in processes however started and in threads, are as good as alone."""

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from some_training import SEEDS, digest

import fastbatch as fb


@pytest.fixture(scope="module")
def alone():
    return [digest(seed) for seed in SEEDS]


def test_eight_threads(alone):
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(digest, SEEDS)) == alone


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_eight_forked_children(alone):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "forks.py"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == [alone] * 3


@pytest.mark.slow
def test_spawned_processes(alone):
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(digest, SEEDS)) == alone


@pytest.mark.slow
def test_joblib_with_processes(alone):
    try:
        found = joblib.Parallel(2, backend="loky")(joblib.delayed(digest)(s) for s in SEEDS)
    finally:
        get_reusable_executor().shutdown()
    assert found == alone


def test_threads_that_save_to_one_path_leave_one_whole_file(tmp_path):
    net = fb.Network([fb.Dense(50)], 50, "squared_error", backend="reference")
    path = tmp_path / "model"

    def work(number):
        trainer = fb.Trainer(net, theta=np.full(net.n_parameters, number))
        for _ in range(5):
            trainer.save(path)
            theta = fb.Trainer.load(path).theta
            assert (theta == theta[0]).all()  # of one of them, whole

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert list(tmp_path.iterdir()) == [path]
