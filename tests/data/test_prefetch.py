"""Prefetching hands on items and exceptions, stays one item ahead, and ends when it is told to."""

import threading

import pytest

from fastbatch.data.prefetch import Prefetch


def test_items_come_in_order_and_then_no_more():
    items = Prefetch(iter(range(100)))
    assert list(items) == list(range(100))
    assert next(items, "over") == "over"
    items.close()


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit()])
def test_an_exception_comes_after_the_items_before_it_and_once(error):
    def items():
        yield 1
        raise error

    prefetch = Prefetch(items())
    assert next(prefetch) == 1
    with pytest.raises(type(error)):
        next(prefetch)
    assert next(prefetch, "over") == "over"
    prefetch.close()


def test_it_is_one_item_ahead_and_no_more():
    made, turns = [], threading.Semaphore(0)

    def items():
        for item in range(9):
            made.append(item)
            turns.release()
            yield item

    prefetch = Prefetch(items())
    for wanted in range(3):
        turns.acquire()  # made without being asked for
        assert made == list(range(wanted + 1))
        assert next(prefetch) == wanted
    prefetch.close()
    assert len(made) <= 4


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_closing_ends_the_thread(taken):
    before = threading.active_count()
    prefetch = Prefetch(iter(range(5)))
    for _ in range(taken):
        next(prefetch)
    prefetch.close()
    prefetch.close()
    assert threading.active_count() == before


def test_closing_waits_for_the_item_that_is_being_made(monkeypatch):
    reading, go_on, done = threading.Event(), threading.Event(), []

    def items():
        reading.set()
        go_on.wait()
        done.append(True)
        yield 1

    prefetch = Prefetch(items())
    reading.wait()
    join = prefetch._thread.join
    monkeypatch.setattr(prefetch._thread, "join", lambda: (go_on.set(), join()))
    prefetch.close()
    assert done
