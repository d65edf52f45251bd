"""However many workers come, and whenever they do, all units of a run are done, and done once."""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from training_runs import RUNS

from fastbatch.kernels import cpu
from fastbatch.kernels.cpu.memory import pointer_to
from fastbatch.kernels.cpu.phases import START
from fastbatch.kernels.cpu.run import run
from fastbatch.kernels.cpu.session import Session
from fastbatch.kernels.cpu.team import assemble


@numba.njit
def gather(words, workers):
    """`assemble` for callers in Python."""
    assemble(pointer_to(words), workers)


@pytest.fixture
def one_thread():
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


def training(name, workers, monkeypatch):
    """One whose phases are cut into queues for so many workers; and its learning rates."""

    def with_workers(plan, max_workers, *arguments, **options):
        return Session(plan, workers, *arguments, **options)

    monkeypatch.setattr(cpu.training, "Session", with_workers)
    made = RUNS[name].start("float32")
    rates = np.full(made.batches, 1e-3)
    made.advance(rates[:0])  # fills the order of the epoch
    session, job = made._session, made._session.job
    units, bounds = session.layout.units(workers)
    made.tables = units, bounds, rates  # kept alive
    job["workers"], job["n_units"] = workers, len(units)
    job["units"], job["bounds"], job["rates"] = (table.ctypes.data for table in made.tables)
    return made


@pytest.mark.parametrize("name", ["classes", "blocks", "two panels"])
def test_workers_that_come_one_after_the_other_do_the_same(name, one_thread, monkeypatch):
    expected = RUNS[name].start("float32")
    expected.advance(np.full(expected.batches, 1e-3))
    late = training(name, 5, monkeypatch)
    assert run(late._session.jobs, late.batches) == late.batches
    np.testing.assert_array_equal(late.theta, expected.theta)
    assert late.loss_sum == expected.loss_sum


@pytest.mark.parametrize("name", ["classes", "blocks", "two panels"])
def test_more_workers_than_cores_do_the_same(name, monkeypatch):
    """Threads of Python, which wait for each other on the same core, stand in for workers."""
    expected = RUNS[name].start("float32")
    expected.advance(np.full(expected.batches, 1e-3))
    crowd = training(name, 7, monkeypatch)
    job = crowd._session.job
    job["phase"], job["units_of_phase"], job["steps"], job["done"] = START, 1, crowd.batches, 0
    gather(crowd._session._team, 7)
    work = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(int(job["work"]))
    with ThreadPoolExecutor(7) as pool:
        list(pool.map(lambda w: work(int(job["arena"]), int(job["address"]), w), range(7)))
    assert job["done"] == crowd.batches
    np.testing.assert_array_equal(crowd.theta, expected.theta)
    assert crowd.loss_sum == expected.loss_sum
