"""Batches are right on average if they are summed rightly."""

import pytest
import wrong

from fastbatch.claims.unbiasedness import sum_of_gradients, unbiasedness


def test_the_gradient_of_a_random_batch_is_right_on_average():
    claim = unbiasedness()
    assert claim.holds
    enumerated, realised = claim.tables
    assert sum(row[2] for row in enumerated.rows) == 31 + 5 + 25 + 125 + 625 + 3125 + 5 * 32
    assert all(share < 1 for _, share, _ in realised.rows)


@pytest.fixture
def four_examples(monkeypatch):
    """Of which there are far fewer batches than of five."""
    monkeypatch.setattr("fastbatch.claims.unbiasedness.EXAMPLES", 4)
    assert unbiasedness().holds


def test_the_mean_error_of_a_random_batch_is_not(four_examples):
    assert not unbiasedness(lambda *data: len(data[2]) * wrong.mean_error(*data)).holds


def test_division_by_the_size_that_a_batch_has_is_looked_at_too(four_examples):
    def wrong_of_pairs(network, theta, X, y):
        return sum_of_gradients(network, theta, X, y) * (2 if len(X) == 2 else 1)

    _, realised = unbiasedness(wrong_of_pairs).tables
    pairs = [row[1:] for row in realised.rows if row[0] < 4]  # all four are never a pair
    assert all(share > rest for share, rest in pairs)


def test_a_sum_that_leaves_one_out_is_not(four_examples):
    def leaves_out(network, theta, X, y):
        keep = max(1, len(X) - 1)
        return sum_of_gradients(network, theta, X[:keep], y[:keep])

    assert not unbiasedness(leaves_out).holds
