"""Optimizers are data: what they keep, and what they refuse."""

import dataclasses

import numpy as np
import pytest

import fastbatch as fb
from fastbatch.optimizers import OPTIMIZERS, as_optimizer


@pytest.mark.parametrize(
    ("optimizer", "slots"),
    [
        (fb.SGD(), 0),
        (fb.SGD(momentum=0.9), 1),
        (fb.Adam(), 2),
        (fb.AdamW(), 2),
        (fb.RMSprop(), 1),
        (fb.RMSprop(momentum=0.9), 2),
        (fb.RMSprop(centered=True), 2),
        (fb.RMSprop(momentum=0.9, centered=True), 3),
        (fb.Adagrad(), 1),
        (fb.SGLD(), 0),
    ],
)
def test_slots_count_the_state_arrays(optimizer, slots):
    assert optimizer.slots == slots


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_name_stands_for_the_usual_hyper_parameters(name):
    assert as_optimizer(name) == OPTIMIZERS[name]()
    assert as_optimizer(name).name == name


def test_numbers_become_floats_and_stay_as_they_are():
    adam = fb.Adam(np.float32(0.5), beta1=0)
    assert type(adam.lr) is float and type(adam.beta1) is float
    with pytest.raises(dataclasses.FrozenInstanceError):
        adam.lr = 1.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fb.Adam(-1e-3), ValueError, r"lr must be a finite number in \[0, inf\), found"),
        (lambda: fb.Adam("fast"), TypeError, r"lr must be a number, found 'fast' \(str\)"),
        (lambda: fb.Adam(True), TypeError, "lr must be a number"),
        (lambda: fb.Adam(beta1=1.0), ValueError, r"beta1 must be .* \[0, 1\), found 1.0"),
        (lambda: fb.AdamW(weight_decay=float("nan")), ValueError, "weight_decay must be"),
        (lambda: fb.RMSprop(alpha=-0.1), ValueError, "alpha must be"),
        (lambda: fb.RMSprop(centered=1), TypeError, "centered must be True or False"),
        (lambda: fb.Adagrad(eps=float("inf")), ValueError, "eps must be"),
        (lambda: fb.SGLD(-1e-3), ValueError, r"step_size must be .* \[0, inf\), found -0.001"),
        (lambda: fb.SGLD(1e-3, prior_precision=-1), ValueError, "prior_precision must be"),
        (lambda: fb.SGLD(1e-3, temperature="hot"), TypeError, "temperature must be a number"),
        (lambda: fb.SGD(nesterov=True), ValueError, "nesterov=True needs a momentum"),
    ],
)
def test_hyper_parameters_out_of_range_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
