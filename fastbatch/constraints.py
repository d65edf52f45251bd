"""What an option may be, and one sentence with the cure when it is not."""

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real

STEPS = 1 << 62  # no training does as many, and 64 bits can count on from there


def one_of(kind: str, name: object, known: Iterable[str]) -> str:
    """Return `name` if it is one of the `known` names of this `kind`, else suggest the closest."""
    known = list(known)
    if not isinstance(name, str):
        raise TypeError(
            f"{kind} must be a name, one of {', '.join(known)}; found {type(name).__name__}"
        )
    if name not in known:
        closest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {closest[0]!r}? " if closest else ""
        raise ValueError(f"unknown {kind} {name!r}: {hint}known are {', '.join(known)}")
    return name


def integer(name: str, value: object, low: int, high: float = math.inf) -> int:
    """Return `value` as an int in [low, high), where the upper end may be infinite."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, found {value!r} ({type(value).__name__})")
    number = int(value)
    if not low <= number < high:
        raise ValueError(f"{name} must be an integer in [{low}, {high}), found {number}")
    return number


def real(name: str, value: object, low: float = 0.0, high: float = math.inf) -> float:
    """Return `value` as a finite float in [low, high)."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, found {value!r} ({type(value).__name__})")
    number = float(value)
    if not low <= number < high or math.isinf(number):
        raise ValueError(f"{name} must be a finite number in [{low:g}, {high:g}), found {value}")
    return number


def flag(name: str, value: object) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, found {value!r} ({type(value).__name__})")
    return value
