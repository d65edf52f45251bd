"""Claims about mini-batches, each with the experiment that puts it to the test.

Every function returns a `Claim`; ``fastbatch explain`` reports them, docs/minibatch.md tells why
they are true.

Examples
--------
>>> CLAIMS[4]().holds
True
"""

from collections.abc import Callable

from fastbatch.claims import (
    accumulation,
    batch_size,
    covariance,
    exchange,
    langevin,
    linearity,
    mean_error,
    samplers,
    sum_or_mean,
    two_examples,
    unbiasedness,
    variational,
)
from fastbatch.claims.claim import Claim, Table

__all__ = ["CLAIMS", "OF_DIGITS", "Claim", "Table"]

CLAIMS: dict[int, Callable[[], Claim]] = {
    1: linearity.linearity,
    2: mean_error.mean_error,
    3: covariance.covariance,
    4: two_examples.two_examples,
    5: accumulation.accumulation,
    6: sum_or_mean.sum_or_mean,
    7: unbiasedness.unbiasedness,
    8: exchange.exchange,
    9: batch_size.batch_size,
    10: langevin.langevin,
    11: variational.variational,
    12: samplers.samplers,
}

OF_DIGITS = frozenset({2, 6, 8, 9, 12})  # for which scikit-learn has to be there
