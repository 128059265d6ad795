"""Durations, sizes and rates: how people write them, and back.

Inside the program a duration is seconds (`float`), a size is bytes (`int`) and a rate is a `Rate`.
"""

from __future__ import annotations

import re

import msgspec

__all__ = [
    "DURATION_FORMS",
    "DURATION_PATTERN",
    "RATE_FORMS",
    "RATE_PATTERN",
    "SIZE_FORMS",
    "SIZE_PATTERN",
    "Rate",
    "format_duration",
    "format_rate",
    "format_size",
    "parse_duration",
    "parse_rate",
    "parse_size",
]

DURATION_FORMS = "500ms, 5s, 10m, 1h or a number of seconds"
SIZE_FORMS = "64KiB, 2MiB, 1GiB or a number of bytes"
RATE_FORMS = "5/s, 10/min, 100/h or 0"

_DURATION_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_RATE_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}

# At most 15 digits: more are no setting, and float() and int() of them stay exact and quick.
_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(|ms|s|m|h)")
_SIZE = re.compile(r"([0-9]{1,15})(|KiB|MiB|GiB)")
_RATE = re.compile(r"([0-9]{1,9})/(s|min|h)")

# What texts the functions below read, for other programs; blanks around them do not count.
DURATION_PATTERN = rf"^\s*({_DURATION.pattern})\s*$"
SIZE_PATTERN = rf"^\s*({_SIZE.pattern})\s*$"
RATE_PATTERN = rf"^\s*({_RATE.pattern}|0)\s*$"


class Rate(msgspec.Struct, frozen=True):
    """So many in a period: the size of a token bucket and the time in which it refills.

    Attributes:
        count: how many; 0 turns the limit off.
        seconds: the period in seconds, above 0.
    """

    count: int
    seconds: float


def parse_duration(value: object) -> float:
    """Read a duration into seconds.

    Args:
        value: a number of seconds, or text in one of DURATION_FORMS.

    Raises:
        ValueError: it is none of these, negative, or not finite.
    """
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"a duration is {DURATION_FORMS}")
        # Rounded to the nanosecond, so that 30ms is 0.03 and not a neighbour of it.
        return round(float(match[1]) * _DURATION_UNITS[match[2]], 9)
    # The upper bound keeps an integer beyond the range of a float out as well.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise ValueError(f"a duration is {DURATION_FORMS}")
    return float(value)


def parse_size(value: object) -> int:
    """Read a size into bytes.

    Args:
        value: a number of bytes, or text in one of SIZE_FORMS.

    Raises:
        ValueError: it is none of these, or negative.
    """
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"a size is {SIZE_FORMS}")
        return int(match[1]) * _SIZE_UNITS[match[2]]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"a size is {SIZE_FORMS}")
    return value


def parse_rate(value: object) -> Rate:
    """Read a rate.

    Args:
        value: text in one of RATE_FORMS, or the number 0 for off.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, str) and (match := _RATE.fullmatch(value.strip())):
        return Rate(int(match[1]), _RATE_UNITS[match[2]])
    if value == "0" or (value == 0 and not isinstance(value, bool)):
        return Rate(0, 1.0)
    raise ValueError(f"a rate is {RATE_FORMS}")


def format_duration(seconds: float) -> str:
    """Write a duration with the largest unit that leaves no fraction: 90.0 is `90s`, 0.5 is `500ms`."""
    if seconds == 0:
        return "0"
    for unit in ("h", "m", "s"):
        count = seconds / _DURATION_UNITS[unit]
        if count == int(count):
            return f"{int(count)}{unit}"
    return f"{seconds * 1000:.6f}".rstrip("0").rstrip(".") + "ms"


def format_size(size: int) -> str:
    """Write a size with the largest unit that divides it: 65536 is `64KiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return str(size)


def format_rate(rate: Rate) -> str:
    """Write a rate of `parse_rate` as it reads it."""
    if rate.count == 0:
        return "0"
    return next(f"{rate.count}/{unit}" for unit, seconds in _RATE_UNITS.items() if seconds == rate.seconds)
