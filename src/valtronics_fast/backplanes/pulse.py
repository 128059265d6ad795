"""A node's own heartbeats: that they come back says that the log works, and that everything before them has come."""

from __future__ import annotations

import asyncio

from valtronics_fast.backplanes.log import LogError

__all__ = ["SILENCE", "Pulse"]

SILENCE = 3.0
"""Seconds without its own heartbeat after which a node takes the log for gone, whatever the connection looks like."""


class Pulse:
    """Counts the heartbeats. Times are arguments, in monotonic seconds.

    Attributes:
        number: of the last one.
    """

    def __init__(self) -> None:
        self.number = 0
        self._heard_at = 0.0
        self._barriers: dict[int, asyncio.Future[None]] = {}

    def excuse(self, now: float) -> None:
        """Begin to wait anew: the log has just been opened, or the process stood still."""
        self._heard_at = now

    def is_silent(self, now: float) -> bool:
        """Say whether no heartbeat has come back for too long."""
        return now - self._heard_at > SILENCE

    def barrier(self) -> asyncio.Future[None]:
        """Return what is done once the last heartbeat has come back."""
        return self._barriers.setdefault(self.number, asyncio.get_running_loop().create_future())

    def come_back(self, number: int, now: float) -> None:
        """Note that a heartbeat of this node has come back."""
        self._heard_at = now
        for passed in [passed for passed in self._barriers if passed <= number]:
            future = self._barriers.pop(passed)
            if not future.done():
                future.set_result(None)

    def fail(self) -> None:
        """The log is gone: nothing comes back any more."""
        for future in self._barriers.values():
            if not future.done():
                future.set_exception(LogError("it is gone"))
        self._barriers.clear()
