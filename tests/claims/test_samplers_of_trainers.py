"""Steps of trainers have the mean and the variance of their sampler."""

from fastbatch.claims.claim import CHANCE
from fastbatch.claims.samplers import samplers


def test_every_sampler_has_its_right_scale():
    assert samplers().holds


def test_a_scale_that_is_off_by_three_percent_is_found():
    claim = samplers(factor=1.03)
    assert not claim.holds
    for name in ("shuffle", "replacement", "poisson"):
        off = [max(row[2], abs(row[5])) for row in claim.tables[1].rows if row[0] == name]
        assert max(off) > CHANCE, name
