"""Trajectories by sum and by mean, at rates that fit and at rates that do not."""

import pytest

from fastbatch.claims.sum_or_mean import sum_or_mean


def test_rates_that_differ_by_the_batch_size_give_the_same_trajectories():
    claim = sum_or_mean()
    assert claim.holds
    (table,) = claim.tables
    first = {row[0]: row[1:3] for row in table.rows}
    assert all(by_sum == size * by_mean for size, (by_sum, by_mean) in first.items())


@pytest.mark.parametrize("factor", [2.0, 1 + 2.0**-40])
def test_other_rates_give_others(factor):
    assert not sum_or_mean(factor).holds
