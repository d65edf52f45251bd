"""Rows that are held out, and all others, are the rows of the source."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbatch as fb
from fastbatch.data import ArraySource, Stream, hold_out
from fastbatch.data.stream import bounds_of


def numbered(rows, bounds=None, weighted=True):
    """A source whose rows are told by their targets."""
    numbers = np.arange(rows)
    source = ArraySource(numbers[:, np.newaxis] + 0.5, numbers, numbers if weighted else None)
    source.bounds = bounds
    return source


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 60), st.data())
def test_each_row_is_held_out_or_left(rows, data):
    count = data.draw(st.integers(1, rows - 1))
    cuts = data.draw(st.sets(st.integers(1, rows - 1)))
    bounds = data.draw(st.sampled_from([None, np.array([0, *sorted(cuts), rows])]))
    seed = data.draw(st.integers(0, 2**64 - 1))
    others, (X, y) = hold_out(numbered(rows, bounds), count, seed=seed)
    stretches = np.arange(count + 1) * rows // count
    assert (stretches[:-1] <= y).all() and (y < stretches[1:]).all() and len(y) == count
    np.testing.assert_array_equal(X[:, 0], y + 0.5)
    left = np.setdiff1d(np.arange(rows), y)
    assert len(others) == len(left)
    start = data.draw(st.integers(0, len(left) - 1))
    stop = data.draw(st.integers(start + 1, len(left)))
    X, y, weights = others.read(start, stop)
    np.testing.assert_array_equal(y, left[start:stop])
    np.testing.assert_array_equal(X[:, 0], y + 0.5)
    np.testing.assert_array_equal(weights, y)
    if bounds is None:
        assert bounds_of(others) is None
    else:  # each piece lies in one of the source
        for first, end in pairwise(bounds_of(others)):
            assert len(set(np.searchsorted(bounds, left[first:end], side="right"))) == 1


def test_what_is_held_out_is_part_of_the_contract():
    found = [hold_out(numbered(40), 5, seed=seed)[1][1].tolist() for seed in (0, 0, 1)]
    assert found == [[5, 9, 22, 29, 35], [5, 9, 22, 29, 35], [4, 13, 18, 31, 35]]


def test_every_row_of_a_stretch_may_be_drawn():
    found = {int(hold_out(numbered(4), 1, seed=seed)[1][1][0]) for seed in range(60)}
    assert found == {0, 1, 2, 3}


def test_the_others_are_streamed(classes):
    X, y = classes
    others, held_out = hold_out(ArraySource(X, y), 20, seed=3)
    net = fb.Network([fb.Dense(3)], 4, "cross_entropy", backend="reference")
    found, known = fb.Trainer(net), fb.Trainer(net)
    found.fit(batches=Stream(others, 10, shuffle=False), validation=held_out)
    whole = ArraySource(*others.read(0, 70))
    known.fit(batches=Stream(whole, 10, shuffle=False), validation=held_out)
    np.testing.assert_array_equal(found.theta, known.theta)
    assert others.read(0, 70)[2] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, r"rows must be an integer in \[1, 5\), found 0"),
        ({"rows": 5}, r"rows must be an integer in \[1, 5\), found 5"),
        ({"rows": 1, "seed": -1}, "seed must be an integer"),
    ],
)
def test_what_cannot_be_held_out_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        hold_out(numbered(5), **options)
    with pytest.raises(ValueError, match=r"found read\(2, 5\) of 4 rows"):
        hold_out(numbered(5), 1)[0].read(2, 5)
