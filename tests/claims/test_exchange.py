"""Kinks, heavy tails and a derivative without a bound."""

from numpy.random import Generator

from fastbatch.claims.exchange import exchange


def test_the_exchange_is_allowed_or_not_as_theory_says():
    claim = exchange()
    assert claim.holds
    kink, tails, _, quotients = claim.tables
    assert kink.rows[0][:3] == (0, 2, 0)
    spread = {
        name: [row[2] for row in tails.rows if row[0] == name] for name in ("normal", "Cauchy")
    }
    assert spread["normal"][0] > 7 * spread["normal"][-1]  # of 64 times as many examples
    assert spread["Cauchy"][0] < 1.2 * spread["Cauchy"][-1]
    h, of_all, _, of_few = quotients.rows[-1]
    assert of_all > 1 - 2 * h**2 and of_few < 0.01


def test_numbers_without_heavy_tails_fail():
    assert not exchange(Generator.standard_normal).holds
    assert not exchange(lambda rng, size: 1.3 * rng.standard_t(2, size)).holds
