"""What a claim is: a statement, the numbers that speak for it, and whether they do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


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
        One or two sentences.
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
