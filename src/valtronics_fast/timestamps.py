"""Points in time as the wire writes them: ISO 8601 in UTC, `2024-01-01T12:00:00.123Z` (protocol.md, 3)."""

from __future__ import annotations

from datetime import datetime

from valtronics_fast._core.clock import timestamp

__all__ = ["iso_from_seconds", "to_iso"]

# Numbers from here on are milliseconds: as seconds they would lie beyond the year 5138, and a device that
# sends milliseconds stays below only with a clock before March 1973.
FIRST_MILLISECONDS = 100_000_000_000
# The end of the year 9999, the last that ISO 8601 writes with four digits.
END_OF_SECONDS = 253_402_300_800
# The longest ISO form with nanoseconds and an offset has 35 characters.
MAX_TEXT = 40


def iso_from_seconds(seconds: float) -> str:
    """Return Unix seconds (UTC) as ISO 8601 with milliseconds; ValueError outside the years 1970 to 9999."""
    if not 0 <= seconds < END_OF_SECONDS:   # false for NaN too
        raise ValueError("a Unix time lies between the years 1970 and 9999")
    return timestamp(seconds)


def to_iso(value: object) -> str:
    """Return a producer's timestamp as ISO 8601.

    Args:
        value: an ISO 8601 text, which is checked and returned unchanged, or a Unix time in seconds or
            milliseconds (numbers from 100,000,000,000 on are milliseconds).

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise ValueError("a timestamp has at most 40 characters")
        datetime.fromisoformat(value)
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a timestamp is an ISO 8601 text or a Unix time")  # noqa: TRY004 - told as documented
    if FIRST_MILLISECONDS <= value < END_OF_SECONDS * 1000:
        value = value / 1000
    return iso_from_seconds(value)
