"""Forked children, and threads that train at once, get the same bits; nobody is aborted."""

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba.core import config
from processes import output_of
from training_runs import RUNS, bits, use_all_threads

from fastbatch.kernels import cpu
from fastbatch.kernels.cpu import session, threads

NAMES = ["two panels", "blocks", "classes", "blocks of classes"]
CALL = "import test_processes_and_threads as tests; tests."


def some_bits(name):
    return bits(RUNS[name], "float32")


def in_threads():
    """The bits of all NAMES, each trained by a thread of its own, twice, all at once."""
    barrier = threading.Barrier(2 * len(NAMES))

    def work(name):
        barrier.wait()
        return some_bits(name)

    with ThreadPoolExecutor(2 * len(NAMES)) as pool:
        return list(pool.map(work, NAMES * 2))


def print_trainings_at_once():
    """In a process of its own: as `in_threads`, with all workers."""
    use_all_threads()
    print(json.dumps([threads.threading_layer(), in_threads()]))


def print_addresses_asked_for_at_once():
    """In a process of its own: what every thread is told, and where Numba's own cache is then."""
    barrier = threading.Barrier(8)

    def work(_):
        barrier.wait()
        return [s.address(np.dtype("float32")) for s in session.SUBROUTINES.values()]

    before = config.CACHE_DIR
    with ThreadPoolExecutor(8) as pool:
        addresses = list(pool.map(work, range(8)))
    print(json.dumps([before, config.CACHE_DIR, addresses]))


def print_trainings_of_a_forked_child():
    """In a process of its own: the bits from before, in, and after a fork."""
    use_all_threads()
    before = [some_bits(name) for name in NAMES]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writing, "w") as pipe:
            json.dump([some_bits(name) for name in NAMES], pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        inside = json.load(pipe)
    _, status = os.waitpid(child, 0)
    after = [some_bits(name) for name in NAMES]
    print(json.dumps([status, before, inside, after]))


@pytest.fixture(scope="module")
def expected():
    return [some_bits(name) for name in NAMES]


def test_threads_that_train_at_once_get_the_same_bits(expected, monkeypatch):
    use_all_threads(monkeypatch.setattr)
    assert in_threads() == expected * 2


@pytest.mark.slow
def test_the_workqueue_layer_is_never_entered_twice(expected):
    """It would abort the process."""
    printed = output_of(
        "-c",
        CALL + "print_trainings_at_once()",
        NUMBA_THREADING_LAYER="workqueue",
        NUMBA_NUM_THREADS="3",
    )
    assert json.loads(printed) == ["workqueue", expected * 2]


@pytest.mark.slow
def test_threads_that_start_at_once_share_the_compiled_code():
    printed = output_of("-c", CALL + "print_addresses_asked_for_at_once()")
    before, after, addresses = json.loads(printed)
    assert after == before
    assert all(found == addresses[0] for found in addresses)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("layer", [None, "workqueue"])
def test_a_forked_child_trains_to_the_same_bits(layer, expected):
    options = [] if sys.version_info < (3, 12) else ["-W", "ignore::DeprecationWarning"]
    printed = output_of(
        *options, "-c", CALL + "print_trainings_of_a_forked_child()", NUMBA_THREADING_LAYER=layer
    )
    assert json.loads(printed) == [0, expected, expected, expected]


def test_who_finds_the_workers_taken_works_alone(expected, monkeypatch):
    use_all_threads(monkeypatch.setattr)
    with threads._entry:
        assert [some_bits(name) for name in NAMES] == expected


@pytest.mark.parametrize("count", [1, 2, 10**6])
def test_no_more_threads_are_used_than_there_are(count):
    before = cpu.get_threads()
    try:
        cpu.set_threads(count)
        assert 1 <= cpu.get_threads() <= min(count, threads.numba.config.NUMBA_NUM_THREADS)
    finally:
        cpu.set_threads(before)
