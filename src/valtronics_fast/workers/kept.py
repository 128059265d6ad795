"""The newest entries of each lane, as many as `backplane.entries` and `backplane.size` allow."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import islice
from typing import NamedTuple

__all__ = ["Kept", "Reading"]

LANES = 256

MAX_READ = 1000
"""Entries that are read from the newest on backwards, at most."""

MAX_PIECE = 1 << 20
"""Bytes that are read at a time, and one entry more."""

_CLEARED = 7 / 8
"""What is left of the bytes when they had become too many: so that it is not done again for the next entry."""


class Reading(NamedTuple):
    """A part of a lane.

    Attributes:
        floor: an offset behind which nothing is missing.
        entries: (offset, offsets that it took, blob), in order.
        more: there are newer ones.
    """

    floor: int
    entries: list[tuple[int, int, bytes]]
    more: bool


class Kept:
    """What can be read again.

    Args:
        entries: of a lane, at most.
        size: bytes of all blobs, at most; 0: no limit.

    Attributes:
        size: bytes of all blobs.
        dropped: entries that had to go.
    """

    def __init__(self, entries: int, size: int) -> None:
        self.size = 0
        self.dropped = 0
        self._entries = entries
        self._limit = size
        self._lanes: list[deque[tuple[int, int, bytes]]] = [deque() for _ in range(LANES)]
        self._floors = [0] * LANES

    def add(self, lane: int, offset: int, offsets: int, blob: bytes) -> None:
        """Keep an entry."""
        entries = self._lanes[lane]
        entries.append((offset, offsets, blob))
        self.size += len(blob)
        if len(entries) > self._entries:
            self._drop(lane)
        if self._limit and self.size > self._limit:
            self._clear(int(self._limit * _CLEARED))

    def _drop(self, lane: int) -> None:
        offset, offsets, blob = self._lanes[lane].popleft()
        self._floors[lane] = offset + offsets - 1
        self.size -= len(blob)
        self.dropped += 1

    def _clear(self, size: int) -> None:
        """Drop the oldest entries of all lanes until no more is left than `size`."""
        oldest = [(entries[0][0], lane) for lane, entries in enumerate(self._lanes) if entries]
        heapq.heapify(oldest)
        while self.size > size:
            _, lane = oldest[0]
            self._drop(lane)
            if self._lanes[lane]:
                heapq.heapreplace(oldest, (self._lanes[lane][0][0], lane))
            else:
                heapq.heappop(oldest)

    def read(self, lane: int, after: int | None) -> Reading:
        """Return entries of a lane that end behind an offset, the oldest first; None: the newest MAX_READ."""
        entries = self._lanes[lane]
        floor = self._floors[lane]
        start = 0
        if after is None:
            start = max(0, len(entries) - MAX_READ)
            if start:
                offset, offsets, _ = entries[start - 1]
                floor = offset + offsets - 1
        else:
            while start < len(entries) and entries[start][0] + entries[start][1] - 1 <= after:
                start += 1
        found: list[tuple[int, int, bytes]] = []
        size = 0
        for entry in islice(entries, start, None):
            if size > MAX_PIECE:
                break
            found.append(entry)
            size += len(entry[2])
        return Reading(floor, found, start + len(found) < len(entries))
