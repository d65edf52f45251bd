"""What stands in the fields of tables: text that is a number, and numbers that are names."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def is_number(text: str) -> bool:
    """Whether a field is a number.

    Examples
    --------
    >>> [is_number(text) for text in ("-1.5e3", " 7 ", "nan", "1_000", "")]
    [True, True, True, False, False]
    """
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text  # other digits, and what separates them


def is_whole(text: str) -> bool:
    """Whether a field is a whole number, which 64 bits hold.

    Examples
    --------
    >>> [is_whole(text) for text in ("-12", "+3", "1.0", "12345678901234567890")]
    [True, True, False, False]
    """
    return re.fullmatch("[+-]?[0-9]{1,17}", text) is not None


def has_decimal_comma(text: str) -> bool:
    """Whether a field would be a number if its comma were a decimal point.

    Examples
    --------
    >>> [has_decimal_comma(text) for text in ("1,5", "-1.234,5", "1.5", "1,2,3", "a,b")]
    [True, True, False, False, False]
    """
    return "," in text and is_number(text.replace(".", "").replace(",", "."))


def text_of(number: float) -> str:
    """A number that names a category.

    Examples
    --------
    >>> text_of(3.0), text_of(0.5), text_of(np.nan)
    ('3', '0.5', '')
    """
    if np.isnan(number):
        return ""
    return str(int(number)) if float(number).is_integer() else str(float(number))


def texts_of(numbers: Array) -> Array:
    """The `text_of` each of them, (N,) object."""
    return np.array([text_of(number) for number in numbers.tolist()], dtype=object)
