"""Three batch sizes, one method; noise as that of the sampler."""

import pytest

from fastbatch.claims.batch_size import batch_size


def test_three_batch_sizes_are_one_method():
    claim = batch_size()
    assert claim.holds
    assert [row[1] for row in claim.tables[0].rows] == [10240, 320, 10]


@pytest.mark.parametrize("sampler", ["shuffle", "poisson"])
def test_the_noise_of_other_batches_is_another(sampler, monkeypatch):
    monkeypatch.setattr("fastbatch.claims.batch_size.EPOCHS", 2)  # of the digits: it is the noise
    assert not batch_size(sampler).holds
