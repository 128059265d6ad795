"""Which lanes a node follows: those where somebody on it is subscribed, and those where it publishes itself.

Who publishes follows, so that somebody has the newest values of every lane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["LINGER", "RECENT", "Interest"]

LINGER = 60.0
"""Seconds that a lane is still followed when nobody here needs it any more."""

RECENT = 10
"""Heartbeats for which a lane counts as published to."""


class Interest:
    """What is needed, and since when what is followed is not. Times are arguments, in monotonic seconds."""

    def __init__(self) -> None:
        self._published: dict[int, int] = {}
        self._needed_at: dict[int, float] = {}

    def publish(self, lane: int, beat: int) -> None:
        """Note that something is published in a lane, with the number of the last heartbeat."""
        self._published[lane] = beat + RECENT

    def recent(self, beat: int) -> list[int]:
        """Return the lanes to which was published lately."""
        self._published = {lane: until for lane, until in self._published.items() if until >= beat}
        return list(self._published)

    def judge(self, subscribed: Collection[int], followed: Collection[int], now: float) -> tuple[list[int], list[int]]:
        """Return which lanes are to be followed from now on, and which no longer."""
        needed = {*subscribed, *self._published}
        self._needed_at = {
            lane: now if lane in needed else self._needed_at.get(lane, now) for lane in needed.union(followed)
        }
        idle = [lane for lane in followed if self._needed_at[lane] + LINGER <= now]
        return sorted(needed.difference(followed)), idle
