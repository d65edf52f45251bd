"""How many workers are asked for: what parallel work saves must outweigh what it costs."""

import os

import pytest

from fastbatch.kernels.cpu import threads

LARGE, SMALL = 10**9, 10**3  # multiply-adds


@pytest.fixture
def clock(monkeypatch):
    """Four threads on a machine whose clock the test turns."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(threads, "perf_counter", lambda: Clock.now)
    monkeypatch.setattr(threads, "_threads", 4)
    monkeypatch.setattr(threads, "threading_layer", lambda: "omp")
    for name in "_last_shared", "_last_work", "_busy_since":
        monkeypatch.setattr(threads, name, float("-inf"))
    return Clock


def used(clock, workers):
    """They work for a moment."""
    with threads.granted(1):
        clock.now += 1e-3
    if workers > 1:
        threads._last_shared = clock.now


def test_large_work_is_shared_and_small_is_not(clock):
    assert threads.workers_for(LARGE, 0, 0) == 4
    assert threads.workers_for(SMALL, 0, 0) == 1
    assert threads.workers_for(SMALL, 0, 10**6) == 1


def test_no_share_is_too_small_to_be_worth_a_meeting(clock):
    assert threads.workers_for(600_000, 0, 10**6) == 2


def test_many_steps_pay_where_one_does_not(clock):
    assert threads.workers_for(10**6, 10**4, 1) == 1
    assert threads.workers_for(10**6, 10**4, 10**4) == 4


def test_parameters_that_cross_between_caches_count(clock):
    used(clock, 4)
    assert threads.workers_for(10**6, 10**3, 100) == 4
    assert threads.workers_for(10**6, 10**6, 100) == 1


def test_threads_that_sleep_are_woken_for_long_work_only(clock):
    medium = 10**7
    assert threads.workers_for(medium, 0, 0) == 1
    assert threads.workers_for(medium, 0, 100) == 4
    used(clock, 4)
    assert threads.workers_for(medium, 0, 0) == 4
    clock.now += 1.0
    assert threads.workers_for(medium, 0, 0) == 1


def test_who_stays_busy_wakes_them(clock):
    asked = []
    for _ in range(20):
        asked.append(threads.workers_for(10**7, 0, 1))
        used(clock, 1)
    assert asked[0] == 1
    assert asked[-1] == 4


def test_loading_the_threads_leaves_the_environment_as_it_was():
    before = dict(os.environ)
    threads.threading_layer.__wrapped__()
    assert dict(os.environ) == before
