"""Compare the texts that notebooks print: words and integers exactly, decimals nearly.

Different processors round differently, so a stored 0.2000 may come out as 0.1999. nbval offers
regular expressions only, which cannot say "close to"; so its `sanitize`, through which every
compared text passes, is made to return a string that compares itself with a tolerance.
"""

import math
import re

from nbval.plugin import IPyNbCell

# A decimal has a point or an exponent; whatever else is made of digits is an integer.
_DECIMAL = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+")
_RELATIVE_TOLERANCE = 2e-3


class TolerantText(str):
    """A string that equals another if only its decimals differ, and those by little."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and is_nearly_equal(str(self), str(other))

    def __ne__(self, other: object) -> bool:
        return not self == other


def is_nearly_equal(first: str, second: str) -> bool:
    """Tell whether two texts agree, decimals within a relative 0.002 or one last digit."""
    if first == second:
        return True
    if _DECIMAL.split(first) != _DECIMAL.split(second):
        return False
    pairs = zip(_DECIMAL.findall(first), _DECIMAL.findall(second), strict=True)
    return all(
        math.isclose(
            float(one),
            float(other),
            rel_tol=_RELATIVE_TOLERANCE,
            abs_tol=1.01 * min(_last_digit(one), _last_digit(other)),
        )
        for one, other in pairs
    )


def compare_with_tolerance() -> None:
    """Make nbval use TolerantText, once."""
    exact_sanitize = IPyNbCell.sanitize
    if getattr(exact_sanitize, "is_tolerant", False):
        return

    def sanitize(cell: IPyNbCell, text: object) -> object:
        sanitized = exact_sanitize(cell, text)
        return TolerantText(sanitized) if isinstance(sanitized, str) else sanitized

    sanitize.is_tolerant = True
    IPyNbCell.sanitize = sanitize


def _last_digit(number: str) -> float:
    """Give the worth of one unit in the last digit as written: 0.01 for "3.14"."""
    mantissa, _, exponent = number.lower().partition("e")
    places = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - places)
