"""The claim on variational autoencoders holds, and notices a sum that is scaled or made wrongly."""

import pytest

from fastbatch.claims.variational import scaled_sum, variational


def test_estimates_of_the_bound_are_right_on_average():
    assert variational().holds


def unscaled(network, theta, batch):
    return network.value_and_grad(theta, batch, batch, reduction="mean")


def always_the_same_noise(network, theta, batch):
    return scaled_sum(network.with_draw(0), theta, batch)


def gradient_of_another_draw(network, theta, batch):
    value, _ = scaled_sum(network, theta, batch)
    return value, scaled_sum(network.with_draw(network.draw + 1), theta, batch)[1]


@pytest.mark.parametrize("wrong", [unscaled, always_the_same_noise, gradient_of_another_draw])
def test_an_estimate_that_is_scaled_or_made_wrongly_fails(wrong, monkeypatch):
    monkeypatch.setattr("fastbatch.claims.variational.BATCH_SIZES", (4,))
    assert variational().holds
    assert not variational(wrong).holds
