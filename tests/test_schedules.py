"""Learning rates are functions of the step, with the same bits however they are asked for."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbatch as fb
from fastbatch.schedules import Rates

STEPS = np.arange(2500)
SCHEDULES = [
    (fb.Constant(0.3), np.full(2500, 0.3)),
    (fb.StepDecay(0.3, every=700, factor=0.2), 0.3 * 0.2 ** (STEPS // 700)),
    (fb.Exponential(0.3, decay=0.998), 0.3 * 0.998**STEPS),
    (
        fb.Cosine(0.3, steps=1000, final=0.1),
        0.1 + 0.2 * (1 + np.cos(np.pi * np.minimum(STEPS, 1000) / 1000)) / 2,
    ),
    (fb.PowerDecay(0.3, b=10, gamma=0.55), 0.3 * (10.0 + STEPS) ** -0.55),
    (fb.PowerDecay(7.0, b=1e-3, gamma=20), 7.0 * (1e-3 + STEPS) ** -20.0),
    (fb.LinearWarmup(500, 0.3), 0.3 * np.minimum((STEPS + 1) / 500, 1)),
    (
        fb.LinearWarmup(500, fb.Exponential(0.3, 0.99)),
        0.3 * np.where(STEPS < 500, (STEPS + 1) / 500, 0.99 ** np.maximum(STEPS - 500, 0)),
    ),
]


@pytest.mark.parametrize(("schedule", "expected"), SCHEDULES)
def test_schedules_follow_their_formula(schedule, expected):
    np.testing.assert_allclose(schedule(STEPS), expected, rtol=1e-12)


@pytest.mark.parametrize(("schedule", "_"), SCHEDULES)
def test_one_step_has_the_same_bits_as_many(schedule, _):
    together = schedule(STEPS)
    assert [schedule(int(step)) for step in STEPS[::97]] == together[::97].tolist()
    assert isinstance(schedule(3), float)


@given(b=st.floats(1e-12, 1e12), gamma=st.floats(0, 20), step=st.integers(0, 2**40))
def test_powers_are_right_but_for_their_last_digits(b, gamma, step):
    with mpmath.workprec(200):
        exponent = -mpmath.mpf(gamma) * mpmath.log(mpmath.mpf(b) + step)
        error = float(abs(fb.PowerDecay(1.0, b, gamma)(step) / mpmath.exp(exponent) - 1))
    # The sum b + step rounds, then its logarithm (three times), the product with gamma, log(2) and
    # its multiple, all of which are as large as the exponent; and last the polynomial.
    assert error <= 2.0**-53 * (gamma + 6 * float(abs(exponent)) + 4)


def test_the_cosine_is_exact_where_it_can_be():
    schedule = fb.Cosine(1.0, steps=2, final=0.0)
    assert [schedule(0), schedule(1), schedule(2), schedule(9)] == [1.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize("lr", [0.1, SCHEDULES[3][0], lambda step: 1.0 / (step + 1)])
def test_rates_are_the_same_in_slices_of_any_length_and_order(lr):
    rates = Rates(lr)
    schedule = lr if callable(lr) else fb.Constant(lr)
    for first, count in (0, 1), (1, 5000), (3000, 2), (2, 7), (9000, 1):
        expected = [schedule(step) for step in range(first, first + count)]
        assert rates(first, count).tolist() == expected


def test_a_user_function_is_asked_only_for_steps_that_are_due():
    asked = []
    rates = Rates(lambda step: asked.append(step) or 0.5)
    rates(4, 3)
    assert asked == [4, 5, 6]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1])
def test_a_rate_that_is_no_rate_is_refused_with_its_step(bad):
    rates = Rates(lambda step: bad if step == 5 else 0.1)
    with pytest.raises(ValueError, match="learning rate of step 5 is"):
        rates(3, 4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: fb.Constant(-1.0),
        lambda: fb.StepDecay(0.1, every=0),
        lambda: fb.Exponential(0.1, decay=-0.5),
        lambda: fb.Exponential(np.nan, decay=0.5),
        lambda: fb.Cosine(0.1, steps=0),
        lambda: fb.PowerDecay(-1.0),
        lambda: fb.PowerDecay(1.0, gamma=-1),
        lambda: fb.LinearWarmup(0, 0.1),
        lambda: fb.LinearWarmup(3, np.inf),
    ],
)
def test_schedules_refuse_what_makes_no_sense(make):
    with pytest.raises(ValueError, match=r"must be .* found"):
        make()


def test_a_power_that_begins_at_infinity_is_refused():
    with pytest.raises(ValueError, match="b must be positive, found 0"):
        fb.PowerDecay(1.0, b=0)


def test_a_warm_up_takes_no_function_that_cannot_be_saved():
    with pytest.raises(TypeError, match="after must be a number"):
        fb.LinearWarmup(3, lambda step: 0.1)
