"""A sum of gradients takes one accumulator, whoever forms it."""

import numpy as np
import pytest
import wrong

from fastbatch.claims.accumulation import _memory, _sums, accumulation, at_once
from fastbatch.kernels.cpu import session
from fastbatch.threads import get_threads


def test_one_accumulator_is_enough():
    before = get_threads()
    claim = accumulation()
    assert claim.holds
    assert get_threads() == before


def test_where_there_are_two_threads_both_work(monkeypatch):
    asked = []
    granted = session.granted
    monkeypatch.setattr(session, "granted", lambda n: asked.append(n) or granted(n))
    (way, *_), *_ = _sums(at_once)
    assert way == f"in one go, threads: {max(asked)}"


def test_a_matrix_of_gradients_is_not_one_accumulator():
    def by_matrix(network, theta, X, y):
        return network.per_example_gradients(theta, X[:5000], y[:5000]).sum(axis=0)

    assert not accumulation(by_matrix).holds


@pytest.fixture(scope="module")
def right_memory():
    return list(_memory(at_once))


@pytest.fixture
def only_bits(right_memory, monkeypatch):
    """The memory of what is right, whatever is looked at."""
    monkeypatch.setattr("fastbatch.claims.accumulation._memory", lambda total: right_memory)
    assert accumulation().holds


def test_the_mean_error_is_no_sum_of_parts(only_bits):
    assert not accumulation(lambda *data: len(data[2]) * wrong.mean_error(*data)).holds


def test_a_sum_that_forgets_an_example_fails(only_bits):
    def forgets(network, theta, X, y):
        keep = max(1, len(X) - 1)
        return at_once(network, theta, X[:keep], y[:keep])

    assert not accumulation(forgets).holds


def test_a_sum_that_depends_on_threads_fails(only_bits):
    def by_threads(network, theta, X, y):
        return np.nextafter(at_once(network, theta, X, y), np.inf if get_threads() > 1 else 0)

    assert not accumulation(by_threads).holds
