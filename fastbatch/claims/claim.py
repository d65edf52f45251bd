"""What a claim is: a statement, the numbers that speak for it, and whether they do."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Standard errors that chance may explain. One normal number in 150,000 is beyond. Seeds are fixed,
# so what holds once holds again; but a change to what is drawn draws anew, and of the some 250
# figures of all claims one is then beyond in one of 600 cases.
CHANCE = 4.5


@dataclass(frozen=True)
class Table:
    """Numbers below headings.

    Attributes
    ----------
    title : str
    headings : tuple of str
    rows : tuple of tuple
        Text and numbers, one for each heading.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Claim:
    """A statement about mini-batches, and what was found when it was put to the test.

    Attributes
    ----------
    title : str
    statement : str
        A few sentences.
    tables : tuple of Table
    holds : bool
        Whether all that was measured is what it should be: equal where nothing is rounded, else
        within bounds of rounding or of chance.
    draw : callable, optional
        Draws a picture of it on the matplotlib Figure that it is called with.

    Examples
    --------
    >>> table = Table("Sums", ("sum", "found", "exact"), (("1 + 1", 1 + 1, 2),))
    >>> Claim("Addition", "One and one make two.", (table,), holds=1 + 1 == 2).holds
    True
    """

    title: str
    statement: str
    tables: tuple[Table, ...]
    holds: bool
    draw: Callable[[Any], None] | None = None


def standard_errors(samples: NDArray[Any], truth: Any) -> NDArray[Any]:
    """The mean of independent samples, (n, ...), less the truth, in its standard errors.

    Examples
    --------
    >>> standard_errors(np.array([[1.0], [3.0]]), [1.0])
    array([1.])
    """
    error = samples.std(axis=0, ddof=1) / sqrt(len(samples))
    return np.asarray((samples.mean(axis=0) - truth) / error)
