"""A worker that finds itself on another one's core moves, and may then run wherever it could."""

import ctypes
import os

import numba
import numpy as np
import pytest

from fastbatch.kernels.cpu import cores
from fastbatch.kernels.cpu.job import JOB
from fastbatch.kernels.cpu.memory import pointer_to

WORKERS = 3

ON_LINUX = pytest.mark.skipif(not any(cores.ADDRESSES.values()), reason="nobody is moved here")


@numba.njit
def arrive(words, jobs, worker):
    """`part` for callers in Python."""
    cores.part(pointer_to(words), worker, jobs[0])


@pytest.fixture
def team():
    """The words of workers that have not come."""
    return np.zeros((WORKERS, cores.WORDS), np.int64)


@pytest.fixture
def jobs():
    """One that knows no more than what `part` asks."""
    known = {"workers": WORKERS, **cores.ADDRESSES}
    return np.array([tuple(known.get(name, 0) for name in JOB.names)], JOB)


@pytest.fixture
def allowed(team, jobs):
    """The cores of this machine, all of which this thread may use again in the end."""
    arrive(team.copy(), jobs, 0)  # compiled, before anybody is pinned
    before = os.sched_getaffinity(0)
    yield sorted(before)
    os.sched_setaffinity(0, before)


@ON_LINUX
def test_who_is_alone_on_a_core_notes_it_and_stays(team, jobs, allowed):
    for core in allowed:
        os.sched_setaffinity(0, {core})
        arrive(team, jobs, 1)
        assert team[:, 0].tolist() == [0, 1 + core, 0]


@ON_LINUX
def test_who_shares_a_core_leaves_it_and_may_come_back(team, jobs, allowed):
    if len(allowed) < 2:
        pytest.skip("there is no other core")
    for here, free in (allowed[:2], allowed[1::-1]):
        os.sched_setaffinity(0, {here})
        team[0, 0] = 1 + here
        os.sched_setaffinity(0, {here, free})
        arrive(team, jobs, 1)
        assert team[:, 0].tolist() == [1 + here, 1 + free, 0]
        assert ctypes.CDLL(None).sched_getcpu() == free
        assert os.sched_getaffinity(0) == {here, free}


@ON_LINUX
def test_who_has_nowhere_to_go_stays(team, jobs, allowed):
    os.sched_setaffinity(0, {allowed[0]})
    team[0, 0] = 1 + allowed[0]
    team[2, 0] = 1 + 5000  # a core beyond those that a set can hold
    arrive(team, jobs, 1)
    assert team[1, 0] == 1 + allowed[0]
    assert os.sched_getaffinity(0) == {allowed[0]}


def test_where_the_system_does_not_tell_nothing_is_noted(team, jobs):
    for name in cores.ADDRESSES:
        jobs[name] = 0
    team[0, 0] = 1
    arrive(team, jobs, 1)
    assert team[:, 0].tolist() == [1, 0, 0]
