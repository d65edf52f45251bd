"""Batches are right on average if they are summed rightly."""

import wrong

from fastbatch.claims.unbiasedness import sum_of_gradients, unbiasedness


def test_the_gradient_of_a_random_batch_is_right_on_average():
    claim = unbiasedness()
    assert claim.holds
    enumerated, realised = claim.tables
    assert sum(row[2] for row in enumerated.rows) == 31 + 5 + 25 + 125 + 625 + 3125 + 5 * 32
    assert all(share < 1 for _, share, _ in realised.rows)


def test_the_mean_error_of_a_random_batch_is_not():
    assert not unbiasedness(lambda *data: len(data[2]) * wrong.mean_error(*data)).holds


def test_division_by_the_size_that_a_batch_has_is_looked_at_too():
    def wrong_of_pairs(network, theta, X, y):
        return sum_of_gradients(network, theta, X, y) * (2 if len(X) == 2 else 1)

    _, realised = unbiasedness(wrong_of_pairs).tables
    assert all(share > rest for _, share, rest in realised.rows)


def test_a_sum_that_leaves_one_out_is_not():
    def leaves_out(network, theta, X, y):
        keep = max(1, len(X) - 1)
        return sum_of_gradients(network, theta, X[:keep], y[:keep])

    assert not unbiasedness(leaves_out).holds
