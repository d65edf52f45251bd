"""The claim on Langevin dynamics holds, and notices chains that have another distribution."""

import pytest

from fastbatch.claims.langevin import langevin
from fastbatch.optimizers import SGD, SGLD


def test_chains_have_the_distribution_of_theory():
    claim = langevin()
    assert claim.holds
    excess = [row[2] for row in claim.tables[0].rows if row[0] == 12]
    assert excess[0] > 2 * excess[1] > 3 * excess[2]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda eps: SGLD(eps, temperature=1.2),
        lambda eps: SGLD(eps, prior_precision=1.5),
        lambda eps: SGLD(1.5 * eps),
        lambda eps: SGD(eps),  # with no noise but that of the batches
    ],
    ids=["too hot", "another prior", "longer steps", "no noise"],
)
def test_other_chains_fail_at_linear_regression(wrong, monkeypatch):
    monkeypatch.setattr("fastbatch.claims.langevin.STEP_SIZES", {12: (0.04,), 3: (0.01,)})
    monkeypatch.setattr("fastbatch.claims.langevin._logistic", lambda optimizer: ())
    assert not langevin(wrong).holds


def test_chains_that_are_too_hot_fail_at_logistic_regression(monkeypatch):
    monkeypatch.setattr("fastbatch.claims.langevin.STEP_SIZES", {})
    assert not langevin(lambda eps: SGLD(eps, temperature=1.2)).holds
