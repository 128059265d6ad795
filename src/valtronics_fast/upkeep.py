"""What a running server looks after every second: its memory and its descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast.descriptors import DescriptorWatch
from valtronics_fast.memory import CONNECTION, SUBSCRIPTION, Trimmer
from valtronics_fast.memory_limit import MemoryLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from valtronics_fast._core.hub import Hub

__all__ = ["Upkeep"]


class Upkeep:
    """Starts, stops and asks all that looks after the process.

    Args:
        hub: whose memory it is, and who closes clients for the sake of it.
        memory: `limits.memory`.
        refuse: told whether clients are to be refused, when that changes.
    """

    def __init__(self, hub: Hub, memory: int, refuse: Callable[[bool], None]) -> None:
        self._hub = hub
        self._limit = MemoryLimit(memory, refuse=refuse, shed=hub.shed)
        self._descriptors = DescriptorWatch()
        self._trimmer = Trimmer(self._estimate)

    def start(self) -> None:
        """Begin; within the running event loop."""
        for each in (self._trimmer, self._limit, self._descriptors):
            each.start()

    def stop(self) -> None:
        """End. Idempotent."""
        for each in (self._trimmer, self._limit, self._descriptors):
            each.stop()

    def reload(self, memory: int) -> None:
        """Take a new `limits.memory`."""
        self._limit.limit = memory

    def stats(self) -> dict[str, object]:
        """Return how it stands."""
        return {
            "seconds_without_descriptors": self._descriptors.exhausted,
            "short_of_memory": self._limit.exceeded,
            "closed_for_memory": self._limit.closed,
        }

    def _estimate(self) -> int:
        return len(self._hub.connections()) * CONNECTION + self._hub.index.entries * SUBSCRIPTION
