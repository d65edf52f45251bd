"""Rows below one another on a terminal."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def show(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows, each column as wide as its longest entry; broken numbers with six digits."""
    lines = [header, *(tuple(map(_text, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))


def _text(entry: Any) -> str:
    if entry is None:
        return "-"
    return f"{entry:.6g}" if isinstance(entry, float | np.floating) else str(entry)
