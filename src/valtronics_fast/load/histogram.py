"""Durations counted in buckets, so that percentiles of any number of them take the same small memory.

The buckets are those of HdrHistogram (http://hdrhistogram.org): whole microseconds, and from 256 µs on 128 buckets from
one power of two to the next, so that none is wider than 1/128 of what it counts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_SECONDS", "Histogram"]

_HALF_BITS = 7
_HALF = 1 << _HALF_BITS
_MAX_BITS = 32
_MAX = (1 << _MAX_BITS) - 1

MAX_SECONDS = _MAX / 1e6
"""More counts as so much: an hour and some minutes."""


class Histogram:
    """Counts durations.

    Attributes:
        count: how many there were.
        least, greatest: the shortest and the longest, in seconds as they were given; 0 without any.
    """

    def __init__(self) -> None:
        self.count = 0
        self.least = 0.0
        self.greatest = 0.0
        self._total = 0.0
        self._buckets = [0] * ((_MAX_BITS - _HALF_BITS + 1) << _HALF_BITS)

    def record(self, seconds: float) -> None:
        """Count a duration; one below 0 counts as 0."""
        value = min(max(int(seconds * 1e6), 0), _MAX)
        shift = max(value.bit_length() - _HALF_BITS - 1, 0)
        self._buckets[(shift << _HALF_BITS) + (value >> shift)] += 1
        if not self.count or seconds < self.least:
            self.least = seconds
        self.greatest = max(self.greatest, seconds)
        self.count += 1
        self._total += seconds

    @property
    def mean(self) -> float:
        """Return the mean in seconds; 0 without any."""
        return self._total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """Return the duration in seconds that so many percent do not exceed; 0 without any."""
        rank = max(math.ceil(self.count * percent / 100), 1)
        seen = 0
        for index, counted in enumerate(self._buckets):
            seen += counted
            if seen >= rank:
                return min(_end(index) / 1e6, self.greatest)
        return 0.0

    def bars(self) -> Iterator[tuple[float, float, int]]:
        """Yield (from, to, count) for each power of two of microseconds from the shortest duration to the longest."""
        powers: dict[int, int] = {}
        for index, counted in enumerate(self._buckets):
            if counted:
                power = _end(index).bit_length() if _end(index) > 1 else 1
                powers[power] = powers.get(power, 0) + counted
        for power in range(min(powers, default=0), max(powers, default=-1) + 1):
            begin = (1 << (power - 1)) if power > 1 else 0
            yield begin / 1e6, (1 << power) / 1e6, powers.get(power, 0)

    def figures(self) -> dict[str, float | int]:
        """Return the count, and the durations that tell most, in seconds."""
        percentiles = {f"p{percent:g}": self.percentile(percent) for percent in (50, 90, 99, 99.9)}
        return {"count": self.count, "min": self.least, "mean": self.mean, **percentiles, "max": self.greatest}


def _end(index: int) -> int:
    """Return the greatest value in microseconds that a bucket counts."""
    shift = max((index >> _HALF_BITS) - 1, 0)
    return (((index - (shift << _HALF_BITS)) + 1) << shift) - 1
