"""What the readers of all kinds of files have in common."""

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]


class Table(Protocol):
    """A file with named columns, read as they are asked for."""

    names: tuple[str, ...]

    def is_text(self, name: str) -> bool:
        """Whether a column holds text rather than numbers."""

    def numbers(self, names: Sequence[str]) -> Array:
        """Columns of numbers, (N, len(names)) float64; NaN where there is a gap."""

    def texts(self, name: str) -> Array:
        """A column as text, (N,) object; "" where there is a gap."""

    def targets(self, name: str) -> Array:
        """A column as it is, (N,): numbers of any kind, or text."""
